"""Every differentiable operation: the equation, the forward and the backward on one screen.

Each takes Tensors, returns a Tensor, and records a backward by hand (see autograd.record). Shapes stand on the def
line: B batch, T tokens, S keys, H heads, K key/value heads, hd head width, V vocabulary, `...` any leading axes.
"""

from .activation import dropout, gelu, silu, softmax, swiglu
from .attention import attention, causal_bias, rotary, rotary_angles
from .basic import add, concat, div, getitem, matmul, mean, mul, pick_rows, reshape, sub, sum, transpose, unbroadcast
from .linear import embedding, linear
from .loss import cross_entropy, linear_cross_entropy
from .norm import layer_norm, rms_norm

__all__ = [
    "add",
    "attention",
    "causal_bias",
    "concat",
    "cross_entropy",
    "div",
    "dropout",
    "embedding",
    "gelu",
    "getitem",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "matmul",
    "mean",
    "mul",
    "pick_rows",
    "reshape",
    "rms_norm",
    "rotary",
    "rotary_angles",
    "silu",
    "softmax",
    "sub",
    "sum",
    "swiglu",
    "transpose",
    "unbroadcast",
]
