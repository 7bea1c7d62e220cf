"""Mixed precision: the products in 16 bits, the weights in 32 (Micikevicius et al. 2018, arXiv 1710.03740).

    w (float32)  ->  16 bits  ->  forward and backward, every result and gradient rounded to 16 bits
    w            <-  optimizer  <-  gradients, divided by the loss scale S

The *master weights* stay in float32 because 16 bits have no room for a small step: with bfloat16, 1 + 0.003 is 1. The
loss, softmax, norms and sums inside an operation are computed in float32; its result is rounded once, as fused kernels
on a GPU do.

*Loss scale*: float16 has no number between 0 and 6e-8, where many gradients are. So the loss, and with it every
gradient, is multiplied by S, and the optimizer divides by S again:

    some gradient is infinite or nan   skip the step, S <- S / 2
    2,000 good steps in a row          S <- 2 S, from 2^16 at the start

bfloat16 has the range of float32 and needs no scale. On a CPU the numbers of 16 bits lie in arrays of float32: the
values are those of the hardware, the speed is not. On a GPU the products with float16 weights are products of float16.
"""

import contextlib
import functools
import math
import operator
from collections.abc import Iterator, Mapping

import numpy as np

from ..autograd import rounded_by
from ..backend import array_module
from ..device.joined import side_by_side
from ..errors import TrainingError, UnknownNameError, nearest
from ..rounding import round_to

START, GROWTH_INTERVAL = 2.0**16, 2000
SMALLEST = 2.0**-14  # a loss scale below this cannot help: float16 itself overflows


class Precision:
    """Everything in float32, with nothing to scale; and what every precision has."""

    name = "float32"
    scale = 1.0

    def computing(self, model) -> contextlib.AbstractContextManager:
        """The block in which a forward and its backward run."""
        return contextlib.nullcontext()

    def unscale_(self, params) -> bool:
        """Divide the gradients by the loss scale. False when the step must be skipped."""
        return True

    def state(self) -> dict:
        """What a resumed run needs, as JSON values."""
        return {}

    def restore(self, state: Mapping) -> None:
        """Take over what `state` returned. Raises KeyError, ValueError or TypeError for anything else."""


class BFloat16(Precision):
    """Computes in bfloat16, with float32 masters."""

    name = "bfloat16"

    def __init__(self):
        self._frozen = {}  # id of a frozen parameter -> its array, and that array rounded

    @contextlib.contextmanager
    def computing(self, model) -> Iterator[None]:
        """Inside this block the weights of `model` have 16 bits, and every operation rounds to 16 bits."""
        masters = [(p, p.data) for p in model.parameters() if hasattr(p.data, "astype")]  # not: stored in fewer bits
        with (
            rounded_by(functools.partial(round_to, kind=self.name)),
            np.errstate(over="ignore", invalid="ignore"),
        ):  # `unscale_` looks
            try:
                for p, master in masters:
                    p.data = self._of_frozen(p) if not p.requires_grad else self.narrowed(master)
                yield
            finally:
                for p, master in masters:
                    p.data = master

    def _of_frozen(self, p):  # rounded once, not in every step
        master, narrow = self._frozen.get(id(p), (None, None))
        if master is not p.data:
            narrow = self.narrowed(p.data)
            self._frozen[id(p)] = p.data, narrow
        return narrow

    def narrowed(self, weight):
        """A copy of a weight with the numbers that the forward computes with."""
        return round_to(weight, self.name)


class Float16(BFloat16):
    """Computes in float16, with float32 masters and a loss scale."""

    name = "float16"

    def __init__(self):
        super().__init__()
        self.scale, self.good_steps = START, 0

    def narrowed(self, weight):
        on_gpu = array_module(weight) is not np
        return weight.astype(np.float16) if on_gpu and weight.ndim == 2 else super().narrowed(weight)

    def unscale_(self, params) -> bool:
        """Divide the gradients by the scale, and adapt the scale. Raises TrainingError when it becomes too small.

        On a GPU the host waits here: it must know whether a gradient is infinite.
        """
        gradients = side_by_side([p for p in params if p.grad is not None])
        if not _finite(gradients):
            self.scale, self.good_steps = self.scale / 2, 0
            if self.scale < SMALLEST:
                raise TrainingError("numbers above 65,504 occur: float16 cannot hold them; use bfloat16 or float32")
            return False
        for g in gradients:
            g *= 1 / self.scale
        self.good_steps += 1
        if self.good_steps == GROWTH_INTERVAL:
            self.scale, self.good_steps = self.scale * 2, 0
        return True

    def state(self) -> dict:
        return {"scale": self.scale, "good_steps": self.good_steps}

    def restore(self, state: Mapping) -> None:
        scale, good_steps = state["scale"], state["good_steps"]
        if not SMALLEST <= scale < math.inf or not 0 <= good_steps < GROWTH_INTERVAL:
            raise ValueError
        self.scale, self.good_steps = float(scale), operator.index(good_steps)


def _finite(arrays) -> bool:
    """Whether all numbers are finite. The host waits for a GPU once, not for each array."""
    return bool(functools.reduce(operator.and_, (array_module(a).isfinite(a).all() for a in arrays), True))


PRECISIONS = {p.name: p for p in (Precision, Float16, BFloat16)}


def precision_named(name: str) -> Precision:
    """A new Precision of that name. Raises UnknownNameError."""
    if name not in PRECISIONS:
        raise UnknownNameError(f"no precision {name!r}; there are: {nearest(name, PRECISIONS)}")
    return PRECISIONS[name]()
