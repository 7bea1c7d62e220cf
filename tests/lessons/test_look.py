"""How the site looks: links lead somewhere, pages fit their windows, axe finds nothing serious, colours differ."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

LIVE = Path(__file__).parents[2] / "lessons" / "live"
STYLE = (LIVE.parent / "pages.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_no_link_within_the_site_is_dead_and_none_leads_outside(built):
    pages = {p: p.read_text(encoding="utf-8") for p in built.rglob("*.html")}
    ids = {p: set(re.findall(r'\bid="([^"]+)"', text)) for p, text in pages.items()}
    for path, text in pages.items():
        for link in set(
            re.findall(r'(?:href|src)="([^"]*)"', re.sub(r"<(textarea|pre)\b.*?</\1>", "", text, flags=re.S))
        ):
            if not link.startswith("data:"):
                file, _, part = link.partition("#")
                target = (path.parent / file).resolve() if file else path
                assert target.is_file(), (path.name, link)
                assert not part or part in ids[target], (path.name, link)


@pytest.mark.slow
def test_a_page_has_each_name_once(built):
    for path in built.rglob("*.html"):
        names = re.findall(r'\bid="([^"]+)"', path.read_text(encoding="utf-8"))
        assert len(names) == len(set(names)), (path.name, [n for n in names if names.count(n) > 1][:3])


@pytest.mark.slow
def test_every_page_has_the_head_the_search_and_one_main_part(built):
    for path in built.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert text.count('<header class="top">') == text.count('id="search"') == text.count("<main") == 1, path.name


def samples(built):  # every page; of the rooms and of the sources, which are alike, one each
    rooms = {p.name for p in built.glob("reference-*.html")} - {"reference-methods.html"}
    return [*sorted({p.name for p in built.glob("*.html")} - rooms), "source/minilora.methods.lora.html"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200, 1920])
def test_no_page_is_wider_than_its_window(built, opened, width):
    page = opened(width)
    for name in samples(built):
        page.goto(f"{page.site}/{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200, 1920])
def test_code_and_sentences_are_broken_at_the_edge_and_only_tables_are_scrolled(opened, width):
    page = opened(width)
    page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.wait_for_timeout(100)
    cut = """part => part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight"""
    for area in page.locator("section.cell textarea").all():
        assert not area.evaluate(cut), area.input_value()
    for pre in page.locator("pre.out:not(:has(.table))").all():
        assert not pre.evaluate(cut), pre.inner_text()
    assert page.locator("pre.out .table").count() > 2


@pytest.mark.slow
def test_a_cell_is_as_high_as_its_text_after_a_turn_of_the_phone_too(opened):
    page = opened(390)
    page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
    area = page.locator("section.exercise textarea").first
    narrow = area.bounding_box()["height"]
    page.set_viewport_size({"width": 800, "height": 390})
    page.wait_for_timeout(100)
    assert area.bounding_box()["height"] < narrow
    area.fill("one = 1")
    assert area.bounding_box()["height"] < 60


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_only_what_python_does_stays_in_sight_in_a_narrow_window(opened, width):
    page = opened(width)
    page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
    page.locator("section.exercise").first.scroll_into_view_if_needed()
    seen = {name: page.locator(f"#{name}").bounding_box()["y"] >= 0 for name in ("state", "stop", "all", "save")}
    assert seen == {"state": True, "stop": True, "all": False, "save": False}
    assert page.locator("#bar .now").bounding_box()["height"] < 70


def test_a_table_that_a_cell_printed_is_kept_apart_from_its_sentences():
    from lesson_modules import pages

    html = pages.printed_html(
        "before\n\nname  <n>\n----  ---\na       1\nlong  1,0\na sentence, as it is\n--- no table"
    )
    assert html == (
        '<pre class="out">before\n\n<span class="table">name  &lt;n&gt;\n----  ---\na       1\nlong  1,0\n</span>'
        "a sentence, as it is\n--- no table</pre>"
    )


@pytest.mark.slow
def test_no_script_of_a_page_ends_with_an_error(built, opened):
    page, errors = opened(1200), []
    page.on("pageerror", lambda error: errors.append((page.url, error.message)))
    for name in samples(built):
        page.goto(f"{page.site}/{name}")
    assert not errors


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(built, opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, found = opened(1200, scheme), []
    for name in samples(built):
        page.goto(f"{page.site}/{name}")
        for violation in axe.run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found.append((name, violation["id"], violation["nodes"][0]["html"][:160]))
    assert not found


@pytest.mark.slow
def test_the_output_is_beside_the_code_in_a_wide_window_and_below_it_in_a_narrow_one(opened):
    for width, beside in ((1920, True), (1400, True), (1200, False), (390, False)):
        page = opened(width)
        page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
        cell = page.locator("section.cell:has(pre.out):not(:has(details))").first
        code, out = (cell.locator(part).bounding_box() for part in ("textarea", "div.out"))
        assert (out["x"] >= code["x"] + code["width"]) == beside, (width, code, out)
        page.close()


@pytest.mark.slow
def test_the_rail_shows_the_place_and_the_cells_that_ran(opened):
    page = opened(1400)
    page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
    page.locator("#the-first-step").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#the-first-step').scrollIntoView()")
    page.wait_for_function("document.querySelector('.rail .here a')?.hash === '#the-first-step'")
    page.evaluate("document.querySelectorAll('section.cell').forEach((cell) => cell.classList.add('ran'))")
    page.wait_for_function("document.querySelector('.rail .here small').textContent.includes(' run')")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_word_of_the_glossary_says_its_sentence_to_the_keyboard_too(opened, width):
    page = opened(width)
    page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
    word = page.locator("a.word").first
    word.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")  # as somebody does who has no mouse
    said = word.evaluate("word => getComputedStyle(word, '::after').content")
    assert len(said) > 20 and word.get_attribute("aria-description") in said.replace("\\", "")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_what_is_typed_into_a_cell_is_painted_at_once(opened):
    page = opened(1200)
    page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
    area = page.locator("section.exercise textarea").first
    area.fill("def f(x):\n    return x  # as it is")
    under = page.locator("section.exercise .editor pre").first
    assert under.inner_text().rstrip("\n") == "def f(x):\n    return x  # as it is"
    assert under.locator(".k").all_inner_texts() == ["def", "return"]
    boxes = page.evaluate(
        "[...document.querySelector('section.exercise .editor').children].map((part) => part.getBoundingClientRect())"
    )
    assert boxes[0] == boxes[1]


@pytest.mark.slow
def test_an_exercise_has_its_mark_when_it_is_passed_and_not_when_it_ran(opened):
    page = opened(1200)
    page.goto(f"{page.site}/06_freeze_w_train_b_and_a.html")
    marks = []
    for kind, state in (("cell", "ran"), ("exercise", "ran"), ("exercise", "passed")):
        tools = page.locator(f"section.{kind} > .tools").first
        tools.evaluate("(tools, state) => tools.parentElement.classList.add(state)", state)
        marks.append(tools.evaluate("tools => getComputedStyle(tools, '::before').content"))
    assert marks == ['"✓"', "none", '"✓"']


SOURCES = [
    "x = 'a # b'  # c",
    'f"""a\nb"""',
    "def if_(x): return not x",
    "'it\\'s'",
    "",
    "print('open",
    "# only",
    "nonlocal_ = 1",
]


@pytest.mark.parametrize("source", SOURCES)
def test_colours_change_no_letter(source):
    assert "".join(text for _, text in colored(source)) == source


def test_strings_comments_and_keywords_are_told_apart():
    assert [pair for pair in colored("x = 'a # b'  # c") if pair[0]] == [["s", "'a # b'"], ["c", "# c"]]
    assert [pair for pair in colored("def if_(x): return not x") if pair[0]] == [
        ["k", "def"], ["nf", "if_"], ["k", "return"], ["k", "not"]
    ]  # fmt: skip


def colored(source):
    if not (node := shutil.which("node")):
        pytest.skip("needs node")
    script = (LIVE / "highlight.js").read_text(encoding="utf-8")
    code = f"{script}\nconsole.log(JSON.stringify(globalThis.colored({json.dumps(source)})));"
    done = subprocess.run([node, "-"], input=code, capture_output=True, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout)


def test_a_stop_behind_a_formula_does_not_begin_the_next_line():
    from lesson_modules import pages

    text = pages.markdown_html("the $x$, and $y$ too")
    (whole,) = re.findall(r'<span class="whole">(.*?)</span>,</span>', text)
    assert "<mi>x</mi>" in whole


# ---- colours


def palette(part):  # {name: (red, green, blue)} of the light or the dark half of the variables
    light, dark = STYLE.split("prefers-color-scheme: dark")[:2]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", light))
    if part == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", dark))
    full = {n: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for n, v in found.items()}
    return {name: tuple(int(v[i : i + 2], 16) / 255 for i in (1, 3, 5)) for name, v in full.items()}


def linear(colour):
    return [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]


def contrast(a, b):  # WCAG 2
    light, dark = sorted(sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(x), strict=True)) for x in (a, b))[
        ::-1
    ]
    return (light + 0.05) / (dark + 0.05)


NAMES = ("w", "a", "b", "dw", "base", "ink", "soft", "accent", "good", "bad")


@pytest.mark.parametrize("part", ["light", "dark"])
def test_every_colour_can_be_read_as_text_on_the_page_and_on_a_card(part):
    colours = palette(part)
    low = {(n, on): contrast(colours[n], colours[on]) for n in NAMES for on in ("paper", "card")}
    assert min(low.values()) >= 4.5, low


# deuteranopia, protanopia and tritanopia on linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)
BLIND = {
    "deutan": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "protan": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "tritan": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}


@pytest.mark.parametrize("part", ["light", "dark"])
@pytest.mark.parametrize("kind", BLIND)
def test_the_colours_of_the_things_differ_for_the_colour_blind(part, kind):
    colours, seen = palette(part), {}
    for name in ("w", "a", "b", "dw", "base"):
        rgb = linear(colours[name])
        seen[name] = lab([max(0.0, sum(m * c for m, c in zip(row, rgb, strict=True))) for row in BLIND[kind]])
    apart = {
        (m, n): sum((p - q) ** 2 for p, q in zip(seen[m], seen[n], strict=True)) ** 0.5
        for m in seen for n in seen if m < n
    }  # fmt: skip
    assert min(apart.values()) > 15, sorted(apart.items(), key=lambda pair: pair[1])[:3]


def lab(rgb):  # linear RGB -> CIELAB (D65)
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    x, y, z = (
        sum(m * c for m, c in zip(row, rgb, strict=True)) / n for row, n in zip(rows, (0.9505, 1, 1.089), strict=True)
    )
    f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z)]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])
