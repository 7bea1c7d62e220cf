"""A figure of matplotlib as SVG, and as a part of a page: with the page's letters and its colours, light or dark."""

import io
import re

THEMED = {  # the colours of display/plots.py -> those of the pages, see lessons/pages.py
    "#ffffff": "--paper",
    "#000000": "--ink",
    "#4a4a4a": "--w",
    "#009e73": "--a",
    "#cc79a7": "--b",
    "#d55e00": "--dw",
    "#0072b2": "--base",
    "#b0b0b0": "--line",
    "#d3d3d3": "--line",
    "#808080": "--soft",
}


def as_svg(drawn) -> str:  # of a matplotlib Figure
    """The figure as SVG whose texts stay texts; the same figure, the same letters (no date, no random names)."""
    import matplotlib

    picture = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "minilora"}):
        drawn.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


def in_page(svg: str, alt: str, name: str) -> str:
    """An SVG of `as_svg` as a part of a page. name: begins the names of its parts, which are its own in the page.

    A figure with an image in it (a heat map) keeps its colours, on white: black and white are values there.
    alt: the figure in words, as HTML.
    """
    svg = re.sub(r"<!--.*?-->|<(metadata|title|style)\b.*?</\1>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None
    svg = re.sub(r"font-family: 'DejaVu Sans', [^;\"]+", "font-family: var(--sans)", svg)
    kind = "drawn"
    if "<image" in svg:
        kind = "drawn card"
    else:
        svg = re.sub(r"#[0-9a-f]{6}\b", lambda c: f"var({THEMED[c[0]]})" if c[0] in THEMED else c[0], svg)
    wide = float(size[1]) * 4 / 3  # points as pixels
    head = f'<svg class="{kind}" role="img" aria-label="{alt}" {size[0]} style="max-width: {wide:.0f}px">'
    return head + svg[svg.index(">") + 1 :].strip()
