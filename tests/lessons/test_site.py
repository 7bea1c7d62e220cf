"""The course in the browser: what the site has. test_site_browser.py and test_site_node.py run it."""

import hashlib
import html
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
from lesson_modules import LESSONS, build, pages, site_pages

from minilora.course.runner import exercise
from minilora.errors import FormatError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    site_pages.write_live_site(build.sources(), folder)
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
    assert {*site_pages.SCRIPTS, "service.js", "pyodide.json"} <= {p.name for p in site.iterdir()}


def test_the_archive_has_what_the_package_reads_and_no_test(site):
    (archive,) = site.glob("minilora-*.zip")
    names = zipfile.ZipFile(archive).namelist()
    assert {"minilora/__init__.py", "data/base/model.safetensors", "lessons/exercises/lesson_06.py"} <= set(names)
    assert not [n for n in names if n.startswith("tests/") or "__pycache__" in n]


def test_the_same_sources_make_the_same_archive(site, tmp_path):
    assert site_pages.write_archive(tmp_path) == next(site.glob("minilora-*.zip")).name


def test_an_exercise_is_kept_under_its_number_and_another_cell_under_its_text(site):
    page = (site / "06_freeze_w_train_b_and_a.html").read_text(encoding="utf-8")
    keys = re.findall(r'<section class="cell(.*?)" data-n="\d+" data-key="(.+?)"', page)
    assert [key for kind, key in keys if kind] == ["6.1", "6.2", "6.3"]
    assert all(re.fullmatch(r"[0-9a-f]{10}(-\d+)?", key) for kind, key in keys if not kind)
    assert len({key for _, key in keys}) == len(keys)
    assert re.findall(r'data-exercise="(.+?)"', page) == ["6.1", "6.2", "6.3"]


def test_the_hints_of_an_exercise_are_folded_each_in_the_one_before_it(site):
    page = (site / "06_freeze_w_train_b_and_a.html").read_text(encoding="utf-8")
    (first, *_) = re.findall(r'<details class="hint">.*?</details></details></details>', page)
    assert re.findall(r"<summary>(.+?)</summary>", first) == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3"]
    assert [html.unescape(p) for p in re.findall(r"<p>(.+?)</p>", first)] == list(exercise("6.1").hints)
    assert page.count('<details class="hint">') == 3


def test_the_page_says_what_cells_need_until_its_script_runs(site):
    page = (site / "00_a_lora_in_sixty_seconds.html").read_text(encoding="utf-8")
    assert "Cells do not run here: they need JavaScript, a browser from 2023 or later" in page


def test_a_cell_for_a_machine_has_no_button_and_says_why():
    cell = site_pages.live_cell({"n": "3", "key": "k"}, "import subprocess", "<pre>1</pre>", ["machine-only"])
    assert "readonly" in cell and "<button" not in cell and "<pre>1</pre>" in cell
    assert "This cell needs a machine with Python installed" in cell


def test_the_service_worker_knows_every_file_of_the_site_and_of_python(site):
    text = (site / "service.js").read_text(encoding="utf-8")
    files, fixed = (json.loads(found) for found in re.search(r"FILES = (\[.*?\]), FIXED = (\[.*?\])", text).groups())
    names = {p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()}
    assert set(files) == names - {"service.js"} | {"./"}
    assert len(fixed) == 4 + 12 + 1
    assert sum(name.startswith("https://cdn.jsdelivr.net/") for name in fixed) == 16
    assert 'VERSION = ""' not in text


def test_a_page_asks_nobody_but_the_address_of_python(site):
    found = {
        address
        for p in (site / name for name in (*site_pages.SCRIPTS, "service.js", "pyodide.json"))
        for address in re.findall(r"https?://[^\s\"']+/", p.read_text(encoding="utf-8"))
    }
    assert found and all(address.startswith("https://cdn.jsdelivr.net/") for address in found)


@pytest.fixture
def core(tmp_path, monkeypatch):  # a folder like Pyodide's, with files of nothing, and pins that fit
    empty = hashlib.sha256(b"").hexdigest()
    packages = {p: {"file_name": f"{p}.whl", "sha256": empty, "depends": []} for p in ("numpy", "matplotlib")}
    pins = {"version": "1", "sha256": {"pyodide.mjs": empty, "pyodide.asm.wasm": empty}, "lock": {"packages": packages}}
    monkeypatch.setattr(site_pages, "pinned", lambda: pins)
    folder = tmp_path / "core"
    folder.mkdir()
    for name in ("pyodide.mjs", "pyodide.asm.wasm", "numpy.whl", "matplotlib.whl"):
        (folder / name).write_bytes(b"")
    return folder


def test_what_the_lessons_need_of_pyodide_is_copied(core, tmp_path):
    python = site_pages.vendored(core, tmp_path / "site")
    assert (python["core"], python["packages"]) == ("pyodide/", "pyodide/")
    assert {p.name for p in (tmp_path / "site" / "pyodide").iterdir()} == {p.name for p in core.iterdir()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda core: (core / "numpy.whl").write_bytes(b"something else"), "numpy.whl is not the file of Pyodide 1"),
        (lambda core: (core / "pyodide.asm.wasm").write_bytes(b"x"), "pyodide.asm.wasm is not the file of Pyodide 1"),
        (lambda core: (core / "pyodide.asm.wasm").unlink(), "has no pyodide.asm.wasm; expected the files of Pyodide 1"),
        (lambda core: (core / "matplotlib.whl").unlink(), "has no matplotlib.whl"),
    ],
)
def test_a_wrong_folder_of_pyodide_is_refused_and_nothing_is_copied(core, tmp_path, change, said):
    change(core)
    with pytest.raises(FormatError, match=said):
        site_pages.vendored(core, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_folder_without_pyodide_is_one_line_and_writes_nothing(tmp_path):
    done = build_with("--site", tmp_path / "site", "--vendor", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "has no pyodide.mjs; expected the files of Pyodide 314" in done.stderr
    assert not (tmp_path / "site").exists()


def test_the_pages_are_of_this_repository_and_not_of_a_package_that_is_installed(tmp_path):
    (tmp_path / "minilora").mkdir()
    (tmp_path / "minilora" / "__init__.py").write_text("raise ImportError('another minilora')", encoding="utf-8")
    done = build_with("--site", tmp_path / "site", "--vendor", tmp_path, PYTHONPATH=str(tmp_path))
    assert "has no pyodide.mjs" in done.stderr and "another minilora" not in done.stderr


def build_with(*options, **environment):
    command = [sys.executable, str(LESSONS / "build.py"), *map(str, options)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=LESSONS.parent, env=os.environ | environment
    )


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
