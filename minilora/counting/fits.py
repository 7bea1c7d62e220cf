"""What fits into a given memory, and what would make the rest fit."""

from dataclasses import dataclass
from functools import partial

from .cards import GIB, OVERHEAD, on_each
from .engine import OVERHEAD as OWN_OVERHEAD
from .engine import own_budget, own_methods
from .memory import budget, gathered, methods_of

OWN_LEAN = "--checkpointing --chunked-loss"
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
    found = []
    for method in methods_of(count.architecture, dtype):
        plan = partial(_plan, method, count, dtype)
        changes = {"a chunked loss": lambda b, n, plan=plan: plan(b, n).with_chunked_loss,
                   "flash attention": partial(plan, flash=True)}  # fmt: skip
        size = partial(on_each, gathered=gathered(count.architecture, method), n=cards)
        found.append(_answer(method, plan, changes, "a chunked loss", batch, length, gib - OVERHEAD, size))
    return found


def own_answers(count, batch: int, length: int, gib: float, quantize: str | None = None) -> list:
    """An Answer for each method of minilora's engine, where `gib` GiB are free; quantize: see engine.own_budget. Raises
    ConfigError for a family that minilora cannot train."""
    found = []
    for method in own_methods(count.architecture, quantize):
        plan = partial(_own_plan, method, count, quantize)
        changes = {"--checkpointing": partial(plan, again=True), "--chunked-loss": partial(plan, chunked=True),
                   OWN_LEAN: partial(plan, again=True, chunked=True)}  # fmt: skip
        size = partial(on_each, gathered=0, n=1)
        found.append(_answer(method, plan, changes, OWN_LEAN, batch, length, gib - OWN_OVERHEAD, size))
    return found


def _plan(method, count, dtype, batch, length, flash=False):
    return budget(method, count, batch, length, dtype, flash).recomputed


def _own_plan(method, count, quantize, batch, length, again=False, chunked=False):
    made = own_budget(method, count, batch, length, chunked, quantize)
    return made.recomputed if again else made.kept


def _answer(method, plan, changes, lean, batch, length, gib, size):
    """plan, and each of the `changes` by its words: function batch, length -> Plan; lean: the words of the one that
    takes least; size: Plan -> bytes on each card."""
    total, room = size(plan(batch, length)), int(gib * GIB)
    fits = total <= room
    return Answer(method, total, fits, () if fits else tuple(_remedies(plan, changes, lean, batch, length, room, size)))


def _remedies(plan, changes, lean, batch, length, room, size):
    """Each change alone that is enough; if none is, the longest sequence with the leanest one."""
    sizes = {words: size(change(batch, length)) for words, change in changes.items()}
    enough = [words for words, n in sizes.items() if n <= room]
    for words in enough:
        if not any(other != words and other in words for other in enough):  # not both where one will do
            yield f"{words}: {sizes[words] / GIB:.1f} GiB"
    if smaller := largest(lambda b: size(plan(b, length)) <= room, batch):
        yield f"--batch {smaller}"
    elif shorter := largest(lambda n: size(plan(1, n * STEP)) <= room, length // STEP):
        yield f"--batch 1 --length {shorter * STEP}" if batch > 1 else f"--length {shorter * STEP}"
    elif not enough and (both := largest(lambda n: size(changes[lean](1, n * STEP)) <= room, length // STEP)):
        yield f"{lean} and --batch 1 --length {both * STEP}"


def largest(fits, below: int) -> int:
    """The largest whole number under `below` that fits, by halving; 0 when 1 does not."""
    low, high = 0, max(below, 1)  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
