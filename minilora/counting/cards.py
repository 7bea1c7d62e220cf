"""GPUs: how much memory the driver reports, and whether a training fits."""

from ..errors import ConfigError

GIB = 2**30
# GB on the label -> GiB that nvidia-smi reports. T4: 15; L4, A10: 22.5 (sold as 16 and 24); 32: RTX 5090; 45: L40S, A40
# (sold as 48); 80: H100; 96: RTX PRO 6000; 141: H200; 192: B200
CARDS = {
    8: 8.0, 12: 12.0, 15: 15.0, 16: 16.0, 22.5: 22.49, 24: 24.0, 32: 31.84, 40: 40.0, 45: 44.99, 48: 48.0, 80: 79.65,
    96: 95.59, 141: 140.40, 192: 179.06,
}  # fmt: skip
LESS = {16: (15, "a T4"), 24: (22.5, "an L4 or an A10"), 48: (45, "an L40S or an A40")}  # sold so, with less
CONTEXT, ALLOCATOR = 1.0, 0.5  # GiB: the CUDA context with its libraries and the driver's part; blocks held back
OVERHEAD = CONTEXT + ALLOCATOR
SEVERAL = 80  # the card that is counted when one is not enough
MOST = 1024  # of those
COPIES = "16-bit copies of weights"


def verdict(needed: int, gb: float) -> str:
    """Whether `needed` bytes fit a card of CARDS: "fits" with the OVERHEAD, "tight" with the CONTEXT alone, or "no"."""
    free = CARDS[gb] - needed / GIB
    return "fits" if free >= OVERHEAD else "tight" if free >= CONTEXT else "no"


def smallest_card(needed: int) -> float | None:
    """The smallest of CARDS that fits `needed` bytes."""
    return next((gb for gb in CARDS if verdict(needed, gb) == "fits"), None)


def on_each(plan, gathered: int, n: int) -> int:
    """Bytes of a Plan on each of n cards. They share weights, gradients and optimizer evenly (FSDP, ZeRO 3), and each
    has the activations of its own sequences.

    gathered: bytes of the weights that each card holds whole at a moment, in place of COPIES.
    """
    if n == 1:
        return plan.peak.bytes
    own = [
        sum(i.bytes for i in m.rest if i.name != COPIES) - -sum(i.bytes for i in m.states) // n for m in plan.moments
    ]
    return gathered + max(own)


def cards_needed(plan, gathered: int) -> int | None:
    """How many cards of SEVERAL GB a Plan needs, or None where what each card has for itself does not fit."""
    room = (CARDS[SEVERAL] - OVERHEAD) * GIB
    return next((n for n in range(1, MOST + 1) if on_each(plan, gathered, n) <= room), None)


def as_cards(text: str) -> tuple[int, float]:
    """ "24" -> (1, 24.0), "2x48" -> (2, 48.0). Raises ConfigError."""
    number, _, label = text.lower().replace(" ", "").rpartition("x")
    names = {f"{gb:g}": gb for gb in CARDS}
    if label.removesuffix("gb") not in names or not (number or "1").isdecimal() or not 1 <= int(number or 1) <= MOST:
        raise ConfigError(f"--card {text[:40]!r}: expected a card of {', '.join(names)} GB, or several as 2x48")
    return int(number or 1), names[label.removesuffix("gb")]
