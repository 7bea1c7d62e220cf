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
from words import anchor, linked_to_glossary

from minilora.course.svg import in_page

HERE = Path(__file__).parent
CODE = HtmlFormatter(nowrap=True)
COLOURS = """
/* One colour for each thing, on every page, panel and figure: those of Okabe and Ito, light or dark enough for text.
   Frozen is grey (one W) or blue (the base); A is green, B pink, and what they make together is vermilion. */
:root { color-scheme: light dark; --w: #333537; --a: #007a4d; --b: #b0479a; --dw: #bd4500; --base: #0057b8;
  --adapted: var(--dw); --ink: #1b1d20; --soft: #5b6168; --paper: #fff; --card: #f4f5f7; --line: #d3d7dc;
  --accent: #0050a0; --string: #5c6200; --good: #00704f; --bad: #a8001c; }
@media (prefers-color-scheme: dark) { :root { --w: #d9dde2; --a: #45d39c; --b: #cf7fb0; --dw: #f5713d; --base: #4ba0f5;
  --ink: #e7e8ea; --soft: #a5abb3; --paper: #14171b; --card: #1e2329; --line: #3a4149; --accent: #7cc4ff;
  --string: #c8cf8a; --good: #3fc79a; --bad: #ff9a9a; } }
"""
STYLE = (
    COLOURS
    + """
/* One scale of type, each size 1.2 times the one below, and one measure for lines of text. */
:root { --t-small: 0.82rem; --t-code: 0.9375rem; --t-text: 1.125rem; --t-h3: 1.35rem; --t-h2: 1.62rem; --t-h1: 2.33rem;
  --measure: 42rem;
  --sans: -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans",
    Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, "Cascadia Code", Consolas, "DejaVu Sans Mono", monospace; }
html { font-size: 100%; scroll-padding-top: 4.5rem; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { font: var(--t-text)/1.6 var(--sans); color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 1rem 1.25rem 4rem; max-width: 60rem; }
p, li { max-width: var(--measure); } p { margin: 0.9em 0; }
h1, h2, h3 { line-height: 1.2; letter-spacing: -0.012em; text-wrap: balance; max-width: 34rem; }
h1 { font-size: var(--t-h1); margin: 0.8em 0 0.5em; } main > h1 ~ h1 { margin-top: 2.4em; }
h2 { font-size: var(--t-h2); margin: 2.2em 0 0.6em; } h3 { font-size: var(--t-h3); margin: 1.8em 0 0.5em; }
a { color: var(--accent); text-underline-offset: 0.15em; text-decoration-thickness: 1px; }
nav { display: flex; justify-content: space-between; gap: 1rem; font-size: var(--t-code); }
pre { font: var(--t-code)/1.5 var(--mono); padding: 0.75em 1em; overflow-x: auto; margin: 0.6em 0; }
code { font-family: var(--mono); font-size: 0.84em; background: var(--card); padding: 0.1em 0.25em;
  border-radius: 3px; }
pre code { font-size: inherit; padding: 0; background: none; }
main > pre { background: var(--card); border-radius: 4px; }
pre.code { background: var(--card); border-left: 3px solid var(--line); }
pre .k, pre .kn, pre .kc, pre .ow { color: var(--accent); } pre [class^="c"] { color: var(--soft); }
pre [class^="s"] { color: var(--string); } pre .nf, pre .nc { font-weight: 600; }
main > pre.out, pre.out { background: none; border-left: 3px solid var(--line); border-radius: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; } pre .table { white-space: pre; }
img { display: block; max-width: 100%; height: auto; box-sizing: border-box; margin: 1em 0; }
img[src^="data:"] { background: #fff; border-radius: 4px; padding: 0.5rem; }
svg.drawn { display: block; width: 100%; height: auto; margin: 1em 0; fill: var(--ink); }
svg.drawn * { stroke-linejoin: round; stroke-linecap: butt; }
svg.card { background: #fff; fill: #000; border-radius: 4px; }
math { font-size: 1.06em; } .whole { white-space: nowrap; }
.math.block { overflow-x: auto; overflow-y: hidden; text-align: center; margin: 1em 0;
  max-width: var(--measure); }
table { border-collapse: collapse; margin: 1.2em 0; display: block; overflow-x: auto; font-size: 0.94em;
  line-height: 1.45; }
th, td { border-bottom: 1px solid var(--line); padding: 0.4em 1.2em 0.4em 0; text-align: left; vertical-align: top; }
th { font-size: var(--t-code); color: var(--soft); font-weight: 600; }
details { margin: 0.6em 0; } summary { cursor: pointer; color: var(--soft); font-size: var(--t-code); }
details.question { border-left: 3px solid var(--accent); padding: 0.1em 1em; max-width: var(--measure); }
.question summary { color: var(--ink); font-size: inherit; }
blockquote { margin: 1em 0; padding: 0.1em 1.2em; border-left: 3px solid var(--line); max-width: var(--measure); }
a.word { color: inherit; text-decoration: underline dotted var(--accent); }
pre.exercise { border-left-color: var(--dw); }
p code, li code { overflow-wrap: anywhere; } td code { overflow-wrap: break-word; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
@media (max-width: 36rem) { :root { --t-text: 1.0625rem; --t-h1: 1.85rem; --t-h2: 1.42rem; --t-h3: 1.2rem;
  --t-code: 0.875rem; }
  body { padding: 0.75rem 1rem 3rem; } table.index th { display: none; }
  table.index, .index tbody, .index tr, .index td { display: block; } table.index td { border: 0; padding: 0; }
  table.index tr { margin-bottom: 1em; } }
@media print { nav { display: none; } pre, img { break-inside: avoid; } pre { white-space: pre-wrap; } }
"""
)


