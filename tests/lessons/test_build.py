"""The notebooks are what their sources say, the class copies spoil nothing, and the pages need nothing from outside."""

import ast
import html
import json
import re
import runpy
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from minilora.course.lesson import cards
from minilora.course.runner import exercises

LESSONS = Path(__file__).parents[2] / "lessons"
SOURCES = sorted(LESSONS.glob("[0-9][0-9]_*.py"))
FACTS = re.compile(r"\*(\d+) minutes to read[^·]* · needs .+ · reads .+ · exercises? \d+\.\d.*\*")
each = pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
build = runpy.run_path(str(LESSONS / "build.py"))
RESULTS = [*(LESSONS / "results").glob("*.json"), *(LESSONS.parent / "benchmarks" / "results").glob("*.json")]
MADE_BY = [json.loads(path.read_text(encoding="utf-8")).get("made_by", {}) for path in RESULTS]
MEASURED = {made_by["command"]: str(made_by.get("seeds")) for made_by in MADE_BY if made_by}


def cells_of_source(source):  # Path -> [(cell type, text)], read without the tool that built the notebook
    text = source.read_text(encoding="utf-8")
    for block in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        if "[markdown]" in head:
            yield "markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip()
        else:
            yield "code", body.strip()


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def outputs(source):
    return [o for c in cells(source.with_suffix(".ipynb")) for o in c.get("outputs", [])]


def text(cell):
    return "".join(cell["source"])


def compared(cell):  # what must agree: not the outputs, not the ids, not the links to the glossary
    return cell["cell_type"], re.sub(r'\[([^]]*)\]\((\.\./)?glossary\.md#[^ ]* "[^"]*"\)', r"\1", text(cell)).strip()


def links_to_the_glossary(path):  # -> [(the linked text, the file, the sentence under the mouse)]
    markdown = "\n".join(text(c) for c in cells(path) if c["cell_type"] == "markdown")
    return re.findall(r'\[([^]]*)\]\(([^)#]*)#[^ ]* "([^"]*)"\)', markdown)


@each
def test_notebook_and_source_agree(source):
    (title, *rest), found = cells_of_source(source), [compared(c) for c in cells(source.with_suffix(".ipynb"))]
    assert found == [title, ("code", build["INSTALL_CELL"]), *rest]


@each
def test_class_copy_and_source_agree_and_nothing_is_spoiled(source):
    copy = cells(LESSONS / "class" / f"{source.stem}.ipynb")
    (kind, title), *rest = cells_of_source(source)
    expected = [(kind, f"{title}\n\n{build['CLASS_NOTE']}"), ("code", build["INSTALL_CELL"]), *rest]
    assert [compared(c) for c in copy] == expected
    assert not [c for c in copy if c.get("outputs") or c.get("execution_count")]


@each
def test_a_word_of_the_glossary_is_a_link_at_its_first_use_in_notebook_and_class_copy(source):
    for path in (source.with_suffix(".ipynb"), LESSONS / "class" / source.with_suffix(".ipynb").name):
        links = links_to_the_glossary(path)
        assert links and len({said for _, _, said in links}) == len(links)
        assert all((path.parent / file).resolve() == LESSONS / "glossary.md" for _, file, _ in links)


def test_the_link_of_a_word_shows_its_sentence():
    links = links_to_the_glossary(LESSONS / "00_a_lora_in_sixty_seconds.ipynb")
    assert (
        "rank",
        "glossary.md",
        "The number r of rows of A and columns of B: how many directions an update can have.",
    ) in links


@each
def test_the_notebook_was_run_from_top_to_bottom_without_an_error(source):
    code = [c for c in cells(source.with_suffix(".ipynb")) if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]


@each
def test_every_expectation_in_the_notebook_was_met(source):
    printed = "".join("".join(o.get("text", "")) for o in outputs(source))
    assert "match: True" in printed
    assert "match: False" not in printed


