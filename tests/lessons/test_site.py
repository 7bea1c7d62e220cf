"""The course in the browser: what the site has, and, where Chromium and Pyodide are at hand, that its cells run.

MINILORA_PYODIDE names a folder with Pyodide's core and the wheels of NumPy, matplotlib and what they need.
"""

import functools
import html
import http.server
import os
import re
import shutil
import sys
import threading
import zipfile
from pathlib import Path

import pytest

LESSONS = Path(__file__).parents[2] / "lessons"
sys.path.insert(0, str(LESSONS))
for library in ("nbformat", "jupytext", "latex2mathml", "markdown_it", "mdit_py_plugins", "pygments"):
    pytest.importorskip(library)

import build  # noqa: E402
import pages  # noqa: E402
import site_pages  # noqa: E402

PYODIDE = os.environ.get("MINILORA_PYODIDE")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    site_pages.write_live_site(build.sources(), folder, PYODIDE)
    return folder


def cells_of(page):
    areas = re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", page.read_text(encoding="utf-8"), re.DOTALL)
    return [html.unescape(area) for area in areas]


@pytest.mark.parametrize("source", build.sources(), ids=lambda source: source.stem)
def test_every_cell_of_a_lesson_can_be_edited_and_run(site, source):
    cells = [c for c in pages.read(source.with_suffix(".ipynb")) if c["cell_type"] == "code"]
    wanted = [pages.text_of(c["source"]) for c in cells if "install" not in c["metadata"].get("tags", [])]
    assert wanted and cells_of(site / f"{source.stem}.html") == wanted


def test_every_page_names_files_that_the_site_has(site):
    found = {
        name
        for p in site.glob("*.html")
        for name in re.findall(r'data-(?:worker|archive)="(.+?)"', p.read_text("utf-8"))
    }
    assert len(found) == 2 and all((site / name).is_file() for name in found)
    assert {"worker.js", "page.js"} <= {p.name for p in site.iterdir()}


def test_the_archive_has_what_the_package_reads_and_no_test(site):
    (archive,) = site.glob("minilora-*.zip")
    names = zipfile.ZipFile(archive).namelist()
    assert {"minilora/__init__.py", "data/base/model.safetensors", "lessons/exercises/lesson_06.py"} <= set(names)
    assert not [n for n in names if n.startswith("tests/") or "__pycache__" in n]


def test_the_same_sources_make_the_same_archive(site, tmp_path):
    assert site_pages.write_archive(tmp_path) == next(site.glob("minilora-*.zip")).name


def test_a_wheel_that_is_not_the_locked_one_is_refused(tmp_path):
    for name in site_pages.NEEDED[:-1]:
        (tmp_path / name).write_bytes(b"")
    lock = '{"packages": {"%s": {"file_name": "a.whl", "sha256": "0", "depends": []}, "%s": {}}}'
    (tmp_path / "pyodide-lock.json").write_text(lock % site_pages.PACKAGES[::-1])
    (tmp_path / "a.whl").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"a\.whl is not the file"):
        site_pages.vendored(tmp_path, tmp_path / "site")


# ---- in a browser


@pytest.fixture(scope="module")
def page(site):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if not (PYODIDE and chromium):
        pytest.skip("needs Chromium and MINILORA_PYODIDE")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 390, "height": 800})
        opened.address = f"http://127.0.0.1:{server.server_address[1]}"
        opened.set_default_timeout(300_000)
        yield opened
        browser.close()
    server.shutdown()
    server.server_close()


def wait_until(page, state):
    page.wait_for_function("state => document.querySelector('#state').textContent.startsWith(state)", arg=state)


RIGHT = """from minilora.course.lesson import check
def lora_forward(x, W, A, B, alpha, r):
    return x @ W.T + alpha / r * (x @ A.T) @ B.T
check("6.1", lora_forward)"""


def test_an_exercise_is_answered_in_the_page_kept_and_stopped(page):
    page.goto(f"{page.address}/06_freeze_w_train_b_and_a.html")
    cell = page.locator("section.exercise").first
    cell.locator("textarea").fill(RIGHT)
    cell.locator("[data-do=run]").click()
    wait_until(page, "ready")
    assert "6.1  lora_forward: passed" in cell.locator("div.out").inner_text()
    page.reload()
    assert cell.locator("textarea").input_value() == RIGHT
    cell.locator("textarea").fill("while True:\n    pass")
    cell.locator("[data-do=run]").click()
    wait_until(page, "running")
    page.click("#stop")
    wait_until(page, "stopped")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_every_cell_of_lesson_2_runs_in_the_page_with_its_figures(page):
    page.goto(f"{page.address}/02_reverse_mode_for_arrays.html")
    before = page.locator("div.out img").count()
    page.click("#all")
    page.wait_for_function("!document.querySelector('section.busy') || document.querySelector('pre.error')")
    assert page.locator("pre.error").count() == 0
    assert page.locator("div.out img").count() == before > 0
