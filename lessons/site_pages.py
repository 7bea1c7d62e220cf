"""The course as a site whose cells run in the browser: static files, no server, no install.

    python lessons/build.py --site site                  Python itself is loaded from Pyodide's address
    python lessons/build.py --site site --vendor DIR     and here from the site, which then works offline

A page shows a lesson as its notebook does, with outputs; each cell can be edited, run and reset. The page
starts a worker with Pyodide (CPython for WebAssembly), NumPy and minilora's own files. What is typed stays
in the browser.
"""

import hashlib
import html
import json
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pages
import site_frame
import site_panels
import site_reference
import site_search
import site_start

from minilora.course.runner import exercise
from minilora.errors import FormatError

HERE = Path(__file__).parent
ROOT = HERE.parent
LIVE = HERE / "live"
SCRIPTS = ("page.js", "output.js", "kept.js", "worker.js", "python.js", "products.js")
SHIPPED = (  # what minilora reads beside its own files, under the same paths
    *("data/" + name for name in ("tasks", "base", "adapters", "tokenizer.json", "ledger.toml")),
    *("data/corpus.txt", "data/corpus_valid.txt", "benchmarks/results"),
    *("lessons/exercises", "lessons/solutions", "lessons/results"),
)
# Two groups: a narrow window keeps only the first in sight.
BAR = """<div id="bar" role="toolbar" aria-label="Python in this page"><div class="now">\
<span id="state" role="status" aria-live="polite">Cells do not run here: they need JavaScript, a browser from 2023 or \
later, and pages from a web server (python -m http.server).</span><span id="seconds"></span>\
<button id="again" hidden></button><button id="stop">Stop</button></div><div class="rest"><span id="progress"></span>\
<span id="offline"></span><button id="all">Run all</button><button id="save">Save answers</button>\
<label class="file">Open answers<input id="open" type="file" accept="application/json"></label></div></div>"""
ELSEWHERE = (
    "This cell needs a machine with Python installed: a browser has no other processes and no sockets. "
    "Its output below is from such a machine."
)


def pinned():  # -> the version of Pyodide, where it is, and the SHA-256 of each of its files
    return json.loads((LIVE / "pyodide.json").read_text(encoding="utf-8"))


def write_live_site(sources, folder, vendor=None):  # vendor: a folder with Pyodide, or None
    """A page for each lesson whose cells run, the texts beside them, an index, and what the pages load."""
    python = vendored(Path(vendor), folder) if vendor else pinned()
    pages.write_site(sources, folder)
    archive = write_python(folder, python)
    notebooks = [s.with_suffix(".ipynb") for s in sources]
    for i, path in enumerate(notebooks):
        before, after = (link(notebooks, i + step) for step in (-1, 1))
        put(folder / f"{path.stem}.html", live_page(path, before, after, archive))
    parts = site_panels, site_start, site_reference, site_frame, site_search
    for part in parts:  # the frame is around all pages; the search reads it
        part.write(folder)
    write_service(folder, python)
    print(f"cells run in {folder}: python -m http.server --directory {folder}")


def write_python(folder, python):  # -> the name of the archive; python: see pinned()
    """What a page needs to run cells: scripts, minilora, and where Python is."""
    for name in SCRIPTS:
        shutil.copy(LIVE / name, folder / name)
    put(folder / "pyodide.json", json.dumps(python, indent=1))
    return write_archive(folder)


