"""An adapter for each row of a batch, in inference: PEFT's `adapter_names`, Punica (2310.18547), S-LoRA (2311.03285).

    y_i = W x_i + s_a · B_a A_a x_i        a = a(i), the adapter of row i; a row of the base alone has no second term

W x is one product for all rows, whatever their adapters: that is why one base can serve many. There are three ways to
add the second term, and they give the same numbers:

    loop      one adapter after another on its own rows. It works for every method that acts on a layer.
    gather    the A and B of every row side by side in new arrays, then one batched product. The copy is made in every
              layer of every step; with full prompts or padded ranks it costs more than it saves.
    segments  the A and B of all adapters of one rank lie in one array for good (`Resident`). Rows are sorted by adapter
              once a step, so the adapters of neighbouring slots are a slice: a batched product, and no copy.

A model alone uses the loop (`Rows`), a server the segments.

Letters of shapes: B rows, T tokens of each, k adapters of a segment, c rows of each, n slots, r rank.
"""

from typing import NamedTuple

import numpy as np

from ..autograd import Tensor, is_recording
from ..backend import array_module, like
from ..errors import ConfigError, ShapeError
from ..methods.base import Method

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
    kind   what `Resident` knows the shapes by
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
    B: np.ndarray  # (n, r, out)
    s: np.ndarray  # (n, 1, 1)
    g: np.ndarray | None = None  # (n, 1, out), DoRA's m / n; None: every adapter here is LoRA

    def add(self, y, x, segment, bias):  # (B, T, out), (B, T, in): y is written into
        """y += s · (x Aᵀ) B for the rows of a segment; with DoRA y = g ⊙ (y - b + s · (x Aᵀ) B) + b."""
        slots, k = segment.slots, segment.slots.stop - segment.slots.start
        xs = x[segment.rows].reshape(k, -1, x.shape[-1])  # (k, c T, in)
        u = xs @ self.A[slots].swapaxes(1, 2)  # (k, c T, r)
        u *= self.s[slots]
        if segment.scale is not None:
            u = u.reshape(k, segment.each, -1, u.shape[-1]) * like(segment.scale.reshape(k, -1, 1, 1), u)
            u = u.reshape(k, -1, u.shape[-1])
        v = u @ self.B[slots]  # (k, c T, out)
        if self.g is None:
            y[segment.rows] += v.reshape(-1, *y.shape[1:])
            return
        v += y[segment.rows].reshape(v.shape)
        v = (v if bias is None else v - bias) * self.g[slots]
        y[segment.rows] = (v if bias is None else v + bias).reshape(-1, *y.shape[1:])


class Rows:
    """Which adapter each row of a batch has, for one forward: `Context.rows`.

    names     one adapter's name for each row, or BASE; scales: a factor for each row's update, of LoRA in slots alone
    groups    [(name, its rows)], for the loop
    segments  what `Resident` adds by slices; resident: that Resident
    """

    def __init__(self, names, resident: "Resident | None" = None, scales=None):
        self.count = len(names)
        of = {}
        for row, name in enumerate(names):
            if name != BASE:
                of.setdefault(name, []).append(row)
        self.resident = resident or Resident(0)
        stacked = {name: rows for name, rows in of.items() if name in self.resident.slots}
        self.groups = [(name, as_slice(rows)) for name, rows in of.items() if name not in stacked]
        self.segments = self.resident.segments(stacked)
        if scales is not None and any(scale != 1 for scale in scales):
            factors = np.array(scales, dtype=np.float32)
            self.segments = [segment._replace(scale=factors[segment.rows]) for segment in self.segments]

    def forward(self, layer, x, context):  # an AdaptedLayer, its input -> its output
        """What the layer makes of every row with its own adapter."""
        self.check(x)
        own = [(layer.adapters[name], rows) for name, rows in self.groups if name in layer.adapters]
        x = self._inputs(own, x, context)
        y = layer.base_layer(x, context)
        for segment in self.segments:
            if stack := self.resident.stack(segment.kind, layer.path):
                bias = None if layer.base_layer.bias is None else layer.base_layer.bias.data
                stack.add(y.data, x.data, segment, bias)
        for method, rows in own:
            y.data[rows] = method.update(Tensor(y.data[rows]), picked(x, rows), layer.base_layer, context).data
        return y

    @staticmethod
    def _inputs(own, x, context):
        """x as every row's method gives it to the frozen layer: IA3 scales the input of some."""
        changing = [(method, rows) for method, rows in own if type(method).input is not Method.input]
        if not changing:
            return x
        changed = x.data.copy()
        for method, rows in changing:
            changed[rows] = method.input(picked(x, rows), context).data
        return Tensor(changed)

    def select(self, saved, x, context):  # a SavedModule, its input -> its output
        """What the frozen module makes of x, and for rows whose adapter has a copy of it, what the copy makes."""
        self.check(x)
        y = saved.original_module(x, context)
        for name, rows in self.groups:
            if name in saved.modules_to_save:
                y.data[rows] = saved.modules_to_save[name](picked(x, rows), context).data
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