def markdown_renderer():
    md = MarkdownIt("commonmark", {"html": False}).enable("table")
    return md.use(dollarmath_plugin, allow_digits=False, double_inline=True, renderer=_math)


def _math(text, options):
    return convert(text, display="block" if options["display_mode"] else "inline")


MARKDOWN = markdown_renderer()
WITH_STOP = re.compile(
    r'(<span class="math inline">(?:(?!</span>).)*</span>[.,;:?!)])'
)  # a stop must not begin the next line


def read(path):  # Path -> list of cells as json
    return json.loads(Path(path).read_text(encoding="utf-8"))["cells"]


def text_of(value):  # a list of lines, or the text itself
    return value if isinstance(value, str) else "".join(value)


QUESTION = re.compile(r"<details><summary>(.+?)</summary>(.+?)</details>", re.DOTALL)


def markdown_html(source):  # markdown, in which questions are folded -> html
    parts = QUESTION.split(source)  # text, question, answer, text, ...
    pieces = [MARKDOWN.render(parts[0])]
    for question, answer, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        asked, said = (MARKDOWN.renderInline(" ".join(p.split())) for p in (question, answer))
        pieces.append(
            f'<details class="question"><summary>{asked}</summary><p>{said}</p></details>'
        )
        pieces.append(MARKDOWN.render(text))
    return WITH_STOP.sub(r'<span class="whole">\1</span>', "".join(pieces))


FOLDED = {"install": "installing minilora in a notebook", "fold": "the code of this step"}


def cell_html(cell, figure):  # cell, (base64, what it shows) -> <img ...>
    source = text_of(cell["source"])
    if cell["cell_type"] == "markdown":
        return markdown_html(source)
    tags = cell["metadata"].get("tags", [])
    kind = "code exercise" if "exercise" in tags else "code"
    code = f'<pre class="{kind}">{highlight(source, PythonLexer(), CODE).rstrip()}</pre>'
    for tag in set(tags) & set(FOLDED):
        met = [line for o in cell["outputs"] for line in _lines(o) if line.startswith(MET)]
        lines = f'<pre class="out">{html.escape(chr(10).join(met))}</pre>' if met else ""
        code = f"<details><summary>{FOLDED[tag]}</summary>{code}{lines}</details>"
        return code + "".join(output_html(_without_met(o), figure) for o in cell["outputs"])
    return code + "".join(output_html(o, figure) for o in cell["outputs"])


MET = "match: True"  # an expectation that was met: folded with the code that expects it


def _lines(output):
    return text_of(output.get("text", "")).splitlines()


def _without_met(output):
    if output["output_type"] != "stream":
        return output
    return output | {"text": "\n".join(line for line in _lines(output) if not line.startswith(MET))}


TABLE = re.compile(  # its head, a line of dashes, and the rows, whose columns are two spaces apart
    r"^.*\n(?=.*---)[ -]+\n(?:.*\S {2,}\S.*(?:\n|$))*", re.MULTILINE
)


def printed_html(text):  # what a cell printed; the lines of a table are never broken
    return f'<pre class="out">{TABLE.sub(_table_html, html.escape(text))}</pre>'


def _table_html(found):
    return f'<span class="table">{found[0]}</span>'


def output_html(output, figure):
    if output["output_type"] == "stream":
        printed = text_of(output["text"]).rstrip()
        return printed_html(printed) if printed else ""
    picture = output["data"].get("image/svg+xml") or output["data"].get("image/png")
    if picture:
        return figure(
            text_of(picture),
            output["metadata"].get("image/png", {}).get("alt", ""),
        )
    return printed_html(text_of(output["data"]["text/plain"]))


def figure_html(picture, alt, number):  # base64 of a PNG, or an SVG -> html
    if "<svg" in picture:
        return in_page(picture, alt, f"f{number}")
    return f'<img alt="{alt}" src="data:image/png;base64,{picture.replace(chr(10), "")}">'


def page(title, body, before="", after=""):
    """A whole page; before and after: the links to the neighbours, none on the index."""
    nav = (
        f'<nav><span>{before}</span><a href="index.html">all lessons</a><span>{after}</span></nav>'
    )
    nav = nav if before or after else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>"
        f"<body>{nav}<main>{body}</main>{nav}</body></html>\n"
    )


