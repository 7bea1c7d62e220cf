"""Every differentiable operation: its equation, forward and backward on one screen.

Each operation takes Tensors, returns a Tensor and records a backward written by hand (see autograd.record). In the
equations g is the gradient of the result y, and dx is the gradient of x. The shapes are on the def line:

    B batch     T tokens (queries)     S keys     V vocabulary     ... any leading axes     N all of them as one
    H query heads     K key/value heads     G = H/K query heads per key/value head     hd width of a head
"""

from .activation import dropout, gelu, silu, softcap, softmax, swiglu
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
    "softcap",
    "softmax",
    "sub",
    "sum",
    "swiglu",
    "transpose",
    "unbroadcast",
]