@each
def test_what_a_notebook_shows_of_a_measured_result_is_of_the_result_that_is_there_now(source):
    shown = "".join("".join(o.get("text", "")) for o in outputs(source))
    for command, seeds in re.findall(r"replayed: (.+)\n.*seeds (\[.*?\]);", shown):
        assert seeds == MEASURED[command], f"run python lessons/build.py {source.name[:2]}"


@each
def test_what_a_notebook_shows_of_a_card_is_what_the_card_says_now(source, capsys):
    for cell in cells(source.with_suffix(".ipynb")):
        if asked := re.fullmatch(r"cards\((.+)\)", text(cell).strip()):
            cards(*ast.literal_eval(f"[{asked[1]}]"))
            shown = "".join("".join(o["text"]) for o in cell["outputs"])
            assert shown == capsys.readouterr().out, f"run python lessons/build.py {source.name[:2]}"


@each
def test_a_lesson_says_what_it_takes_and_has_all_its_parts(source):
    markdown = "\n".join(text(c) for c in cells(source.with_suffix(".ipynb")) if c["cell_type"] == "markdown")
    assert FACTS.search(markdown.replace("\n", " "))
    parts = (
        "**You will be able to**",
        "redict",
        "## Do",
        "## Where this lives in the code",
        "## What this does not show",
    )
    assert not [p for p in parts if p not in markdown]


@each
def test_a_card_is_followed_by_the_stub_of_the_exercises_file_and_its_check(source):
    number = int(source.name[:2])
    stubs = {n.name: ast.unparse(n) for n in ast.parse(exercises_file(number)).body if isinstance(n, ast.FunctionDef)}
    code = [c for c in cells(source.with_suffix(".ipynb")) if c["cell_type"] == "code"]
    shown = [c for c in code if "exercise" in c["metadata"].get("tags", [])]
    assert [text(c).count("check(") for c in shown] == [1] * len(stubs)
    for cell in shown:
        tree = ast.parse(text(cell))
        stub = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
        assert ast.unparse(stub) == stubs.pop(stub.name)
        e = next(e for e in exercises(number) if e.function == stub.name)
        assert ast.unparse(tree.body[-1]) == f"check('{e.number}', {e.function})"
        before = "".join(text(c) for c in code[: code.index(cell)])
        assert re.search(rf'cards\([^)]*"{e.number}"', before)
    assert not stubs


def exercises_file(number):
    return (LESSONS / "exercises" / f"lesson_{number:02d}.py").read_text(encoding="utf-8")


@each
def test_a_folded_cell_is_folded_in_notebook_and_class_copy(source):
    for path in (source.with_suffix(".ipynb"), LESSONS / "class" / f"{source.stem}.ipynb"):
        for cell in cells(path):
            folded = "fold" in cell["metadata"].get("tags", [])
            assert cell["metadata"].get("jupyter", {}).get("source_hidden", False) == folded


@each
def test_a_cell_that_only_expects_or_plots_is_folded(source):
    for cell in cells(source.with_suffix(".ipynb")):
        if cell["cell_type"] == "code" and "fold" not in cell["metadata"].get("tags", []):
            kinds = [_kind(node) for node in ast.parse(text(cell)).body]
            assert kinds[-1] not in ("expect", "expect_between", "show_axes"), text(cell)


def _kind(node):  # of a statement: the name of the function that it calls, or that opens it
    call = node.items[0].context_expr if isinstance(node, ast.With) else getattr(node, "value", None)
    return getattr(getattr(call, "func", None), "id", "")


@each
def test_a_lesson_ends_with_questions_whose_answers_are_folded(source):
    markdown = text(cells(source.with_suffix(".ipynb"))[-1])
    asked = re.findall(
        r"<details><summary>(.+?)</summary>(.+?)</details>", markdown.partition("## Questions")[2], re.DOTALL
    )
    assert 3 <= len(asked) <= 5 and all(question.strip() and answer.strip() for question, answer in asked)


@each
def test_a_lesson_that_counts_its_predictions_does_so_at_its_end(source):
    code = [text(c) for c in cells(source.with_suffix(".ipynb")) if c["cell_type"] == "code"]
    if re.search(r"import .*\bpredictions\b", "\n".join(code)):
        assert code[-1].strip() == "predictions()"


