"""The ledger: published figures and popular claims about LoRA, each recomputed and judged when it is asked for.

data/ledger.toml has one [[claim]] per row:

    id, says        its name; what is claimed, in a sentence
    source          paper and table, or the kind of page where it circulates
    published       the figure as printed: "0.3M", "10,000x", "10-100 MB"
    compare         "rounded" (the default): our number, rounded to the digits printed, is the published one
                    "within": it differs by at most `factor` (a loose claim: "roughly", "about")
                    "at most", "at least", "between": the published figure is a bound
                    "every seed": `published` is a finding in words; our number, a percentage of seeds, is 100
    cases           configurations that could give the figure: {when, formula}, and in a case
                    binary = true: K, M, G are powers of 1024; truncated = true: digits cut off, not rounded
    results         the experiment whose committed results the cases read: its file and command are printed
    assumption      what the cases take for granted that the source does not say
    evidence        numbers that inform but do not decide: {when, formula}, and `unit` when it is not the published one
    note            what is known besides

The verdict is never written down. It follows from the numbers: see `judge`.
"""

import re
import tomllib
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from ...errors import FormatError
from ...files.shipped import shipped
from .formulas import evaluate

REPRODUCES = "reproduces"
ASSUMING = "reproduces under a stated assumption"
NOT = "does not reproduce"
UNSUPPORTED = "unsupported"
VERDICTS = (REPRODUCES, ASSUMING, NOT, UNSUPPORTED)

POWERS = {"": 0, "K": 1, "M": 2, "B": 3, "G": 3, "T": 4}
COMPARISONS = ("rounded", "within", "at most", "at least", "between", "every seed")
TEXTS = ("id", "says", "source", "published", "results", "note")
KEYS = {*TEXTS, "compare", "factor", "cases", "assumption", "evidence"}
CASE_KEYS = {"when", "formula", "binary", "truncated", "unit"}


@dataclass(frozen=True)
class Published:
    """A printed figure: "175,255.8M" is 175255.8 with 1 decimal and prefix "M"; "10-100 MB" has a second number."""

    low: Decimal
    high: Decimal
    decimals: int
    prefix: str
    unit: str
    space: str  # between the number and what follows it

    def scale(self, binary):
        return (1024 if binary else 1000) ** POWERS[self.prefix]


@dataclass(frozen=True)
class Case:
    """A configuration, computed. value: in the plain unit (parameters, bytes, percent, seconds)."""

    when: str
    formula: str
    value: float
    steps: list
    shown: str  # in the published figure's unit
    holds: bool | None  # None for evidence


@dataclass(frozen=True)
class Claim:
    id: str
    says: str
    source: str
    published: str
    compare: str
    factor: float | None
    cases: list
    evidence: list
    own_assumption: str
    results: str
    note: str

    @property
    def verdict(self):
        return judge(self.cases, self.own_assumption)

    @property
    def assumption(self):
        """What is assumed: what the row says, and, where only some cases hold, which ones do."""
        if self.verdict != ASSUMING:
            return ""
        stated = [self.own_assumption] if self.own_assumption else []
        if not all(c.holds for c in self.cases):
            stated.append(" or ".join(c.when for c in self.cases if c.holds))
        return "; ".join(stated)


def judge(cases, assumption):  # [Case], str -> verdict
    """unsupported         there is nothing to compute: no source, or no configuration, gives the figure
    does not reproduce     no configuration gives it
    reproduces             every configuration that the claim covers gives it
    ... under a stated     some do, which are named; or all do, granted an assumption that the source leaves out
    assumption
    """
    if not cases:
        return UNSUPPORTED
    if not any(c.holds for c in cases):
        return NOT
    return REPRODUCES if all(c.holds for c in cases) and not assumption else ASSUMING