class Resident:
    """Adapters in slots: for each layer and rank one array of all A, one of all B, made at the first use of the rank.

    n_slots  how many adapters fit; slots: {name: its slot}
    """

    def __init__(self, n_slots):
        self.n_slots, self.slots = n_slots, {}
        self._kinds = {}  # what an adapter adapts, with ranks -> its number
        self._kind_of = {}  # name -> number
        self._stacks = {}  # (path, rank, whether DoRA) -> Stack
        self._by_kind = {}  # (number, path) -> Stack

    def put(self, name, methods, layers):  # {path: Method}, {path: AdaptedLayer}
        """Copy an adapter into a free slot. Returns False when it is of a method that only the loop can add."""
        parts = {path: method.stacked(layers[path].base_layer) for path, method in methods.items()}
        if None in parts.values():
            return False
        slot = min(set(range(self.n_slots)) - set(self.slots.values()))
        shapes = tuple(sorted((path, A.shape[0], g is not None) for path, (A, B, s, g) in parts.items()))
        kind = self._kinds.setdefault(shapes, len(self._kinds))
        for path, rank, with_g in shapes:
            A, B, s, g = parts[path]
            stack = self._stacks.get((path, rank, with_g))
            if stack is None:
                xp = array_module(A)
                sizes = ((rank, A.shape[1]), (rank, B.shape[0]), (1, 1)) + (((1, B.shape[0]),) if with_g else ())
                stack = Stack(*(xp.zeros((self.n_slots, *size), dtype=A.dtype) for size in sizes))
                self._stacks[path, rank, with_g] = stack
            self._by_kind[kind, path] = stack
            stack.A[slot], stack.B[slot], stack.s[slot] = A, B.T, s
            if stack.g is not None:
                stack.g[slot] = g
        self.slots[name], self._kind_of[name] = slot, kind
        return True

    def drop(self, name):
        """Free the slot of an adapter. Its numbers stay there until another adapter takes it."""
        del self.slots[name], self._kind_of[name]

    def stack(self, kind, path):  # -> Stack or None
        """Where adapters of a kind have their parts of the layer at `path`; None: they do not adapt it."""
        return self._by_kind.get((kind, path))

    def segments(self, rows_of):  # {name: its rows} -> [Segment]
        """The batch sorted by slot and cut into slices: as few products as the slots allow."""
        found = []
        for name in sorted(rows_of, key=self.slots.__getitem__):
            slot, kind, rows = self.slots[name], self._kind_of[name], rows_of[name]
            if found:
                slots, before, each, its = found[-1]
                if (slots.stop, each, its) == (slot, len(rows), kind):
                    found[-1] = slice(slots.start, slot + 1), before + rows, each, kind
                    continue
            found.append((slice(slot, slot + 1), rows, len(rows), kind))
        return [Segment(slots, as_slice(rows), each, kind) for slots, rows, each, kind in found]


def picked(x, rows):  # a Tensor, or an array of token ids
    """These rows of a batch."""
    return Tensor(x.data[rows]) if isinstance(x, Tensor) else x[rows]


def as_slice(rows):  # [int] -> slice where they follow each other, else an index array
    """A slice reads and writes without a copy."""
    first, behind = rows[0], rows[0] + len(rows)
    return slice(first, behind) if rows == list(range(first, behind)) else np.array(rows, np.int64)
