"""The search finds lessons, words, names and commands, by keyboard, from an index that was made at build."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "lessons" / "live" / "search.js"


def entries(built):
    text = (built / "search-index.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("globalThis.searchIndex = ").rstrip().removesuffix(";"))


@pytest.mark.slow
def test_every_entry_leads_to_a_heading_that_is_there(built):
    found = entries(built)
    assert len(found) > 1000
    for entry in found:
        file, _, part = entry["url"].partition("#")
        assert not part or f'id="{part}"' in (built / file).read_text(encoding="utf-8"), entry["url"]


def found_in_node(index, *queries):  # -> for each query the urls found, best first
    node = shutil.which("node")
    if not node:
        pytest.skip("needs node")
    code = f"""
{SCRIPT.read_text(encoding="utf-8")}
const index = {json.dumps(index)};
const urls = (query) => globalThis.find(index, query).map((entry) => entry.url);
console.log(JSON.stringify({json.dumps(queries)}.map(urls)));
"""
    done = subprocess.run([node, "-"], input=code, capture_output=True, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout)


def entry(heading, text="", title="Lesson 1", url=None):
    return {"title": title, "heading": heading, "text": text, "url": url or heading, "weight": 0}


def test_a_heading_is_found_before_a_text_and_a_whole_word_before_a_part():
    index = [entry("Other", "the rank of a matrix"), entry("Rank"), entry("Frank", "no")]
    assert found_in_node(index, "rank") == [["Rank", "Frank", "Other"]]


def test_every_word_of_a_query_is_needed():
    index = [entry("a", "merge two adapters"), entry("b", "merge one")]
    assert found_in_node(index, "merge adapters", "MERGE", "none such", " ") == [["a"], ["a", "b"], [], []]


def test_signs_that_have_a_meaning_in_patterns_are_only_signs():
    assert found_in_node([entry("a", "s * (B A)"), entry("b", "B")], "(B", "*", "[") == [["a"], ["a"], []]


@pytest.mark.slow
def test_a_word_leads_to_the_glossary_a_name_to_the_reference_and_a_command_to_its_help(built):
    index = entries(built)
    word, name, command, lesson = found_in_node(index, "absmax", "LoraConfig", "minilora train", "merge rounding")
    assert word[0] == "glossary.html#absmax"
    assert name[0] == "reference.html#LoraConfig"
    assert command[0] == "commands.html#train"
    assert lesson[0].startswith("10_merge")


def asked(page, name, query):  # -> the page, on which the query was typed
    page.goto(f"{page.site}/{name}")
    page.keyboard.press("/")
    page.keyboard.type(query)
    return page


@pytest.mark.slow
def test_the_search_is_used_with_the_keyboard_alone(opened):
    page = asked(opened(1200), "index.html", "absmax")
    page.wait_for_selector("#results li[aria-selected=true]")
    first = page.locator("#results li").first
    assert page.locator("#search").get_attribute("aria-activedescendant") == first.get_attribute("id")
    page.keyboard.press("ArrowDown")
    assert page.locator("#results li").nth(1).get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary.html#absmax")


@pytest.mark.slow
def test_a_slash_that_one_types_into_a_cell_stays_there(opened):
    page = opened(1200)
    page.goto(f"{page.site}/00_a_lora_in_sixty_seconds.html")
    area = page.locator("section.cell textarea").first
    area.focus()
    page.keyboard.press("/")
    assert "/" in area.input_value() and area.evaluate("a => a === document.activeElement")


@pytest.mark.slow
def test_a_query_that_nothing_has_is_said_and_escape_closes_the_list(opened):
    page = asked(opened(390), "source/minilora.nn.html", "zzzz")
    page.wait_for_selector("#results:not([hidden])")
    assert page.locator("#results").inner_text() == 'no page has "zzzz"'
    page.keyboard.press("Escape")
    assert page.locator("#results").is_hidden()
