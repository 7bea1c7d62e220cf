"""How much of the error of 4 bits an adapter takes away before any training (PiSSA, arXiv 2404.02948, section 5).

    QLoRA   ‖W - nf4(W)‖*                            nothing is taken away: B = 0
    PiSSA   ‖W - (nf4(W - s B0 A0) + s B0 A0)‖*      the large singular values stay in full precision
    LoftQ   ‖W - (nf4(W - L) + L')‖*, L' the best rank-r part of W - nf4(W - L), found in turns from L = 0 (2310.08659)
    both    LoftQ's turns, from PiSSA's start

‖.‖* is the sum of the singular values. The cut is 1 - the error over QLoRA's, in percent.
"""

import numpy as np

from minilora.methods.pissa import principal_part
from minilora.models.pretrained import load_base
from minilora.quantization.nf4 import FourBit

RANKS = (1, 2, 4, 8, 16, 32, 64)


def nf4(W):  # (out, in) -> (out, in): quantized and read again
    return FourBit.of(W.astype(np.float32)).dense()


def best_part(M, r):  # (out, in) -> (out, in), the nearest matrix of rank r
    U, S, Vt = principal_part(M, r)
    return (U * S) @ Vt


def error(M):  # (out, in) -> float
    return float(np.linalg.norm(M, "nuc"))


def pissa_error(W, r):
    part = best_part(W, r)
    return error(W - (nf4(W - part) + part))


def loftq_error(W, r, turns, part=0.0):
    for _ in range(turns):
        quantized = nf4(W - part)
        part = best_part(W - quantized, r)
    return error(W - (quantized + part))


def cuts(W, r, rng):  # (out, in), int, Generator -> {what: percent}
    """random: PiSSA on a matrix of independent normal numbers, which has no large singular values."""
    noise = rng.standard_normal(W.shape) * W.std()
    plain, plain_noise = error(W - nf4(W)), error(noise - nf4(noise))
    errors = {
        "pissa": pissa_error(W, r) / plain,
        "loftq1": loftq_error(W, r, 1) / plain,
        "loftq5": loftq_error(W, r, 5) / plain,
        "both5": loftq_error(W, r, 5, best_part(W, r)) / plain,
        "random": pissa_error(noise, r) / plain_noise,
    }
    return {what: round(100 * (1 - share), 4) for what, share in errors.items()}


def matrices():  # -> {path: (out, in) float64} of the shipped base: every linear layer of the blocks
    model, _ = load_base()
    return {
        path: module.dense().astype(np.float64)
        for path, module in model.named_modules()
        if path.endswith("_proj") and hasattr(module, "dense")
    }
