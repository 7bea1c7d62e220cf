"""A frozen layer and its adapters by name: which of them act in a forward, and how they are merged and unmerged."""

import copy

from ..autograd import record
from ..backend import array_module
from ..errors import ConfigError, GraphError
from ..nn import Module


class AdaptedLayer(Module):
    """A frozen `base_layer` and its adapters, {name: Method}. The context of a forward says which of them are active.

    merged    names of the adapters whose updates are inside the base's weight
    original  what the base had before the first merge (the same Parameter objects), None when nothing is merged
    """

    def __init__(self, base_layer, path):
        self.base_layer = base_layer
        self.path = path  # for messages
        self.adapters = {}
        self.merged = []
        self.original = None

    shape = property(lambda self: self.base_layer.shape)

    def children(self):
        yield "base_layer", self.base_layer
        for adapter, method in self.adapters.items():
            for name, parameter in (method.parameters | method.borrowed).items():
                yield named_for(adapter, name), parameter

    @property
    def unmerged(self):
        """The base as it was before the first merge: what every method is given."""
        if self.original is None:
            return self.base_layer
        base = copy.copy(self.base_layer)
        base.restore_weight(self.original)
        return base

    def forward(self, x, context):
        if context.rows is not None:
            return context.rows.forward(self, x, context)
        # y = W x + s B A x for each active adapter; one that is merged is in W already
        active = [n for n in context.adapters if n in self.adapters]
        for name in active:
            if name not in self.merged:
                x = self.adapters[name].input(x, context)
        y = self.base_layer(x, context)
        for name in active:
            if name in self.merged:
                y = self._refuse_backward(y, name)
            else:
                y = self.adapters[name].update(y, x, self.unmerged, context)
        return y

    def _refuse_backward(self, y, name):
        """y, whose backward raises if the merged adapter is trainable: its gradient is lost inside W."""

        def backward(g):
            raise GraphError(f"adapter {name!r} is merged into {self.path}: unmerge_adapter() before the forward")

        parameters = [p for p in self.adapters[name].parameters.values() if p.requires_grad]
        return record(y.data, (y, *parameters), backward) if parameters else y

    def merge(self, names):
        """Put the updates of these adapters into the base's weight. The original is kept, so `unmerge` is bit-exact.

        Raises ConfigError when the result is not finite, so a broken adapter can never damage the base weight.
        """
        names = [n for n in names if n in self.adapters and n not in self.merged]
        if not names:
            return
        original = None if self.base_layer.bias is None else self.base_layer.bias.data
        weight, bias = self.base_layer.dense(), original
        for name in names:
            weight, bias = self.adapters[name].merged(weight, bias, self.unmerged)
        if not all(array_module(a).isfinite(a).all() for a in (weight, bias) if a is not None):
            raise ConfigError(f"merging {', '.join(names)} into {self.path} gives numbers that are not finite")
        before = self.base_layer.replace_weight(weight, None if bias is original else bias)
        self.original = before if self.original is None else self.original
        self.merged += names

    def unmerge(self):
        """Put the original weight back."""
        if self.merged:
            self.base_layer.restore_weight(self.original)
        self.original, self.merged = None, []

    def move_original(self, device):
        """Move the weight that is kept for unmerging, which is no parameter of the model now."""
        for parameter in self.original or ():
            if parameter is not None:
                parameter.move(device)


def named_for(adapter, name):  # "default", "lora_A.weight" -> "lora_A.default.weight"
    """The name of a parameter in the model, as in PEFT's: the adapter's name is before "weight" and "bias", or last."""
    module, dot, last = name.rpartition(".")
    return f"{module}.{adapter}.{last}" if last in ("weight", "bias") else f"{name}.{adapter}"
