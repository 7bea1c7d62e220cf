"""Chat templates: published ones damaged, and programs of jinja drawn at random: loops, recursion, huge output."""

import json

from chat_templates import TEMPLATES

from .damage import edited_bytes, odd

COMMANDS = [
    ["generate", "--base", "base", "--chat", "--prompt", "a sea", "--max-new-tokens", "3"],
    ["data", "pairs.jsonl", "--base", "base", "--chat"],
    [
        "train",
        "pairs.jsonl",
        "--base",
        "base",
        "--chat",
        "--out",
        "out",
        "--steps",
        "1",
        "--batch-size",
        "1",
        "--no-plot",
    ],
    ["eval", "--base", "base", "--chat", "--jsonl", "pairs.jsonl"],
]
ATOMS = [
    "messages", "messages[0]", "messages[0].content", "messages[-1]['role']", "x", "loop", "loop.index", "self", "1", "0", "-1",
    "10**9", "2**64", "'a'", "'a' * 10**9", "[0] * 10**9", "range(10**9)", "range(3)", "bos_token", "eos_token", "none", "true",
    "1/0", "1.5", "''.__class__", "''.__class__.__mro__[1].__subclasses__()", "messages.__init__.__globals__", "cycler",
    "lipsum(n=10**6)", "namespace(a=1)", "dict(a=1)", "joiner(',')", "raise_exception", "raise_exception('no')",
    "strftime_now('%Y')", "strftime_now('%' * 1000)", "strftime_now('\ud800')", "strftime_now(1)", "'%1000000000d' % 1",
    "'{:>1000000000}'.format(1)", "'{0.__class__}'.format(1)", "tools", "documents", "add_generation_prompt", "caller()",
    "'\\ud800'", "(10**10000)", "10**10**8", "'a'|string", "messages|tojson", "[]|first", "{}|dictsort", "super()", "varargs",
]  # fmt: skip
FILTERS = ["length", "tojson", "string", "trim", "upper", "first", "last", "join", "list", "sort", "reverse", "int", "float",
           "center(10**9)", "indent(10**8)", "batch(1)|list", "replace('a', 'a' * 10**6)", "wordwrap(1)", "xmlattr", "urlize",
           "map(attribute='__class__')|list", "selectattr('role')", "sum", "pprint", "items", "unknown", "truncate(-1)",
           "round(10**6)", "format(1)", "filesizeformat", "attr('__class__')", "groupby('role')", "unique|list", "random",
           "slice(10**9)", "tojson(indent=10**8)", "max", "abs", "e"]  # fmt: skip


def expression(rng, depth=0) -> str:
    kind = rng.randrange(9) if depth < 3 else 0
    if kind < 4:
        return rng.choice(ATOMS)
    if kind == 4:
        return f"{expression(rng, depth + 1)}|{rng.choice(FILTERS)}"
    if kind == 5:
        return f"({expression(rng, depth + 1)} {rng.choice('+ - * ~ % ** // == in and or is'.split())} {expression(rng, depth + 1)})"
    if kind == 6:
        return f"({expression(rng, depth + 1)})[{expression(rng, depth + 1)}]"
    if kind == 7:
        return f"({expression(rng, depth + 1)}).{rng.choice(['content', 'append(1)', 'format', 'join(messages)', '__class__', 'x'])}"
    return f"[{expression(rng, depth + 1)}, {expression(rng, depth + 1)}]"


def statement(rng, depth=0) -> str:
    kind = rng.randrange(14) if depth < 4 else 0
    inner = "".join(statement(rng, depth + 1) for _ in range(rng.choice([1, 1, 2]))) if kind > 2 else ""
    e = expression(rng)
    return {
        0: "{{ " + e + " }}", 1: rng.choice(["a", "\n", "<|im_end|>", "{#", "{{", "{%", "%}", "\x00", "{% raw %}"]),
        2: "{% set x = " + e + " %}", 3: "{% for m in " + e + " %}" + inner + "{% endfor %}",
        4: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n" + inner + "{% endfor %}",
        5: "{% if " + e + " %}" + inner + "{% else %}b{% endif %}",
        6: "{% macro f(x) %}" + inner + "{{ f(x) }}{% endmacro %}{{ f(1) }}",
        7: "{% for m in messages recursive %}" + inner + "{{ loop(messages) }}{% endfor %}",
        8: "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}" + inner,
        9: rng.choice(["{% include 'a' %}", "{% import '/etc/passwd' as a %}", "{% extends 'b' %}", "{% do x.append(1) %}",
                       "{% set _ = messages.append(1) %}", "{% generation %}a{% endgeneration %}", "{% break %}"]),
        10: "{% filter " + rng.choice(FILTERS) + " %}" + inner + "{% endfilter %}",
        11: "{% call f() %}" + inner + "{% endcall %}", 12: "{% block a %}" + inner + "{% endblock %}" * rng.choice([0, 1]),
        13: "{% if x %}" * 200 + inner + "{% endif %}" * 200,
    }[kind]  # fmt: skip


def fill(case) -> None:
    rng = case.rng
    base = case.take("base")
    case.take("pairs.jsonl")
    case.argv = list(rng.choice(COMMANDS))
    kind = rng.random()
    if kind < 0.65:
        text = "".join(statement(rng) for _ in range(rng.choice([1, 1, 2, 4])))
    elif kind < 0.95:
        raw = TEMPLATES[rng.choice(sorted(TEMPLATES))].encode()
        text = edited_bytes(rng, raw).decode("utf-8", "replace")
    else:
        text = rng.choice(
            ["", " ", "a" * 10**4, "{{ 1 }}" * 10**4, "(" * 5000, "{{" + "(" * 5000, "{{" + "-" * 5000 + "1}}"]
        )
    raw = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.5:
        (base / "chat_template.jinja").write_bytes(raw)
    else:
        path = base / "tokenizer_config.json"
        held = json.loads(path.read_text(encoding="utf-8"))
        named = [{"name": "default", "template": text}, {"name": "tool_use", "template": odd(rng)}]
        held["chat_template"] = rng.choice([text, text, named, odd(rng)])
        path.write_text(json.dumps(held).replace("@4301 digits@", "9"), encoding="utf-8")
