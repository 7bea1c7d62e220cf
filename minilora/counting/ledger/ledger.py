"""The ledger: published figures and popular claims about LoRA, each recomputed and judged when it is asked for.

data/ledger.toml has one [[claim]] per row:

    id, says        its name; what is claimed, in a sentence
    also            other words for it, as they are found on pages: a search finds the row by them
    source          paper and table, or the kind of page where it circulates
    published       the figure as printed: "0.3M", "10,000x", "10-100 MB"; or words: "a consumer GPU"
    counted         a figure that we count such words as: "24 GB"
    compare         "rounded" (the default): our number, rounded to the digits printed, is the published one
                    "within": it differs by at most `factor` (a loose claim: "roughly", "about")
                    "footprint": a measured figure, at most `factor` times our bytes
                    "at most", "at least", "between": the figure is a bound
                    "every seed": `published` is a finding in words; our number, a percentage of seeds, is 100
    cases           configurations that could give the figure: {when, formula}, and in a case
                    binary = true: K, M, G are powers of 1024; truncated = true: digits cut off, not rounded;
                    source = true: the formula has the source's own numbers alone
    results         the experiment whose committed results the cases read: its file and command are printed
    assumption      what the cases take for granted that the source does not say; always printed
    evidence        numbers that inform but do not decide: {when, formula}, and `unit` when it is not the published one.
                    on_card(...) in a formula is what `python -m benchmarks.gpu` measured, once a card ran it
    note            what is known besides

The ledger contains no verdict. It follows from the numbers: see judge.py.
"""

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ...errors import FormatError
from ...files.shipped import shipped
from .formulas import evaluate
from .judge import (
    COMPARISONS,
    NOT,
    ROUNDING,
    SEEDS,
    UNTESTED,
    WITH_FACTOR,
    Case,
    Published,
    compares,
    judge,
    miss,
    parse,
    significant,
)
from .judge import VERDICTS as VERDICTS
from .measured import NotMeasured

TEXTS = ("id", "says", "source", "published", "counted", "results", "note")
KEYS = {*TEXTS, "also", "compare", "factor", "cases", "assumption", "evidence"}
CASE_KEYS = {"when", "formula", "binary", "truncated", "unit", "source"}


@dataclass(frozen=True)
class Claim:
    id: str
    says: str
    also: list
    source: str
    published: str
    counted: str
    compare: str
    factor: float | None
    cases: list
    evidence: list
    own_assumption: str
    results: str
    note: str

    @property
    def verdict(self) -> str:
        return judge(self.cases, self.compare, self.own_assumption, bool(self.results))

    @property
    def assumption(self) -> str:
        """What is assumed: what the row states, and, where only some cases hold, which ones do."""
        stated = [self.own_assumption] if self.own_assumption else []
        held = [c for c in self.cases if c.holds]
        if held and len(held) < len(self.cases):
            stated.append(" or ".join(c.when for c in held))
        return "; ".join(stated)

    @property
    def off(self) -> float | None:
        """By how many percent the nearest case misses the figure, where none gives it."""
        misses = [c.off for c in self.cases if c.off is not None]
        return min(misses) if misses and self.verdict in (ROUNDING, NOT) else None

    @property
    def ours(self) -> str:
        """Our number: of the first case that gives the figure, or else of the nearest."""
        if self.verdict == UNTESTED:
            return ""
        held = [c for c in self.cases if c.holds]
        return held[0].shown if held else min(self.cases, key=lambda c: c.off or 0).shown


def claims(path: Path | None = None) -> list:
    """Every row, recomputed now. path: another file than the shipped one. Raises FormatError for a malformed row."""
    path = path or shipped("ledger.toml")
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("claim", [])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"{path}: not TOML: {error}") from error
    made = [_claim(row, f"{path}: claim {i + 1}") for i, row in enumerate(rows)]
    names = [c.id for c in made]
    if twice := [n for n in names if names.count(n) > 1]:
        raise FormatError(f"{path}: the id {twice[0]!r} is there twice")
    return made


def _claim(row, where):
    missing = {"id", "says", "source", "published"} - row.keys()
    if missing or row.keys() - KEYS:
        raise FormatError(f"{where}: missing {sorted(missing)}, unknown {sorted(row.keys() - KEYS)}")
    where = f"{where} ({row['id']})"
    compare, factor, own = row.get("compare", "rounded"), row.get("factor"), row.get("assumption", "")
    if compare not in COMPARISONS or (compare in WITH_FACTOR) != ("factor" in row):
        raise FormatError(
            f"{where}: compare is one of {', '.join(COMPARISONS)}; `factor` belongs to {' and '.join(WITH_FACTOR)}"
        )
    if not row.get("cases") and not row.get("note"):
        raise FormatError(f"{where}: a row without `cases` says in its `note` why")
    if row.get("results") and not own:
        raise FormatError(f"{where}: results of a small model need an `assumption`")
    figure = _figure(row, compare, where)
    decide = [_case(c, figure, compare, factor, where) for c in row.get("cases", [])]
    inform = [_case(c, figure, None, None, where) for c in row.get("evidence", [])]
    texts = {key: row.get(key, "") for key in TEXTS}
    return Claim(
        also=row.get("also", []), compare=compare, factor=factor, cases=decide, evidence=inform, own_assumption=own,
        **texts,
    )  # fmt: skip


def _figure(row, compare, where) -> Published:
    """What our numbers are compared with: the printed figure, or the one that its words are counted as."""
    words_alone = "counted" not in row and not row.get("cases") and not row["published"][:1].isdigit()
    return SEEDS if compare == "every seed" or words_alone else parse(row.get("counted", row["published"]), where)


def _case(case, figure, compare, factor, where) -> Case:
    if not {"when", "formula"} <= case.keys() <= CASE_KEYS:
        raise FormatError(f"{where}: a case has {', '.join(sorted(CASE_KEYS))}; found {', '.join(sorted(case))}")
    try:
        value, steps = evaluate(case["formula"])
    except NotMeasured:
        if compare:
            raise FormatError(
                f"{where}: what a card measured is evidence, not a case: no card may have run it"
            ) from None
        return Case(case["when"], case["formula"], None, [], "not measured on a card", None)
    binary = case.get("binary", False)
    ours = Decimal(value) / figure.scale(binary)
    holds = compare and compares(ours, figure, compare, factor, case.get("truncated", False))
    if "unit" in case:
        printed = f"{significant(Decimal(value))} {case['unit']}".strip()
    else:
        prefix = figure.prefix + ("i" if binary and figure.prefix else "")
        printed = significant(ours) + figure.space + prefix + figure.unit
    off = miss(ours, figure, compare) if compare and not holds else None
    return Case(case["when"], case["formula"], value, steps, printed, holds, off, case.get("source", False))
