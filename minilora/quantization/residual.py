"""A weight in two parts: its largest directions in float32, and only the rest in 4 or 8 bits.

    W' = s · B A + Q(W - s · B A)        A (r, in), B (out, r), the part that PiSSA or OLoRA takes out of W to train it

Q's error grows with the largest number of a block. The rest has smaller ones than W, so W' is nearer to W than Q(W) is
(PiSSA, arXiv 2404.02948, section 4). The paper forgets W and keeps the rest alone. Here the part stays beside the rest,
so that this is a base like any other: W' without its adapter, and PiSSA subtracts its start as it does everywhere.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .stored import Stored, operand


class Part(NamedTuple):
    """s · B A, what is kept of a weight in float32. start: the init_lora_weights that chose it."""

    A: Any  # (r, in)
    B: Any  # (out, r)
    scaling: float
    start: str


class Residual(Stored):
    """A weight (out, in): the numbers of a Part, and `rest`, which is a FourBit or Int8."""

    arrays = ("A", "B")

    def __init__(self, rest, part: Part):
        self.shape, self.step, self.rest = rest.shape, rest.step, rest
        self.A, self.B, self.scaling, self.start = part

    @classmethod
    def of(cls, W, store, take) -> "Residual":  # (out, in)
        """The array W. store: function (out, in) array -> Stored; take: function (out, in) float32 array -> Part."""
        W = np.ascontiguousarray(W, dtype=np.float32)
        part = take(W)
        return cls(store(W - np.float32(part.scaling) * (part.B @ part.A)), part)

    def again(self, W) -> Stored:  # (out, in)
        """Another weight in the format of the rest, without a part."""
        return self.rest.again(W)

    def rows(self, start, stop, kind="float32"):
        W = self.rest.rows(start, stop)
        W += (self.B[start:stop] * np.float32(self.scaling)) @ self.A
        return operand(W, kind)

    @property
    def nbytes(self) -> int:
        return super().nbytes + self.rest.nbytes

    def move(self, device: str) -> None:
        super().move(device)
        self.rest.move(device)


def keep_parts(model, takes: dict, layers: list[str]) -> None:
    """Let an unfilled model keep a Part of the weights of `layers`, which are those in 4 or 8 bits.

    takes: {path of a layer: see `Residual.of`}
    """
    for path in takes.keys() & set(layers):
        weight = model.get_submodule(path).weight
        weight.store = partial(Residual.of, store=weight.store, take=takes[path])
