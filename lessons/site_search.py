"""The index of the search: one entry for each heading of each page and for each word of the glossary, made at build.

It is a script that sets one variable, not JSON that a page would fetch: so it also loads from a folder on a disk.
"""

import json
import re
from pathlib import Path

import site_frame

SKIPPED = re.compile(
    r"<(pre|textarea|script|style|button|nav|figure|noscript|svg)\b.*?</\1>|<div id=\"bar\".*?</div>",
    re.DOTALL,
)
ROW = re.compile(r'<tr id="([^"]+)">\s*<td>(.*?)</td>\s*<td>(.*?)</td>', re.DOTALL)
MOST = 1500  # characters of one section: more would make the index heavy, and the words repeat
WEIGHTS = {"glossary": 12, "commands": 8, "reference": 8}  # of pages on which one looks a word up


def write(folder: Path) -> None:
    """Write search-index.js for the pages of the folder; what is in folders below it (the sources) is left out."""
    entries = [entry for path in sorted(folder.glob("*.html")) for entry in entries_of(path)]
    text = (
        "globalThis.searchIndex = "
        + json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
        + ";\n"
    )
    (folder / "search-index.js").write_text(text, encoding="utf-8", newline="\n")


def entries_of(path):  # a framed page -> [{title, heading, url, text, weight}]
    page = path.read_text(encoding="utf-8")
    title = site_frame.words_of(re.search(r"<title>(.*?)</title>", page)[1])
    main = re.search(r"<main[^>]*>(.*)</main>", page, re.DOTALL)[1]
    weight = 25 if "data-lesson=" in page else WEIGHTS.get(path.stem, 0)

    def entry(heading, part, markup):
        text = site_frame.words_of(SKIPPED.sub(" ", markup))[:MOST]
        url = path.name + (f"#{part}" if part else "")
        return {"title": title, "heading": heading, "url": url, "text": text, "weight": weight}

    if path.stem == "glossary":
        return [
            entry(site_frame.words_of(word), name, said) for name, word, said in ROW.findall(main)
        ]
    _, *sections = re.split(r"(?=<h[123] id=)", main)
    found = []
    for n, section in enumerate(sections):
        _, _, name, words = site_frame.HEADING.match(section).groups()
        found.append(
            entry(
                site_frame.words_of(words), name if n else "", section[section.index("</h") + 5 :]
            )
        )
    return found
