"""What a class is given besides the lessons, from the same sources: slides, worksheets, and cards to remember by."""

import ast
import base64
import csv
import html
import io
import re
from pathlib import Path

import pages
import words

SLIDES = """
html { scroll-snap-type: y mandatory; } body { font: 30px/1.45 system-ui, sans-serif; margin: 0; color: #1a1a1a; }
section { min-height: 100vh; box-sizing: border-box; padding: 4vh 6vw; scroll-snap-align: start;
          display: flex; flex-direction: column; justify-content: center; }
h1 { font-size: 1.9em; } h2 { font-size: 1.4em; margin: 0 0 0.6em; } p { max-width: 44em; }
img { max-width: 100%; max-height: 78vh; min-height: 55vh; object-fit: contain; margin: auto; }
table { border-collapse: collapse; } code { background: #f1f1f1; padding: 0 0.2em; } .display { text-align: center; }
th, td { border-bottom: 1px solid #aaa; padding: 0.2em 0.8em 0.2em 0; text-align: left; }
pre { font-size: 0.85em; white-space: pre-wrap; margin: 0 0 0.4em; }
.long { font-size: 0.8em; } .long p { margin: 0.5em 0; }
.ask { border-left: 8px solid #009e73; padding-left: 1em; } .do { border-left: 8px solid #d55e00; padding-left: 1em; }
@media print { section { page-break-after: always; } }
"""

WORKSHEET = """
@page { size: A4; margin: 12mm; }
body { font: 10.5pt/1.3 system-ui, sans-serif; margin: 0 auto; max-width: 186mm; color: #000; }
h1 { font-size: 15pt; margin: 0 0 1mm; } h2 { font-size: 11.5pt; margin: 3mm 0 1mm; } p, li { margin: 0 0 1mm; }
.name { float: right; } table { width: 100%; border-collapse: collapse; } td.blank { width: 24mm; }
td, th { border: 0.3mm solid #999; padding: 1mm 2mm; text-align: left; vertical-align: top; }
code { font-family: ui-monospace, monospace; font-size: 9pt; }
.lines { border-bottom: 0.2mm solid #999; height: 6mm; } ol { padding-left: 6mm; margin: 0; }
"""


def put(folder, name, title, style, body):
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body>{body}</body></html>\n"
    )
    (folder / f"{name}.html").write_text(text, encoding="utf-8", newline="\n")


def questions_of(source):  # Path -> [(question, answer)] of the section at the end of a lesson
    text = source.read_text(encoding="utf-8").replace("\n# ", "\n")
    return [tuple(" ".join(part.split()) for part in pair) for pair in pages.QUESTION.findall(text)]


def predictions_in(text):  # -> the questions of the predictions, in order
    return re.findall(r"= predict\(\s*\"(.+?)\", None", text)


# ---- slides


def write_slides(sources, folder: Path) -> None:
    """One page for each executed notebook: a screen for each heading, figure and exercise. No script, no network."""
    for source in sources:
        notebook = source.with_suffix(".ipynb")
        title = pages.title_of(notebook)
        body = "".join(f"<section>{slide}</section>" for slide in slides(notebook))
        put(folder, source.stem, title, SLIDES, body)
    print(f"written: slides of {len(sources)} lessons in {folder}")


def slides(notebook):  # -> the html of each screen
    title, heading, asked = pages.title_of(notebook), "", ""
    for cell in pages.read(notebook):
        text = pages.text_of(cell["source"])
        if cell["cell_type"] == "markdown":
            text = words.without_links(text)
            for part in re.split(r"^(?=#{1,2} )", text, flags=re.MULTILINE):
                if part.startswith("#"):
                    heading = (
                        f"<h2>{pages.MARKDOWN.renderInline(part.splitlines()[0].strip('# '))}</h2>"
                    )
                if said := short(part):
                    yield sized(pages.MARKDOWN.render(said), len(said))
                asks = re.findall(r"(?:^|\n\n)(\*\*Predict.*?)(?=\n\n|\Z)", part, re.DOTALL)
                asked += "".join(map(pages.MARKDOWN.render, asks))
            continue
        if questions := predictions_in(text):
            listed = "".join(f"<li>{html.escape(q)}</li>" for q in questions)
            yield f'<div class="ask">{heading}{asked}<ul>{listed}</ul></div>'
            asked = ""
        if "exercise" in cell["metadata"].get("tags", []):
            yield f'<div class="do">{heading}{task(text)}</div>'
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                yield heading + pages.output_html(output, lambda d, words: picture(title, d, words))


def task(
    text,
):  # the cell of an exercise -> its function, and what it is to do, to be read from the last row
    function = ast.parse(text).body[0]
    said = [" ".join(part.split()) for part in ast.get_docstring(function).split("\n\n")]
    told = re.sub("`(.+?)`", r"<code>\1</code>", "".join(f"<p>{html.escape(p)}</p>" for p in said))
    shown = html.escape(f"{function.name}({ast.unparse(function.args)})")
    return f"<pre>{shown}</pre>{sized(told, sum(map(len, said)))}"


def sized(body, letters):  # what is long is smaller, so that it fits on one screen
    return f'<div class="long">{body}</div>' if letters > LONG else body


