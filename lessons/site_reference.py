"""The reference: every public name with its signature, docstring and source, and the help of every command.

griffe, the reader under mkdocstrings, reads signatures and docstrings from the sources. The pages are our own, and not
mkdocs's, so that the look, the search and the addresses are those of the rest of the site.
"""

import ast
import html
import re
import textwrap
from pathlib import Path

import click
import griffe
import pages
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

import minilora
from minilora.cli import COMMANDS, cli

ROOT = Path(minilora.__file__).parent.parent
LINES = HtmlFormatter(linespans="L", cssclass="source")
LEFT_OUT = ("cli", "_shipped")  # the commands have a page of their own
WIDE = 84  # characters of a signature on one line


def write(folder: Path) -> None:
    """Write reference.html, a page for each room, commands.html, and source/ with every file of the package."""
    package = griffe.load("minilora", search_paths=[ROOT])
    rooms = rooms_of(package)

    def put(name, title, body):
        (folder / f"{name}.html").write_text(
            pages.page(title, body), encoding="utf-8", newline="\n"
        )

    put("reference", "Reference", front(package, rooms))
    for room, modules in rooms.items():
        title = "minilora: core" if room == "core" else f"minilora.{room}"
        put(f"reference-{room}", title, room_html(title, room, modules))
    put("commands", "Commands", commands())
    (folder / "source").mkdir(exist_ok=True)
    for path in sorted((ROOT / "minilora").rglob("*.py")):
        put(f"source/{source_name(path)}", path.relative_to(ROOT).as_posix(), source(path))


# ---- which names


def rooms_of(
    package,
):  # -> {room: [module, ...]} in alphabetical order; "core": the files outside a room
    found = {}
    for module in modules_of(package):
        room, _, rest = module.path.removeprefix("minilora.").partition(".")
        if room not in LEFT_OUT and (names_of(module) or module.docstring):
            found.setdefault(room if rest or module.is_package else "core", []).append(module)
    return dict(sorted(found.items()))


def modules_of(
    module,
):  # -> every module below, but no test of an exercise: its checks are no library
    for member in sorted(module.members.values(), key=lambda m: m.name):
        if not member.is_alias and member.is_module and not member.name.startswith("_"):
            if member.path != "minilora.course.checks":
                yield member
                yield from modules_of(member)


def names_of(module):  # -> its public functions and classes, in the order of the file
    own = [m for m in module.members.values() if not m.is_alias and (m.is_function or m.is_class)]
    return sorted((m for m in own if not m.name.startswith("_")), key=lambda m: m.lineno)


def place(thing):  # -> the address of its entry
    room, _, rest = thing.path.removeprefix("minilora.").partition(".")
    page = room if (ROOT / "minilora" / room).is_dir() else "core"
    return f"reference-{page}.html#{thing.path.removeprefix('minilora.')}"


# ---- pages


def front(package, rooms):
    things = {name: exported(package, name) for name in minilora.__all__}
    names = "".join(
        f'<tr><td><a href="#{name}"><code>{name}</code></a></td><td>{first_sentence(thing)}</td></tr>'
        for name, thing in things.items()
    )
    entries = "".join(
        entry(thing, name, f"reference.html#{name}") for name, thing in things.items()
    )
    said = floor_plan()
    rows = "".join(
        f'<tr><td><a href="reference-{room}.html">{room}</a></td><td>{inline(said.get(room, OUTSIDE))}</td></tr>'
        for room in rooms
    )
    return (
        "<h1>Reference</h1><p>The public names, as <code>import minilora as ml</code> gives them. Every other function "
        "is on the page of its room.</p>"
        f"<h2>Public names</h2><table>{names}</table><h2>Rooms</h2><table>{rows}</table>"
        f"<h2>The public names, one by one</h2>{entries}"
    )


OUTSIDE = "what is in no room: the tape, layers, devices, errors, and ml.finetune and ml.pretrain"


def floor_plan():  # -> {room: what it is for}, as ARCHITECTURE.md has it
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+)/ +(\S.*)$", text, re.MULTILINE))


def first_sentence(
    thing,
):  # a configuration is explained by its file: its own docstring lists fields
    said = thing.parent.docstring if thing.name.endswith("Config") else thing.docstring
    return inline(re.split(r"(?<=[.:])\s", said.value)[0].rstrip(":")) if said else ""


def exported(package, name):  # a name of minilora.__all__, wherever it is written
    return package[f"{getattr(minilora, name).__module__.removeprefix('minilora.')}.{name}"]


def room_html(title, room, modules):
    body = f"<h1>{title}</h1>"
    for module in modules:
        said = docstring(module) if module.docstring else ""
        name = module.path.removeprefix("minilora.")
        body += (
            f'<h2 id="{name}">{name.removeprefix(f"{room}.")}</h2>{said}'
            f'<p class="from"><a href="{source_page(module)}">{file_of(module)}</a></p>'
        )
        body += "".join(entry(thing, thing.name, place(thing)) for thing in names_of(module))
    return body


def entry(thing, name, where):  # -> the html of one function or class
    part = where.partition("#")[2]
    return (
        f'<section class="entry"><h3 id="{part}"><a class="name" href="{where}">{name}</a></h3>'
        f"{signature(thing)}{docstring(thing)}{fields(thing)}"
        f'<p class="from"><a href="{source_page(thing)}#L-{thing.lineno}">{file_of(thing)}, line {thing.lineno}</a></p>'
        f"{''.join(method(m) for m in methods_of(thing))}</section>"
    )