def put(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")


def write_service(folder, python):
    """The service worker, which knows every file of the site, and those that never change under their names."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "service.js")
    names = [p.relative_to(folder).as_posix() for p in files]
    of_python = [python["core"] + name for name in python["sha256"]]
    of_python += [python["packages"] + p["file_name"] for p in python["lock"]["packages"].values()]
    fixed = [*of_python, *(n for n in names if n.startswith("minilora-"))]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    text = (LIVE / "service.js").read_text(encoding="utf-8")
    empty = 'VERSION = "", FILES = [], FIXED = []'
    assert empty in text
    filled = f'VERSION = "{digest.hexdigest()[:12]}", FILES = {json.dumps(["./", *names])}, FIXED = {json.dumps(fixed)}'
    put(folder / "service.js", text.replace(empty, filled))


def link(notebooks, i):
    if not 0 <= i < len(notebooks):
        return ""
    return f'<a href="{notebooks[i].stem}.html">{html.escape(pages.title_of(notebooks[i]))}</a>'


def live_page(path, before, after, archive):
    title = pages.title_of(path)
    whole = pages.page(title, pages.linked_to_glossary(live_html(path)), before, after)
    facts = {"lesson": path.stem, "worker": "worker.js", "archive": archive}
    data = "".join(f' data-{name}="{html.escape(value)}"' for name, value in facts.items())
    whole = whole.replace("<body>", f"<body{data}>")
    return whole.replace("<main>", f"<main>{BAR}", 1).replace(
        "</body>", '<script type="module" src="page.js"></script></body>'
    )


def live_html(path):  # notebook -> the body of its page, with cells that run
    title, count, number, pieces, keys = pages.title_of(path), 0, 0, [], Counter()

    def figure(picture, words):
        nonlocal count
        count += 1
        alt = html.escape(f"Figure {count} of lesson {title}. {words}".strip())
        return pages.figure_html(picture, alt, count)

    for cell in pages.read(path):
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "markdown":
            pieces.append(pages.cell_html(cell, figure))
        elif "install" not in tags:
            number += 1
            source = pages.text_of(cell["source"])
            key = key_of(source, tags)
            keys[key] += 1
            names = {"n": str(number), "key": f"{key}-{keys[key]}" if keys[key] > 1 else key}
            if "exercise" in tags:
                names["exercise"] = key
            shown = "".join(pages.output_html(o, figure) for o in cell["outputs"])
            pieces.append(live_cell(names, source, shown, tags))
    return "\n".join(pieces)


def key_of(source, tags):
    """The name under which a browser keeps a cell: its exercise, or a hash of its text.

    What was typed into a cell is found again when cells are added before it, and forgotten when the cell is another.
    """
    checked = re.findall(r'^check\("(.+?)"', source, re.M) if "exercise" in tags else []
    return "-".join(checked) or hashlib.sha256(source.encode()).hexdigest()[:10]


def live_cell(names, source, outputs, tags):
    kind = "cell exercise" if "exercise" in tags else "cell"
    here = "machine-only" not in tags
    rows = source.count("\n") + 1
    area = (
        f'<textarea rows="{rows}" spellcheck="false" autocapitalize="off" autocomplete="off" '
        f'aria-label="cell {names["n"]}"{"" if here else " readonly"}>\n'
        f"{html.escape(source)}</textarea>"
    )
    if "fold" in tags:
        area = f"<details><summary>{pages.FOLDED['fold']}</summary>{area}</details>"
    buttons = (("run", "Run"), ("above", "Run all above and this"), ("reset", "Reset"))
    tools = "".join(f'<button data-do="{name}">{text}</button>' for name, text in buttons)
    tools = tools if here else f"<span>{ELSEWHERE}</span>"
    hints = hints_of(names["exercise"]) if "exercise" in names else ""
    data = "".join(f' data-{name}="{value}"' for name, value in names.items())
    return (
        f'<section class="{kind}"{data}>{area}<div class="tools">{tools}</div>{hints}'
        f'<div class="out">{outputs}</div></section>'
    )


def hints_of(number):
    """The hints of an exercise, folded, each inside the one before it: nobody reads the third by accident."""
    folded, hints = "", exercise(number).hints
    for level in range(len(hints), 0, -1):
        said = html.escape(hints[level - 1])
        folded = f"<details><summary>Hint {level} of {len(hints)}</summary><p>{said}</p>{folded}</details>"
    return folded.replace("<details>", '<details class="hint">', 1)


def write_archive(
    folder,
):  # -> its name, which changes with its content, so that no browser keeps an old one
    files = [
        p for p in (ROOT / "minilora").rglob("*") if p.is_file() and p.suffix in (".py", ".html")
    ]
    for name in SHIPPED:
        files += (
            [ROOT / name]
            if (ROOT / name).is_file()
            else [p for p in (ROOT / name).rglob("*") if p.is_file()]
        )
    whole = folder / "minilora.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(set(files)):
            if "__pycache__" not in path.parts:
                entry = zipfile.ZipInfo(
                    path.relative_to(ROOT).as_posix()
                )  # without a time: the same files, the same bytes
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    named = folder / f"minilora-{hashlib.sha256(whole.read_bytes()).hexdigest()[:12]}.zip"
    for old in folder.glob("minilora-*.zip"):
        old.unlink()
    return whole.rename(named).name


def vendored(source, folder):  # -> the same as pinned(), with the addresses inside the site
    """Copy Pyodide's files from `source` into the site. Raises FormatError naming the first that is another file."""
    python = pinned()
    wheels = {p["file_name"]: p["sha256"] for p in python["lock"]["packages"].values()}
    for name, digest in (python["sha256"] | wheels).items():
        if not (source / name).is_file():
            raise FormatError(
                f"{source} has no {name}; expected the files of Pyodide {python['version']}"
            )
        if hashlib.sha256((source / name).read_bytes()).hexdigest() != digest:
            raise FormatError(
                f"{source / name} is not the file of Pyodide {python['version']}, by its SHA-256"
            )
    (folder / "pyodide").mkdir(parents=True, exist_ok=True)
    for name in python["sha256"] | wheels:
        shutil.copy(source / name, folder / "pyodide" / name)
    return python | {"core": "pyodide/", "packages": "pyodide/"}
