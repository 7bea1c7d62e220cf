"""LoRA itself: a frozen layer and, beside it, a low-rank update that learns (Hu et al. 2021, arXiv 2106.09685, 4.1).

    y = x Wᵀ + b + s · (x Aᵀ) Bᵀ        ΔW = s · B A        W (out, in) frozen, A (r, in), B (out, r), s = alpha / r

A starts random and B zero, so ΔW = 0: before the first step the adapted layer equals the frozen one exactly. (Unless
`init_lora_weights` asks for another start; an embedding's roles are exchanged.)
"""

import math

from .. import ops
from ..autograd import record
from ..backend import array_module, widen
from ..errors import ConfigError, GraphError
from ..nn import Embedding, Module, Parameter, normal, uniform, zeros


def low_rank_update(y, x, A, B, s):  # (..., out), (..., in), (r, in), (out, r) -> (..., out)
    """y + s · (x Aᵀ) Bᵀ, written into y: the output that a layer has just made.

    with u = s · x Aᵀ and v = s · g B:   dB = gᵀ u        dA = vᵀ x        dx = v A        dy = g
    dW is missing here: nothing of size (out, in) is ever formed.
    """
    n_in, out = A.shape[1], B.shape[0]
    x2 = x.data.reshape(-1, n_in)  # (N, in)
    u = x2 @ A.data.T  # (N, r)
    u *= s  # on the narrow side, where it costs least
    y.data += widen(u, B.data.T).reshape(y.shape)  # into y: a layer's fresh output, which nobody else reads
    to_y, to_x = y.requires_grad, x.shape if x.requires_grad else None  # not y and x themselves: y need not stay

    def backward(g):
        g2 = g.reshape(-1, out)  # (N, out)
        dB = g2.T @ u if B.requires_grad else None  # (out, r)
        v = g2 @ B.data  # (N, r)
        v *= s
        dA = v.T @ x2 if A.requires_grad else None  # (r, in)
        dx = None if to_x is None else widen(v, A.data).reshape(to_x)
        return g if to_y else None, dx, dA, dB

    return record(y.data, (y, x, A, B), backward)


class LoraAdapter:
    """One adapter of one linear layer of `shape` (out, in): A (r, in), B (out, r) and the scale s.

    init: `init_lora_weights` of the configuration (True, False or "gaussian"; see LoraConfig).

    All that a layer asks of an adapter are `update`, `delta` and `tensors`. Another kind of adapter is another class.
    """

    def __init__(self, shape, r, scaling, dropout=0.0, init=True):
        out, n_in = shape
        # kaiming_uniform(a=√5) of A (r, in) is uniform in ±1/√in, as loralib and PEFT have it; the paper says Gaussian
        self.A = Parameter((r, n_in), normal(1 / r) if init == "gaussian" else uniform(1 / math.sqrt(n_in)))
        self.B = Parameter((out, r), uniform(1 / math.sqrt(r)) if init is False else zeros)
        self.r, self.scaling, self.dropout = r, scaling, dropout

    def update(self, y, x, base, call):  # (..., out), (..., in) -> (..., out)
        """y + s B A x, given what the frozen layer `base` made of x; dropout acts on this branch only."""
        if call.training and self.dropout:
            x = ops.dropout(x, self.dropout, call.rng)
        return low_rank_update(y, x, self.A, self.B, self.scaling)

    def delta(self, base):  # -> array shaped as base.dense()
        """ΔW = s · B A"""
        return self.scaling * (self.B.data @ self.A.data)

    def tensors(self):
        """Parameter by its name in PEFT; {} stands for the adapter's name."""
        return {"lora_A.{}.weight": self.A, "lora_B.{}.weight": self.B}


class EmbeddingAdapter(LoraAdapter):
    """The same beside an embedding E (V, d), whose input is a one-hot row: A (r, V), B (d, r), ΔE = s · (B A)ᵀ.

    As in loralib and PEFT the roles are exchanged: A starts at zero and B random.
    """

    def __init__(self, shape, r, scaling, dropout=0.0, init=True):
        super().__init__(shape[::-1], r, scaling, dropout)
        self.A.fill, self.B.fill = normal(1) if init is False else zeros, normal(1)

    def update(self, y, ids, base, call):  # (..., d), (...) int -> (..., d)
        """y + s · Aᵀ[ids] Bᵀ: a one-hot x picks a column of A. There is no dropout of an index."""
        u = ops.embedding(self.A.transpose(1, 0), ids)  # (..., r)
        return y + ops.linear(u, self.B) * self.scaling

    def delta(self, base):  # -> array (V, d)
        return super().delta(base).T

    def tensors(self):
        return {"lora_embedding_A.{}": self.A, "lora_embedding_B.{}": self.B}


class LoraLayer(Module):
    """A frozen `base_layer` and its adapters by name; the call says which of them are active."""

    def __init__(self, base_layer, path):
        self.base_layer = base_layer
        self.path = path  # for messages
        self.adapters = {}  # name -> adapter
        self.merged = []  # names whose ΔW are inside base_layer's weight
        self.original = None  # the base's weight from before the first merge, the very Parameter

    shape = property(lambda self: self.base_layer.shape)

    def add(self, name, r, scaling, dropout=0.0, init=True):
        """Give this layer an adapter, not yet filled; everything that is not an embedding is a linear layer here."""
        kind = EmbeddingAdapter if isinstance(self.base_layer, Embedding) else LoraAdapter
        self.adapters[name] = kind(self.shape, r, scaling, dropout, init)

    def members(self):
        yield "base_layer", self.base_layer
        for name, adapter in self.adapters.items():
            for place, parameter in adapter.tensors().items():
                yield place.format(name), parameter

    def forward(self, x, call):
        # y = W x + s B A x for each active adapter; one that is merged is in W already
        y = self.base_layer(x, call)
        for name in call.adapters:
            if name in self.merged:
                y = self._refuse_backward(y, name)
            elif name in self.adapters:
                y = self.adapters[name].update(y, x, self.base_layer, call)
        return y

    def _refuse_backward(self, y, name):
        """y, whose backward raises if the merged adapter is trainable: its gradient is lost inside W."""

        def backward(g):
            raise GraphError(f"adapter {name!r} is merged into {self.path}: unmerge_adapter() before the forward")

        parameters = [p for p in self.adapters[name].tensors().values() if p.requires_grad]
        return record(y.data, (y, *parameters), backward) if parameters else y

    def merge(self, names):
        """W <- W + Σ ΔW. The Parameter W itself is kept, so that `unmerge` gives back the same bits.

        Raises ConfigError when the sum is not finite: a broken adapter must not spoil a weight.
        """
        names = [n for n in names if n in self.adapters and n not in self.merged]
        if not names:
            return
        dense = self.base_layer.dense()
        total = dense
        for name in names:
            total = total + self.adapters[name].delta(self.base_layer).astype(dense.dtype, copy=False)
        if not array_module(total).isfinite(total).all():
            raise ConfigError(f"merging {', '.join(names)} into {self.path} gives numbers that are not finite")
        before = self.base_layer.replace(total)
        self.original = before if self.original is None else self.original
        self.merged += names

    def unmerge(self):
        if self.merged:
            self.base_layer.restore(self.original)
        self.original, self.merged = None, []
