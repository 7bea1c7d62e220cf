"""An adapter for each row of a batch, in inference: PEFT's `adapter_names`, Punica (2310.18547), S-LoRA (2311.03285).

    y_i = W x_i + s_a · B_a A_a x_i        a = a(i), the adapter of row i; a row of the base alone has no second term

W x is one product for all rows, whatever their adapters: that is why one base can serve many. There are three ways to
add the second term, and they give the same numbers:

    loop      one adapter after another on its own rows. It works for every method that acts on a layer.
    gather    the A and B of every row side by side in new arrays, then one batched product. The copy is made in every
              layer of every step; with full prompts or padded ranks it costs more than it saves.
    segments  the A and B of all adapters of one rank lie in one array for good (resident.py). Rows are sorted by
              adapter once a step, so the adapters of neighbouring slots are a slice: a batched product, and no copy.

A model alone uses the loop (`Rows`), a server the segments. VeRA and IA3 are segments too: their vectors lie in slots.

Letters of shapes: B rows, T tokens of each, k adapters of a segment, c rows of each, n slots, r rank.
"""

from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor, is_recording
from ..backend import array_module, like, scatter_add
from ..errors import ConfigError, ShapeError
from ..methods.base import Between, Method, Product, Scale

BASE = "__base__"  # PEFT's name for a row without an adapter


def loop(y, x, slots, A, B, s):  # (B, T, out), (B, T, in), (B,) int, (n, r, in), (n, r, out), (n,): y is written into
    """y_i += s_a · (x_i A_aᵀ) B_a, one row after another; slot -1 is the base. A slot holds B transposed."""
    for i, a in enumerate(slots):
        if a >= 0:
            y[i] += s[a] * (x[i] @ A[a].T) @ B[a]


def gather(y, x, slots, A, B, s):  # the same
    """All rows in one batched product, of A and B copied for every row."""
    rows = np.flatnonzero(np.asarray(slots) >= 0)
    a = np.asarray(slots)[rows]
    u = x[rows] @ A[a].swapaxes(1, 2)  # (B, T, r)
    y[rows] += (u * s[a][:, None, None]) @ B[a]


class Segment(NamedTuple):
    """Neighbouring slots with adapters of the same shapes and `each` rows.

    slots  slice of the slots, of length k
    rows   the rows of the batch in the order of their slots: a slice or an index array (k · each,)
    kind   what a `Resident` knows the stacks by
    scale  (k · each,) by which each row's update is multiplied; None: 1
    """

    slots: slice
    rows: slice | np.ndarray
    each: int
    kind: int
    scale: np.ndarray | None = None


class Stack(NamedTuple):
    """The adapters of one layer and rank. A slot is a place for one adapter."""

    A: np.ndarray  # (n, r, in)
    B: np.ndarray  # (n, r, out), s · B transposed
    g: np.ndarray | None = None  # (n, 1, out), DoRA's m / n; None: every adapter here is LoRA

    on_input = False  # a ScaleStack alone may change the input of the layer

    @classmethod
    def of(cls, part, n):
        """n empty slots for updates like `part`, a Product."""
        (r, n_in), out, xp, dtype = part.A.shape, len(part.B), array_module(part.A), part.A.dtype
        # CuPy copies an operand of a batched product unless it is C-contiguous: there Aᵀ is stored
        A = xp.zeros((n, r, n_in), dtype) if xp is np else xp.zeros((n, n_in, r), dtype).swapaxes(1, 2)
        g = None if part.g is None else xp.zeros((n, 1, out), dtype)
        return cls(A, xp.zeros((n, r, out), dtype), g)

    def fits(self, part):
        """Whether `part` can be in a slot here."""
        return isinstance(part, Product) and len(part.A) == self.A.shape[1] and (part.g is None) == (self.g is None)

    def put(self, slot, part):
        """Copy an update into a slot."""
        self.A[slot], self.B[slot] = part.A, part.B.T * part.s
        if self.g is not None:
            self.g[slot] = part.g

    def add(self, y, x, segment, bias):  # (B, T, out), (B, T, in): y is written into
        """y += (x Aᵀ) (s · B) for the rows of a segment; with DoRA y = g ⊙ (y - b + (x Aᵀ) (s · B)) + b."""
        slots, k = segment.slots, segment.slots.stop - segment.slots.start
        xs = x[segment.rows].reshape(k, -1, x.shape[-1])  # (k, c T, in)
        u = xs @ self.A[slots].swapaxes(1, 2)  # (k, c T, r)
        if segment.scale is not None:
            u = u.reshape(k, segment.each, -1, u.shape[-1]) * segment.scale.reshape(k, -1, 1, 1)
            u = u.reshape(k, -1, u.shape[-1])
        v = u @ self.B[slots]  # (k, c T, out)
        if self.g is None:
            add_to_rows(y, segment.rows, v.reshape(-1, *y.shape[1:]))
            return
        v += y[segment.rows].reshape(v.shape)
        v = (v if bias is None else v - bias) * self.g[slots]
        y[segment.rows] = (v if bias is None else v + bias).reshape(-1, *y.shape[1:])


