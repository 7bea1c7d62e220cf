"""The words of the glossary, linked from their first use in each lesson."""

import re
from pathlib import Path

HERE = Path(__file__).parent
UNLINKED = re.compile(  # code, formulas, links, headings, the lines of facts under a title, questions
    r"(```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\[[^]]*\]\([^)]*\)|^#.*?$|^\*[^*]+\*$|<details>.*?</details>)",
    re.DOTALL | re.MULTILINE,
)
OF_A_WORD = re.compile(r'\[([^]]*)\]\((?:\.\./)?glossary\.md#[^ ]* "[^"]*"\)')
PAGE_OF_A_WORD = re.compile(r'<a href="glossary\.md#')


def glossary():  # -> {word: (anchor, sentence)}, of each row and each word in a row with several
    found = {}
    text = (HERE / "glossary.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \|", text, re.MULTILINE):
        for word in re.split(r", ", re.sub(r" \(.*", "", row[0])):
            found[word] = anchor(row[0]), row[1]
    return found


def anchor(word):
    plus = word.lower().replace("+", " plus")  # LoRA+ is another word than LoRA
    return re.sub(r"\W+", "-", plus).strip("-")


def linked(texts, folder=""):  # markdown of each cell of a lesson -> the same with links
    """The first use of each word of the glossary leads to its entry, and shows its sentence under the mouse.

    folder: where glossary.md is, seen from the notebook: "" or "../".
    """
    words = glossary()
    longest_first = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w-])({longest_first})(s?)(?![\w-])", re.IGNORECASE)
    by_lower, seen = {w.lower(): entry for w, entry in words.items()}, set()

    def link(match):
        where, sentence = by_lower[match[1].lower()]
        if where in seen:
            return match[0]
        seen.add(where)
        return f'[{match[0]}]({folder}glossary.md#{where} "{re.sub(r"[*`]", "", sentence)}")'

    def linked_text(text):
        pieces = UNLINKED.split(text)  # text, what is not linked, text, ...
        return "".join(p if i % 2 else pattern.sub(link, p) for i, p in enumerate(pieces))

    return [linked_text(text) for text in texts]


def without_links(markdown):
    """The text as it was before `linked`."""
    return OF_A_WORD.sub(r"\1", markdown)


def linked_to_glossary(
    body,
):  # the html of a lesson's markdown: its links lead to the page of the glossary
    return PAGE_OF_A_WORD.sub('<a class="word" href="glossary.html#', body)
