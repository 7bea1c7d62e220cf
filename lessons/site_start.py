"""The first page of the site, the list of the lessons, and the texts of docs/ as pages."""

import html
import re
from pathlib import Path

import pages
import site_panels
import words

DOCS = {
    "serving": "Serving many adapters",
    "parallel": "Several processes",
    "real-model": "A published model",
}


def write(folder: Path) -> None:
    """Write index.html, lessons.html and a page for each text of docs/ into the folder."""

    def put(name, title, body):
        text = pages.page(title, body).replace("</head>", f"{site_panels.loads(body)}</head>", 1)
        (folder / f"{name}.html").write_text(text, encoding="utf-8", newline="\n")

    for name in DOCS:
        put(name, *pages.text_html(f"../docs/{name}"))
    notebooks = [
        p
        for p in sorted(pages.HERE.glob("[0-9][0-9]_*.ipynb"))
        if (folder / f"{p.stem}.html").is_file()
    ]
    put("lessons", "The lessons", lessons(notebooks))
    put("index", "minilora: LoRA by hand", start(notebooks, folder))


# ---- the lessons


PARTS = {0: "From the ground up", 13: "The family", 20: "Practice", 24: "From text to numbers"}


def lessons(notebooks):  # -> the body of the page that lists them
    pieces = [
        "<h1>The lessons</h1><p><b>LoRA first</b>: lessons 0, 6, 7, 8 and 10. They need the chain rule for matrices "
        "and nothing else. <b>From the ground up</b>: lessons 0 to 12 in order, from high-school calculus. "
        "<b>The family</b>: lessons 13 to 23, in any order after lesson 6.</p>"
        '<p>More about <a href="course.html">how to use the course</a>, '
        'and <a href="teaching.html">for teachers</a>.</p>'
    ]
    for path in notebooks:
        number = int(path.name[:2])
        if number in PARTS:
            pieces.append(f"<h2>{PARTS[number]}</h2>")
        pieces.append(row(path))
    return "".join(pieces)


def row(path):  # a lesson -> its line: number, title, minutes, what one will be able to do
    number, title = pages.title_of(path).split(" · ", 1)
    first = words.OF_A_WORD.sub(r"\1", pages.text_of(pages.read(path)[0]["source"]))
    able = re.search(r"\*\*You will be able to\*\* (.+?)(?:\n\n|$)", first, re.DOTALL)[1]
    minutes, needs = pages.facts_of(path).replace("\n", " ").split(" · ")[:2]
    facts = pages.MARKDOWN.renderInline(f"{minutes.replace(' to read', '')} · {needs}")
    return (
        f'<p class="lesson-row"><a href="{path.stem}.html"><span class="number">{number}</span>'
        f"{html.escape(title)}</a><small>{facts}</small>"
        f"<span>{pages.MARKDOWN.renderInline(able[0].upper() + able[1:])}</span></p>"
    )


# ---- the first page


def counts():  # -> frozen numbers of the shipped base, trained numbers of rank 8 on every linear layer
    from minilora import LoraConfig, get_peft_model, load_pretrained, shipped

    model = load_pretrained(shipped("base"))
    frozen = sum(p.size for p in model.parameters())
    adapted = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear"))
    return frozen, sum(p.size for p in adapted.parameters() if p.requires_grad)


def start(notebooks, folder):
    frozen, trained = counts()
    minutes = sum(int(pages.facts_of(p).split(" ")[0]) for p in notebooks)
    first = notebooks[0].stem
    playground = (
        '<a class="button" href="playground.html">Train an adapter of your own</a>'
        if (folder / "playground.html").is_file()
        else ""
    )
    return (
        '<div class="hero"><h1>LoRA, rebuilt by hand</h1>'
        "<p>A large model is taught something new by changing very few numbers: the big matrix <b class='w'>W</b> "
        "stays as it is, and two thin ones beside it, <b class='b'>B</b> and <b class='a'>A</b>, learn. This is a "
        "course on that idea, and a library in which every gradient is written out in NumPy.</p>"
        "<p>Everything runs here, in the page: nothing to install, no account, no server.</p>"
        f'<p class="doors"><a class="button main" href="{first}.html">Try it now: lesson 0</a>{playground}</p></div>'
        f"{picture(frozen, trained)}{site_panels.figure('ask')}"
        '<div class="ways">'
        f'<section><h2>Learn</h2><p><a href="lessons.html">{len(notebooks)} lessons</a>, about '
        f"{round(minutes / 60)} hours to read: predict a result, write the key function yourself, run it, and see what "
        'differs. The page checks your answer and names the mistake. <a href="glossary.html">The glossary</a> explains '
        "every word.</p></section>"
        '<section><h2>Teach</h2><p><a href="teaching.html">For teachers</a>: aims, plans for ninety minutes and for '
        "half a term, misconceptions, exam questions. Slides, worksheets and cards are made from the same lessons.</p>"
        "</section>"
        '<section><h2>Look up</h2><p><a href="reference.html">The reference</a> of every public name, with its source; '
        '<a href="commands.html">the commands</a>; <a href="peft.html">to Hugging Face PEFT and back</a>.</p></section>'
        '<section><h2>Use it at work</h2><p><a href="serving.html">Serve many adapters</a> on one base; '
        '<a href="parallel.html">train with several processes</a>; '
        '<a href="real-model.html">adapt a published model</a>.</p></section></div>'
    )


def picture(frozen, trained):  # W, B and A of one matrix, sides to scale
    side, rank = 128, 8
    unit = 240 / side
    thin = rank * unit
    return (
        '<figure class="lora"><svg viewBox="0 0 660 312" role="img" aria-labelledby="lora-title">'
        f'<title id="lora-title">y = W x + s B (A x): a frozen matrix W of {side} by {side}, beside it B of {side} by '
        f"{rank} and A of {rank} by {side}, drawn to scale</title>"
        f'<rect x="10" y="10" width="240" height="240" rx="2" fill="var(--w)"/>'
        '<text x="130" y="122" class="on big">W</text>'
        f'<text x="130" y="150" class="on">{side} × {side}, frozen</text>'
        '<text x="300" y="138" class="big">+ s ·</text>'
        f'<rect x="350" y="10" width="{thin:g}" height="240" rx="2" fill="var(--b)"/>'
        f'<text x="{350 + thin / 2:g}" y="276" class="name b">B</text>'
        f'<text x="{350 + thin / 2:g}" y="302" class="b">{side} × {rank}</text>'
        f'<rect x="400" y="10" width="240" height="{thin:g}" rx="2" fill="var(--a)"/>'
        f'<text x="520" y="50" class="name a">A</text><text x="520" y="70" class="a">{rank} × {side}</text>'
        f'<text x="400" y="150" class="left big dw">{trained:,}</text>'
        '<text x="400" y="174" class="left">numbers learn,</text>'
        f'<text x="400" y="216" class="left big">{frozen:,}</text>'
        '<text x="400" y="240" class="left">stay as they are</text></svg>'
        "<figcaption>One matrix of the small model of this course, with a LoRA of rank 8 beside it, sides to scale; "
        "the numbers are those of all its linear layers. <b class='w'>W</b> is grey, <b class='a'>A</b> green, "
        "<b class='b'>B</b> pink, and what they make together, <b class='dw'>ΔW = s B A</b>, vermilion: on every page."
        "</figcaption></figure>"
    )
