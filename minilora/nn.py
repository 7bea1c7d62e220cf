"""Parameters and the modules that hold them. A constructor states shapes and allocates nothing: `init(seed)` or a
checkpoint fills the weights. So a model can be counted without memory, and loaded without a second copy."""

import hashlib
from typing import Any

import numpy as np

from . import ops
from .autograd import Tensor
from .backend import device_of, to_device, to_host, working_type
from .errors import FormatError, GraphError, nearest


class Parameter(Tensor):
    """A Tensor with a declared shape whose values come later: `data` is None until then.

    fill: how `init` fills it, a function (rng, shape) -> float64 array.
    original: what `some_values` gave before the values were rounded; None: they were not.
    """

    __slots__ = ("declared", "fill", "original")

    def __init__(self, shape, fill=None, data=None):
        self.declared = tuple(int(n) for n in shape)
        self.fill = fill or normal(0.02)
        self.original = None
        super().__init__(data, requires_grad=True)

    shape = property(lambda self: self.declared)
    shape_in_file = shape  # a stored weight may have another
    is_filled = property(lambda self: self.data is not None)
    device = property(lambda self: device_of(self.data))

    def assign(self, values):
        """Take these values. Raises FormatError when they have another shape."""
        if values.shape != self.declared:
            raise FormatError(f"values of shape {values.shape} for a weight of shape {self.declared}")
        self.data = values

    def fill_from_file(self, values, device):  # host array
        """Take the values that a file has, on `device`."""
        self.data = to_device(values, device)

    def move(self, device):
        """Move the values and their gradient to "cpu", "cuda" or "cuda:n"."""
        if self.is_filled:
            self.data = to_device(self.data, device)
        if self.grad is not None:
            self.grad = to_device(self.grad, device)

    def some_values(self):  # -> (about 64,) host array
        """The values at some fixed places, which tell this weight from another one of the same shape."""
        return some_values(self.data) if self.original is None else self.original

    def __repr__(self):
        return super().__repr__() if self.is_filled else f"Parameter(shape={self.shape}, not filled)"