def picture(title, data, words):  # data: an SVG, or base64 of a PNG
    kind = "png"
    if "<svg" in data:
        kind, data = "svg+xml", base64.b64encode(data.encode()).decode()
    return f'<img alt="{html.escape(f"{title}. {words}")}" src="data:image/{kind};base64,{data}">'


LONG = 420
BLOCKS = ("$$", "|", "- ")  # a formula, a table, a list
FOR_READERS = ("Where this lives in the code", "Questions", "Do")  # sections that are not projected


def short(part):
    """Markdown of one section -> its heading, formulas, tables, lists, and the paragraphs with bold words.

    A paragraph that ends with a colon leads to a block: it stays before one, and goes without.
    """
    heading, *paragraphs = part.strip().split("\n\n")
    if not heading.startswith("#") or heading.strip("# ").startswith(FOR_READERS):
        return ""
    kept = []
    for p, after in zip(paragraphs, [*paragraphs, ""][1:], strict=False):
        leads = p.endswith(":") and after.startswith(BLOCKS)
        bold = "**" in p and "**Predict" not in p
        if p.startswith(BLOCKS) or leads:
            kept.append(p)
        elif bold:
            kept.append(re.sub(r"\s[^.?!]*:$", "", p))
    return "\n\n".join([heading, *kept]) if kept else ""


# ---- worksheets


def write_worksheets(sources, folder: Path) -> None:
    """One page to print for each lesson: its predictions, its exercises and its questions, with room to write."""
    from minilora.course.runner import exercises

    for source in sources:
        title = pages.title_of(source.with_suffix(".ipynb"))
        asked = "".join(
            f'<tr><td>{html.escape(q)}</td><td class="blank"></td><td class="blank"></td></tr>'
            for q in predictions_in(source.read_text(encoding="utf-8"))
        )
        tasks = "".join(
            f"<p>{e.number} {html.escape(e.title)}, <code>{html.escape(e.function)}</code>. My first idea:</p>"
            '<div class="lines"></div>'
            for e in exercises(int(source.name[:2]))
        )
        questions = "".join(
            f'<li>{pages.MARKDOWN.renderInline(q)}<div class="lines"></div><div class="lines"></div></li>'
            for q, _ in questions_of(source)
        )
        put(
            folder,
            source.stem,
            f"Worksheet: {title}",
            WORKSHEET,
            f'<span class="name">name: ______________________</span><h1>{html.escape(title)}</h1>'
            f"<h2>Predict, then run</h2><table><tr><th>question</th><th>I say</th><th>it is</th></tr>{asked}</table>"
            f"<h2>Write</h2>{tasks}<h2>Explain</h2><ol>{questions}</ol>"
            '<h2>The result that surprised me, and why</h2><div class="lines"></div><div class="lines"></div>',
        )
    print(f"written: worksheets of {len(sources)} lessons in {folder}")


# ---- cards


def cards(sources):  # -> [(front, back, tag)]
    rows = [
        (f"In one sentence: {word}", sentence, "word")
        for word, sentence in re.findall(
            r"^\| \*\*(.+?)\*\* \| (.+?) \|", pages.text_beside("glossary.md"), re.MULTILINE
        )
    ]
    teaching = pages.text_beside("TEACHING.md")
    wrong = re.findall(r'^- (".+?") (.+?)(?=\n- |\n\n)', teaching, re.MULTILINE | re.DOTALL)
    rows += [(f"What is wrong here? {said}", true, "mistake") for said, true in wrong]
    exam = re.findall(
        r"^\d+\. \*(.+?)\* (.+?)(?=\n\d+\. |\n\n)", teaching, re.MULTILINE | re.DOTALL
    )
    rows += [(q, a, "exam") for q, a in exam]
    rows += [
        (question, answer, f"lesson-{int(source.name[:2]):02d}")
        for source in sources
        for question, answer in questions_of(source)
    ]
    by_front = {
        row[0]: row for row in reversed(rows)
    }  # a question of the exam may end a lesson too
    return [
        tuple(" ".join(part.split()) for part in row) for row in rows if by_front[row[0]] is row
    ]


def cards_text(sources) -> str:
    """The cards as CSV, with the lines at the top that tell Anki how to read it; formulas as Anki's MathJax."""
    text = io.StringIO()
    text.write("#separator:Comma\n#html:true\n#columns:Front,Back,Tags\n#tags column:3\n")
    writer = csv.writer(text, lineterminator="\n")
    for front, back, tag in cards(sources):
        writer.writerow([card_html(front), card_html(back), tag])
    return text.getvalue()


def card_html(markdown):  # formulas stay formulas: $...$ becomes \(...\)
    formulas = re.split(r"\$(.+?)\$", markdown)
    return "".join(
        rf"\({html.escape(part)}\)" if i % 2 else pages.MARKDOWN.renderInline(part)
        for i, part in enumerate(formulas)
    )


def write_cards(sources) -> None:
    path = pages.HERE / "cards.csv"
    path.write_text(cards_text(sources), encoding="utf-8", newline="\n")
    print(f"written: {len(cards(sources))} cards in {path.name}")
