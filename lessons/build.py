"""Build the course from its sources: executed notebooks, class copies without outputs, HTML pages.

    python lessons/build.py                 run every lesson; write NN_title.ipynb and class/NN_title.ipynb
    python lessons/build.py 5 7             only these
    python lessons/build.py --site site     write the pages with cells that run in the browser (site_pages.py)
    python lessons/build.py --html pages    write a page for each lesson, for the texts beside them and an index
    python lessons/build.py --slides DIR    write slides: one page for each lesson, one screen for each step
    python lessons/build.py --worksheets DIR    write a worksheet for each lesson, one page to print
    python lessons/build.py --cards         write cards.csv: words, mistakes and questions, to import into Anki
    python lessons/build.py --table         run every lesson as a script, and write the table in README.md

A source is a plain script in jupytext's percent format. Nothing else is edited by hand. A cell with the tag "fold" only
plots, prints or expects: its code is folded. Needs minilora[lessons].
"""

import argparse
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the minilora of this repository, not one that is installed

# The first code cell of every notebook. It must work on a machine with nothing but Python.
INSTALL_CELL = """\
# Run this first where minilora is not installed (on Colab, say); elsewhere it does nothing.
# It installs the wheel minilora-*.whl, or the clone, that is beside this notebook or above it.
import importlib.util, pathlib, subprocess, sys
if importlib.util.find_spec("minilora") is None:
    here = pathlib.Path.cwd()
    clones = [p for p in (here, *here.parents, *here.glob("*/")) if (p / "minilora" / "__init__.py").exists()]
    sources = [*sorted(here.glob("minilora-*.whl"))[-1:], *(p for p in clones if (p / "pyproject.toml").exists())]
    if not sources:
        raise ModuleNotFoundError("minilora: put its wheel or a clone of its repository here and run this cell again")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", str(sources[0])], check=True)
    importlib.invalidate_caches()"""

CLASS_NOTE = "*Class copy: nothing has been run yet, so you can really predict.*"


def sources(numbers=()):  # -> list of Path, NN_title.py, those of the given lessons
    every = sorted(HERE.glob("[0-9][0-9]_*.py"))
    return [p for p in every if not numbers or int(p.name[:2]) in numbers]


def notebook(source, folder=""):  # Path -> notebook without outputs
    """The notebook of a source: its cells, the install cell after the title, ids that never change.

    The first use of a word of the glossary is a link; folder: where the glossary is, "" or "../".
    """
    import jupytext
    import nbformat
    import words

    nb = jupytext.read(source)
    nb.cells.insert(1, nbformat.v4.new_code_cell(INSTALL_CELL, metadata={"tags": ["install"]}))
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"{source.name[:2]}-{i:02d}"
        if "fold" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True}
    markdown = [cell for cell in nb.cells if cell.cell_type == "markdown"]
    for cell, text in zip(
        markdown, words.linked([c.source for c in markdown], folder), strict=True
    ):
        cell.source = text
    nb.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.from_dict(nb)


def class_copy(source):
    """The same for handing out: no outputs, and a line that says so."""
    nb = notebook(source, "../")
    nb.cells[0].source += f"\n\n{CLASS_NOTE}"
    return nb


def execute(nb):  # notebook -> notebook with outputs
    # in a fresh kernel, in the folder of the lessons
    from nbclient import NotebookClient

    NotebookClient(
        nb, timeout=240, coalesce_streams=True, resources={"metadata": {"path": str(HERE)}}
    ).execute()
    for cell in nb.cells:
        cell.metadata.pop("execution", None)  # times of day
    return nb


def write(nb, path):
    import nbformat

    path.parent.mkdir(exist_ok=True)
    path.write_text(nbformat.writes(nb), encoding="utf-8", newline="\n")