def methods_of(thing):
    own = thing.members.values() if thing.is_class else ()
    return [m for m in own if not m.is_alias and m.is_function and not m.name.startswith("_")]


def method(thing):
    return f'<div class="method" id="{thing.path.removeprefix("minilora.")}">{signature(thing)}{docstring(thing)}</div>'


def signature(thing):
    if thing.is_class:
        bases = ", ".join(str(base) for base in thing.bases)
        head = f"class {thing.name}({bases})" if bases else f"class {thing.name}"
        made = thing.members.get("__init__")
        text = (
            head
            if made is None
            else f"{head}\n{wrapped(made.signature().replace('__init__', thing.name, 1))}"
        )
    else:
        text = wrapped(thing.signature(name=thing.name))
    return f'<pre class="code">{highlight(text, PythonLexer(), pages.CODE).rstrip()}</pre>'


def wrapped(text):  # "f(a, b) -> c" -> the same with a parameter a line where it is long
    text = re.sub(r"\(self(, )?", "(", text)
    if len(text) <= WIDE:
        return text
    tree = ast.parse(f"def {text}: ...").body[0]
    inside = ast.unparse(tree.args)
    parts, depth, at = [], 0, 0
    for i, letter in enumerate(inside):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(inside[at:i].strip())
            at = i + 1
    parts.append(inside[at:].strip())
    result = f" -> {ast.unparse(tree.returns)}" if tree.returns else ""
    return "\n".join([f"{tree.name}(", *(f"    {part}," for part in parts), f"){result}"])


def fields(thing):  # of a dataclass: the lines of its file, with the comments beside them
    if not (thing.is_class and any("dataclass" in str(d.value) for d in thing.decorators)):
        return ""
    own = [m for m in thing.members.values() if m.is_attribute and m.annotation and m.lineno]
    if not own:
        return ""
    lines = thing.filepath.read_text(encoding="utf-8").splitlines()
    kept = [line.strip() for m in own for line in lines[m.lineno - 1 : m.endlineno]]
    return f'<pre class="code">{highlight(chr(10).join(kept), PythonLexer(), pages.CODE).rstrip()}</pre>'


# ---- docstrings


def docstring(thing):
    return (
        "".join(block(text) for text in re.split(r"\n\s*\n", thing.docstring.value.strip()))
        if thing.docstring
        else ""
    )


ITEM = re.compile(r"^([\w.*-]+(?:, [\w.*-]+)*)\s{2,}(?!=)(\S.*)$")  # names, a gap, what they are
DRAWN = re.compile(r"\S {3,}\S.*(?:=|\S {3,}\S)")  # columns: an equation, or a drawing of letters


def block(text):  # one paragraph of a docstring -> html
    lines = text.splitlines()
    if lines[0].lstrip().startswith(">>>"):
        return f'<pre class="code">{highlight(text, PythonLexer(), pages.CODE).rstrip()}</pre>'
    if all(line.startswith("    ") for line in lines) or any(map(DRAWN.search, lines)):
        return f'<pre class="drawn">{html.escape(textwrap.dedent(text))}</pre>'
    pieces, items = [], []  # (name, words) of the list that is being read
    for line in lines:
        if match := ITEM.match(line):
            items.append([match[1], match[2]])
        elif items and line.startswith(" "):
            items[-1][1] += " " + line.strip()
        else:
            pieces += [*listed(items), line.strip() + " "]
            items = []
    pieces += listed(items)
    return (
        "".join(pieces)
        if pieces[0].startswith("<dl")
        else f"<p>{''.join(inline_piece(p) for p in pieces)}"
    )


def inline_piece(piece):
    return f"</p>{piece}<p>" if piece.startswith("<dl") else inline(piece) + " "


def listed(items):
    rows = "".join(
        f"<dt><code>{html.escape(name)}</code></dt><dd>{inline(words)}</dd>"
        for name, words in items
    )
    return [f"<dl>{rows}</dl>"] if items else []


def inline(text):  # `code` and the rest, on one line
    pieces = re.split(r"`([^`]+)`", " ".join(text.split()))
    return "".join(
        f"<code>{html.escape(p)}</code>" if i % 2 else html.escape(p) for i, p in enumerate(pieces)
    )


# ---- sources


def file_of(thing):
    return thing.filepath.relative_to(ROOT).as_posix()


def source_name(path):
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


def source_page(thing):
    return f"source/{source_name(thing.filepath)}.html"


def source(path):
    text = path.read_text(encoding="utf-8")
    return f"<h1><code>{path.relative_to(ROOT).as_posix()}</code></h1>{highlight(text, PythonLexer(), LINES)}"


# ---- commands


def commands():
    rows, parts = "", ""
    for name, (_, line) in COMMANDS.items():
        rows += f'<tr><td><a href="#{name}"><code>minilora {name}</code></a></td><td>{html.escape(line)}</td></tr>'
        parts += command(cli.get_command(click.Context(cli), name), name)
    return (
        "<h1>Commands</h1><p>What <code>minilora COMMAND --help</code> prints, for every command. A mistake is one "
        f"line and exit code 2.</p><table>{rows}</table>{parts}"
    )


def command(found, name):
    context = click.Context(
        found, info_name=f"minilora {name}", terminal_width=96, max_content_width=96
    )
    return (
        f'<h2 id="{name}"><a class="name" href="commands.html#{name}">minilora {name}</a></h2>'
        f"<pre>{html.escape(found.get_help(context))}</pre>"
    )