def lesson_html(path):  # notebook -> the body of its page
    title, count = title_of(path), 0

    def figure(picture, words):
        nonlocal count
        count += 1
        alt = html.escape(f"Figure {count} of lesson {title}. {words}".strip())
        return figure_html(picture, alt, count)

    return linked_to_glossary("\n".join(cell_html(cell, figure) for cell in read(path)))


def title_of(path):  # notebook -> "1 · Check a derivative ..."
    return re.match(r"# (.+)", text_of(read(path)[0]["source"]))[1]


def facts_of(path):  # notebook -> the line under the title: minutes, needs, reads, exercises
    return re.search(
        r"^\*([^*].+?)\*$", text_of(read(path)[0]["source"]), re.MULTILINE | re.DOTALL
    )[1]


# ---- the texts beside the lessons

TEXTS = {"README": "course", "TEACHING": "teaching", "glossary": "glossary", "peft": "peft"}
OF_A_ROW = re.compile(r"<tr>\n<td><strong>(.+?)</strong>")


def text_beside(name):
    return (HERE / name).read_text(encoding="utf-8")


def text_html(name):  # "README" -> title, body of its page
    text = text_beside(f"{name}.md")
    body = OF_A_ROW.sub(
        lambda row: row[0].replace("<tr>", f'<tr id="{anchor(row[1])}">'), MARKDOWN.render(text)
    )
    body = re.sub(r'(<a href="[^"]*">)(.*?)(</a>)', lambda a: page_link(*a.groups()), body)
    return re.match(r"# (.+)", text)[1], linked_lessons(body)


NUMBERS = re.compile(
    r"\b[Ll]essons? \d+(?:(?:, | and | or | to )\d+)*"
)  # "lesson 2", "lessons 6, 7 and 9"
APART = re.compile(r"(<(?:a|code|pre|h1|h2|h3)\b.*?</(?:a|code|pre|h1|h2|h3)>)", re.DOTALL)


def linked_lessons(body):
    """Every lesson that a text names by its number leads to its page."""
    stems = {int(p.name[:2]): p.stem for p in HERE.glob("[0-9][0-9]_*.py")}

    def link(number):
        stem = stems.get(int(number[0]))
        return f'<a href="{stem}.html">{number[0]}</a>' if stem else number[0]

    pieces = APART.split(body)  # text, what stays as it is, text, ...
    pieces[::2] = [
        NUMBERS.sub(lambda found: re.sub(r"\d+", link, found[0]), text) for text in pieces[::2]
    ]
    return "".join(pieces)


def page_link(start, text, end):
    """A link of the repository as a link of the site; to a file that the site has not, only its text."""
    target, hash_, part = re.search('href="([^"]*)"', start)[1].partition("#")
    stem = Path(target).stem
    if re.match(r"\d\d_.*\.ipynb", target):
        return f'<a href="{stem}.html">{text}{end}'
    if not target or target == f"{stem}.md" and stem in TEXTS:
        return f'<a href="{TEXTS[stem] + ".html" if target else ""}{hash_}{part}">{text}{end}'
    return text


def write_site(sources, folder):
    """One page for each executed notebook beside `sources`, one for each text, and index.html, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    notebooks = [s.with_suffix(".ipynb") for s in sources]

    def link(i):
        if not 0 <= i < len(notebooks):
            return ""
        return f'<a href="{notebooks[i].stem}.html">{html.escape(title_of(notebooks[i]))}</a>'

    def put(name, text):
        (folder / f"{name}.html").write_text(text, encoding="utf-8", newline="\n")

    for i, path in enumerate(notebooks):
        put(path.stem, page(title_of(path), lesson_html(path), link(i - 1), link(i + 1)))
    for name, stem in TEXTS.items():
        title, body = text_html(name)
        put(stem, page(title, body, "&nbsp;", "&nbsp;"))
    rows = "".join(
        f"<tr><td>{link(i)}</td><td>{MARKDOWN.renderInline(facts_of(p))}</td></tr>"
        for i, p in enumerate(notebooks)
    )
    body = (
        "<h1>minilora: the lessons</h1>"
        "<p><b>LoRA first</b>: lessons 0, 6, 7, 8, 10; they need the chain rule for matrices and nothing else. "
        "<b>From the ground up</b>: in order, from high-school calculus.</p>"
        '<p><a href="course.html">The course</a> · <a href="glossary.html">glossary</a> · '
        '<a href="teaching.html">for teachers</a> · <a href="peft.html">to PEFT and back</a></p>'
        f'<table class="index"><tr><th>lesson</th><th>what it takes</th></tr>{rows}</table>'
    )
    put("index", page("minilora: the lessons", body))
    print(f"written: {folder / 'index.html'}, {len(notebooks)} lessons and {len(TEXTS)} texts")
