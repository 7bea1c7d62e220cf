"""DoRA: a magnitude for every output, and a direction that LoRA changes (Liu et al. 2024, arXiv 2402.09353, Eq 5).

    V = W + s · B A        n = ‖V‖, the norm of each row (out,)        g = m / n
    y = g ⊙ (x Vᵀ) + b     m (out,) is trained, and starts as n: before the first step y = x Wᵀ + b exactly

The paper writes norms of columns, of W (d, k); its authors' code and PEFT take one norm for each output, as here.

n depends on A and B, but gets no gradient (section 4.3): it is a constant of each step. So the backward of LoRA stays,
with g ⊙ dy in the place of dy, and nothing of size (out, in) is kept for it. Dropout, where it acts, hides inputs from
every term that m or B A changes, and not from the frozen x Wᵀ, as in PEFT.
"""

import copy

import numpy as np

from ..autograd import Tensor, record
from ..backend import array_module, inner, inner_columns, narrow_product, to_host
from . import trainable_tokens
from .base import Product
from .lora import EmbeddingLora, Lora, LoraAdapter


def dora_update(y, x, A, B, m, n, s, bias):  # (..., out), (..., in), (r, in), (out, r), (out,), (out,) -> (..., out)
    """g ⊙ (y - b + s · (x Aᵀ) Bᵀ) + b with g = m / n, where y = x Wᵀ + b. n and bias: arrays, frozen.

    with u = s · x Aᵀ, v = y - b + u Bᵀ and h = g ⊙ dy:
        dm = Σ dy ⊙ v / n        dB = hᵀ u        dA = s · (h B)ᵀ x        dx = s · (h B) A        dy = h
    y is written into: use the returned tensor.
    """
    n_in, out = A.shape[1], B.shape[0]
    x2 = x.data.reshape(-1, n_in)  # (N, in)
    u = x2 @ A.data.T  # (N, r)
    u *= s
    v = y.data  # (..., out), the one array of this size that the backward keeps
    if bias is not None:
        v -= bias
    v += narrow_product(u, B.data.T).reshape(v.shape)
    result = v * (m.data / n)
    if bias is not None:
        result += bias
    to_y, to_x = y.requires_grad, x.shape if x.requires_grad else None

    def backward(dy):
        dm = inner_columns(dy.reshape(-1, out), v.reshape(-1, out)) / n if m.requires_grad else None  # (out,)
        h = dy * (m.data / n)
        h2 = h.reshape(-1, out)  # (N, out)
        dB = h2.T @ u if B.requires_grad else None
        w = h2 @ B.data  # (N, r)
        w *= s
        dA = w.T @ x2 if A.requires_grad else None
        dx = None if to_x is None else narrow_product(w, A.data).reshape(to_x)
        return h if to_y else None, dx, dA, dB, dm

    return record(result, (y, x, A, B, m), backward)


def row_norms(V):  # (out, in) -> (out,)
    """The Euclidean norm of each row, in float32 at least: the square of a small weight has no digits in float16."""
    V = V.astype(np.result_type(V.dtype, np.float32), copy=False)
    return array_module(V).sqrt(inner(V, V))


class Dora(Lora):
    """DoRA on one linear layer: LoRA's A and B, and the magnitude m (out,)."""

    names = (*Lora.names, "lora_magnitude_vector")
    additive = False

    def __init__(self, place, config):
        super().__init__(place, config)
        self.m = self.parameters["lora_magnitude_vector"]

    @staticmethod
    def shapes(place, config):
        return Lora.shapes(place, config) | {"lora_magnitude_vector": place.shape[:1]}

    def start(self, base, generator):
        """A and B as LoRA's; m = ‖W + s B A‖, so that g = 1."""
        return self._with_magnitude(Lora.start(self, base, generator), base)

    def _with_magnitude(self, values, base):
        A, B = (values[name] for name in self.names[:2])
        return values | {"lora_magnitude_vector": row_norms(to_host(self.rows(base)) + self.scaling * (B @ A))}

    @staticmethod
    def rows(base):  # -> (out, in)
        """The frozen weight with a row for each output."""
        return base.dense()

    def norm(self, base, context=None):  # -> (out,)
        """n = ‖W + s B A‖, of the unmerged base. One `generate` computes it once: A and B cannot change meanwhile.

        A row of zeros has no direction: its n counts as 1, so that g is 0 and not 0 / 0 (PEFT's is nan). It stays zero.
        """
        memo = {} if context is None or context.memo is None else context.memo
        if id(self) not in memo:
            n = row_norms(self.rows(base) + self.scaling * (self.B.data @ self.A.data))
            memo[id(self)] = array_module(n).where(n > 0, n, 1)
        return memo[id(self)]

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        n = self.norm(base, context)
        if not (context.training and self.dropout):
            bias = None if base.bias is None else base.bias.data
            return dora_update(y, x, self.A, self.B, self.m, n, self.scaling, bias)
        # y + (g - 1) ⊙ (x' Wᵀ) + g ⊙ s · (x' Aᵀ) Bᵀ, with the dropped x': the frozen term y sees all of x
        x = self.drop(x, context)
        no_bias = copy.copy(base)
        no_bias.bias = None
        frozen = no_bias(x)
        both = dora_update(frozen * 1.0, x, self.A, self.B, self.m, n, self.scaling, None)
        return y + both - frozen

    def stacked(self, base):
        return Product(self.A.data, self.B.data, self.scaling, self.m.data / self.norm(base))

    def merged(self, weight, bias, base):
        """g ⊙ (W + s B A), row by row; the base's bias is not scaled, and what an earlier adapter added to it is."""
        g, own = self.m.data / self.norm(base), None if base.bias is None else base.bias.data
        if bias is not None and own is not None and bias is not own:
            bias = own + (g * (bias - own)).astype(own.dtype, copy=False)
        return (g[:, None] * (weight + self.delta())).astype(weight.dtype, copy=False), bias


class EmbeddingDora(EmbeddingLora, Dora):
    """The same beside an embedding E (V, d): V = E + s · (B A)ᵀ, one magnitude for each of the d outputs."""

    names = (*EmbeddingLora.names, "lora_magnitude_vector")

    @staticmethod
    def shapes(place, config):
        return EmbeddingLora.shapes(place, config) | {"lora_magnitude_vector": place.shape[1:]}

    def start(self, base, generator):
        return self._with_magnitude(EmbeddingLora.start(self, base, generator), base)

    @staticmethod
    def rows(base):  # -> (d, V)
        return base.dense().T

    def update(self, y, ids, base, context):  # (..., d), (...) int -> (..., d)
        """g ⊙ (y + s · Aᵀ[ids] Bᵀ)"""
        adapted = EmbeddingLora.update(self, y, ids, base, context)
        return adapted * (self.m / Tensor(self.norm(base, context)))

    def merged(self, weight, bias, base):
        g = self.m.data / self.norm(base)
        return (g * (weight + self.delta())).astype(weight.dtype, copy=False), bias


class DoraAdapter(LoraAdapter):
    """DoRA on a whole model: LoraConfig(use_dora=True)."""

    kinds = {"linear": Dora, "embedding": EmbeddingDora} | trainable_tokens.KINDS
    adapts = "DoRA adapts linear layers and embeddings"
