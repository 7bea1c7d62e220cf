"""What fits into a given memory, and what would make the rest fit."""

from dataclasses import dataclass
from functools import partial

from .cards import GIB, OVERHEAD, on_each
from .engine import OVERHEAD as OWN_OVERHEAD
from .engine import own_budget, own_methods
from .memory import budget, gathered, methods_of

STEP = 128  # tokens: lengths are tried in multiples of it


@dataclass(frozen=True)
class Answer:
    """One method. total: bytes at the peak, on each card; remedies: changes that make it fit, as phrases; none when it
    fits, or when nothing helps."""

    method: str
    total: int
    fits: bool
    remedies: tuple


def answers(count, batch: int, length: int, dtype: str, gib: float, cards: int = 1) -> list:
    """An Answer for each method of Hugging Face's engine, activations recomputed, on cards of `gib` GiB. Several cards
    share as in cards.on_each, and each trains on `batch` sequences of its own."""
    room = int((gib - OVERHEAD) * GIB)
    return [
        _answer(method, partial(_plan, method, count, dtype), batch, length, room,
                partial(on_each, gathered=gathered(count.architecture, method), n=cards))
        for method in methods_of(count.architecture, dtype)
    ]  # fmt: skip


def own_answers(count, batch: int, length: int, gib: float) -> list:
    """An Answer for each method of minilora's engine, where `gib` GiB are free. Raises ConfigError for a family that
    minilora cannot train."""
    room = int((gib - OWN_OVERHEAD) * GIB)
    return [
        _answer(method, partial(_own_plan, method, count), batch, length, room, partial(on_each, gathered=0, n=1))
        for method in own_methods(count.architecture)
    ]


def _plan(method, count, dtype, batch, length, flash=False):
    return budget(method, count, batch, length, dtype, flash).recomputed


def _own_plan(method, count, batch, length, flash=False):
    return own_budget(method, count, batch, length).kept


def _answer(method, plan, batch, length, room, size):  # size: Plan -> bytes on each card
    total = size(plan(batch, length))
    fits = total <= room
    return Answer(method, total, fits, () if fits else tuple(_remedies(plan, batch, length, room, size)))


def _remedies(plan, batch, length, room, size):
    """Each change alone that is enough; if none is, the longest sequence with a chunked loss."""
    chunked = size(plan(batch, length).with_chunked_loss)
    if chunked <= room:
        yield f"a chunked loss: {chunked / GIB:.1f} GiB"
    flash = size(plan(batch, length, flash=True))
    if flash <= room:
        yield f"flash attention: {flash / GIB:.1f} GiB"
    if smaller := largest(lambda b: size(plan(b, length)) <= room, batch):
        yield f"--batch {smaller}"
    elif shorter := largest(lambda n: size(plan(1, n * STEP)) <= room, length // STEP):
        yield f"--batch 1 --length {shorter * STEP}" if batch > 1 else f"--length {shorter * STEP}"
    elif chunked > room and (
        both := largest(lambda n: size(plan(1, n * STEP).with_chunked_loss) <= room, length // STEP)
    ):
        yield f"a chunked loss and --batch 1 --length {both * STEP}"


def largest(fits, below: int) -> int:
    """The largest whole number under `below` that fits, by halving; 0 when 1 does not."""
    low, high = 0, max(below, 1)  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
