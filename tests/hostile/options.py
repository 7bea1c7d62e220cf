"""Options: every command of the group with odd values, found from click itself, so that a new command is covered."""

import click

from minilora.cli import COMMANDS, cli

SOUND = {  # parameter -> values that are in order; the folder of the case has the files
    "base": ["base"], "out": ["out"], "adapter": ["plain"], "text": ["text.txt"], "jsonl": ["pairs.jsonl"], "task": ["sql"],
    "prompt": ["a sea"], "file": ["text.txt"], "files": ["pairs.jsonl"], "folder": ["plain"], "folders": ["plain"],
    "model": ["gpt2", "base"], "words": ["LoRA"], "what": ["5.2"], "number": ["5.2"], "steps": ["1"], "batch_size": ["2"],
    "max_new_tokens": ["2"], "device": ["cpu"], "valid": ["pairs.jsonl"], "tokenizer": ["base"], "width": ["16"],
    "layers": ["1"], "heads": ["2"], "kv_heads": ["1"], "mlp": ["24"], "context": ["64"], "length": ["32"], "vocab": ["300"],
    "fits": ["gpt2"], "rank": ["2"], "ranks": ["4"], "eval_every": ["1"], "accumulate": ["1"], "adapter_config": ["plain/adapter_config.json"],
    "plot": ["plot.png"], "table": ["table.csv"], "virtual_tokens": ["3"], "targets": ["q_proj"], "target_sets": ["q_proj"],
    "system": ["Be short."],
}  # fmt: skip
ALWAYS = ("steps", "batch_size", "max_new_tokens", "out", "base", "prompt", "width", "layers", "heads", "kv_heads", "mlp",
          "context", "length", "vocab", "words", "what")  # fmt: skip
NUMBERS = ["0", "-1", "1", "3", "7", "nan", "inf", "-inf", "1e5", "1e400", "1e-400", "-0", "+5", " 7", "0x10", "1_000", "٣", "１",
           "9" * 20, "9" * 4400, "2147483648", "1000000000", "4294967296", "1.5", "True", "", "--", "1e308", "-1e308", "100000"]  # fmt: skip
TEXTS = ["", " ", "\n", "x" * 5000, "\x1b[31m", "\udce9\udcff", "é" * 200, "a,b", ",", "q_proj,", "[q_proj,v_proj]", "(", ".*",
         "(([a-z_0-9.]+)+)+!", "all-linear", "cuda", "cuda:99", "cuda:x", "cpu:1", "gpt2", "org/name", "../x", "--help", "-", "{}",
         "gaussian", "pissa_niter_99999999", "pissa_niter_x", "olora", "True", "5.99", "99.1", "5.x", "²", "0", "q_proj q_proj"]  # fmt: skip
PATHS = ["missing", "base", "plain", "text.txt", "pairs.jsonl", "base/config.json", "base/model.safetensors", "text.txt/x", "",
         "/dev/null", "/dev/full", "/", ".", "..", "x" * 300, "/proc/self/mem", "\udcff.jsonl", "a\nb.txt", "link", "out/a/b/c",
         "plain,plain", "plain,base", "empty.txt", "/dev/stdin", "-", "lora_run", "lora_run,plain", "full_run", "wide"]  # fmt: skip
WRITTEN = ("out", "plot", "table", "folder")  # parameters that name what is written
PLACES = ["out", "base", "plain", "text.txt", "text.txt/x", "", ".", "x" * 300, "\udcff", "a\nb", "link", "out/a/b/c", "lora_run",
          "empty.txt", "full_run", "new.csv", "-", "plain/adapter_config.json"]  # fmt: skip  # a test must not write elsewhere
LONG = {"steps", "epochs", "max_new_tokens", "width", "layers", "mlp", "vocab", "batch_size", "accumulate", "context", "length",
        "method", "task", "rank", "heads", "virtual_tokens", "out", "base", "tokenizer", "text", "jsonl"}  # fmt: skip
SLOW_COMMANDS = ("tour", "check", "claims", "doctor")  # rarer: each takes seconds


def fill(case) -> None:
    rng = case.rng
    for name in ("base", "wide", "pairs.jsonl", "text.txt", "adapters/plain", "lora_run", "full_run"):
        case.take(name)
    (case.work / "empty.txt").touch()
    (case.work / "link").symlink_to("link")
    names = [n for n in COMMANDS if n != "serve" and (n not in SLOW_COMMANDS or rng.random() < 0.15)]  # it never ends
    name = rng.choice(names)
    command = cli.get_command(click.Context(cli), name)
    chosen = {
        p.name: sound_value(rng, p) for p in command.params if p.required or p.name in ALWAYS and rng.random() < 0.9
    }
    if name in ("train", "eval") and rng.random() < 0.9:
        chosen |= rng.choice([{"jsonl": "pairs.jsonl"}, {"text": "text.txt"}, {"task": "sql"}])
    if name == "pretrain":
        chosen["text"] = "text.txt"
    for p in rng.sample(command.params, min(len(command.params), rng.choice([0, 1, 2, 4]))):
        chosen.setdefault(p.name, sound_value(rng, p))
    changed = rng.sample(command.params, min(len(command.params), rng.choice([1, 1, 1, 2, 3])))
    chosen |= {p.name: odd_value(rng, p) for p in changed}
    case.argv = [name, *spelled(rng, command.params, chosen)]
    if rng.random() < 0.03:
        case.argv.insert(
            rng.randrange(len(case.argv) + 1), rng.choice(["--", "-x", "--out", "extra", "--no-such", "-h"])
        )
    case.stdin = rng.choice([b"", b"a sea\n", b"\xff\n", b"\n" * 9, b"a" * 10_000])
    case.long = name in SLOW_COMMANDS or bool(LONG & {p.name for p in changed}) or "task" in chosen
    case.outs = ("out", *map(str, (chosen.get(n) for n in WRITTEN if chosen.get(n))))
    case.codes = (1,) if name == "check" else ()


def sound_value(rng, p):
    if p.name in SOUND:
        return rng.choice(SOUND[p.name])
    if isinstance(p.type, click.Choice):
        return rng.choice(list(p.type.choices))
    if getattr(p, "is_flag", False):
        return True
    return str(rng.choice([1, 2, 16])) if p.type.name.startswith(("integer", "float")) else "a"


def odd_value(rng, p):
    if getattr(p, "is_flag", False):
        return rng.choice([True, True, "x"])
    if isinstance(p.type, click.Choice):
        return rng.choice([*p.type.choices, *p.type.choices, "", "x", str(next(iter(p.type.choices))).upper()])
    if p.type.name.startswith(("integer", "float")):
        return rng.choice(NUMBERS)
    if p.name in WRITTEN:
        return rng.choice(PLACES)
    if isinstance(p.type, click.Path) or p.name in ("base", "adapter", "tokenizer"):
        return rng.choice(PATHS)
    return rng.choice(TEXTS + NUMBERS)


def spelled(rng, params, chosen):  # -> the words of the command line
    words, free = [], []
    for p in params:
        if p.name not in chosen or chosen[p.name] is None:
            continue
        value = chosen[p.name]
        if isinstance(p, click.Argument):
            free += [value] if p.nargs == 1 else [value] * rng.choice([1, 1, 2])
        elif value is True:
            words.append(rng.choice([*p.opts, *p.secondary_opts]))
        elif rng.random() < 0.3 and p.opts[-1].startswith("--"):
            words.append(f"{p.opts[-1]}={value}")
        else:
            words += [p.opts[0], value] * rng.choice([1, 1, 1, 2])
    return [*free, *words] if rng.random() < 0.7 else [*words, *free]
