"""What fits into a given memory, and what would make the rest fit."""

from dataclasses import dataclass
from functools import partial

from .cards import GIB, OVERHEAD
from .memory import budget, budgets

STEP = 128  # tokens: lengths are tried in multiples of it


@dataclass(frozen=True)
class Answer:
    """One method. total: bytes at the peak with recomputation; remedies: changes that make it fit, as sentences; empty
    when it fits, or when nothing helps."""

    method: str
    total: int
    fits: bool
    remedies: tuple


def answers(count, batch: int, length: int, dtype: str, gib: float, overhead: float = OVERHEAD) -> list:
    """An Answer for each method on a device of `gib` GiB, of which `overhead` are not free for arrays."""
    room = int((gib - overhead) * GIB)
    found = []
    for made in budgets(count, batch, length, dtype):
        plan = partial(_plan, made.method, count, dtype)
        fits = made.total_recomputed <= room
        remedies = () if fits else tuple(_remedies(plan, batch, length, room))
        found.append(Answer(made.method, made.total_recomputed, fits, remedies))
    return found


def _plan(method, count, dtype, batch, length, flash=False):
    return budget(method, count, batch, length, dtype, flash).recomputed


def _remedies(plan, batch, length, room):
    """Each change alone that is enough; if none is, the longest sequence with a chunked loss."""
    chunked = plan(batch, length).with_chunked_loss.peak.bytes
    if chunked <= room:
        yield f"a chunked loss: {chunked / GIB:.1f} GiB"
    flash = plan(batch, length, flash=True).peak.bytes
    if flash <= room:
        yield f"flash attention: {flash / GIB:.1f} GiB"
    if smaller := largest(lambda b: plan(b, length).peak.bytes <= room, batch):
        yield f"--batch {smaller}"
    elif shorter := largest(lambda n: plan(1, n * STEP).peak.bytes <= room, length // STEP):
        yield f"--batch 1 --length {shorter * STEP}" if batch > 1 else f"--length {shorter * STEP}"
    elif chunked > room and (
        n := largest(lambda n: plan(1, n * STEP).with_chunked_loss.peak.bytes <= room, length // STEP)
    ):
        yield f"a chunked loss and --batch 1 --length {n * STEP}"


def largest(fits, below: int) -> int:
    """The largest whole number under `below` that fits, by halving; 0 when 1 does not."""
    low, high = 0, max(below, 1)  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
