"""Figures as SVG in a page: its letters, its colours, names of their own."""

import re

import pytest

from minilora.course.svg import as_svg, in_page


@pytest.fixture
def drawn():
    """in_page of a small figure of matplotlib, with or without a heat map, under a name."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    def draw(name, heat=False):
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 1], color="#D55E00", label="ΔW")
        axes.set_title("white on grey")
        if heat:
            axes.imshow([[0, 1]])
        return in_page(as_svg(figure), "Figure 1 of lesson 5", name)

    return draw


def test_a_figure_takes_the_colours_of_the_page_and_its_texts_stay_texts(drawn):
    svg = drawn("f1")
    assert "stroke: var(--dw)" in svg and "var(--paper)" in svg and not re.search("#(d55e00|ffffff|000000)", svg)
    assert "white on grey</text>" in svg and 'aria-label="Figure 1 of lesson 5"' in svg
    assert "http" not in svg and "<metadata" not in svg


def test_a_heat_map_keeps_its_colours(drawn):
    svg = drawn("f1", heat=True)
    assert 'class="drawn card"' in svg and "#d55e00" in svg


def test_two_figures_of_a_page_have_no_name_in_common(drawn):
    names = [set(re.findall(r'\bid="([^"]+)"', drawn(name))) for name in ("f1", "f2")]
    assert names[0] and not names[0] & names[1]
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', drawn("f1")))
    assert used <= names[0]


def test_the_same_figure_is_the_same_text(drawn):
    assert drawn("f1") == drawn("f1")
