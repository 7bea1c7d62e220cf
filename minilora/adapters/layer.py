"""A frozen layer and its adapters by name: which of them act, merge and unmerge."""

from ..autograd import record
from ..backend import array_module
from ..errors import ConfigError, GraphError
from ..methods.lora import EmbeddingAdapter, LoraAdapter
from ..nn import Embedding, Module


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

    def children(self):
        yield "base_layer", self.base_layer
        for name, adapter in self.adapters.items():
            for place, parameter in adapter.tensors().items():
                yield place.format(name), parameter

    def forward(self, x, context):
        # y = W x + s B A x for each active adapter; one that is merged is in W already
        y = self.base_layer(x, context)
        for name in context.adapters:
            if name in self.merged:
                y = self._refuse_backward(y, name)
            elif name in self.adapters:
                y = self.adapters[name].update(y, x, self.base_layer, context)
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
        before = self.base_layer.replace_weight(total)
        self.original = before if self.original is None else self.original
        self.merged += names

    def unmerge(self):
        if self.merged:
            self.base_layer.restore_weight(self.original)
        self.original, self.merged = None, []
