"""What a card would be asked to do: counted over the stand-in for CuPy, by what CuPy 14.2 launches for each operation.

    with count_launches() as found:
        model.loss(ids, labels).backward()
    print(found.table())

A launch is a kernel, a product of cuBLAS, a copy on the card or a memset: each takes the host 5 to 20 us. Hidden copies
are counted too: CuPy's product copies an operand that it cannot read as it lies in memory. The rules are from CuPy's
source: cupy/_core/_routines_{linalg,indexing,math,statistics,manipulation}.pyx, _kernel.pyx and fusion.pyx.
"""

import contextlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import strict_cupy

PACKAGE = f"{Path(strict_cupy.__file__).parents[2]}/minilora/"
MEMORY_ONLY = {"empty", "empty_like"}
MEMSET = {"zeros", "zeros_like"}
# a view, or the array itself, where the memory allows it; otherwise a copy
VIEWS = set("reshape transpose swapaxes expand_dims squeeze ravel broadcast_to astype asarray ascontiguousarray moveaxis view".split())  # fmt: skip # noqa: E501
JOINED = 8  # CuPy joins more arrays than this with one kernel, to which it uploads their addresses


class Launch(NamedTuple):
    """One launch: its kernel, the shape and type of its result, the bytes that it reads and writes, and who asked."""

    name: str
    shape: tuple
    dtype: np.dtype
    read: int
    written: int
    place: str  # "ops/norm.py:59"


@dataclass
class Count:
    """What was asked of the card. syncs: what made the host wait. float64: the launches whose result has that type."""

    launches: list = field(default_factory=list)
    uploads: list = field(default_factory=list)
    syncs: list = field(default_factory=list)

    float64 = property(lambda self: [e for e in self.launches if e.dtype == np.float64])
    read = property(lambda self: sum(e.read for e in self.launches))
    written = property(lambda self: sum(e.written for e in self.launches))

    def __len__(self):
        return len(self.launches)

    def seconds(self, launch=10e-6, bandwidth=3e12):
        """How long the host takes to launch all this, and how long a card to read and write it, without products."""
        return len(self) * launch, (self.read + self.written) / bandwidth

    def copies(self, least=0):
        """The hidden copies: launches that move numbers and compute nothing, of at least so many bytes."""
        return [e for e in self.launches if e.name.startswith("copy") and e.written >= least]

    def table(self):
        """By kernel: how many launches, and the MB that they read and write."""
        rows = Counter(e.name for e in self.launches)
        lines = [f"{'launches':>8} {'read MB':>9} {'written MB':>10}  kernel"]
        for name, n in rows.most_common():
            read, written = (
                sum(getattr(e, what) for e in self.launches if e.name == name) for what in ("read", "written")
            )
            lines.append(f"{n:8} {read / 1e6:9.1f} {written / 1e6:10.1f}  {name}")
        lines.append(f"{len(self):8} {self.read / 1e6:9.1f} {self.written / 1e6:10.1f}  all")
        return (
            "\n".join(lines) + f"\nuploads: {len(self.uploads)}  syncs: {len(self.syncs)} {dict(Counter(self.syncs))}"
        )


@contextlib.contextmanager
def count_launches():
    """Counts what the package asks of the stand-in inside the block."""
    count = Count()

    def watch(name, operands, result):
        place = _place()
        for kernel, shape, dtype, read, written in launches_of(name, operands, result):
            (count.uploads if kernel == "upload" else count.launches).append(
                Launch(kernel, shape, dtype, read, written, place)
            )

    with strict_cupy.count_syncs() as syncs, strict_cupy.watched_by(watch):
        yield count
    count.syncs += syncs


def _place():
    frame = sys._getframe(2)
    while frame and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}" if frame else ""


def launches_of(name, operands, result):  # -> list of (kernel, shape, dtype, bytes read, bytes written)
    """What CuPy launches for one operation on these operands."""
    arrays = [a for a in operands if _is_array(a)]
    made = [a for a in (result if isinstance(result, tuple) else (result,)) if _is_array(a)]
    if name in MEMORY_ONLY or (not made and not arrays):
        return []
    first = made[0] if made else arrays[0]

    def launch(kernel, reads=arrays, written=None, array=first):
        written = sum(a.nbytes for a in made or arrays) if written is None else written
        return kernel, array.shape, array.dtype, sum({_memory(a): a.nbytes for a in reads}.values()), written

    if name == "upload":
        return [launch("upload", ())]
    if name in MEMSET:
        return [launch("memset", ())]
    if name in VIEWS:
        same = any(made[0] is a or made[0].base is not None and made[0].base is _owner(a) for a in arrays)
        return [] if same else [launch(f"copy ({name})")]
    if name in ("matmul", "dot"):
        return _product(launch, *arrays[:2], result)
    if name == "vdot":
        return [launch("multiply", written=arrays[0].nbytes, array=arrays[0]), launch("sum", arrays[:1])]
    if name in ("take", "scatter") and len(arrays) > (2 if name == "take" else 1 + _is_array(operands[0])):
        index = arrays[1] if name == "take" else arrays[-1]
        wrapped = len(arrays) - 1 if name == "take" else len(arrays) - _is_array(operands[0])
        moved = first.nbytes if name == "take" else index.size * first.dtype.itemsize
        flat = [launch("wrap index", [index], index.nbytes, index)] * wrapped
        return [launch("memset", (), index.nbytes, index), *flat, launch(name, [index], 2 * moved)]
    if name in ("take", "scatter", "add.at"):
        moved = first.nbytes if name == "take" else max((a.nbytes for a in arrays), default=0)
        return [launch(name, arrays[-1:], 2 * moved)]
    if name == "assign":
        # `a[key] += b` ends with an assignment of a view to itself, for which CuPy does nothing
        itself = arrays and _memory(operands[0]) == _memory(result) if _is_array(operands[0]) else False
        return [] if itself else [launch("copy (assign)" if arrays else "fill")]
    if name == "copy":
        return [launch("copy (copy)")]
    if name == "mean":
        return [launch("sum"), launch("divide", made)]
    if name == "concatenate":
        if len(arrays) > JOINED:
            return [launch("concatenate"), *[launch("upload", ())] * 3]
        return [launch("copy (concatenate)", [a], a.nbytes, a) for a in arrays]
    return [launch(name)]


def _product(launch, a, b, result):
    kind = np.promote_types(a.dtype, b.dtype)
    batched = max(a.ndim, b.ndim) > 2
    computed = np.dtype(np.float32) if batched and kind == np.float16 else kind  # CuPy's batches have no float16
    found = []
    for x in (a, b):
        in_place = x.flags.c_contiguous or (not batched and x.flags.f_contiguous)
        if x.dtype != computed or not in_place:
            why = "type" if x.dtype != computed else "batch" if batched else "2-D"
            found.append(launch(f"copy ({why} operand of matmul)", [x], x.size * computed.itemsize, x))
    if batched and a.shape[:-2] != b.shape[:-2]:
        found += [launch("addresses of matrices", (), 0)] * 3
    if not batched and a.size == b.size == max(a.shape):  # a number: a sum of products
        return [launch("multiply"), launch("sum")]
    found.append(launch("matmul batched" if batched else "matmul", [a, b]))
    if computed != kind or not result.flags.c_contiguous:
        found.append(launch("copy (result of matmul)", [result]))
    return found


def _memory(a):
    return a._host.__array_interface__["data"][0], a.shape, a.strides


def _owner(a):
    return a if a.base is None else a.base


def _is_array(a):
    return isinstance(a, strict_cupy.ndarray)
