"""LoRA itself: a frozen layer and, beside it, a low-rank update that learns (Hu et al. 2021, arXiv 2106.09685, 4.1).

    y = x Wᵀ + b + s · (x Aᵀ) Bᵀ        ΔW = s · B A        W (out, in) frozen, A (r, in), B (out, r), s = alpha / r

A starts random and B zero, so ΔW = 0: before the first step the adapted layer equals the frozen one exactly.
"""

import math

from .. import ops
from ..autograd import record
from ..errors import ConfigError
from ..nn import Embedding, Module, Parameter, normal, uniform, zeros


def low_rank_update(y, x, A, B, s):  # (..., out), (..., in), (r, in), (out, r) -> (..., out)
    """y + s · (x Aᵀ) Bᵀ

    with u = x Aᵀ and v = s · g B:   dB = s · gᵀ u        dA = vᵀ x        dx = v A        dy = g
    dW is missing here: nothing of size (out, in) is ever formed.
    """
    n_in, out = A.shape[1], B.shape[0]
    x2 = x.data.reshape(-1, n_in)  # (N, in)
    u = x2 @ A.data.T  # (N, r)
    u *= s
    y.data.reshape(-1, out)[...] += u @ B.data.T  # into y: the frozen layer just made it, nobody else reads it

    def backward(g):
        g2 = g.reshape(-1, out)  # (N, out)
        dB = g2.T @ u if B.requires_grad else None  # (out, r); u has the s
        v = g2 @ B.data  # (N, r)
        v *= s
        dA = v.T @ x2 if A.requires_grad else None  # (r, in)
        dx = (v @ A.data).reshape(x.shape) if x.requires_grad else None
        return g if y.requires_grad else None, dx, dA, dB

    return record(y.data, (y, x, A, B), backward)


def low_rank_rows(y, ids, A, B, s):  # (..., d), (...) int, (r, V), (d, r) -> (..., d)
    """The same for an embedding, whose input is a one-hot row: x Aᵀ picks column ids of A.  y + s · Aᵀ[ids] Bᵀ"""
    u = ops.embedding(A.transpose(1, 0), ids)  # (..., r)
    return y + ops.linear(u, B) * s


class LoraLayer(Module):
    """A frozen `base_layer` and its adapters by name. What differs between kinds of base is in the two subclasses."""

    def __init__(self, base_layer, path):
        self.base_layer = base_layer
        self.path = path  # for messages
        self.scaling = {}  # name -> s
        self.dropout = {}  # name -> p
        self.merged = {}  # name -> None, in order of merging; their ΔW are inside base_layer's weight
        self._original = None  # the base's weight from before the first merge, the very array

    shape = property(lambda self: self.base_layer.shape)

    def forward(self, x, call):
        # y = W x + s B A x for each active adapter; one that is merged is in W already
        y = self.base_layer(x, call)
        for name in call.adapters:
            if name in self.scaling and name not in self.merged:
                y = self.update(y, x, name, call)
        return y

    def add(self, name, r, s, dropout, init):
        """Give this layer an adapter, with unfilled A (r, in) and B (out, r) that `init_lora_weights` fills."""
        out, n_in = self.adapted_shape
        a, b = self.fills(r, n_in, out, init)
        self.set_tensors(name, Parameter((r, n_in), a), Parameter((out, r), b))
        self.scaling[name], self.dropout[name] = s, dropout

    def delta(self, name):  # -> array (out, in)
        """ΔW = s · B A"""
        A, B = self.tensors(name)
        return self.scaling[name] * (B.data @ A.data)

    def merge(self, names):
        """W <- W + Σ ΔW. The array W itself is kept, so that `unmerge` gives back the same bits.

        Raises ConfigError when the sum is not finite: a broken adapter must not spoil a weight.
        """
        dense = self.base_layer.dense()
        total = dense
        for name in names:
            if name in self.scaling and name not in self.merged:
                total = total + self.stored(self.delta(name)).astype(dense.dtype, copy=False)
        if total is dense:
            return
        if not math.isfinite(float(abs(total).sum())):
            raise ConfigError(f"merging {', '.join(names)} into {self.path} gives numbers that are not finite")
        before = self.base_layer.replace(total)
        self._original = self._original or before
        self.merged.update((n, None) for n in names if n in self.scaling)

    def unmerge(self):
        if self._original is not None:
            self.base_layer.restore(self._original)
        self._original = None
        self.merged.clear()

    def remove(self, name):
        for store in (self.scaling, self.dropout, *self.stores()):
            store.pop(name, None)


class LoraLinear(LoraLayer):
    """LoRA beside a linear layer; parameters `lora_A.<name>.weight` (r, in) and `lora_B.<name>.weight` (out, r)."""

    def __init__(self, base_layer, path):
        super().__init__(base_layer, path)
        self.lora_A, self.lora_B = {}, {}

    adapted_shape = property(lambda self: self.shape)  # (out, in)

    def update(self, y, x, name, call):
        if call.training and self.dropout[name]:
            x = ops.dropout(x, self.dropout[name], call.rng)
        return low_rank_update(y, x, *self.tensors(name), self.scaling[name])

    def fills(self, r, n_in, out, init):
        """kaiming_uniform(a=√5) of A (r, in) is uniform in ±1/√in, as loralib and PEFT; the paper says Gaussian."""
        a = normal(1 / r) if init == "gaussian" else uniform(1 / math.sqrt(n_in))
        return a, uniform(1 / math.sqrt(r)) if init is False else zeros

    def set_tensors(self, name, A, B):
        self.lora_A[name], self.lora_B[name] = _Weight(A), _Weight(B)

    def tensors(self, name):  # -> A (r, in), B (out, r)
        return self.lora_A[name].weight, self.lora_B[name].weight

    def stores(self):
        return self.lora_A, self.lora_B

    def stored(self, delta):
        return delta  # the base's `dense` is (out, in) as well


class LoraEmbedding(LoraLayer):
    """LoRA beside an embedding E (V, d): `lora_embedding_A.<name>` (r, V), `lora_embedding_B.<name>` (d, r).

    The roles are exchanged, as in loralib and PEFT: A starts at zero and B random.
    """

    def __init__(self, base_layer, path):
        super().__init__(base_layer, path)
        self.lora_embedding_A, self.lora_embedding_B = {}, {}

    adapted_shape = property(lambda self: self.shape[::-1])  # (d, V)

    def update(self, y, ids, name, call):
        return low_rank_rows(y, ids, *self.tensors(name), self.scaling[name])

    def fills(self, r, n_in, out, init):
        return normal(1) if init is False else zeros, normal(1)

    def set_tensors(self, name, A, B):
        self.lora_embedding_A[name], self.lora_embedding_B[name] = A, B

    def tensors(self, name):  # -> A (r, V), B (d, r)
        return self.lora_embedding_A[name], self.lora_embedding_B[name]

    def stores(self):
        return self.lora_embedding_A, self.lora_embedding_B

    def stored(self, delta):
        return delta.T  # an embedding stores (V, d)


class _Weight(Module):
    """One matrix under the name `weight`: PEFT's `lora_A.<name>` is a linear layer."""

    def __init__(self, weight):
        self.weight = weight


def lora_layer(base_layer, path):
    """The LoRA layer for this kind of base."""
    return LoraEmbedding(base_layer, path) if isinstance(base_layer, Embedding) else LoraLinear(base_layer, path)
