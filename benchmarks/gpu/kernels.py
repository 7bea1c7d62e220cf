"""Is it worth fusing? Each fused function beside the same expression that CuPy computes step by step.

Also attention, for many queries and for one, beside torch's and beside the products that the equation says; and the sum
over the rows of a matrix, of which CuPy gives 32 columns to a block of threads, beside a product with a row of ones.
A fused function that takes longer than its steps, or moves few bytes a second, is a reason to change it.
"""

from functools import partial

import numpy as np

from minilora import ops
from minilora.autograd import Tensor, no_grad
from minilora.backend import sum_rows
from minilora.device import fused
from minilora.ops.activation import softmax_

from .device import free_memory, in_turns
from .measurements import Measurement
from .rates import copy_rates
from .sides import torch_device

CHANGED = {"mask_scores": 1, "softmax_backward": 1, "loss_gradient": 1, "adamw": 3}  # leading arguments also read


def measure(width, heads, batch, length, inner, vocab, calls, seconds, mib):
    """A row for each fused function, then for attention and for the sums of columns."""
    import cupy

    bandwidth = copy_rates(mib)["device_copy"]
    kernels, steps = fused.kernels(cupy), fused.chains(cupy)
    for name, sizes in arguments(width, heads, batch, length, inner, vocab).items():
        free_memory()
        given = [drawn(size) for size in sizes]
        sides = {"here": partial(getattr(kernels, name), *given), "steps": partial(steps[name], *given)}
        times = in_turns(sides, seconds, calls=calls)
        yield row_of(name, width, times, moved(name, given, sides["here"]()), bandwidth)
    others = attentions(width, heads, batch, length) | column_sums(width, batch, length)
    for name, (sides, moves) in others.items():
        yield row_of(name, width, in_turns(sides, seconds, calls=calls), moves, bandwidth)


def row_of(name, width, times, moves, bandwidth):
    other = next(side for side in times if side != "here")
    here, there = (float(np.median(times[side])) for side in ("here", other))
    return {
        "name": name, "width": width, "here": here * 1e6, "other": there * 1e6, "beside": other, "ratio": here / there,
        "quartiles": [float(q) for q in np.percentile(times["here"] / times[other], (25, 75))],
        "bytes": moves, "share": moves / here / bandwidth,
    }  # fmt: skip


