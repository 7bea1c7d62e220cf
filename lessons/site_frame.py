"""What every page of the site has around its content: the look, a head with the search, a rail of its headings.

Whoever knows the content writes a page with pages.page; `write` then frames every page of the folder. So no writer
needs to know the others, and a page is a whole page without its frame.
"""

import html
import re
import shutil
from pathlib import Path

import pages

HERE = Path(__file__).parent
SCRIPTS = ("frame.js", "highlight.js", "search.js")
PLACES = {  # in the head of every page: words -> page
    "Lessons": "lessons.html",
    "Playground": "playground.html",
    "Reference": "reference.html",
    "Commands": "commands.html",
    "Glossary": "glossary.html",
}
MARK = (  # W, and beside it B and A: the figure that the whole site is about
    '<svg viewBox="0 0 32 18" width="32" height="18" aria-hidden="true">'
    '<rect width="18" height="18" rx="1" fill="var(--w)"/><rect x="21" width="3" height="18" rx="1" fill="var(--b)"/>'
    '<rect x="26" width="6" height="3" rx="1" fill="var(--a)"/></svg>'
)
ICON = (  # the same for the browser's tab, in colours that both light and dark tabs show
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect y='7' width='18' height='18' fill='%23888'/%3E"
    "%3Crect x='21' y='7' width='3' height='18' fill='%23cc79a7'/%3E"
    "%3Crect x='26' y='7' width='6' height='3' fill='%23009e73'/%3E%3C/svg%3E"
)
HEADING = re.compile(r"<h([123])( id=\"([^\"]+)\")?>(.*?)</h\1>", re.DOTALL)
CODE = re.compile(r"<code>([^<]+)</code>")
UNLINKED = re.compile(r"<(a|pre|svg|textarea|script|style|summary|h1|h2|h3)\b.*?</\1>", re.DOTALL)


def write(folder: Path) -> None:
    """Frame every page of the folder, and of the folders in it, and write what they load."""
    (folder / "style.css").write_text(
        pages.STYLE + (HERE / "live" / "style.css").read_text(encoding="utf-8"),
        encoding="utf-8",
        newline="\n",
    )
    for name in SCRIPTS:
        shutil.copy(HERE / "live" / name, folder / name)
    targets = targets_of(folder)
    for path in sorted(folder.rglob("*.html")):
        up = "../" * (len(path.relative_to(folder).parts) - 1)
        here = path.relative_to(folder).as_posix()
        text = framed(path.read_text(encoding="utf-8"), here, up, folder, targets)
        path.write_text(text, encoding="utf-8", newline="\n")


def framed(text, here, up, folder, targets):  # a whole page -> the same in its frame
    head, body, main, rest = re.match(
        r"(.*?)(<body[^>]*>)(.*?<main>)(.*)", text, re.DOTALL
    ).groups()
    content, end = rest.rsplit("</main>", 1)
    content = with_ids(linked_code(content, here, up, targets))
    rail = "" if here == "index.html" else rail_of(content)
    head = head.replace(f"<style>{pages.STYLE}</style>", "").replace(
        "</head>", f"{loads(up, here)}</head>"
    )
    kind = "lesson" if "data-lesson=" in body else "text"
    body = body.replace("<body", f'<body class="{kind}{" railed" if rail else ""}"', 1)
    before = re.sub(
        r"<nav>.*?</nav>", "", main.removesuffix("<main>"), flags=re.DOTALL
    )  # the head leads on
    return (
        f'{head}{body}<a class="skip" href="#main">to the text</a>{head_of(here, up, folder)}{before}{rail}'
        f'<main id="main">{content}</main>{end.replace("<nav>", NEIGHBOURS)}'
    )


NEIGHBOURS = '<nav class="neighbours" aria-label="before and after">'


def loads(up, here):
    scripts = [s for s in SCRIPTS if s != "highlight.js" or "/" not in here]
    return f'<link rel="icon" href="{ICON}"><link rel="stylesheet" href="{up}style.css">' + "".join(
        f'<script src="{up}{name}" defer></script>' for name in scripts
    )


def head_of(here, up, folder):
    places = "".join(
        f'<a href="{up}{place}"{" aria-current=page" if place == here else ""}>{words}</a>'
        for words, place in PLACES.items()
        if (folder / place).is_file()
    )
    return (
        f'<header class="top"><a class="brand" href="{up}index.html">{MARK}minilora</a>'
        f'<nav aria-label="site">{places}</nav><form role="search" data-up="{up}">'
        '<input type="search" id="search" placeholder="Search" aria-label="search, key /" autocomplete="off" '
        'spellcheck="false"><kbd aria-hidden="true">/</kbd></form></header>'
    )


# ---- headings


def words_of(markup):  # html -> its text
    without = re.sub(r"<(annotation)\b.*?</\1>|<[^>]*>", "", markup, flags=re.DOTALL)
    return " ".join(html.unescape(without).split())


def with_ids(content):
    """Every heading has a name to link to; headings that have one keep it."""
    taken = set(re.findall(r' id="([^"]+)"', content))

    def name(match):
        if match[2]:
            return match[0]
        slug = base = pages.anchor(words_of(match[4])) or "part"
        count = 1
        while slug in taken:
            count += 1
            slug = f"{base}-{count}"
        taken.add(slug)
        return f'<h{match[1]} id="{slug}">{match[4]}</h{match[1]}>'

    return HEADING.sub(name, content)


def rail_of(content):  # the second level, and parts of a lesson (a first level behind the title)
    found = [
        (int(level), name, words_of(text)) for level, _, name, text in HEADING.findall(content)
    ]
    listed = [(name, words) for level, name, words in found[1:] if level < 3]
    if len(listed) < 3:
        return ""
    items = "".join(
        f'<li><a href="#{name}">{html.escape(words)}</a></li>' for name, words in listed
    )
    return (
        '<nav class="rail" aria-label="in this page">'
        f'<button aria-expanded="false">In this page</button><ol>{items}</ol></nav>'
    )


# ---- words in code that the site explains


def targets_of(folder):
    """{a file, a command or a public name: the page that shows it}, of what this site has."""
    found = {}
    for path in folder.glob("source/*.html"):
        file = path.stem.replace(".", "/") + ".py"
        found[file] = f"source/{path.name}"
    for page in ("reference", "commands"):
        if (folder / f"{page}.html").is_file():
            text = (folder / f"{page}.html").read_text(encoding="utf-8")
            found |= {
                name: href
                for href, name in re.findall(r'<a class="name" href="([^"]+)">([^<]+)<', text)
            }
    return found


def linked_code(content, here, up, targets):
    """The first `minilora/nn.py`, `minilora train` or `ml.finetune(...)` of a page leads to its own page."""
    seen = set()

    def link(match):
        said = html.unescape(match[1])
        name = re.match(r"minilora/[\w/]+\.py$|minilora [a-z]+|(?:ml\.)?\w+(?=\(|$)", said)
        target = targets.get(name[0].removeprefix("ml.")) if name else None
        if target is None or target in seen or target.partition("#")[0] == here:
            return match[0]
        seen.add(target)
        return f'<a class="code" href="{up}{target}">{match[0]}</a>'

    pieces, at = [], 0
    for skipped in UNLINKED.finditer(content):
        pieces += [CODE.sub(link, content[at : skipped.start()]), skipped[0]]
        at = skipped.end()
    return "".join([*pieces, CODE.sub(link, content[at:])])
