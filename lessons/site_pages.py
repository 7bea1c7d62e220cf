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
import shutil
import zipfile
from pathlib import Path

import pages
import site_frame
import site_panels
import site_reference
import site_search
import site_start

from minilora.errors import FormatError

HERE = Path(__file__).parent
ROOT = HERE.parent
PYODIDE = "314.0.3"
CORE = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/"
NEEDED = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)
PACKAGES = ("numpy", "matplotlib")
SHIPPED = (  # what minilora reads beside its own files, under the same paths
    *("data/" + name for name in ("tasks", "base", "adapters", "tokenizer.json", "ledger.toml")),
    *("data/corpus.txt", "data/corpus_valid.txt", "benchmarks/results"),
    *("lessons/exercises", "lessons/solutions", "lessons/results"),
)
BAR = """<div id="bar" role="toolbar" aria-label="Python in this page">\
<span id="state" role="status" aria-live="polite">\
Press Run at any cell: Python starts in this page.</span><span id="progress"></span>\
<button id="all">Run all</button><button id="stop">Stop</button><button id="save">Save answers</button>\
<label class="file">Open answers<input id="open" type="file" accept="application/json"></label></div>"""


def write_live_site(sources, folder, vendor=None):  # vendor: a folder with Pyodide, or None
    """A page for each lesson whose cells run, the texts beside them, an index, and what the pages load."""
    core = vendored(Path(vendor), folder) if vendor else CORE
    pages.write_site(sources, folder)
    archive = write_archive(folder)
    for name in ("worker.js", "page.js"):
        shutil.copy(HERE / "live" / name, folder / name)
    notebooks = [s.with_suffix(".ipynb") for s in sources]
    for i, path in enumerate(notebooks):
        before, after = (link(notebooks, i + step) for step in (-1, 1))
        text = live_page(path, before, after, core, archive)
        (folder / f"{path.stem}.html").write_text(text, encoding="utf-8", newline="\n")
    for part in (
        site_panels,
        site_start,
        site_reference,
        site_frame,
        site_search,
    ):  # the frame is around all pages; the search reads it
        part.write(folder)
    print(f"cells run in {folder}: python -m http.server --directory {folder}")


def link(notebooks, i):
    if not 0 <= i < len(notebooks):
        return ""
    return f'<a href="{notebooks[i].stem}.html">{html.escape(pages.title_of(notebooks[i]))}</a>'


def live_page(path, before, after, core, archive):
    title = pages.title_of(path)
    whole = pages.page(title, pages.linked_to_glossary(live_html(path)), before, after)
    figures = any(
        "image/png" in o.get("data", {}) for c in pages.read(path) for o in c.get("outputs", ())
    )
    facts = {
        "lesson": path.stem,
        "worker": "worker.js",
        "core": core,
        "archive": archive,
        "figures": "yes" if figures else "",
    }
    data = "".join(f' data-{name}="{html.escape(value)}"' for name, value in facts.items())
    whole = whole.replace("<body>", f"<body{data}>")
    return whole.replace("<main>", f"<main>{BAR}", 1).replace(
        "</body>", '<script type="module" src="page.js"></script></body>'
    )


def live_html(path):  # notebook -> the body of its page, with cells that run
    title, count, number, pieces = pages.title_of(path), 0, 0, []

    def figure(picture, words):
        nonlocal count
        count += 1
        alt = html.escape(f"Figure {count} of lesson {title}. {words}".strip())
        return f'<img alt="{alt}" src="data:image/png;base64,{picture}">'

    for cell in pages.read(path):
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "markdown":
            pieces.append(pages.cell_html(cell, figure))
        elif "install" not in tags:
            number += 1
            shown = "".join(pages.output_html(o, figure) for o in cell["outputs"])
            pieces.append(live_cell(number, pages.text_of(cell["source"]), shown, tags))
    return "\n".join(pieces)


def live_cell(number, source, outputs, tags):
    kind = "cell exercise" if "exercise" in tags else "cell"
    rows = source.count("\n") + 1
    area = (
        f'<textarea rows="{rows}" spellcheck="false" autocapitalize="off" autocomplete="off" '
        f'aria-label="cell {number}">\n'
        f"{html.escape(source)}</textarea>"
    )
    if "fold" in tags:
        area = f"<details><summary>{pages.FOLDED['fold']}</summary>{area}</details>"
    buttons = (("run", "Run"), ("above", "Run all above and this"), ("reset", "Reset"))
    tools = "".join(f'<button data-do="{name}">{text}</button>' for name, text in buttons)
    return (
        f'<section class="{kind}" data-n="{number}">{area}<div class="tools">{tools}</div>'
        f'<div class="out">{outputs}</div></section>'
    )


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


def wheels(source):  # a folder with Pyodide -> its files that a lesson needs
    """Raises FormatError naming the first file that is missing or is not the one of pyodide-lock.json."""
    try:
        locked = json.loads((source / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"]
        wanted, found = list(PACKAGES), list(NEEDED)
        while wanted:
            package = locked[wanted.pop()]
            if package["file_name"] not in found:
                found.append(package["file_name"])
                wanted += package["depends"]
                digest = hashlib.sha256((source / package["file_name"]).read_bytes()).hexdigest()
                if digest != package["sha256"]:
                    raise FormatError(
                        f"{source / found[-1]} is not the file that pyodide-lock.json names"
                    )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{source / 'pyodide-lock.json'} is no lock file of Pyodide: {error!r}"
        ) from error
    if missing := [name for name in found if not (source / name).is_file()]:
        raise FormatError(f"{source} has no {missing[0]}; expected the files of Pyodide {PYODIDE}")
    return found


def vendored(source, folder):  # -> the place of Pyodide in the site
    names = wheels(source)
    (folder / "pyodide").mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(source / name, folder / "pyodide" / name)
    return "pyodide/"