class SharedStack(NamedTuple):
    """VeRA's adapters of one layer that share A and B: a slot holds two vectors."""

    A: np.ndarray  # (r, in)
    B: np.ndarray  # (out, r)
    d: np.ndarray  # (n, 1, r)
    b: np.ndarray  # (n, 1, out)

    on_input = False

    @classmethod
    def of(cls, part, n):
        """n empty slots for updates like `part`, a Between."""
        d, b = (array_module(v).zeros((n, 1, len(v)), dtype=v.dtype) for v in (part.d, part.b))
        return cls(part.A, part.B, d, b)

    def fits(self, part):
        """Whether `part` has the same A and B."""
        return isinstance(part, Between) and is_equal(self.A, part.A) and is_equal(self.B, part.B)

    def put(self, slot, part):
        """Copy the vectors of an update into a slot."""
        self.d[slot], self.b[slot] = part.d, part.b

    def add(self, y, x, segment, bias):
        """y += b ⊙ ((d ⊙ (x Aᵀ)) Bᵀ): one product with A for all rows of the segment, and one with B."""
        k = segment.slots.stop - segment.slots.start
        u = x[segment.rows].reshape(-1, x.shape[-1]) @ self.A.T  # (k c T, r)
        u = u.reshape(k, -1, u.shape[-1]) * self.d[segment.slots]  # (k, c T, r)
        v = u.reshape(-1, u.shape[-1]) @ self.B.T  # (k c T, out)
        v = v.reshape(k, -1, v.shape[-1]) * self.b[segment.slots]
        add_to_rows(y, segment.rows, v.reshape(-1, *y.shape[1:]))


class ScaleStack(NamedTuple):
    """IA3's adapters of one layer: a slot holds the scales of its outputs, or of its inputs."""

    l: np.ndarray  # (n, 1, out) or (n, 1, in)
    on_input: bool

    @classmethod
    def of(cls, part, n):
        """n empty slots for scales like `part`, a Scale."""
        return cls(array_module(part.l).zeros((n, 1, len(part.l)), dtype=part.l.dtype), part.on_input)

    def fits(self, part):
        """Whether `part` scales the same side of the layer."""
        return isinstance(part, Scale) and part.on_input == self.on_input

    def put(self, slot, part):
        """Copy scales into a slot."""
        self.l[slot] = part.l

    def change(self, x, segment):  # (B, T, in), written into
        """x = l ⊙ x for the rows of a segment."""
        k = segment.slots.stop - segment.slots.start
        xs = x[segment.rows].reshape(k, -1, x.shape[-1]) * self.l[segment.slots]  # (k, c T, in)
        x[segment.rows] = xs.reshape(-1, *x.shape[1:])

    def add(self, y, x, segment, bias):
        """y = l ⊙ y, where the outputs are scaled."""
        if not self.on_input:
            self.change(y, segment)


STACKS = {Product: Stack, Between: SharedStack, Scale: ScaleStack}  # of a method's `stacked` -> what holds many


