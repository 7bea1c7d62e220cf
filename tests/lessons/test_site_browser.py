"""The pages in Chromium: cells run, stop, are answered and kept; and each way in which that can fail is one sentence.

MINILORA_PYODIDE names a folder with Pyodide's core and the wheels of NumPy, matplotlib and what they need.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
from folder_server import Quiet, served
from lesson_modules import build, site_pages

sync_api = pytest.importorskip("playwright.sync_api")

PYODIDE = os.environ.get("MINILORA_PYODIDE")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (PYODIDE and CHROMIUM), reason="needs Chromium and MINILORA_PYODIDE"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host") / "sub-folder"
    site_pages.write_live_site(build.sources(), folder, PYODIDE)
    return folder


class Shared(Quiet):  # a host whose files other pages may load, as Pyodide's address is
    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


@pytest.fixture(scope="module")
def port(site):
    with served(site.parent) as address:
        yield address.rpartition(":")[2]


@pytest.fixture
def shared(site):  # the address of another host that has Pyodide
    with served(site / "pyodide", Shared) as address:
        yield f"{address}/"


@pytest.fixture(scope="module")
def browser():
    arguments = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP teacher.example 127.0.0.1"]
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, port):
    """visit("06", host=..., before=script) -> the page of a lesson in a new profile of the browser."""
    contexts = []

    def go(lesson="06", host="127.0.0.1", before="", folder="sub-folder", **options):
        context = browser.new_context(viewport={"width": 390, "height": 800}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        if before:
            page.add_init_script(before)
        page.lesson = lambda number: f"http://{host}:{port}/{folder}/{build.sources([int(number)])[0].stem}.html"
        page.goto(page.lesson(lesson))
        return page

    yield go
    for context in contexts:
        context.close()


def state(page, begins):
    page.wait_for_function("begins => document.querySelector('#state').textContent.startsWith(begins)", arg=begins)
    return page.locator("#state").inner_text()


def cell_of(page, n=0):
    return page.locator("section.cell").nth(n)


def run(page, code, n=0, then="ready"):
    """Type `code` into cell n, run it, wait, and return what it printed."""
    cell = cell_of(page, n)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    cell.locator("textarea").fill(code)
    cell.locator("[data-do=run]").click()
    if then:
        page.wait_for_function("n => !document.querySelectorAll('section.cell')[n].matches('.busy')", arg=n)
        state(page, then)
    return cell.locator("div.out").inner_text().strip()


def isolated(page, n=0):  # the first run of a cell loads the page again, now through the service worker
    page.wait_for_function("navigator.serviceWorker.controller")
    cell_of(page, n).locator("textarea").fill("'begun'")
    cell_of(page, n).locator("[data-do=run]").click()
    page.wait_for_function("window.crossOriginIsolated && document.querySelector('#state').textContent === 'ready'")
    assert cell_of(page, n).locator("div.out").inner_text().strip() == "'begun'"


RIGHT = """from minilora.course.lesson import check
def lora_forward(x, W, A, B, alpha, r):
    return x @ W.T + alpha / r * (x @ A.T) @ B.T
