"""Distillation: a student learns the probabilities of a teacher, not the labels alone (Hinton et al. 2015, arXiv
1503.02531).

    p = softmax(teacher's logits / T)        q = softmax(z / T)        z: the student's logits
    L = a · T² · mean of  Σ p log(p / q)  +  (1 - a) · mean of  log Σ e^z - z_t        over the n labels t

A temperature T above 1 shows what the teacher thinks of the tokens that it would not choose. Its T² keeps the gradient
as large as it is with T = 1: one 1/T is in z / T, the other in q - p.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import ops
from ..autograd import Tensor, as_tensor, no_grad, record
from ..backend import array_module
from ..errors import ConfigError, ShapeError


def divergence(z, teacher, temperature: float = 1.0) -> Tensor:  # (n, V), array (n, V) -> ()
    """T² · mean of Σ p log(p / q): how far the student's q is from the teacher's p, Kullback and Leibler's number.

    dz = T (q - p) / n        The mean is over the rows, the sum over the vocabulary (`batchmean` in torch.)

    teacher: its logits; no gradient goes there. Raises ShapeError when the shapes differ.

    >>> import numpy as np
    >>> round(divergence(np.zeros((1, 2)), np.log([[0.75, 0.25]])).item(), 4)  # 0.75 log 1.5 + 0.25 log 0.5
    0.1308
    """
    z = as_tensor(z)
    if z.ndim != 2 or z.shape != teacher.shape:
        raise ShapeError(f"logits of shape {z.shape} for a teacher's of shape {teacher.shape}: expected (n, V) twice")
    xp, T, n = array_module(z.data), temperature, len(z)
    log_q, log_p = _log_softmax(z.data / T), _log_softmax(teacher / T)
    p = xp.exp(log_p)
    value = (p * (log_p - log_q)).sum() * (T * T / n)

    def backward(g):
        return ((xp.exp(log_q) - p) * (g * T / n),)

    return record(value, (z,), backward)


def _log_softmax(z):  # (n, V) -> (n, V)
    xp = array_module(z)
    z = z - z.max(axis=-1, keepdims=True)
    return z - xp.log(xp.exp(z).sum(axis=-1, keepdims=True))


@dataclass
class Distillation:
    """The loss of a student beside a teacher, for `loop.train`.

    teacher      a CausalLM or PeftModel in eval mode, with the student's vocabulary
    temperature  T, above 0
    mix          a, the teacher's part: 1 is the teacher alone, 0 the labels alone
    """

    teacher: Any
    temperature: float = 2.0
    mix: float = 1.0

    def __post_init__(self):
        check_distillation(self.temperature, self.mix)

    def __call__(self, student, ids, labels, **fields) -> Tensor:  # (B, T) int, (B, T) int -> ()
        """L at the positions that have a label. fields: as for `CausalLM.loss`."""
        with no_grad():
            logits = self.teacher.loss(ids, labels, objective=lambda logits, targets: logits).data  # (n, V)
        return student.loss(ids, labels, objective=partial(self._mixed, logits), **fields)

    def _mixed(self, teacher, logits, targets):
        soft = divergence(logits, teacher, self.temperature) * self.mix
        return soft + ops.cross_entropy(logits, targets) * (1 - self.mix)


def check_distillation(temperature: float, mix: float) -> None:
    """Raises ConfigError for a temperature that is not above 0, or a mix outside 0 to 1."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"temperature {temperature}: expected a number above 0")
    if not 0 <= mix <= 1:
        raise ConfigError(f"mix {mix}: expected a number from 0, the labels alone, to 1, the teacher alone")
