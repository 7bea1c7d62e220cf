"""The course in the browser: what the site has, and, where Chromium and Pyodide are at hand, that its cells run.

MINILORA_PYODIDE names a folder with Pyodide's core and the wheels of NumPy, matplotlib and what they need.
"""

import functools
import hashlib
import html
import http.server
import json
import os
import re
import shutil
import subprocess
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


@pytest.fixture
def core(tmp_path):  # a folder like Pyodide's, with files of nothing
    folder = tmp_path / "core"
    folder.mkdir()
    for name in (*site_pages.NEEDED[:-1], *(f"{p}.whl" for p in site_pages.PACKAGES)):
        (folder / name).write_bytes(b"")
    empty = hashlib.sha256(b"").hexdigest()
    packages = {p: {"file_name": f"{p}.whl", "sha256": empty, "depends": []} for p in site_pages.PACKAGES}
    (folder / "pyodide-lock.json").write_text(json.dumps({"packages": packages}))
    return folder


def test_what_the_lessons_need_of_pyodide_is_copied(core, tmp_path):
    assert site_pages.vendored(core, tmp_path / "site") == "pyodide/"
    assert {p.name for p in (tmp_path / "site" / "pyodide").iterdir()} == {p.name for p in core.iterdir()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda core: (core / "numpy.whl").write_bytes(b"something else"), "numpy.whl is not the file"),
        (lambda core: (core / "pyodide.asm.wasm").unlink(), "has no pyodide.asm.wasm"),
        (lambda core: (core / "pyodide-lock.json").write_text("{"), "no lock file"),
        (lambda core: (core / "pyodide-lock.json").write_text('{"packages": {}}'), "no lock file"),
        (lambda core: shutil.rmtree(core), "pyodide-lock.json"),
        (lambda core: (core / "matplotlib.whl").unlink(), "matplotlib.whl"),
    ],
)
def test_a_wrong_folder_of_pyodide_is_one_line_and_writes_nothing(core, tmp_path, change, said):
    change(core)
    done = build_with("--site", tmp_path / "site", "--vendor", core)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert not (tmp_path / "site").exists()


def build_with(*options):
    command = [sys.executable, str(LESSONS / "build.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=LESSONS.parent)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["99"], "no lesson 99; there are 0 to"),
        (["--site", "site", "99"], "no lesson 99"),
        (["--vendor", "here"], "--vendor needs --site"),
        (["--html", __file__, "0"], "File exists"),
    ],
)
def test_a_wrong_option_of_the_build_is_said_and_nothing_is_run(options, said):
    done = build_with(*options)
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr and "Traceback" not in done.stderr


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
