"""Gradient checkpointing: a block keeps its input alone, and is computed again in the backward (Chen et al. 2016,
arXiv 1604.06174).

    forward     y = block(x), without a tape: of all that the block computes only y stays
    backward    y = block(x) again, now with a tape; then dx and the gradients of the block's weights from dy

It takes one more forward of every block, a third more work, and the memory of one block in place of all.
"""

from copy import deepcopy
from dataclasses import replace

from ..autograd import Tensor, enable_grad, leaf_gradients, no_grad, record
from ..errors import GraphError
from ..nn import Module
from .cache import KVCache


class Checkpointing(Module):
    """A model in which gradient checkpointing can be switched on, by transformers' names."""

    recomputes = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the backward computes the blocks again."""
        return any(m.recomputes for _, m in self.named_modules() if isinstance(m, Checkpointing))

    def gradient_checkpointing_enable(self) -> None:
        """From now on a backward computes the blocks again: less memory, more work, the same bits."""
        self._recompute(True)

    def gradient_checkpointing_disable(self) -> None:
        """From now on a forward keeps what the backward reads."""
        self._recompute(False)

    def _recompute(self, on):
        for _, module in self.named_modules():
            if isinstance(module, Checkpointing):
                module.recomputes = on


def recomputed(block, x, shared, context):  # (B, T, d) -> (B, T, d)
    """block(x, shared, context), which keeps x alone. Values and gradients have the same bits.

    The backward repeats the forward: with the same random numbers, and with the keys and values of earlier tokens that
    the forward found. It leaves the generator and the cache as they are.
    """
    rng, cache = deepcopy(context.rng), KVCache() if context.cache is None else context.cache
    entries = dict(cache.entries)
    with no_grad():
        y = block(x, shared, context)
    layers = [n for n, pair in cache.entries.items() if pair is not entries.get(n)]
    earlier = {n: entries[n] for n in layers if n in entries}  # a trained prefix, for example
    inputs = [x, *(t for pair in earlier.values() for t in pair)]
    kept = [(t.data, t.requires_grad) for t in inputs]  # not the tensors: their nodes need not stay
    parameters = [p for p in block.parameters() if p.requires_grad]
    for n in layers:
        cache.entries[n] = tuple(_without_gradient(t, (x, *parameters)) for t in cache.entries[n])
    context = replace(context, cache=None)

    def backward(g):
        leaves = [Tensor(*each) for each in kept]
        again = KVCache()
        again.entries = dict(zip(earlier, zip(leaves[1::2], leaves[2::2], strict=True), strict=True))
        with enable_grad():
            y = block(leaves[0], shared, replace(context, rng=deepcopy(rng), cache=again))
        found = {id(leaf): gradient for leaf, gradient in leaf_gradients(y, g)}
        return [found.get(id(t)) for t in (*leaves, *parameters)]

    return record(y.data, (*inputs, *parameters), backward)


def _without_gradient(cached, sources):
    """The keys or values `cached` for later forwards. A backward of those would not reach their `sources` here."""

    def backward(g):
        raise GraphError("gradient checkpointing: no gradient passes through a cache to an earlier forward")

    return record(cached.data, sources, backward)