@each
def test_every_prediction_is_asked_for_first_and_compared_after_the_run(source):
    code = [text for kind, text in cells_of_source(source) if kind == "code"]
    asked = [(n, i) for i, c in enumerate(code) for n in re.findall(r"^(\w+) = predict\(", c, re.MULTILINE)]
    assert asked
    for name, at in asked:
        assert [i for i, c in enumerate(code) if f"{name}.compare(" in c and i > at], name
        assert "None)" in code[at]


@each
def test_code_fits_a_projector(source):
    code = [
        line
        for c in cells(source.with_suffix(".ipynb"))
        if c["cell_type"] == "code"
        for line in text(c).splitlines()
        if not {"install", "exercise"} & set(c["metadata"].get("tags", []))  # a stub is as wide as its file
    ]
    assert not [line for line in code if len(line) > 100]


@each
def test_what_a_cell_prints_fits_a_page(source):
    printed = "".join("".join(o.get("text", "")) for o in outputs(source))
    assert not [line for line in printed.splitlines() if len(line) > 120]


@each
def test_a_lesson_shows_a_figure(source):
    pictures = [o for o in outputs(source) if "image/png" in o.get("data", {})]
    assert pictures
    for picture in pictures:  # in words too, for somebody who does not see it
        assert len(picture["metadata"]["image/png"]["alt"]) > 15


def test_there_is_no_notebook_without_a_source():
    found = {p.stem for folder in (LESSONS, LESSONS / "class") for p in folder.glob("*.ipynb")}
    assert found == {p.stem for p in SOURCES}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site, of slides and of worksheets."""
    for needed in ("latex2mathml", "mdit_py_plugins"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("site")
    sys.path.insert(0, str(LESSONS))
    try:
        import handouts
        import pages
    finally:
        sys.path.remove(str(LESSONS))
    pages.write_site(SOURCES, folder)
    handouts.write_slides(SOURCES, folder / "slides")
    handouts.write_worksheets(SOURCES, folder / "worksheets")
    return folder


TEXTS = {"course.html", "teaching.html", "glossary.html", "peft.html"}


def test_pages_show_formulas_and_figures_and_ask_nobody_for_anything(site):
    assert {p.name for p in site.glob("*.html")} == {"index.html", *TEXTS, *(f"{s.stem}.html" for s in SOURCES)}
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert "<script" not in page and "@import" not in page and not re.search(r"url\((?!#)", page)
        links = [u for u in re.findall(r"""(?:src|href)=["']([^"']*)""", page) if not u.startswith("data:image/")]
        for link in links:
            file, _, part = link.partition("#")
            target = (path.parent / file) if file else path
            assert target.is_file(), (path.name, link)
            assert not part or f'id="{part}"' in target.read_text(encoding="utf-8"), (path.name, link)
    for path in site.glob("[0-9]*.html"):
        page = path.read_text(encoding="utf-8")
        assert all(
            re.search(r"(alt|aria-label)=.Figure \d+ of lesson [^\"]{20}", figure)
            for figure in re.findall("<(?:img|svg)[^>]*", page)
        )
        assert not re.search(r"\$[^$]*\\[a-z]+", re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL))
        assert 'class="word" href="glossary.html#' in page
        assert '<details class="question">' in page and "&lt;details" not in page
    assert any("<math" in p.read_text(encoding="utf-8") for p in site.iterdir() if p.suffix)


def test_a_word_of_the_glossary_leads_to_its_lesson_and_back(site):
    page = (site / "glossary.html").read_text(encoding="utf-8")
    row = page.split('<tr id="absmax">')[1].split("</tr>")[0]
    lesson = re.search(r'lesson <a href="(13_[^"]+)">13</a>', row)[1]
    assert 'href="glossary.html#absmax"' in (site / lesson).read_text(encoding="utf-8")


def test_the_code_of_a_folded_cell_is_folded_in_a_page_and_its_figure_is_not(site):
    page = (site / f"{SOURCES[0].stem}.html").read_text(encoding="utf-8")
    folded = re.findall(r"<details><summary>the code of this step</summary>(.*?)</details>", page, re.DOTALL)
    assert len(folded) > 3 and not any("<img" in part for part in folded)
    assert "match: True" not in re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)