def facts(source):  # Path -> title, minutes, needs, reads: the line under the title
    text = source.read_text(encoding="utf-8")
    title, line = re.search(r"^# # \d+ · (.+?)\n#\n# \*([^*]+)\*", text, re.MULTILINE).groups()
    minutes, *rest = " ".join(line.replace("\n# ", " ").split()).split(" · ")
    named = dict(part.split(" ", 1) for part in rest)
    return title, minutes.partition(" ")[0], named["needs"], named["reads"]


def seconds(source):  # Path -> int, of computing on one core
    # run as a script, in its own process
    code = "import runpy, sys, time; runpy.run_path(sys.argv[1]); sys.stderr.write(str(time.process_time()))"
    one_core = os.environ | {
        name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    command = [sys.executable, "-W", "ignore", "-c", code, str(source)]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=one_core, check=True
    )
    return math.ceil(float(done.stderr))


def table(measured):  # {Path: seconds} -> the table of README.md
    from minilora.course.runner import exercises

    rows = [
        "| lesson | minutes to read | seconds to run | needs | reads in the code | exercises |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for source, took in measured.items():
        title, minutes, needs, reads = facts(source)
        number = int(source.name[:2])
        cards = "; ".join(f"{e.number} {e.title}" for e in exercises(number))
        rows.append(
            f"| [{number}]({source.stem}.ipynb) *{title}* | {minutes} | {took} | {needs} | {reads} | {cards} |"
        )
    return "\n".join(rows)


def write_table():
    measured = {source: seconds(source) for source in sources()}
    readme = HERE / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of table -->")
    text = f"{before}<!-- table -->\n{table(measured)}\n{end}{after}"
    readme.write_text(text, encoding="utf-8", newline="\n")
    print(f"all lessons: {sum(measured.values())} seconds")


def asked():  # -> the options, checked
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", type=int, metavar="LESSON")
    parser.add_argument(
        "--html", type=Path, metavar="DIR", help="write HTML pages instead of notebooks"
    )
    parser.add_argument(
        "--site", type=Path, metavar="DIR", help="write pages whose cells run in the browser"
    )
    parser.add_argument(
        "--vendor",
        type=Path,
        metavar="DIR",
        help="with --site: a folder with Pyodide and its wheels, copied into the site",
    )
    parser.add_argument("--slides", type=Path, metavar="DIR", help="write slides of each lesson")
    parser.add_argument(
        "--worksheets", type=Path, metavar="DIR", help="write a worksheet of each lesson"
    )
    parser.add_argument("--cards", action="store_true", help="write cards.csv, for Anki")
    parser.add_argument(
        "--table", action="store_true", help="measure every lesson; write the table in README.md"
    )
    arguments = parser.parse_args()
    known = {int(p.name[:2]) for p in sources()}
    if missing := sorted(set(arguments.numbers) - known):
        parser.error(f"no lesson {missing[0]}; there are {min(known)} to {max(known)}")
    if arguments.vendor and not arguments.site:
        parser.error("--vendor needs --site DIR")
    return arguments


def build(arguments):
    chosen = sources(arguments.numbers)
    if arguments.table:
        return write_table()
    if arguments.site:
        import site_pages

        return site_pages.write_live_site(chosen, arguments.site, arguments.vendor)
    if arguments.cards:
        import handouts

        return handouts.write_cards(sources())
    if arguments.html or arguments.slides or arguments.worksheets:
        import handouts
        import pages

        if arguments.html:
            pages.write_site(chosen, arguments.html)
        if arguments.slides:
            handouts.write_slides(chosen, arguments.slides)
        if arguments.worksheets:
            handouts.write_worksheets(chosen, arguments.worksheets)
        return None
    for source in chosen:
        write(class_copy(source), HERE / "class" / f"{source.stem}.ipynb")
        began = time.perf_counter()
        write(execute(notebook(source)), source.with_suffix(".ipynb"))
        print(f"{source.stem}.ipynb  {time.perf_counter() - began:.0f} s")


def main():
    from minilora.errors import MiniloraError

    arguments = asked()
    try:
        build(arguments)
    except (OSError, MiniloraError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
