"""The product with a stored weight, and the modules that have one: frozen, and read again for every product.

y = x W'ᵀ + b        dx = g W'        W' is the stored weight, read a block of rows at a time and forgotten
"""

import numpy as np

from ..autograd import Tensor, as_tensor, record
from ..backend import array_module, like, to_host
from ..errors import ShapeError
from ..nn import Embedding, Linear, Parameter, some_values
from ..ops.linear import check_ids
from ..rounding import round_to
from .stored import Stored, operand


class StoredParameter(Parameter):
    """A frozen weight whose `data` is a Stored; None until it is filled. shape: (out, in), as the module has it.

    store       function (out, in) array -> Stored
    transposed  whether a file of numbers (not of codes) holds it as (in, out)
    """

    __slots__ = ("store", "transposed")

    def __init__(self, shape, store, transposed=False):
        super().__init__(shape)
        self.requires_grad = False
        self.store, self.transposed = store, transposed

    @property
    def shape_in_file(self):
        return self.declared[::-1] if self.transposed else self.declared

    def fill_from_file(self, array, device: str):  # host array in the shape of the file
        """Store the numbers; they are stored on the host, and the result is moved."""
        self.original = some_values(array)
        self.data = self.store(array.T if self.transposed else array)
        self.move(device)

    def numpy(self):
        return to_host(self.data.dense())

    def some_values(self):
        return some_values(self.numpy()) if self.original is None else self.original

    @property
    def device(self) -> str:
        return self.data.device

    def move(self, device: str) -> None:
        if self.data is not None:
            self.data.move(device)

    def __repr__(self) -> str:
        return f"StoredParameter({self.data or f'shape={self.shape}, not filled'})"


def stored_linear(x, stored: Stored, b=None, compute: str = "float32") -> Tensor:  # (..., in) -> (..., out)
    """y = x Wᵀ + b for a weight in a format.

    compute: "float32", or "bfloat16" or "float16": x, W, b, y and their gradients are rounded to it, as a GPU that
    multiplies in that type does. Sums are in float32. Raises ShapeError when x and W do not fit together.
    """
    x = as_tensor(x)
    shape, (n_out, n_in) = x.shape, stored.shape
    if shape[-1] != n_in:
        raise ShapeError(f"linear: x has {shape[-1]} features, W of shape {stored.shape} expects {n_in}")
    x2 = operand(x.data.reshape(-1, n_in), compute)  # (N, in)
    xp = array_module(x2)
    y = xp.empty((len(x2), n_out), x2.dtype)
    for rows, W in stored.blocks(compute):
        xp.matmul(x2, W.T, out=y[:, rows])
    if b is not None:
        y = wide(y)
        y += round_to(b.data, compute)
    to_x = shape if x.requires_grad else None

    def backward(g):
        g2, dx = operand(g.reshape(-1, n_out), compute), None
        for rows, W in stored.blocks(compute) if to_x is not None else ():
            part = g2[:, rows] @ W  # (N, in)
            if dx is not None:
                part = wide(part)
                part += dx
            dx = part
        dx = None if dx is None else result(dx, compute).reshape(to_x)
        return (dx,) if b is None else (dx, wide(g2).sum(axis=0) if b.requires_grad else None)

    return record(result(y, compute).reshape(shape[:-1] + (n_out,)), (x,) if b is None else (x, b), backward)


def wide(y):
    """y itself, or a float16 product of a GPU in float32."""
    return y.astype(np.float32) if y.dtype == np.float16 else y


def result(y, kind):
    """What a product gives: y in float32, rounded to `kind`. A GPU has rounded float16 already."""
    return wide(y) if y.dtype == np.float16 else round_to(y, kind)


class StoredLinear(Linear):
    """nn.Linear, or GPT-2's Conv1D, with a stored weight. After `replace_weight` it has an ordinary one, in float32.

    There is no fan_in_fan_out: the weight is (out, in) in every model, as transformers stores it.

    transposed  whether the ordinary layer has it as (in, out)
    """

    def __init__(self, weight: StoredParameter, bias: Parameter | None, compute: str, transposed: bool):
        self.weight, self.bias, self.compute, self.transposed = weight, bias, compute, transposed

    def forward(self, x, context=None):  # (..., in) -> (..., out)
        if isinstance(self.weight, StoredParameter):
            return stored_linear(x, self.weight.data, self.bias, self.compute)
        return super().forward(x, context)

    def dense(self):  # -> array (out, in)
        return self.weight.data.dense() if isinstance(self.weight, StoredParameter) else self.weight.data


class StoredEmbedding(Embedding):
    """An embedding with a weight in 16 bits: rows are widened as they are looked up. scale: see GemmaEmbedding."""

    def __init__(self, weight: StoredParameter, scale: float = 1.0):
        self.weight, self.scale = weight, scale

    def forward(self, ids, context=None):  # (...) int -> (..., width)
        if isinstance(self.weight, StoredParameter):
            ids = check_ids(ids, self.shape[0], "id")
            y = Tensor(self.weight.data[like(ids, self.weight.data.first)])
        else:
            y = super().forward(ids, context)
        return y if self.scale == 1 else y * self.scale

    def dense(self):  # -> array (vocabulary, width)
        return self.weight.data.dense() if isinstance(self.weight, StoredParameter) else self.weight.data