def arguments(d, H, B, T, m, V):  # -> {name of a fused function: shapes of its arguments, or the number given}
    """At the sizes of a training step: N = B T positions, width d, inner width m, H heads, vocabulary V."""
    N, hd, eps, half = B * T, d // H, np.float32(1e-5), np.float32(0.5)
    x, inner, column, w, scores, row = (N, d), (N, m), (N, 1), (d,), (B, H, T, T), (B, H, T, 1)
    pair, angle, rows = (B, T, H, hd // 2), (B, T, 1, hd // 2), min(N, 2**26 // V)
    n = np.float32(1 / d)
    return {
        "swiglu": [inner] * 2, "swiglu_backward": [inner] * 3, "gelu": [inner], "gelu_backward": [inner] * 2,
        "rotate_pairs": [pair, pair, angle, angle, pair, pair],
        "mask_scores": [scores, (1, 1, T, T), half], "exponentials": [scores, row, scores],
        "softmax_backward": [scores, scores, row, half],
        "losses": [(rows,)] * 4, "loss_gradient": [(rows, d), (rows, d), (rows, 1), (rows, 1)],
        "probabilities": [(rows, V), (rows, 1), (rows, 1), (1,)],
        "sum_2": [x, x], "sum_3": [x, w, x],
        "rms_norm": [x, w, column, n, eps], "rms_norm_backward": [x, w, x, column, column, n, eps],
        "centred": [x, column, n], "layer_norm": [x, w, w, column, n, eps],
        "layer_norm_backward": [x, w, x, column, column, column, n, eps],
        "adamw": [(d, d)] * 4 + [half] * 7,
    }  # fmt: skip


def drawn(size):  # numbers from 0.5 to 1.5, which no function here makes infinite in one call
    import cupy

    if not isinstance(size, tuple):
        return size
    return cupy.asarray(np.random.default_rng(0).random(size, dtype=np.float32) + np.float32(0.5))


def moved(name, given, result):  # -> bytes read and written, each array once
    """The least that the card must read and write."""
    arrays = [a for a in given if not isinstance(a, np.generic)]
    arrays += arrays[: CHANGED.get(name, 0)]
    arrays += [] if result is None else result if isinstance(result, tuple) else [result]
    return sum(a.nbytes for a in arrays)


def attentions(width, heads, batch, length):  # -> {name: (sides, bytes moved at least)}
    """Many queries, forward and backward, beside torch; one query beside the two products of the equation.

    Also rotary positions, which read and write halves of rows, beside the same on arrays of their own.
    """
    import cupy
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    hd = width // heads
    host = np.random.default_rng(0).standard_normal((3, batch, length, heads, hd), dtype=np.float32)
    ours = [Tensor(cupy.asarray(x), requires_grad=True) for x in host]
    theirs = [torch.from_numpy(x).to(torch_device()).transpose(1, 2).requires_grad_() for x in host]
    g, theirs_g = cupy.asarray(host[0]), theirs[0].detach()
    bias = cupy.asarray(ops.causal_bias(length, length))

    def here():
        ops.attention(*ours, bias).backward(g)
        for x in ours:
            x.grad = None

    def there():
        torch.autograd.grad(scaled_dot_product_attention(*theirs, is_causal=True), theirs, theirs_g)

    one, keys, values = Tensor(ours[0].data[:, :1].copy()), ours[1].data, ours[2].data

    def one_here():
        with no_grad():
            ops.attention(one, Tensor(keys), Tensor(values))

    def one_by_products():
        q = one.data.reshape(batch, heads, 1, hd) * np.float32(hd**-0.5)
        softmax_(q @ keys.transpose(0, 2, 3, 1)) @ values.transpose(0, 2, 1, 3)

    pairs, angle = [drawn((batch, length, heads, hd // 2)) for _ in range(4)], drawn((1, length, 1, hd))
    half = angle[..., hd // 2 :]

    def rotary_of_halves():
        fused.kernels(cupy).rotate_pairs(*pairs[:2], half, half, *pairs[2:])

    array = host[0].nbytes
    return {
        "rotary": ({"here": partial(ops.rotary, ours[0], angle, angle), "halves": rotary_of_halves}, 2 * array),
        "attention": ({"here": here, "torch": there}, 9 * array),  # q k v o, then also g and three gradients, q k v
        "one query": ({"here": one_here, "products": one_by_products}, 2 * array),
    }


def column_sums(width, batch, length):  # -> the same
    """The gradient of a bias, or of a norm's weight."""
    import cupy

    g, ones = drawn((batch * length, width)), cupy.ones((1, batch * length), dtype=np.float32)
    return {"sum_rows": ({"here": partial(sum_rows, g), "product": partial(cupy.matmul, ones, g)}, g.nbytes)}


def row(r):
    low, high = r["quartiles"]
    return (f"{r['width']:>5}  {r['name']:20} {r['here']:9.1f} {r['other']:10.1f}  {r['beside']:8} {r['ratio']:6.2f}"
            f"  {low:5.2f} to {high:5.2f} {r['bytes'] / 1e6:9.1f} {r['share']:14.0%}")  # fmt: skip


CASES = [
    {"width": width, "heads": width // 64, "batch": 4, "length": 512, "inner": 4 * width, "vocab": 8192,
     "calls": 10, "seconds": 0.5, "mib": 1024}
    for width in (768, 4096)
]  # fmt: skip
SMALL = [
    {**CASES[0], "width": 64, "heads": 2, "length": 16, "vocab": 32, "inner": 96, "calls": 1, "seconds": 0, "mib": 4}
]
KERNELS = Measurement(
    measure,
    "width  function               here µs   other µs  other     ratio  middle half     MB moved  of copy's rate",
    row,
    CASES,
    SMALL,
)