def test_the_texts_beside_the_lessons_lead_to_pages(site):
    page = (site / "course.html").read_text(encoding="utf-8")
    assert all(f'href="{s.stem}.html"' in page for s in SOURCES)
    assert ".ipynb" not in re.sub(r"<pre.*?</pre>|<code.*?</code>", "", page, flags=re.DOTALL)


@each
def test_slides_show_every_figure_and_ask_every_prediction(site, source):
    page = (site / "slides" / f"{source.stem}.html").read_text(encoding="utf-8")
    figures = [o for o in outputs(source) if "image/png" in o.get("data", {})]
    assert page.count("<img") == len(figures)
    assert page.count('<div class="do">') == len(exercises(int(source.name[:2])))
    asked = re.findall(r"= predict\(\s*\"(.+?)\", None", source.read_text(encoding="utf-8"))
    assert all(f"<li>{html.escape(question)}</li>" in page for question in asked)


@each
def test_a_worksheet_asks_every_prediction_and_every_question(site, source):
    page = (site / "worksheets" / f"{source.stem}.html").read_text(encoding="utf-8")
    source_text = source.read_text(encoding="utf-8")
    assert page.count('<td class="blank">') == 2 * len(re.findall(r"= predict\(", source_text))
    assert page.count("<li>") == source_text.count("<details><summary>")


def test_the_cards_are_those_that_the_build_makes(site):
    import csv

    import handouts

    written = (LESSONS / "cards.csv").read_text(encoding="utf-8")
    assert written == handouts.cards_text(SOURCES), "run python lessons/build.py --cards"
    head, rows = written.splitlines()[:4], list(csv.reader(written.splitlines()[4:]))
    assert all(line.startswith("#") for line in head)
    assert {len(row) for row in rows} == {3} and all(front and back for front, back, _ in rows)
    assert len({front for front, _, _ in rows}) == len(rows) >= 90
    assert {tag for _, _, tag in rows} >= {"word", "mistake", "exam", "lesson-06"}


def test_the_install_cell_does_nothing_where_minilora_is(monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)  # it would be called
    exec(build["INSTALL_CELL"], {})


RUN = {"check": True, "capture_output": True, "text": True, "encoding": "utf-8"}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """An empty folder with nothing but a built wheel, and a fresh Python; needs pip to find NumPy and the rest."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, LESSONS.parent], **RUN)
    venv.create(folder / "venv", with_pip=True)
    python = next(p for name in ("bin/python", "Scripts/python.exe") if (p := folder / "venv" / name).exists())
    first = build["INSTALL_CELL"] + "\nimport minilora\nprint(minilora.__file__)\n"
    (folder / "first.py").write_text(first, encoding="utf-8")
    installed = subprocess.run([python, "first.py"], cwd=folder, **RUN).stdout
    return folder, python, installed


@pytest.mark.slow
def test_the_install_cell_installs_a_built_wheel(elsewhere):
    folder, _, installed = elsewhere
    assert installed.startswith(str(folder / "venv"))


@pytest.mark.slow
@pytest.mark.parametrize("number", ["01", "05", "08"])  # the core, training and a replayed sweep, the ledger
def test_a_lesson_runs_from_the_wheel(elsewhere, number):
    folder, python, _ = elsewhere
    source = next(s for s in SOURCES if s.name.startswith(number))
    (folder / "lesson.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    assert "match: True" in subprocess.run([python, "lesson.py"], cwd=folder, **RUN).stdout


@pytest.mark.slow
def test_the_exercises_are_written_and_checked_from_the_wheel(elsewhere):
    folder, python, _ = elsewhere
    command = [python, "-m", "minilora"]
    subprocess.run([*command, "exercises", "mine"], cwd=folder, **RUN)
    done = subprocess.run([*command, "check", "6", "--dir", "mine"], cwd=folder, **RUN | {"check": False})
    assert (done.returncode, done.stdout.count("not started")) == (1, 3)
