"""How a claim is judged: what was published, our number beside it, and the verdict that follows.

The scale, from best to worst:

    reproduces                             our own number, from every configuration that the claim covers, is the figure
    reproduces under a stated assumption   some configurations give it, which are named; or all do, granted an
                                           assumption that the source leaves out
    consistent in itself                   the figure follows from the source's own numbers; nothing of ours is in it
    measured, above what is counted        a measured footprint: our bytes are in it, and what runs around them
    off by rounding                        our number is within 1.5% of the figure, but does not round to it
    not seen in small                      a finding about large models that our small experiment does not show
    does not reproduce                     no configuration gives it
    not tested here                        nothing here computes or measures it; others' measurements may be evidence
"""

import re
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from ...errors import FormatError

REPRODUCES = "reproduces"
ASSUMING = "reproduces under a stated assumption"
CONSISTENT = "consistent in itself"
MEASURED = "measured, above what is counted"
ROUNDING = "off by rounding"
SMALL = "not seen in small"
NOT = "does not reproduce"
UNTESTED = "not tested here"
VERDICTS = {  # verdict -> its short name, in tables and for `minilora claims --verdict`
    REPRODUCES: "reproduces",
    ASSUMING: "assuming",
    CONSISTENT: "consistent",
    MEASURED: "measured",
    ROUNDING: "rounding",
    SMALL: "not-in-small",
    NOT: "does-not",
    UNTESTED: "not-tested",
}

MOST_BY_ROUNDING = 1.5  # percent
POWERS = {"": 0, "K": 1, "M": 2, "B": 3, "G": 3, "T": 4}
COMPARISONS = ("rounded", "within", "footprint", "at most", "at least", "between", "every seed")
WITH_FACTOR = ("within", "footprint")


@dataclass(frozen=True)
class Published:
    """A printed figure: "175,255.8M" is 175255.8 with 1 decimal and prefix "M"; "10-100 MB" has a second number."""

    low: Decimal
    high: Decimal
    decimals: int
    prefix: str
    unit: str
    space: str  # between the number and what follows it

    def scale(self, binary: bool) -> int:
        return (1024 if binary else 1000) ** POWERS[self.prefix]


SEEDS = Published(Decimal(100), Decimal(100), 0, "", "% of seeds", "")


@dataclass(frozen=True)
class Case:
    """A configuration, computed. value: in the plain unit (parameters, bytes, percent, seconds); None: not measured."""

    when: str
    formula: str
    value: float | None
    steps: list
    shown: str  # in the published figure's unit
    holds: bool | None  # None for evidence
    off: float | None = (
        None  # by how many percent our number misses the figure; None for evidence and findings in words
    )
    source: bool = False  # the formula has the source's own numbers alone


def judge(cases: list, compare: str, assumption: str, in_small: bool) -> str:
    """The verdict. in_small: the cases are an experiment on a small model."""
    held = [c for c in cases if c.holds]
    if not cases:
        return UNTESTED
    if not held:
        if in_small:
            return SMALL
        misses = [c.off for c in cases if c.off is not None]
        return ROUNDING if compare == "rounded" and misses and min(misses) <= MOST_BY_ROUNDING else NOT
    if compare == "footprint":
        return MEASURED
    if all(c.source for c in held):
        return CONSISTENT
    return REPRODUCES if len(held) == len(cases) and not assumption else ASSUMING


def compares(ours: Decimal, published: Published, compare: str, factor: float | None, truncated: bool) -> bool:
    """Whether our number, in the published unit, is what was published."""
    if compare == "rounded":
        unit = Decimal(1).scaleb(-published.decimals)
        return ours.quantize(unit, ROUND_DOWN if truncated else ROUND_HALF_EVEN) == published.low
    if compare == "within":
        return published.low / Decimal(str(factor)) <= ours <= published.low * Decimal(str(factor))
    if compare == "footprint":
        return ours <= published.low <= ours * Decimal(str(factor))
    return {
        "at most": ours <= published.low,
        "at least": ours >= published.low,
        "between": published.low <= ours <= published.high,
        "every seed": ours == 100,
    }[compare]


def miss(ours: Decimal, published: Published, compare: str) -> float | None:
    """By how many percent of the figure, or of the nearer bound, our number misses it."""
    if compare == "every seed" or not published.low:
        return None
    low, high = published.low, published.high
    if compare == "at most":
        low = min(ours, high)
    if compare == "at least":
        high = max(ours, low)
    nearest = min(max(ours, low), high)
    return float(abs(ours / nearest - 1) * 100)


def parse(text: str, where: str) -> Published:
    """ "0.3M", "10-100 MB", "175,255.8M", "10,000x". Raises FormatError."""
    found = re.fullmatch(r"([\d,]*\.?\d+)(?:-([\d,]*\.?\d+))?( ?)([KMBGT]?)(|B|x|%|ms|bit|cards)", text)
    if not found:
        raise FormatError(f"{where}: {text!r} is not a figure such as 0.3M, 10,000x, 0.01%, 10-100 MB or 4 bit")
    low, high, space, prefix, unit = found.groups()
    decimals = len(low.partition(".")[2])
    low, high = (Decimal(n.replace(",", "")) for n in (low, high or low))
    return Published(low, high, decimals, prefix, unit, space)


def significant(number: Decimal) -> str:
    """ "9,250.87", "0.2949": to hundredths, or to four digits below 100."""
    return f"{number:,.4g}" if abs(number) < 100 else f"{number:,.2f}".rstrip("0").rstrip(".")