def claims(path=None):  # -> [Claim]
    """Every row, recomputed now. path: another file than the shipped one. Raises FormatError for a malformed row."""
    path = path or shipped("ledger.toml")
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("claim", [])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"{path}: not TOML: {error}") from error
    made = [_claim(row, f"{path}: claim {i + 1}") for i, row in enumerate(rows)]
    names = [c.id for c in made]
    if twice := [n for n in names if names.count(n) > 1]:
        raise FormatError(f"{path}: the id {twice[0]!r} stands twice")
    return made


def _claim(row, where):
    missing = {"id", "says", "source", "published"} - row.keys()
    if missing or row.keys() - KEYS:
        raise FormatError(f"{where}: missing {sorted(missing)}, unknown {sorted(row.keys() - KEYS)}")
    where = f"{where} ({row['id']})"
    compare = row.get("compare", "rounded")
    if compare not in COMPARISONS or (compare == "within") != ("factor" in row):
        raise FormatError(f"{where}: compare is one of {', '.join(COMPARISONS)}; `factor` belongs to 'within'")
    published = SEEDS if compare == "every seed" else parse(row["published"], where)
    decide = [_case(c, published, compare, row.get("factor"), where) for c in row.get("cases", [])]
    inform = [_case(c, published, None, None, where) for c in row.get("evidence", [])]
    texts = {key: row.get(key, "") for key in TEXTS}
    own = row.get("assumption", "")
    return Claim(
        compare=compare, factor=row.get("factor"), cases=decide, evidence=inform, own_assumption=own, **texts
    )  # fmt: skip


def _case(case, published, compare, factor, where):
    if not {"when", "formula"} <= case.keys() <= CASE_KEYS:
        raise FormatError(f"{where}: a case has {', '.join(sorted(CASE_KEYS))}; found {', '.join(sorted(case))}")
    value, steps = evaluate(case["formula"])
    binary = case.get("binary", False)
    ours = Decimal(value) / published.scale(binary)
    holds = compare and compares(ours, published, compare, factor, case.get("truncated", False))
    if "unit" in case:
        printed = f"{significant(Decimal(value))} {case['unit']}".strip()
    else:
        prefix = published.prefix + ("i" if binary and published.prefix else "")
        printed = significant(ours) + published.space + prefix + published.unit
    return Case(case["when"], case["formula"], value, steps, printed, holds)


def significant(number):  # Decimal -> "9,250.87", "0.2949": to hundredths, or to four digits below 100
    return f"{number:,.4g}" if abs(number) < 100 else f"{number:,.2f}".rstrip("0").rstrip(".")


def compares(ours, published, compare, factor, truncated):  # Decimal, Published, ... -> bool
    """Whether our number, in the published unit, is what was published."""
    if compare == "rounded":
        unit = Decimal(1).scaleb(-published.decimals)
        return ours.quantize(unit, ROUND_DOWN if truncated else ROUND_HALF_EVEN) == published.low
    if compare == "within":
        return published.low / Decimal(str(factor)) <= ours <= published.low * Decimal(str(factor))
    return {
        "at most": ours <= published.low,
        "at least": ours >= published.low,
        "between": published.low <= ours <= published.high,
        "every seed": ours == 100,
    }[compare]


def parse(text, where):  # "0.3M", "10-100 MB", "175,255.8M" -> Published
    found = re.fullmatch(r"([\d,]*\.?\d+)(?:-([\d,]*\.?\d+))?( ?)([KMBGT]?)(|B|x|%|ms|bit)", text)
    if not found:
        raise FormatError(f"{where}: {text!r} is not a figure such as 0.3M, 10,000x, 0.01%, 10-100 MB or 4 bit")
    low, high, space, prefix, unit = found.groups()
    decimals = len(low.partition(".")[2])
    low, high = (Decimal(n.replace(",", "")) for n in (low, high or low))
    return Published(low, high, decimals, prefix, unit, space)


SEEDS = Published(Decimal(100), Decimal(100), 0, "", "% of the seeds", "")
