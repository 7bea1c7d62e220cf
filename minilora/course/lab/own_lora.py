"""A model whose LoRA is computed by a reader's three functions: exercises 6.1, 6.2 and 6.3 in all 28 layers."""

from collections.abc import Callable

import numpy as np

from ...adapters.model import PeftModel, get_peft_model
from ...autograd import Tensor, record
from ...methods.lora import LoraConfig
from ...text.tokenizer import TextTokenizer
from .pace import ROWS, at_pace
from .tune import load_base


def lora_from(
    lora_forward: Callable,
    lora_gradients: Callable,
    input_gradient: Callable,
    r: int = 8,
    alpha: float = 16,
    seed: int = 0,
) -> tuple[PeftModel, TextTokenizer]:
    """The shipped base with a LoRA on all 28 matrices, and its tokenizer. The three functions compute every adapted
    layer, forward and backward.

    The course's own is in the place of a function with which a step would take over 4 s; a line says so.

    `tune` trains it, `merge_and_unload()` merges it and `save_pretrained(folder)` writes it in PEFT's format.
    """
    base, tokenizer = load_base()
    model = get_peft_model(base, LoraConfig(r=r, lora_alpha=alpha, target_modules="all-linear"), seed=seed)
    first = next(iter(model.base_model.layers)).adapters["default"]
    (out, _), (_, n_in) = first.B.shape, first.A.shape
    x, g, W = (np.ones(shape, np.float32) for shape in ((ROWS, n_in), (ROWS, out), (out, n_in)))
    adapter = first.A.data, first.B.data, alpha, r
    lora_forward = at_pace("6.1", lora_forward, x, W, *adapter)
    lora_gradients = at_pace("6.2", lora_gradients, x, g, *adapter)
    input_gradient = at_pace("6.3", input_gradient, g, W, *adapter)
    for layer in model.base_model.layers:
        method = layer.adapters["default"]
        method.update = _computed_by(lora_forward, lora_gradients, input_gradient, method, alpha)
    return model, tokenizer


def _computed_by(lora_forward, lora_gradients, input_gradient, method, alpha):
    """`Lora.update` by the three functions, which want rows: x (N, in), g (N, out)."""
    A, B, r = method.A, method.B, method.r

    def update(y, x, base, context):  # (..., out), (..., in) -> (..., out)
        W, x2 = base.dense(), x.data.reshape(-1, A.shape[1])
        out = _array(lora_forward(x2, W, A.data, B.data, alpha, r), x2)

        def backward(g):
            g2 = g.reshape(-1, B.shape[0])
            dA, dB = lora_gradients(x2, g2, A.data, B.data, alpha, r)
            dx = _array(input_gradient(g2, W, A.data, B.data, alpha, r), x2) if x.requires_grad else None
            return None if dx is None else dx.reshape(x.shape), _array(dA, x2), _array(dB, x2)

        return record(out.reshape(y.shape), (x, A, B), backward)

    return update


def _array(result, like):  # an array, a Tensor or lists -> an array of the type of `like`
    return np.asarray(result.numpy() if isinstance(result, Tensor) else result, dtype=like.dtype)