check("6.1", lora_forward)"""


# ---- on localhost and https: with a service worker


def test_a_loop_is_stopped_and_the_names_stay(visit):
    page = visit()
    cell_of(page, 4).locator("[data-do=run]").scroll_into_view_if_needed()
    before = cell_of(page, 4).bounding_box()["y"]
    isolated(page, n=4)
    assert abs(cell_of(page, 4).bounding_box()["y"] - before) < 200  # the page was loaded again at the same place
    run(page, "x = 41")
    run(page, "import js\njs.minilora_step('step 3 of 9')\nwhile True:\n    pass", n=1, then="")
    page.wait_for_function("document.querySelector('#seconds').textContent.endsWith('s, step 3 of 9')")
    page.click("#stop")
    assert state(page, "stopped") == "stopped: the cells that ran before keep their names"
    assert "KeyboardInterrupt" in cell_of(page, 1).locator("pre.error").inner_text()
    assert run(page, "x + 1") == "42"


def test_an_answer_is_checked_kept_and_known_in_a_later_lesson(visit):
    page = visit("06")
    isolated(page)
    exercise = [i for i, c in enumerate(page.locator("section.cell").all()) if c.get_attribute("data-exercise")][0]
    assert "6.1  lora_forward: passed" in run(page, RIGHT, n=exercise)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.reload()
    assert cell_of(page, exercise).locator("textarea").input_value() == RIGHT
    assert cell_of(page, exercise).locator("div.out").inner_text() == "6.1: passed. Press Run to check it again."
    assert "1 of 3 exercises passed" in page.locator("#progress").inner_text()
    page.goto(page.lesson("07"))
    said = run(page, "from minilora.course.lesson import answer\nmine = answer('6.1')")
    assert said == "6.1: the lesson goes on with your lora_forward"


def test_the_course_opens_and_checks_an_exercise_without_a_connection(visit):
    page = visit("00")
    isolated(page)
    run(page, "1 + 1")
    page.wait_for_function("document.querySelector('#offline').textContent.startsWith('kept')")
    page.context.set_offline(True)
    page.goto(page.lesson("06"))
    assert "passed (5 properties)" in run(page, RIGHT)
    figure = "from minilora.course.lesson import show_axes\nwith show_axes() as axes:\n    axes.plot([1, 2], [3, 4])"
    run(page, figure)
    assert cell_of(page).locator("div.out svg.drawn text").count() > 4  # the numbers of the axes


def test_python_from_another_host_is_checked_and_kept_too(visit, site, shared):
    folder = site.parent / "without-python"
    shutil.copytree(site, folder, ignore=shutil.ignore_patterns("pyodide", "source", "reference"))
    python = site_pages.pinned() | {"core": shared, "packages": shared}
    site_pages.write_python(folder, python)
    site_pages.write_service(folder, python)
    page = visit(folder="without-python")
    isolated(page)
    page.wait_for_function("document.querySelector('#offline').textContent.startsWith('kept')")
    page.context.set_offline(True)
    page.reload()
    assert run(page, "6 * 7") == "42"


def test_every_cell_of_lesson_2_runs_with_its_figures(visit):
    page = visit("02")
    isolated(page)
    cell_of(page).locator("[data-do=reset]").click()
    before = page.locator("div.out :is(img, svg.drawn)").count()
    page.click("#all")
    page.wait_for_function("!document.querySelector('section.busy') || document.querySelector('pre.error')")
    assert page.locator("pre.error").all_inner_texts() == []
    assert page.locator("div.out :is(img, svg.drawn)").count() == before > 0


# ---- at http://teacher.example: no service worker, no SharedArrayBuffer, no crypto.subtle


def test_at_a_plain_address_cells_run_and_stop_and_are_run_again(visit):
    page = visit(host="teacher.example")
    assert page.evaluate("[isSecureContext, 'serviceWorker' in navigator, typeof SharedArrayBuffer]") == [
        False, False, "undefined",
    ]  # fmt: skip
    run(page, "x = 41")
    run(page, "while True:\n    pass", n=1, then="")
    state(page, "running")
    page.click("#stop")
    assert "without the names of the cells that ran" in state(page, "stopped")
    page.click("#again")
    state(page, "ready")
    assert run(page, "x + 1", n=2) == "42"
    assert "passed (5 properties)" in run(page, RIGHT)


def test_a_cell_that_needs_cells_above_offers_to_run_them(visit):
    page = visit(service_workers="block")
    run(page, "x = 41")
    page.reload()
    said = run(page, "x + 1", n=1, then="a name is not known")
    assert "NameError" in said
    page.locator("#again", has_text="Run the cell above and this one").click()
    page.wait_for_function("document.querySelectorAll('section.cell')[1].matches('.ran')")
    assert cell_of(page, 1).locator("div.out").inner_text().strip() == "42"


# ---- one sentence for each way to fail, and nothing typed is lost

NO_WEBASSEMBLY = "delete window.WebAssembly;"
NO_MODULE_WORKERS = "const W = Worker; window.Worker = function (address) { return new W(address); };"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (NO_WEBASSEMBLY, "This browser has no WebAssembly, so cells cannot run here."),
        (NO_MODULE_WORKERS, "This browser is too old to run cells: take one from 2023 or later."),
    ],
)
def test_a_browser_that_cannot_run_python_says_so_and_keeps_what_is_typed(visit, before, said):
    page = visit(before=before, service_workers="block")
    assert state(page, "This browser").startswith(said)
    assert "see it" not in run(page, "typed = 1", then="This browser")
    page.reload()
    assert cell_of(page).locator("textarea").input_value() == "typed = 1"


def test_without_javascript_the_page_says_what_cells_need(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#state").inner_text().startswith("Cells do not run here: they need JavaScript")
    assert page.locator("div.out pre").count() > 5


@pytest.mark.parametrize("name", ["pyodide.asm.wasm", "pyodide.mjs", "numpy*.whl", "minilora-*.zip"])
def test_a_lost_connection_is_one_sentence_and_run_tries_again(visit, name):
    page = visit(service_workers="block")
    page.route(f"**/{name}", lambda route: route.abort())
    said = run(page, "6 * 7", then="Python did not start")
    assert "cannot be loaded" in page.locator("#state").inner_text() and said.count("Error") == 0
    assert "What you typed is kept. Press Run to try again." in page.locator("#state").inner_text()
    page.unroute(f"**/{name}")
    assert run(page, "6 * 7") == "42"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "pyodide.asm.mjs"),
        ("127.0.0.1", "python_stdlib.zip"),
        ("teacher.example", "pyodide.asm.wasm"),
        ("teacher.example", "numpy*.whl"),
    ],
)
def test_a_file_that_was_changed_on_its_way_is_not_run(visit, site, host, name):
    page = visit(host=host, service_workers="block")
    body = next((site / "pyodide").glob(name)).read_bytes()
    changed = {"body": body[:-1] + b" ", "content_type": "application/octet-stream"}
    page.route(f"**/{name}", lambda route: route.fulfill(**changed))
    run(page, "6 * 7", then="Python did not start")
    wanted = "cannot be loaded" if "whl" in name else f"{name} is not the file that this site was made with"
    assert wanted in page.locator("#state").inner_text()


def test_a_flood_of_output_is_cut_and_the_page_goes_on(visit):
    page = visit()
    isolated(page)
    said = run(page, "for _ in range(200):\n    print('x' * 10 ** 6)\nprint('y' * 10 ** 8)")
    assert 199_000 < len(said) < 201_000
    assert said.endswith("(the cell printed more; the page shows no more)")
    assert run(page, "6 * 7") == "42"


def test_an_endless_flood_is_stopped(visit):
    page = visit()
    isolated(page)
    run(page, "while True:\n    print('again and again')", then="")
    state(page, "running")
    page.click("#stop")
    state(page, "stopped")
    assert len(cell_of(page).locator("div.out").inner_text()) < 202_000


def test_memory_that_python_has_not_is_an_error_and_the_page_goes_on(visit):
    page = visit(service_workers="block")
    said = run(page, "import numpy as np\nx = np.ones((10 ** 5, 10 ** 5))", then="the cell ended")
    assert "ValueError: array is too big" in said
    assert run(page, "6 * 7") == "42"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("photo.png", b"\x89PNG\r\n", "photo.png is no JSON"),
        ("empty.json", b"", "empty.json is no JSON"),
        ("other.json", b'{"cells": {}}', "other.json has no answers"),
        ("list.json", b"[1, 2]", "list.json has no answers"),
        ("null.json", b"null", "null.json has no answers"),
        ("big.json", b" " * (21 * 2**20), "big.json has 21 MB"),
        (
            "bad.json",
            b'{"minilora": 1, "cells": {"a": 1}, "ran": {}, "files": {}, "states": {}, "predictions": {}}',
            "bad.json has no answers",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence_and_changes_nothing(visit, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    page = visit(service_workers="block")
    cell_of(page).locator("textarea").fill("typed = 1")
    page.set_input_files("#open", tmp_path / name)
    assert "expected a file that Save answers wrote" in state(page, said)
    assert cell_of(page).locator("textarea").input_value() == "typed = 1"


def test_answers_travel_in_a_file_to_another_browser_and_to_the_teachers_check(visit, tmp_path):
    from click.testing import CliRunner

    from minilora.cli.course import check

    page = visit(service_workers="block")
    run(page, RIGHT)
    run(page, "from minilora.course.lesson import predict\npredict('how many?', 3).compare(4)", n=1)
    with page.expect_download() as download:
        page.click("#save")
    assert state(page, "Your answers") == "Your answers of all lessons are in the file minilora-answers.json."
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert (path.name, saved["states"]) == ("minilora-answers.json", {"6.1": "passed"})
    assert json.loads(saved["predictions"]["how many?"]) == {"answer": "3", "result": "4", "right": False}
    judged = CliRunner().invoke(check, ["6.1", "--dir", str(path)])
    assert "6.1  lora_forward: passed" in judged.output

    other = visit(service_workers="block")
    cell_of(other).locator("textarea").fill("typed here")
    asked = []
    other.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    other.set_input_files("#open", path)
    other.wait_for_timeout(300)
    assert asked == ["1 text of this browser is replaced by what minilora-answers.json has. Go on?"]
    assert cell_of(other).locator("textarea").input_value() == "typed here"

    third = visit(service_workers="block")
    third.set_input_files("#open", path)
    third.wait_for_function("document.querySelector('section.cell textarea').value.includes('check(\"6.1\"')")
    assert "1 of 3 exercises passed" in third.locator("#progress").inner_text()
    assert state(third, "The answers") == "The answers of minilora-answers.json are in this browser now."
    assert "with your lora_forward" in run(third, "from minilora.course.lesson import answer\nf = answer('6.1')", n=1)


def test_a_cell_that_ends_with_an_error_loses_the_mark_of_an_earlier_run(visit):
    page = visit(service_workers="block")
    run(page, "1")
    assert page.locator("section.cell.ran").count() == 1
    run(page, "1 / 0", then="the cell ended")
    assert page.locator("section.cell.ran").count() == 0
    page.reload()
    assert page.locator("section.cell.ran").count() == 0


HOSTILE = """import js
js.minilora_show('<svg class="drawn" onload="document.title = 1"><script>document.title = 1</script>'
    '<text>drawn</text>'
    '<image href="https://elsewhere.example/a.png"/><a href="javascript:1"><text>link</text></a></svg>', '')
