"""What a forward pass must keep for the backward pass, for B sequences of T tokens. Bytes; w is 2 for a 16-bit type.

Counted is what the backward equations need, each array once:

    norms        dx of a norm needs its input                                  B T d w, for each norm
    attention    dq, dk, dv need q, k, v and the output o; the (T, T) scores   B T (q + k + v + o) w
                 are made anew, as memory-efficient kernels do
    activation   d silu(g) u needs g and u; d gelu(h) needs h                  B T m w, twice when gated
    matrices     dW = gᵀ x and dA = s (g B)ᵀ x need the input x; a frozen      B T in w, each x once, only where W or A
                 matrix without an adapter needs nothing: dx = g W             of it is trained
    LoRA         dB = s gᵀ u needs u = x Aᵀ                                    B T r w, for each adapter
    loss         d loss = p - onehot needs the probabilities, in float32       4 B T V

Not counted: statistics of norms and softmax, dropout masks, float32 copies that a library makes, work buffers, and the
gradients that flow through at one moment; counted too much: what lies below the lowest adapter. transformers on PyTorch
keeps 0.9 to 2.2 times this sum in small models of four layers (measured by tests/counting/test_activations.py).
With recomputation only the input of every layer is kept, and one layer at a time is computed again in the backward pass
(Chen et al. 2016, arXiv 1604.06174).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One line of a budget: what, how it is computed, bytes."""

    name: str
    formula: str
    bytes: int


def activations(architecture, trains, rank, batch, length, width):  # -> (Items kept, Items with recomputation)
    """trains: the paths whose weight (full fine-tuning) or adapter (LoRA) is trained; rank: 0 in full fine-tuning;
    width: bytes of a number."""
    layers = defaultdict(Counter)  # layer -> kind -> numbers per token
    for part in architecture.parts:
        numbers = layers[part.block]
        numbers["norms"] += part.times * part.shape[0] if part.kind == "norm" else 0
        numbers["attention"] += part.out if part.feeds == "attention" else 0
        numbers["activation functions"] += part.out if part.feeds == "activation" else 0
        numbers["x A of the adapters"] += part.times * rank if part.path in trains else 0
    for (block, name), readers in _inputs(architecture).items():
        if name.startswith("attention"):
            layers[block]["attention"] += readers[0].n_in
        elif any(p.path in trains for p in readers):
            layers[block]["inputs of trained matrices"] += readers[0].times * readers[0].n_in

    outside = layers.pop("", Counter())
    largest = max(layers.values(), key=Counter.total, default=Counter())
    inputs = Counter({"input of each layer": sum(_entering(architecture))})
    tokens, classes = batch * length, sum(p.out for p in architecture.parts if p.head)
    loss = [Item("loss", f"{tokens:,} x {classes:,} x 4 B", 4 * tokens * classes)] if classes else []

    def items(numbers):
        return [
            Item(kind, f"{tokens:,} x {n:,} x {width} B", tokens * n * width) for kind, n in numbers.items() if n
        ] + loss

    return items(sum(layers.values(), outside)), items(inputs + largest + outside)


def _inputs(architecture):  # -> {(layer, name of an activation): the matrices that read it}
    found = defaultdict(list)
    for part in architecture.parts:
        if part.reads:
            found[part.block, part.reads].append(part)
    return found


def _entering(architecture):
    """The width of what enters each layer: that of the first thing in it."""
    first = {}
    for part in architecture.parts:
        if part.block:
            first.setdefault(part.block, part.shape[0] if part.kind == "norm" else part.n_in)
    return first.values()
