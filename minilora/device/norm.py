"""Layer norm and RMS norm on a GPU; the equations are in ops/norm.py.

`...` any leading axes (batch, tokens)   d width of the model   n = 1/d
"""

from ..autograd import Tensor, record
from ..backend import array_module, sum_rows
from .fused import kernels


def layer_norm_on_device(x, w, b, eps) -> Tensor:
    """The same on a GPU, in four kernels; a frozen w needs three for dx = (u - Σ u / d - c · Σ(u · c) / (d σ²)) / σ."""
    a, to_x, xp = x.data, x.requires_grad, array_module(x.data)
    fused, numbers = kernels(xp), (a.dtype.type(1 / a.shape[-1]), a.dtype.type(eps))
    c = fused.centred(a, a.sum(axis=-1, keepdims=True), numbers[0])  # x - μ
    squares = fused.sum_2(c, c)[..., None]  # (..., 1)

    def backward(g):
        dx = dw = None
        if to_x:
            along, u = fused.sum_3(g, w.data, c)[..., None], fused.sum_2(g, w.data)[..., None]
            dx = fused.layer_norm_backward(g, w.data, c, squares, u, along, *numbers)
        if w.requires_grad:
            dw = sum_rows(fused.rms_norm(c, g, squares, *numbers))  # of c it is h
        return dx, dw, sum_rows(g) if b.requires_grad else None

    return record(fused.layer_norm(c, w.data, b.data, squares, *numbers), (x, w, b), backward)


def rms_norm_on_device(x, w, eps) -> Tensor:
    """The same on a GPU, in two kernels; a frozen w needs two more for dx = (u - x · Σ(u · x) / (d ρ²)) / ρ."""
    a, to_x, xp = x.data, x.requires_grad, array_module(x.data)
    fused, numbers = kernels(xp), (a.dtype.type(1 / a.shape[-1]), a.dtype.type(eps))
    squares = fused.sum_2(a, a)[..., None]  # (..., 1)

    def backward(g):
        dx = dw = None
        if to_x:
            along = fused.sum_3(g, w.data, a)[..., None]
            dx = fused.rms_norm_backward(g, w.data, a, squares, along, *numbers)
        if w.requires_grad:
            dw = sum_rows(fused.rms_norm(a, g, squares, *numbers))
        return dx, dw

    return record(fused.rms_norm(a, w.data, squares, *numbers), (x, w), backward)
