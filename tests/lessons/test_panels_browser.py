"""The live panels in a browser: each fills itself when it is seen, fits a phone, and obeys keys."""

import re
import shutil

import pytest
from folder_server import served
from lesson_modules import build, pages, site_panels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    sync_api = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium")):
        pytest.skip("needs Chromium")
    folder = tmp_path_factory.mktemp("pages")
    pages.write_site([s for s in build.sources() if s.stem in site_panels.PANELS], folder)
    site_panels.write(folder)
    with served(folder) as address, sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 390, "height": 800})
        opened.address, opened.asked = address, []
        opened.on("request", lambda request: opened.asked.append(request.url.rpartition("/")[2]))
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()


def shown(page, lesson, panel):  # -> the panel, filled
    page.asked.clear()
    page.goto(f"{page.address}/{lesson}.html")
    figure = page.locator(f'[data-panel="{panel}"]')
    figure.scroll_into_view_if_needed()
    page.wait_for_selector(f'[data-panel="{panel}"][data-ready]')
    return figure


@pytest.mark.parametrize(("lesson", "panel"), [(k, p) for k, places in site_panels.PANELS.items() for _, p in places])
def test_a_panel_fills_itself_and_fits_a_phone(page, lesson, panel):
    figure = shown(page, lesson, panel)
    assert page.locator(".fault").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert figure.locator("svg:not([aria-label]), canvas:not([aria-label])").count() == 0
    for control in figure.locator("input, select").all():
        assert control.evaluate("e => e.labels.length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_panel(page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    found = []
    for lesson, places in site_panels.PANELS.items():
        for _, panel in places:
            shown(page, lesson, panel)
            for violation in axe.run(page, context=f'[data-panel="{panel}"]').response["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    found.append((panel, violation["id"], violation["nodes"][0]["html"][:160]))
    assert not found


def test_nothing_is_loaded_for_a_panel_that_nobody_sees(page):
    page.asked.clear()
    page.goto(f"{page.address}/05_is_the_update_low_rank.html")
    page.wait_for_timeout(500)
    assert "panels.js" in page.asked and "base.safetensors" not in page.asked


def test_the_base_is_fetched_once_for_two_panels(page):
    shown(page, "10_merge_unmerge_and_rounding", "swap")
    page.locator('[data-panel="bits"]').scroll_into_view_if_needed()
    page.locator('[data-panel="bits"]').get_by_role("button", name="A weight of the base").click()
    page.wait_for_timeout(300)
    assert page.asked.count("base.safetensors") == 1


def test_the_adapter_answers_beside_the_base_and_a_wrong_question_is_one_sentence(page):
    figure = shown(page, "00_a_lora_in_sixty_seconds", "ask")
    assert figure.locator(".base .answer").inner_text() == "Bess Moss lives on Church Green."
    assert figure.locator(".adapted .answer").inner_text() == '{"answer": "Bess Moss lives on Church Green."}'
    figure.get_by_label("Your question").fill("")
    figure.get_by_role("button", name="Ask").click()
    assert figure.locator(".said").inner_text() == "Type a question first."
    figure.get_by_label("Your question").fill("word " * 600)
    figure.get_by_role("button", name="Ask").click()
    assert re.fullmatch(
        r"The question has \d+ tokens; the base reads at most 480\.", figure.locator(".said").inner_text()
    )


def test_a_lost_connection_is_one_sentence_and_the_next_try_works(page):
    page.route("**/base.safetensors", lambda route: route.abort())
    figure = shown(page, "00_a_lora_in_sixty_seconds", "ask")
    assert figure.locator(".said").inner_text() == (
        "base.safetensors could not be loaded: check the connection, and try again."
    )
    page.unroute("**/base.safetensors")
    figure.get_by_role("button", name="Ask").click()
    figure.get_by_text('{"answer": "Bess Moss lives on Church Green."}').wait_for()


def test_a_key_turns_the_rank_down_and_the_answers_change(page):
    figure = shown(page, "05_is_the_update_low_rank", "rank")
    slider = figure.get_by_role("slider", name="Rank")
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "0"
    figure.get_by_text("Rank 0: 0 of 8 queries as wanted.").wait_for()
    page.keyboard.press("End")
    figure.get_by_text(re.compile("Rank 32: [678] of 8 queries as wanted.")).wait_for()


def test_eight_times_the_scale_spoils_the_answers(page):
    figure = shown(page, "07_the_scale", "scale")
    figure.get_by_text("Scale 1.00 (it was trained with 1): 4 of 4 answers as wanted.").wait_for()
    figure.get_by_role("slider", name="α").focus()
    page.keyboard.press("End")
    figure.get_by_text("Scale 8.00 (it was trained with 1): 0 of 4 answers as wanted.").wait_for()


def test_a_clicked_bit_changes_the_number_and_keeps_the_focus(page):
    figure = shown(page, "10_merge_unmerge_and_rounding", "bits")
    figure.get_by_role("button", name="sign, bit 15").press("Enter")
    assert figure.get_by_label("A number").input_value() == "-3.140625"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "sign, bit 15"
    figure.get_by_label("Kind of number").select_option("float32")
    assert figure.get_by_role("button", name="fraction").count() == 23
    figure.get_by_label("A number").fill("1e")
    figure.get_by_label("A number").press("Enter")
    assert figure.get_by_text("1e is no number; expected one such as 0.1 or -2e-5.").count() == 1
