"""HTML pages from the executed notebooks: formulas as MathML, figures inside. A page loads nothing from elsewhere."""

import html
import json
import re
from pathlib import Path

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

CODE = HtmlFormatter(nowrap=True, style="default")
STYLE = """
:root { color-scheme: light; }
body { font: 19px/1.6 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; padding: 1rem;
       max-width: 60rem; } p, li { max-width: 48rem; }
h1, h2 { line-height: 1.25; } main > h1:not(:first-child) { margin-top: 2.2em; }
h2 { margin-top: 2.2em; border-top: 1px solid #ccc; padding-top: 0.8em; }
a { color: #0050a0; } nav { display: flex; justify-content: space-between; gap: 1rem; font-size: 0.9em; }
pre { font: 15px/1.45 ui-monospace, Consolas, monospace; padding: 0.7em 1em; overflow-x: auto; margin: 0.6em 0; }
code { font-family: ui-monospace, Consolas, monospace; font-size: 0.86em; background: #f1f1f1; padding: 0 0.2em; }
pre.code { background: #f4f5f7; border-left: 4px solid #0072b2; }
pre.out { background: #fff; border-left: 4px solid #bbb; color: #222; white-space: pre-wrap; }
img { display: block; max-width: 100%; margin: 1em auto; }
math { font-size: 1.08em; } .whole { white-space: nowrap; }
.display { overflow-x: auto; text-align: center; margin: 1em 0; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ccc; padding: 0.3em 0.8em 0.3em 0; text-align: left; vertical-align: top; }
details { margin: 0.6em 0; font-size: 0.9em; } summary { cursor: pointer; color: #555; }
@media (max-width: 56rem) { pre.out { white-space: pre; } }
@media print { nav { display: none; } pre, img { break-inside: avoid; } }
"""


def markdown_renderer():
    md = MarkdownIt("commonmark", {"html": False}).enable("table")
    return md.use(dollarmath_plugin, allow_digits=False, double_inline=True, renderer=_math)


def _math(text, options):
    return convert(text, display="block" if options["display_mode"] else "inline")


MARKDOWN = markdown_renderer()
WITH_STOP = re.compile(
    r"(<math(?:(?!</math>).)*</math>[.,;:?!)])"
)  # a stop must not begin the next line


def read(path):  # Path -> list of cells as json
    return json.loads(Path(path).read_text(encoding="utf-8"))["cells"]


def text_of(value):  # a list of lines, or the text itself
    return value if isinstance(value, str) else "".join(value)


def cell_html(cell, figure):  # cell, (base64, what it shows) -> <img ...>
    source = text_of(cell["source"])
    if cell["cell_type"] == "markdown":
        return WITH_STOP.sub(r'<span class="whole">\1</span>', MARKDOWN.render(source))
    code = f'<pre class="code">{highlight(source, PythonLexer(), CODE).rstrip()}</pre>'
    if "install" in cell["metadata"].get("tags", []):
        return f"<details><summary>installing minilora in a notebook</summary>{code}</details>"
    return code + "".join(output_html(o, figure) for o in cell["outputs"])


def output_html(output, figure):
    if output["output_type"] == "stream":
        return f'<pre class="out">{html.escape(text_of(output["text"]).rstrip())}</pre>'
    picture = output["data"].get("image/png")
    if picture:
        return figure(
            text_of(picture).replace("\n", ""),
            output["metadata"].get("image/png", {}).get("alt", ""),
        )
    return f'<pre class="out">{html.escape(text_of(output["data"]["text/plain"]))}</pre>'


def page(title, body, before="", after=""):
    """A whole page; before and after: the links to the neighbours, none on the index."""
    nav = (
        f'<nav><span>{before}</span><a href="index.html">all lessons</a><span>{after}</span></nav>'
    )
    nav = nav if before or after else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{CODE.get_style_defs('pre.code')}</style></head>"
        f"<body>{nav}<main>{body}</main>{nav}</body></html>\n"
    )


def lesson_html(path):  # notebook -> the body of its page
    title, count = title_of(path), 0

    def figure(picture, words):
        nonlocal count
        count += 1
        alt = html.escape(f"Figure {count} of lesson {title}. {words}".strip())
        return f'<img alt="{alt}" src="data:image/png;base64,{picture}">'

    return "\n".join(cell_html(cell, figure) for cell in read(path))


def title_of(path):  # notebook -> "1 · Check a derivative ..."
    return re.match(r"# (.+)", text_of(read(path)[0]["source"]))[1]


def facts_of(path):  # notebook -> the line under the title: minutes, needs, reads, exercises
    return re.search(
        r"^\*([^*].+?)\*$", text_of(read(path)[0]["source"]), re.MULTILINE | re.DOTALL
    )[1]


def write_site(sources, folder):
    """One page for each executed notebook beside `sources`, and index.html, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    notebooks = [s.with_suffix(".ipynb") for s in sources]

    def link(i):
        if not 0 <= i < len(notebooks):
            return ""
        return f'<a href="{notebooks[i].stem}.html">{html.escape(title_of(notebooks[i]))}</a>'

    for i, path in enumerate(notebooks):
        text = page(title_of(path), lesson_html(path), link(i - 1), link(i + 1))
        (folder / f"{path.stem}.html").write_text(text, encoding="utf-8", newline="\n")
    rows = "".join(
        f"<tr><td>{link(i)}</td><td>{MARKDOWN.renderInline(facts_of(p))}</td></tr>"
        for i, p in enumerate(notebooks)
    )
    body = f"<h1>minilora: the lessons</h1><table><tr><th>lesson</th><th>what it takes</th></tr>{rows}</table>"
    (folder / "index.html").write_text(
        page("minilora: the lessons", body), encoding="utf-8", newline="\n"
    )
    print(f"written: {folder / 'index.html'} and {len(notebooks)} lessons")
