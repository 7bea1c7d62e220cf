"""The rules of the house, each as a function of a repository's root that returns its complaints, one sentence each.

The floor plan is read from ARCHITECTURE.md, so the page that people read is the one that is checked.
"""

import ast
import io
import re
import tokenize
from fnmatch import fnmatch

WINDOW = "__init__.py"  # `import minilora`: it reaches every room, so it is no room itself
MAY_USE_THE_WINDOW = ("cli/", "course/")
LONGEST_FILE = 350
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def floor_plan(root):  # -> {room, "cli/" or "nn.py": [its files as listed, may be patterns]}, the top floor first
    """The first block of ARCHITECTURE.md: a room a line with its caption, below it its files, indented."""
    page = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {}
    for line in re.search(r"```text\n(.*?)```", page, re.DOTALL)[1].splitlines():
        indent, name, _ = re.fullmatch(r"( *)(\S+)(.*)", line).groups()
        if indent:
            rooms[next(reversed(rooms))].append(next(reversed(rooms)) + name)
        else:
            rooms[name] = [] if name.endswith("/") else [name]
    return rooms


def sources(root):  # -> {path inside the package, "cli/train.py": its text}
    package = root / "minilora"
    found = sorted(p for p in package.rglob("*.py") if "_shipped" not in p.parts)
    return {p.relative_to(package).as_posix(): p.read_text(encoding="utf-8") for p in found}


def lines_of_code(text):  # without comments, docstrings and empty lines
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def imported_names(tree, package):  # -> [(line, "minilora.ops.linear")]; `from a import b` gives a.b
    """Every import of a file, also inside functions; package: ["minilora", "cli"], where its dots begin."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            if getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
                yield node.lineno, "minilora" * str(node.args[0].value).startswith(".") + str(node.args[0].value)


def imports(files):  # -> {file: [(line, the file of the package that it imports)]}
    arrows = {}
    for path, text in files.items():
        arrows[path] = []
        for line, name in imported_names(ast.parse(text), ["minilora", *path.split("/")[:-1]]):
            parts = name.split(".")
            if parts[0] != "minilora":
                continue
            for end in range(len(parts), 0, -1):  # minilora.nn.Linear is a name in nn.py
                inside = "/".join(parts[1:end])
                target = next((t for t in (f"{inside}.py", f"{inside}/__init__.py".lstrip("/")) if t in files), None)
                if target:
                    arrows[path].append((line, target))
                    break
    return arrows


def room_of(path, plan):  # -> "cli/", "nn.py", or None for a file without a room
    top = path.split("/")[0] + "/" if "/" in path else path
    return top if top in plan else None


def arrows_that_run_up(root):
    """A room imports only from rooms below it."""
    plan, files = floor_plan(root), sources(root)
    floors = list(plan)
    for path, arrows in imports(files).items():
        for line, target in arrows:
            here, there = room_of(path, plan), room_of(target, plan)
            if WINDOW not in (path, target) and here and there and floors.index(there) < floors.index(here):
                yield f"{path}:{line} imports {target}: {there} is above {here}"


def imports_of_the_package_itself(root):
    """`import minilora` gives every name of every room, so only the top rooms may use it."""
    for path, arrows in imports(sources(root)).items():
        for line, target in arrows:
            if target == WINDOW and not path.startswith((*MAY_USE_THE_WINDOW, WINDOW)):
                yield f"{path}:{line} imports minilora itself; import the file that has the name"


def circles(root):
    """Files that import each other in a ring, also by imports inside functions."""
    arrows = {
        path: sorted({target for _, target in found} - {path, WINDOW})
        for path, found in imports(sources(root)).items()
        if path != WINDOW
    }
    done = set()

    def walk(path, way):
        if path in way:
            yield " -> ".join([*way[way.index(path) :], path])
        elif path not in done:
            for target in arrows[path]:
                yield from walk(target, [*way, path])
            done.add(path)

    for path in arrows:
        yield from walk(path, [])


def long_files(root):
    """A file past this length holds two ideas."""
    for path, text in sources(root).items():
        if text.count("\n") > LONGEST_FILE:
            yield f"{path} has {text.count(chr(10))} lines, more than {LONGEST_FILE}"


def files_without_a_place(root):
    """Files that ARCHITECTURE.md does not list, and lines of ARCHITECTURE.md that name no file."""
    plan, files = floor_plan(root), sources(root)
    listed = [name for names in plan.values() for name in names]
    for path, text in files.items():
        empty_folder_mark = path.endswith("/__init__.py") and lines_of_code(text) == 0
        if not empty_folder_mark and not any(fnmatch(path, name) for name in listed):
            yield f"{path} is not in ARCHITECTURE.md"
    for name in listed:
        if not any(fnmatch(path, name) for path in files):
            yield f"ARCHITECTURE.md lists {name}, which does not exist"


FORBIDDEN = {  # a habit of our early texts -> plain words
    r"\bstands\b(?! for)": "is",
    r"\bunasked\b": "never ... unless you ask",
    r"\bas it came\b": "unchanged",
    r"\bsuch that\b": "so that",
    r"\bof everything\b": "name the things",
    r"\bthere is said\b": "name who says it",
    r"\bcomes\b(?! (from|with|close|up))": "is, arrives",
}


def forbidden_words(name, text):
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in FORBIDDEN.items():
            if match := re.search(pattern, line, re.IGNORECASE):
                yield f"{name}:{number} has '{match[0]}'; write: {instead}"