def some_values(array):  # -> (about 64,) host array, a copy
    """See `Parameter.some_values`."""
    return to_host(array.reshape(-1)[:: max(1, array.size // 64)]).copy()


def fingerprint_of(weights: dict) -> str:  # {name: (shape in the file, what `some_values` gives of it)}
    """Tells a model from another one of the same shapes."""
    digest = hashlib.sha256()
    for name, (shape, values) in sorted(weights.items()):
        digest.update(f"{name} {shape}".encode() + values.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def check_filled(module):
    """Raise GraphError when a parameter of `module` has no values yet."""
    for p in module.parameters():
        if not p.is_filled:
            raise GraphError(f"a weight of shape {p.shape} is not filled: call init(seed) or load a checkpoint")


def fill_parameters(parameters, generator, dtype):
    """Fill those that are not filled, in order. dtype: float32 or float64. Raises ConfigError for another."""
    dtype = working_type(dtype)
    for p in parameters:
        if not p.is_filled:
            p.assign(p.fill(generator, p.shape).astype(dtype))


def normal(std):
    return lambda rng, shape: rng.standard_normal(shape) * std


def uniform(bound):
    return lambda rng, shape: rng.uniform(-bound, bound, shape)


def zeros(rng, shape):
    return np.zeros(shape)


def ones(rng, shape):
    return np.ones(shape)


class Module:
    """Parameters and modules found by their attribute names; lists and dicts of them count too.

    Names are the paths of attributes, as in PyTorch: `model.layers.0.self_attn.q_proj.weight`. A class that defines
    `forward` is called by it. To compute something else, subclass: a `forward` that is put on an object, or on a class
    later, is not seen.
    """

    forward: Any
    training = False  # read by the model that makes a Context; nothing below looks at it

    def __init_subclass__(cls, **keywords):
        super().__init_subclass__(**keywords)
        if "forward" in vars(cls) and "__call__" not in vars(cls):
            cls.__call__ = cls.forward  # not a function that calls it: a token is sixty calls of modules

    def children(self):
        """(name, Parameter or Module) of the direct children, in order of definition."""
        for name, value in vars(self).items():
            if isinstance(value, list):
                named = ((f"{name}.{i}", v) for i, v in enumerate(value))
            elif isinstance(value, dict):
                named = ((f"{name}.{key}", v) for key, v in value.items())
            else:
                named = ((name, value),)
            if not name.startswith("_"):
                yield from ((n, v) for n, v in named if isinstance(v, Parameter | Module))

    def named_modules(self, prefix=""):
        """(path, module) of this module and all below; the path of this one is `prefix`."""
        yield prefix, self
        for name, child in self.children():
            if isinstance(child, Module):
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self, remove_duplicate=True):
        """(path, Parameter); one that two modules share (a tied head) is given once, under its first name."""
        seen = set()
        for path, module in self.named_modules():
            for name, value in module.children():
                if isinstance(value, Parameter) and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self):
        return [p for _, p in self.named_parameters()]

    def find(self, path):  # -> Module or None
        """The module at `path`, by walking down: a large model has thousands."""
        if not path:
            return self
        for name, child in self.children():
            if isinstance(child, Module) and (path + ".").startswith(name + "."):
                return child.find(path[len(name) + 1 :])
        return None

    def get_submodule(self, path):
        """The module at `path`. Raises FormatError naming the nearest ones."""
        module = self.find(path)
        if module is None:
            raise FormatError(f"no module {path!r}; the nearest are {nearest(path, dict(self.named_modules()))}")
        return module

    def set_submodule(self, path, module):
        """Put `module` in the place of the one at `path`."""
        parent, _, name = path.rpartition(".")
        if name.isdigit():  # cannot be: layers stand in lists that nobody replaces
            raise FormatError(f"{path!r} is a layer of a list; name a module inside it")
        setattr(self.get_submodule(parent), name, module)

    def init(self, seed, dtype=np.float32):
        """Fill every parameter that is not filled, from one generator, in order of name. Returns self.

        dtype: float32, or float64 for gradient checks. Raises ConfigError for another.
        """
        fill_parameters(self.parameters(), np.random.default_rng(seed), dtype)
        return self

    def train(self, mode=True):
        """Dropout acts from now on (mode=True), or not. Merging has nothing to do with it. Returns self."""
        self.training = bool(mode)
        return self

    def eval(self):
        return self.train(False)

    def to(self, device):
        """Move every parameter to "cpu", "cuda" or "cuda:n", in place. Returns self."""
        for p in self.parameters():
            p.move(device)
        return self

    @property
    def device(self):
        return next((p.device for p in self.parameters() if p.is_filled), "cpu")


class Linear(Module):
    """y = x Wᵀ + b with `weight` (out, in).

    An adapter asks its base only for `forward`, `kind`, `shape`, `bias`, `dense`, `replace_weight`, `restore_weight`:
    a weight that is stored in another way (transposed, in 4 bits) is another class with these.
    """

    kind = "linear"

    def __init__(self, n_in, n_out, bias=False):
        self.weight = Parameter((n_out, n_in))
        self.bias = Parameter((n_out,), zeros) if bias else None

    shape = property(lambda self: self.weight.shape)  # (out, in)

    def forward(self, x, context=None):  # (..., in) -> (..., out)
        return ops.linear(x, self.weight, self.bias)

    def dense(self):  # -> array (out, in)
        return self.weight.data

    def replace_weight(self, weight, bias=None):  # (out, in), (out,) or None -> what `restore_weight` takes
        """Use other values from now on, in new Parameters; the old ones are returned, untouched."""
        before = self.weight, self.bias
        self.weight = replacement(self.weight, weight)
        self.bias = self.bias if bias is None else replacement(self.bias, bias)
        return before

    def restore_weight(self, before):
        """Use the Parameters again that `replace_weight` returned."""
        self.weight, self.bias = before


def replacement(parameter, values):
    """A Parameter with these values, trainable as `parameter` is."""
    new = Parameter(parameter.shape)
    new.assign(values)
    new.requires_grad = parameter.requires_grad
    return new


class Embedding(Module):
    """y = W[ids] with `weight` (vocabulary, width)."""

    kind = "embedding"
    bias = None

    def __init__(self, n_rows, width):
        self.weight = Parameter((n_rows, width))

    shape = property(lambda self: self.weight.shape)  # (vocabulary, width)

    def forward(self, ids, context=None):  # (...) int -> (..., width)
        return ops.embedding(self.weight, ids)

    def dense(self):  # -> array (vocabulary, width)
        return self.weight.data

    def replace_weight(self, weight, bias=None):  # (vocabulary, width) -> what `restore_weight` takes
        """As Linear's; an embedding has no bias."""
        before = (self.weight,)
        self.weight = replacement(self.weight, weight)
        return before

    def restore_weight(self, before):
        """Use the Parameter again that `replace_weight` returned."""
        (self.weight,) = before


class LayerNorm(Module):
    """y = (x - mean) / √(variance + eps) · w + b over the last axis."""

    def __init__(self, width, eps=1e-5):
        self.weight = Parameter((width,), ones)
        self.bias = Parameter((width,), zeros)
        self.eps = eps

    def forward(self, x, context=None):  # (..., d) -> (..., d)
        return ops.layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """y = x / √(mean(x²) + eps) · w over the last axis."""

    def __init__(self, width, eps=1e-6):
        self.weight = Parameter((width,), ones)
        self.eps = eps

    def forward(self, x, context=None):  # (..., d) -> (..., d)
        return ops.rms_norm(x, self.weight, self.eps)
