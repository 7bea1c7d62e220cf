"""A model whose DoRA is computed by a reader's functions: exercises 15.1, 15.2, 6.2 and 6.3 in all 28 layers."""

from collections.abc import Callable

import numpy as np

from ...adapters.model import PeftModel, get_peft_model
from ...autograd import record
from ...methods.dora import row_norms
from ...methods.lora import LoraConfig
from ...text.tokenizer import TextTokenizer
from .pace import ROWS, at_pace
from .tune import load_base


def dora_from(
    dora_forward: Callable,
    magnitude_gradient: Callable,
    lora_gradients: Callable,
    input_gradient: Callable,
    r: int = 8,
    alpha: float = 16,
    seed: int = 0,
    detached: bool = True,
) -> tuple[PeftModel, TextTokenizer]:
    """The shipped base with a DoRA on all 28 matrices, and its tokenizer. The functions compute every adapted layer.

    The backward is LoRA's, with h = (m / n) ⊙ g in the place of g: so two of the functions are those of lesson 6.

    The course's own is in the place of a function with which a step would take over 4 s; a line says so.

    detached: whether n counts as a constant, as in the paper; False: the part that this leaves out is added.
    """
    base, tokenizer = load_base()
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules="all-linear", use_dora=True)
    model = get_peft_model(base, config, seed=seed)
    first = next(iter(model.base_model.layers)).adapters["default"]
    (out, _), (_, n_in) = first.B.shape, first.A.shape
    x, g, W = (np.ones(shape, np.float32) for shape in ((ROWS, n_in), (ROWS, out), (out, n_in)))
    A, B, m = first.A.data, first.B.data, np.ones(out, np.float32)
    dora_forward = at_pace("15.1", dora_forward, x, W, A, B, m, alpha, r)
    magnitude_gradient = at_pace("15.2", magnitude_gradient, x, g, W, A, B, m, alpha, r)
    lora_gradients = at_pace("6.2", lora_gradients, x, g, A, B, alpha, r)
    input_gradient = at_pace("6.3", input_gradient, g, W, A, B, alpha, r)
    for layer in model.base_model.layers:
        method = layer.adapters["default"]
        functions = dora_forward, magnitude_gradient, lora_gradients, input_gradient
        method.update = _computed_by(*functions, method, alpha, detached)
    return model, tokenizer


def _computed_by(dora_forward, magnitude_gradient, lora_gradients, input_gradient, method, alpha, detached):
    """`Dora.update` by the functions, which want rows: x (N, in), g (N, out)."""
    A, B, m, r = method.A, method.B, method.m, method.r

    def update(y, x, base, context):  # (..., out), (..., in) -> (..., out)
        W, x2 = base.dense(), x.data.reshape(-1, A.shape[1])
        settings = W, A.data, B.data, m.data, alpha, r
        out = np.asarray(dora_forward(x2, *settings), x2.dtype)
        V = W + alpha / r * B.data @ A.data
        n = row_norms(V)

        def backward(g):
            g2 = g.reshape(-1, B.shape[0])
            dm = magnitude_gradient(x2, g2, *settings)
            h = m.data / n * g2
            dA, dB = (np.asarray(d, x2.dtype) for d in lora_gradients(x2, h, A.data, B.data, alpha, r))
            if not detached:
                along = alpha / r * (m.data * dm / n**2)[:, None] * V  # s times the part of dV along the rows
                dA, dB = dA - B.data.T @ along, dB - along @ A.data.T
            dx = None
            if x.requires_grad:
                dx = np.asarray(input_gradient(h, W, A.data, B.data, alpha, r), x2.dtype).reshape(x.shape)
            return dx, *(np.asarray(d, x2.dtype) for d in (dA, dB, dm))

        return record(out.reshape(y.shape), (x, A, B, m), backward)

    return update