js.minilora_show('<svg><image href="x" onerror="document.title = 1"/></svg>'
    '<img src="x" onerror="document.title = 1">', '')
"""


def test_of_a_picture_only_what_draws_becomes_a_part_of_the_page(visit):
    page = visit(service_workers="block")
    title, asked = page.title(), []
    page.on("request", lambda request: asked.append(request.url))
    run(page, HOSTILE)
    shown = cell_of(page).locator("div.out").evaluate("out => out.innerHTML")
    assert shown == '<svg class="drawn"><text>drawn</text><image></image></svg><svg><image></image></svg>'
    assert page.title() == title and not [url for url in asked if "elsewhere" in url or url.endswith("/x")]


def test_a_cell_that_is_reset_has_its_text_again_and_is_forgotten(visit):
    page = visit(service_workers="block")
    area = cell_of(page).locator("textarea")
    before = area.input_value()
    area.fill("typed = 1")
    button = cell_of(page).locator("[data-do=reset]")
    button.click()
    assert (area.input_value(), button.inner_text()) == (before, "Undo reset")
    assert page.evaluate("Object.keys(localStorage)") == []
    button.click()
    assert (area.input_value(), button.inner_text()) == ("typed = 1", "Reset")


def test_a_browser_that_keeps_nothing_says_so(visit):
    full = "Storage.prototype.setItem = () => { throw new Error('full'); };"
    page = visit(before=full, service_workers="block")
    cell_of(page).locator("textarea").fill("typed = 1")
    assert state(page, "This browser keeps nothing") == (
        "This browser keeps nothing: save your answers as a file before you leave."
    )
    with page.expect_download() as download:
        page.click("#save")
    assert list(json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["cells"].values()) == ["typed = 1"]
