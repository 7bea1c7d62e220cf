"""The playground: its lines, its training, the folder that it writes and opens. In node, in Python, in a browser."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from folder_server import served

from minilora import PeftModel
from minilora.course.lab.tune import load_base
from minilora.files.shipped import shipped
from minilora.tasks.scoring import answers

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "lessons"), str(ROOT / "lessons" / "live")]
pytest.importorskip("latex2mathml")
import playground  # noqa: E402
import site_panels  # noqa: E402

NODE, PYODIDE = shutil.which("node"), os.environ.get("MINILORA_PYODIDE")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")
FILES = ("adapter_config.json", "adapter_model.safetensors")
LINES = [line.split(" => ") for line in site_panels.example_lines().splitlines()]


# ---- what is typed and opened, in node


@pytest.fixture(scope="module")
def ask(tmp_path_factory):  # ask(question) -> the answer of tests/support/panels.mjs, or {"error": sentence}
    folder = tmp_path_factory.mktemp("site")
    site_panels.write(folder)
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")

    def run(**question):
        command = [NODE, ROOT / "tests" / "support" / "panels.mjs", folder / "panels"]
        done = subprocess.run(command, input=json.dumps([question]), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)[0]

    return run


@needs_node
def test_the_example_has_twenty_lines(ask):
    assert ask(do="lines", text=site_panels.example_lines()) == LINES and len(LINES) == 20


@needs_node
def test_blank_lines_are_skipped_and_an_answer_may_have_an_arrow(ask):
    assert ask(do="lines", text="\n a =>  b => c \n\n") == [["a", "b => c"]]


@needs_node
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \n ", "There is no line to learn from: write a question, then =>, then the answer."),
        ("a => b\nonly words", "Line 2 has no =>: write the question, then =>, then the answer."),
        ("\n\na =>", "Line 3 has no answer behind its =>."),
        ("=> b", "Line 1 has no question in front of its =>."),
        ("a => b\n" * 61, "There are 61 lines; the playground takes at most 60."),
        ("a => " + "1" * 200, "Line 1 has 202 tokens; the playground takes at most 96 in a line."),
    ],
)
def test_a_wrong_line_is_one_sentence(ask, text, said):
    assert ask(do="lines", text=text) == {"error": said}


def coded(files):
    return {name: base64.b64encode(data).decode() for name, data in files.items()}


def shipped_files():
    return {name: (shipped("adapters/style-json") / name).read_bytes() for name in FILES}


def zipped(files, method=zipfile.ZIP_DEFLATED):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return whole.getvalue()


@needs_node
def test_the_archive_of_the_page_is_read_by_python(ask):
    files = {f"my-adapter/{name}": data for name, data in shipped_files().items()} | {"empty": b""}
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(ask(do="written", files=coded(files)))))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == files


@needs_node
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_page_opens_an_archive_and_the_two_files(ask, method):
    files = shipped_files()
    archive = zipped({"folder/": b""} | {f"folder/{name}": data for name, data in files.items()}, method)
    for given in (files, {"adapter.zip": archive}):
        assert ask(do="read", files=coded(given)) == {"files": coded(files), "scale": 1, "parts": 28}


def changed(**settings):
    files = shipped_files()
    return files | {FILES[0]: json.dumps(json.loads(files[FILES[0]]) | settings).encode()}


def header(text):  # the two files of an adapter, with a file of weights that is this header alone
    return shipped_files() | {FILES[1]: len(text).to_bytes(8, "little") + text.encode()}


def entry(dtype, shape, places):
    return f'{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {places}}}}}'


def tensors_cut(end):
    files = shipped_files()
    return files | {FILES[1]: files[FILES[1]][:end]}


@needs_node
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README.md": b"#"}, "adapter_config.json is missing among README.md: choose both files"),
        ({FILES[0]: b"{}"}, "adapter_model.safetensors is missing among adapter_config.json"),
        ({"a.zip": b"no archive"}, "a.zip cannot be opened: it is no ZIP archive, or was cut off."),
        ({"a.zip": zipped(shipped_files())[:-40]}, "a.zip cannot be opened: it is no ZIP archive, or was cut off."),
        (shipped_files() | {FILES[0]: b"{"}, "adapter_config.json is no JSON."),
        (changed(peft_type="IA3"), "the adapter is of the kind IA3; this page runs LORA"),
        (changed(use_dora=True), "the adapter uses use_dora, which this page does not run; minilora in Python does"),
        (changed(rank_pattern={"q_proj": 4}), "the adapter uses rank_pattern"),
        (changed(r=None), "adapter_config.json says no rank r, or no lora_alpha"),
        (changed(lora_alpha=None), "adapter_config.json says no rank r, or no lora_alpha"),
        (changed(r=-8), "adapter_config.json says no rank r, or no lora_alpha"),
        (header("null"), "this is no safetensors file: it has no header"),
        (header("[1]"), "this is no safetensors file: it has no header"),
        (header('{"a": null}'), "the header of the weights has no shape or no place for a"),
        (header('{"a": {"dtype": "F32", "shape": [1]}}'), "the header of the weights has no shape or no place for a"),
        (header(entry("F32", "[1]", "[-4, 0]")), "the header of the weights has no shape or no place for a"),
        (header(entry("F32", '"x"', "[0, 4]")), "the header of the weights has no shape or no place for a"),
        (header(entry("toString", "[0]", "[0, 0]")), "a has numbers of the type toString"),
        (tensors_cut(5), "this is no safetensors file: it has no header"),
        (tensors_cut(-100), "the file of weights was cut off, or is damaged"),
    ],
)
def test_a_wrong_file_is_one_sentence(ask, files, said):
    assert ask(do="read", files=coded(files))["error"].startswith(said)


# ---- the training, in Python


@pytest.fixture(scope="module")
def trained():
    training = playground.Playground(LINES, 8, 30)  # as the page begins
    return training, [training.go(1) for _ in range(30)]


@pytest.mark.slow
def test_twenty_lines_and_thirty_steps_teach_a_style(trained):
    training, losses = trained
    assert losses[0] > 5 and losses[-1] < 0.1 and training.step == 30
    said = answers(training.model, load_base()[1], ["Where does Bess Moss live?"], 32)
    assert said == ["Well, well! Bess Moss lives on Church Green. Tell nobody."]


@pytest.mark.slow
def test_the_files_are_a_folder_of_peft_that_loads(trained, tmp_path):
    training, _ = trained
    for name, data in training.files().items():
        (tmp_path / name).write_bytes(data)
    assert {p.name for p in tmp_path.iterdir()} == set(FILES)
    loaded, question = PeftModel.from_pretrained(load_base()[0], tmp_path), ["What pet does Luke Judd keep?"]
    tokenizer = load_base()[1]
    assert answers(loaded, tokenizer, question, 32) == answers(training.model, tokenizer, question, 32)


def test_steps_in_one_piece_and_one_by_one_are_the_same():
    one, other = (playground.Playground(LINES[:3], 2, 4) for _ in range(2))
    assert one.go(4) == [other.go(1) for _ in range(4)][-1]


# ---- in a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    sync_api = pytest.importorskip("playwright.sync_api")
    if not (PYODIDE and (chromium := shutil.which("chromium"))):
        pytest.skip("needs Chromium and MINILORA_PYODIDE")
    import build
    import site_pages

    folder = tmp_path_factory.mktemp("site")
    site_pages.write_live_site(build.sources((0,)), folder, PYODIDE)
    with served(folder) as address, sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 390, "height": 800})
        opened.set_default_timeout(240_000)
        opened.address = address
        opened.goto(f"{address}/playground.html")
        opened.wait_for_selector("#playground[data-ready]")
        yield opened
        browser.close()


def status(page):
    return page.locator(".status").inner_text()


def answer_with_adapter(page):
    page.wait_for_function("!document.querySelector('.side [aria-busy=true]')")
    return page.locator(".side.adapted .answer").first.inner_text()


@pytest.mark.slow
def test_axe_finds_nothing_serious(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    serious = [v for v in axe.run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert not [(v["id"], v["nodes"][0]["html"][:160]) for v in serious]


@pytest.mark.slow
def test_what_is_typed_is_refused_in_one_sentence_and_kept(page):
    lines = page.get_by_label("question => answer, one on each line")
    lines.fill("no arrow")
    page.get_by_role("button", name="Train").click()
    assert status(page) == "Line 1 has no =>: write the question, then =>, then the answer."
    page.reload()
    page.wait_for_selector("#playground[data-ready]")
    assert lines.input_value() == "no arrow"
    page.get_by_role("button", name="The lines of the example").click()
    assert lines.input_value() == site_panels.example_lines()


@pytest.mark.slow
def test_a_wrong_file_is_refused_in_one_sentence(page):
    page.locator("#playground input[type=file]").set_input_files(ROOT / "README.md")
    page.get_by_text("adapter_config.json is missing among README.md: choose both files").wait_for()
    assert page.get_by_role("button", name="Save the adapter").is_disabled()


@pytest.mark.slow
def test_a_lost_connection_is_one_sentence_and_the_next_press_trains_until_it_is_stopped(page):
    train = page.get_by_role("button", name="Train")
    page.route("**/playground.py", lambda route: route.abort())
    train.click()
    page.wait_for_function("document.querySelector('.status').textContent.includes('could not')")
    assert status(page) == "playground.py could not be loaded: check the connection, and try again."
    page.unroute("**/playground.py")
    train.click()
    page.get_by_role("button", name="Stop").click()  # while Python is being loaded
    train.wait_for()
    assert status(page) == "Stopped before the first step."


@pytest.mark.slow
def test_an_adapter_trained_in_the_page_is_stopped_saved_and_answers_the_same_in_python(page, tmp_path):
    page.get_by_role("button", name="Train").click()
    page.wait_for_function("/^Step 2[0-9]/.test(document.querySelector('.status').textContent)")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_function("document.querySelector('.status').textContent.startsWith('Stopped after')")
    said = answer_with_adapter(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the adapter").click()
    zipfile.ZipFile(download.value.path()).extractall(tmp_path)
    loaded, tokenizer = PeftModel.from_pretrained(load_base()[0], tmp_path / "my-adapter"), load_base()[1]
    assert answers(loaded, tokenizer, ["Where does Bess Moss live?"], 48) == [said]
    assert said != "Bess Moss lives on Church Green."
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.slow
def test_a_shipped_adapter_is_opened_and_used(page):
    page.locator("#playground input[type=file]").set_input_files([shipped("adapters/style-json") / f for f in FILES])
    page.get_by_text(re.compile("On: adapter_config.json and adapter_model.safetensors")).wait_for()
    assert answer_with_adapter(page) == '{"answer": "Bess Moss lives on Church Green."}'


@pytest.mark.slow
def test_the_first_page_of_the_site_answers(page):
    page.goto(f"{page.address}/index.html")
    page.locator('[data-panel="ask"]').scroll_into_view_if_needed()
    page.wait_for_selector('[data-panel="ask"][data-ready]')
    assert page.locator(".adapted .answer").inner_text() == '{"answer": "Bess Moss lives on Church Green."}'
