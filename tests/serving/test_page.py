"""The page of the server in a browser. Needs Playwright and a Chromium, which are looked for and not installed."""

import shutil

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")

from served import served  # noqa: E402 (after the skips)

from minilora.files.shipped import shipped  # noqa: E402

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser, url, width=390):
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.mistakes = []
    page.on("pageerror", lambda error: page.mistakes.append(str(error)))
    page.goto(url)
    return page


def asked(page):
    page.click("#ask")
    page.wait_for_selector("#ask:not([disabled])")
    return {card.get_attribute("data-model"): card for card in page.query_selector_all(".card")}


def text(card):
    return card.query_selector("pre").inner_text()


def test_base_and_adapters_answer_side_by_side_on_a_phone(browser):
    with served(modules=None) as (_, url):
        page = opened(browser, url)
        page.wait_for_selector("#models input")
        cards = asked(page)
        assert text(cards["style-json"]) == '{"answer": "Bess Moss lives on Church Green."}'
        assert text(cards["style-crier"]).startswith("Hear ye!")
        assert text(cards["base"]) not in ("", text(cards["style-json"]))
        page.wait_for_selector("#pool td:has-text('in a slot')")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.fill("#scale", "0")
        assert text(asked(page)["style-json"]) == text(cards["base"])
        assert page.mistakes == []


def test_thirty_adapters_of_a_class_are_asked_at_once(browser, tmp_path):
    for number in range(30):
        kind = ("style-json", "style-crier")[number % 2]
        shutil.copytree(shipped(f"adapters/{kind}"), tmp_path / f"student {number:02}")
    with served(folder=tmp_path) as (server, url):
        page = opened(browser, url, 1200)
        page.wait_for_selector("#models input")
        page.click("#all")
        cards = asked(page)
        assert list(cards) == ["base", *(f"student {number:02}" for number in range(30))]
        assert {text(card)[:9] for name, card in cards.items() if name != "base"} == {'{"answer"', "Hear ye! "}
        assert page.evaluate("document.documentElement.scrollWidth") <= 1200
        assert page.mistakes == []
        page.click("#none")
        page.click("#ask")
        assert page.inner_text("#problem") == "Choose who answers."


def test_the_page_asks_for_the_key(browser):
    with served(modules=None, api_key="s3cret") as (_, url):
        page = opened(browser, url)
        page.wait_for_selector("#key")
        assert "needs an API key" in page.inner_text("#problem")
        page.fill("#key", "another")
        page.press("#key", "Tab")
        page.wait_for_function("document.querySelector('#problem').textContent === \"This is not the server's key.\"")
        page.fill("#key", "s3cret")
        page.press("#key", "Tab")
        page.wait_for_selector("#models input")
        assert text(asked(page)["style-json"]).startswith("{")


def test_a_folder_that_somebody_adds_can_be_chosen_and_keeps_what_was_chosen(browser, tmp_path):
    shutil.copytree(shipped("adapters/style-json"), tmp_path / "anna")
    with served(folder=tmp_path) as (_, url):
        page = opened(browser, url)
        page.wait_for_selector("#models input")
        page.click("#none")
        page.check("#models input[value=anna]")
        shutil.copytree(shipped("adapters/style-crier"), tmp_path / "ben")
        page.wait_for_selector("#models input[value=ben]", timeout=15_000)
        assert list(asked(page)) == ["anna"]


def test_an_empty_question_is_not_sent(browser):
    with served(modules=None) as (_, url):
        page = opened(browser, url)
        page.wait_for_selector("#models input")
        page.fill("#question", "")
        page.click("#ask")
        assert page.evaluate("document.querySelector('#question').validity.valueMissing")
        assert page.query_selector_all(".card") == [] and page.mistakes == []
