"""`minilora claims`: the published figures and popular claims about LoRA, recomputed now and judged."""

import csv
import io
import json
import re
import shutil
import textwrap
from collections import Counter
from dataclasses import asdict

import click

from ..counting.ledger.judge import VERDICTS
from ..display.numbers import number_text
from ..errors import ConfigError, UnknownNameError

WIDTH = 80
COLUMNS = (12, 12, 12)  # of verdict, published, ours; what is claimed has the rest
FIELDS = ("id", "verdict", "off_percent", "published", "ours", "says", "source")


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option(
    "--verdict", "verdicts", multiple=True, type=click.Choice(list(VERDICTS.values())),
    help="Only rows with this verdict; may be given several times.",
)  # fmt: skip
@click.option("--details", is_flag=True, help="The arithmetic, assumptions and evidence of each row.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, one object per claim, with all details.")
@click.option("--csv", "as_csv", is_flag=True, help=f"One line per claim: {', '.join(FIELDS)}.")
def claims(words, verdicts, details, as_json, as_csv):
    """Recompute every published figure and popular claim in the ledger, and say which hold.

    One line a row: the verdict, the published figure, our number, and what is claimed. A row that is alone is shown
    with its source, the configurations that could give the figure, and their arithmetic; --details does so for all.

    With WORDs, only the rows that have them all: 70b, "consumer GPU", cheaper, 10,000x, QLoRA, a row's id. Words in
    quotes that no row has together are looked for one by one.
    """
    from ..counting.ledger.ledger import claims as recomputed

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other")
    wanted = verdicts or VERDICTS.values()
    rows = [claim for claim in recomputed() if VERDICTS[claim.verdict] in wanted]
    found = those_with(words, rows) or those_with(plain(" ".join(words)).split(), rows)
    if not found:
        of = f" of verdict {' or '.join(verdicts)}" if verdicts else ""
        said = f" has {' and '.join(map(repr, words))}" if words else ""
        raise UnknownNameError(f"no claim{of}{said}; `minilora claims` shows them all")
    if as_json:
        click.echo(json.dumps([as_row(claim) for claim in found], indent=2, ensure_ascii=False))
    elif as_csv:
        click.echo(as_lines(found), nl=False)
    elif details or len(found) == 1:
        click.echo("\n\n".join(in_detail(claim) for claim in found))
    else:
        click.echo("\n".join([*lines(found), "", *tally(found)]))


def as_row(claim) -> dict:
    from ..counting.ledger.measured import where

    row = {key: getattr(claim, key) for key in ("id", "says", "also", "source", "published", "counted", "compare")}
    row |= {"factor": claim.factor, "verdict": claim.verdict, "off_percent": claim.off, "ours": claim.ours}
    row |= {key: [asdict(case) for case in getattr(claim, key)] for key in ("cases", "evidence")}
    row |= {"assumption": claim.assumption, "results": where(claim.results) if claim.results else ""}
    return row | {"note": claim.note}


def as_lines(found) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_row(claim) for claim in found)
    return text.getvalue()


def those_with(words, rows) -> list:
    """The rows that have all the words, in what they say, in other words for it, in their source, name or figure."""
    texts = {row.id: plain(" | ".join((row.says, *row.also, row.source, row.id, row.published))) for row in rows}
    return [row for row in rows if all(plain(word) in texts[row.id] for word in words)]


def plain(text: str) -> str:
    """Without capitals, commas in numbers and hyphens, and with a unit beside its number: "10,000x" is found by 10000x,
    "single-GPU" by single GPU, "24 GB" by 24GB."""
    text = re.sub(r"[-\s]+", " ", re.sub(r"(?<=\d),(?=\d)", "", text.lower()))
    return re.sub(r"(?<=\d) (?=[kmgt]?i?b\b)", "", text)


# ---- one line a row


def lines(found):
    width = max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    rest = width - sum(COLUMNS) - 2 * len(COLUMNS)
    rows = [(VERDICTS[claim.verdict], claim.published, claim.ours or "-", claim.says) for claim in found]
    for *short, says in [("verdict", "published", "ours", "what"), *rows]:
        cells = [f"{cut(text, n):{side}{n}}" for text, n, side in zip(short, COLUMNS, "<>>", strict=True)]
        yield "  ".join([*cells, cut(says, rest)]).rstrip()


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def tally(found):
    counts = Counter(claim.verdict for claim in found)
    for verdict, word in VERDICTS.items():
        if counts[verdict]:
            yield f"{counts[verdict]:4} {word:12} {verdict}"
    yield "K, M, G, B, T: powers of 1,000; Ki, Mi, Gi: of 1,024. A 24 GB card has 24 GiB."
    yield "Details of a row: type its words until it is alone, or add --details."


# ---- all about a row


def in_detail(claim) -> str:
    from ..counting.ledger.measured import where

    off = f" ({percent(claim.off)} off)" if claim.off is not None else ""
    said = [folded(f"{claim.verdict.upper()}{off}: {claim.says}", "", 4)]
    rule = {"rounded": "", "within": f"within a factor of {claim.factor}", "every seed": "at every seed"}
    rule |= {"footprint": f"measured, at most {claim.factor} times what is counted"}
    counted = " ".join(filter(None, (rule.get(claim.compare, claim.compare), claim.counted)))
    said += entry("published", claim.published + (f" (counted: {counted})" if counted else ""))
    said += entry("source", claim.source) + entry("id", claim.id)
    shown = set()
    for mark, cases in (("", claim.cases), ("besides", claim.evidence)):
        for case in cases:
            said += entry(mark or ("yes" if case.holds else "no"), f"{case.shown}: {case.when}")
            for line in working(case):
                if line not in shown:  # a long sum once
                    said.append(folded(line, " " * 15, 17))
                shown.add(line)
    said += entry("results", where(claim.results)) if claim.results else []
    said += entry("assuming", claim.assumption) if claim.assumption else []
    said += entry("note", claim.note) if claim.note else []
    return "\n".join(said)


def percent(value: float) -> str:
    """0.0194 -> "0.02%", 85.49 -> "85%"."""
    return f"{value:.0f}%" if value >= 10 else f"{value:.1f}%" if value >= 1 else f"{value:.2f}%"


def entry(name: str, text: str) -> list:
    return [folded(text, f"  {name:10} ", 13)]


def folded(text: str, before: str, indent: int) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=before, subsequent_indent=" " * indent, break_on_hyphens=False
    )  # fmt: skip


def working(case) -> list:
    """The lines to redo by hand: how each function's number is made, then the formula, unless it is that function or a
    number alone."""
    if case.value is None:  # no card has measured it
        return []
    if case.steps and case.steps[0].startswith(f"{case.formula} = ") or re.fullmatch(r"[\d.]+", case.formula):
        return case.steps
    return [*case.steps, f"{case.formula} = {number_text(case.value, digits=6)}"]
