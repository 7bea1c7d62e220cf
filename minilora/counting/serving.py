"""Serving one base to many tasks: memory of N adapters beside it, and what moves when the task changes."""

from dataclasses import dataclass

from .activations import Item
from .memory import DTYPES, four_bit


@dataclass(frozen=True)
class Serving:
    """memory: Items for base, adapters and cache; base_4bit: bytes of the base in 4 bit; bytes that a switch moves."""

    memory: tuple
    base_4bit: int
    switch_resident: int
    switch_load: int
    switch_merge: int

    @property
    def total(self) -> int:
        return sum(i.bytes for i in self.memory)

    @property
    def total_4bit(self) -> int:
        """The same with the base in 4 bit."""
        return self.base_4bit + sum(i.bytes for i in self.memory[1:])


def serving(count, adapters: int, batch: int, length: int, dtype: str) -> Serving:
    """Of a Count: `adapters` of this shape, one base, and a key/value cache for `batch` sequences of `length` tokens.

    switch_resident   every adapter is on the card and unmerged: a name changes, no byte moves
    switch_load       the adapter comes from the host: A and B
    switch_merge      W <- W + s B A: every adapted W is read and written
    """
    w = DTYPES[dtype]
    cached = sum(p.cached for p in count.architecture.parts)
    adapted = sum(p.weights for p in count.chosen)
    memory = (
        Item("base", f"{count.base:,} x {w} B", count.base * w),
        Item(f"{adapters:,} adapters", f"{adapters:,} x {count.trainable:,} x {w} B", adapters * count.trainable * w),
        Item("key/value cache", f"{batch:,} x {length:,} x {cached:,} x {w} B", batch * length * cached * w),
    )
    quantized, rest, _ = four_bit(count.architecture)
    return Serving(memory, quantized.bytes + rest.bytes, 0, count.trainable * w, 2 * adapted * w)