class Rows:
    """Which adapter each row of a batch has, for one forward: `Context.rows`.

    names     one adapter's name for each row, or BASE; scales: a factor for each row's update, of LoRA in slots alone
    groups    [(name, its rows)], for the loop
    segments  what a Resident adds by slices; resident: that Resident, or None
    """

    def __init__(self, names, resident=None, scales=None):
        self.count = len(names)
        of = {}
        for row, name in enumerate(names):
            if name != BASE:
                of.setdefault(name, []).append(row)
        stacked = {name: rows for name, rows in of.items() if resident is not None and name in resident.slots}
        self.resident: Any = resident
        self.segments = self.resident.segments(stacked) if stacked else []
        self.groups = [(name, as_slice(rows)) for name, rows in of.items() if name not in stacked]
        self._uploaded = {}  # id of a host array of rows -> the same on a GPU
        if scales is not None and any(scale != 1 for scale in scales):
            factors = np.array(scales, dtype=np.float32)
            self.segments = [segment._replace(scale=factors[segment.rows]) for segment in self.segments]

    def forward(self, layer, x, context):  # an AdaptedLayer, its input -> its output
        """What the layer makes of every row with its own adapter."""
        self.check(x)
        own = [(layer.adapters[name], rows) for name, rows in self.groups if name in layer.adapters]
        stacks = [(stack, s) for s in self.segments if (stack := self.resident.stack(s.kind, layer.path)) is not None]
        x = self._inputs(own, stacks, x, context)
        y = layer.base_layer(x, context)
        bias = None if layer.base_layer.bias is None else layer.base_layer.bias.data
        for stack, segment in stacks:
            stack.add(y.data, x.data, self._placed(segment, y.data), bias)
        for method, rows in own:
            at = self._index(rows, y.data)
            y.data[at] = method.update(Tensor(y.data[at]), self._picked(x, rows), layer.base_layer, context).data
        return y

    def _inputs(self, own, stacks, x, context):
        """x as every row's method gives it to the frozen layer: IA3 scales the input of some."""
        changing = [(method, rows) for method, rows in own if type(method).input is not Method.input]
        scaling = [(stack, segment) for stack, segment in stacks if stack.on_input]
        if not changing and not scaling:
            return x
        changed = x.data.copy()
        for method, rows in changing:
            changed[self._index(rows, changed)] = method.input(self._picked(x, rows), context).data
        for stack, segment in scaling:
            stack.change(changed, self._placed(segment, changed))
        return Tensor(changed)

    def _picked(self, x, rows):  # a Tensor, or an array of token ids
        """These rows of a batch."""
        array = x.data if isinstance(x, Tensor) else x
        array = array[self._index(rows, array)]
        return Tensor(array) if isinstance(x, Tensor) else array

    def _placed(self, segment, x):
        """The segment with its arrays where x is."""
        if array_module(x) is np:
            return segment
        return segment._replace(rows=self._index(segment.rows, x), scale=self._index(segment.scale, x))

    def _index(self, rows, x):  # slice, host array or None
        """`rows` as an index of the array x: on a GPU, where a host array would be uploaded in every layer."""
        if rows is None or isinstance(rows, slice) or array_module(x) is np:
            return rows
        if id(rows) not in self._uploaded:
            self._uploaded[id(rows)] = like(rows, x)
        return self._uploaded[id(rows)]

    def select(self, saved, x, context):  # a SavedModule, its input -> its output
        """What the frozen module makes of x, and for rows whose adapter has a copy of it, what the copy makes."""
        self.check(x)
        y = saved.original_module(x, context)
        for name, rows in self.groups:
            if name in saved.modules_to_save:
                copied = saved.modules_to_save[name](self._picked(x, rows), context)
                y.data[self._index(rows, y.data)] = copied.data
        return y

    def check(self, x):
        """Raises ShapeError for another number of rows, ConfigError where gradients would be recorded."""
        if is_recording():
            raise ConfigError("an adapter for each row is for inference: call the model inside no_grad()")
        if x.shape[0] != self.count:
            raise ShapeError(f"adapter_names has {self.count} names for a batch of {x.shape[0]} rows")


def new_rows(model, names):  # a PeftModel, [name or BASE] -> Rows
    """The rows of `model(ids, adapter_names=names)`. Raises UnknownNameError, ConfigError for what cannot be mixed."""
    names = list(names) if isinstance(names, list | tuple) else [names]
    used = [name for name in dict.fromkeys(names) if name != BASE]
    model.known_names(used)  # raises for one that is not loaded
    if model.training:
        raise ConfigError("an adapter for each row is for inference: call model.eval() first")
    if merged := model.merged_adapters:
        raise ConfigError(f"adapter {merged[0]!r} is merged, so no row can be without it: unmerge_adapter() first")
    for name in used:
        check_mixable(name, model.base_model.adapters[name])
    return Rows(names)


def check_mixable(name, adapter):
    """Raises ConfigError for an adapter that changes more than what layers make of a row."""
    if adapter.virtual_tokens:
        kind = adapter.config.peft_type
        raise ConfigError(f"adapter {name!r} ({kind}) has tokens in front of a row: it cannot be in a mixed batch")


def is_equal(one, other) -> bool:
    """Whether two arrays have the same shape and numbers."""
    return one is other or one.shape == other.shape and bool((one == other).all())


def add_to_rows(y, rows, v):  # (B, ...), slice or index array without repetition, (rows, ...)
    """y[rows] += v. With an index array that is one launch on a GPU, in place of three."""
    if isinstance(rows, slice) or array_module(y) is np:
        y[rows] += v
    else:
        scatter_add(y, rows, v)


def as_slice(rows):  # [int] -> slice where they follow each other, else an index array
    """A slice reads and writes without a copy."""
    first, behind = rows[0], rows[0] + len(rows)
    return slice(first, behind) if rows == list(range(first, behind)) else np.array(rows, np.int64)
