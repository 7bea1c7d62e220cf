"""A stand-in for CuPy where there is no GPU: NumPy arrays in a box that refuses what CuPy refuses.

Also refused is what works on CuPy at a hidden cost (a host array as an index is uploaded every time, np.exp(device
array) is dispatched) and what is undefined there (duplicate indices in an assignment). What makes the host wait for the
device is allowed and counted: see `count_syncs`. The box is no subclass of numpy.ndarray, because np.asarray of a
subclass asks nobody. Names and keywords are those of CuPy 14.2 (golden/cupy_14_2_api.json). Its fidelity was judged
from CuPy's source and documentation.
"""

import contextlib
import json
import operator
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

API = json.loads((Path(__file__).parents[1] / "golden" / "cupy_14_2_api.json").read_text(encoding="utf-8"))
METHODS = API["ndarray_methods"]
REDUCE = {"add", "multiply"}
AT = {  # ufunc.at -> the types that it has atomics for
    "add": "i4 i8 u4 u8 f2 f4 f8", "subtract": "i4 u4", "maximum": "i4 i8 u4 u8 f4 f8", "minimum": "i4 i8 u4 u8 f4 f8"
}  # fmt: skip
CONSTRUCTORS = {"array", "asarray"}  # the explicit uploads
WAITING = {"nonzero", "flatnonzero", "argwhere", "unique", "tolist", "tobytes", "item", "get", "asnumpy"}  # for values
VIEWS = {"reshape", "ravel", "transpose", "swapaxes", "squeeze", "view", "diagonal"}  # no kernel runs for them
FROM_ANYWHERE = VIEWS | {"get", "tolist", "tobytes", "item", "copy"}  # methods that take an array of another device
VARIADIC = {"reshape", "transpose"}  # x.reshape(2, 3)
SIZES = {"zeros", "ones", "empty", "full", "broadcast_to", "reshape", "tile", "transpose"}  # take a list of numbers
_syncs = []
_watchers = []
_thread = threading.local()  # .device: the current device of a thread, which starts with 0, as in CUDA


def current_device():
    """The number of the device on which this thread computes and makes arrays."""
    return getattr(_thread, "device", 0)


@contextlib.contextmanager
def watched_by(watcher):
    """Inside the block watcher(name, operands, result) is called after each operation; launches.py counts with it."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def _done(name, operands, result):  # -> result
    if not _fusing:
        for watcher in _watchers:
            watcher(name, operands, result)
    return result


@contextlib.contextmanager
def count_syncs():
    """Collects what made the host wait for the device inside the block."""
    start = len(_syncs)
    found = []
    try:
        yield found
    finally:
        found += _syncs[start:]


def unbox(x, lists=True):
    """The NumPy arrays inside `x`. Numbers pass, Python's and NumPy's; a host array does not."""
    if isinstance(x, ndarray):
        return x.here()
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: upload it with xp.asarray")
    if isinstance(x, list | tuple):
        if not lists:
            raise TypeError(f"Unsupported type {type(x)}")
        return type(x)(unbox(part) for part in x)
    return x


def box(result, *sources):
    """`result` as a device array; when it is a view of one of the sources, its base is that source's."""
    if isinstance(result, tuple):
        return tuple(box(r, *sources) for r in result)
    if not isinstance(result, np.ndarray | np.generic):
        return result
    base = None
    for source in sources:
        if isinstance(source, ndarray):
            if result is source._host:
                return source
            if isinstance(result, np.ndarray) and _root(result) is _root(source._host):
                base = source if source.base is None else source.base
    return ndarray(np.asarray(result), base)


def whole(key):  # a tuple
    """The same index with an ellipsis: one number is then a view, as on CuPy, and not a copy."""
    return key if any(k is ... for k in key) else (*key, ...)


def overlap(a, b):  # host arrays
    """Whether a copy from `b` to `a` would read what it has written. A copy of an array onto itself does not."""
    if _root(a) is not _root(b) or not np.shares_memory(a, b):
        return False
    return (a.__array_interface__["data"], a.shape, a.strides) != (b.__array_interface__["data"], b.shape, b.strides)


def _root(a):
    return a if a.base is None else _root(a.base)


def check_keywords(name, keywords, known):
    for keyword in keywords:
        if known is not None and keyword not in known:
            raise TypeError(f"{name}() got an unexpected keyword argument '{keyword}'")


class ndarray:
    __module__ = "strict_cupy"
    __array_priority__ = 100

    def __init__(self, host, base=None):
        if host.dtype.kind in "OSUV":  # V: bfloat16 of ml_dtypes, which CuPy knows, and refuses in a batched product
            raise TypeError(f"Unsupported dtype {host.dtype}")
        self._host, self.base = host, base
        self._device = current_device() if base is None else base._device

    def here(self):
        """The array as a kernel of this thread reads and writes it: CuPy runs it on the thread's current device."""
        if self._device != (current := current_device()):
            resides = f"The device where the array resides ({self._device})"
            raise ValueError(f"{resides} is different from the current device ({current}).")
        return self._host

    shape, dtype, ndim = (property(operator.attrgetter("_host." + n)) for n in ("shape", "dtype", "ndim"))
    size, nbytes, strides = (property(operator.attrgetter("_host." + n)) for n in ("size", "nbytes", "strides"))
    flags = property(operator.attrgetter("_host.flags"))
    T = property(lambda self: box(self._host.T, self))
    device = property(lambda self: Device(self._device))

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(f"'cupy.ndarray' object has no attribute '{name}'")
        if name != "astype":
            refuse_while_fusing(f".{name}()")

        def method(*args, **keywords):
            check_keywords(name, keywords, METHODS[name])
            if len(args) > len(METHODS[name]) and name not in VARIADIC:
                raise TypeError(f"{name}() takes at most {len(METHODS[name])} arguments ({len(args)} given)")
            if name == "astype" and keywords.keys() & {"casting", "subok"}:
                raise TypeError("casting and subok are not supported yet")
            if name not in FROM_ANYWHERE:
                self.here()
            if name in WAITING:
                _syncs.append(name)
            if name == "get":
                return self._host.copy()
            keywords = {k: unbox(v) for k, v in keywords.items()}
            result = getattr(self._host, name)(*(unbox(a) for a in args), **keywords)
            return result if name in WAITING else _done(name, (self, *args), box(result, self))

        return method

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce_ex__(self, protocol):
        raise TypeError("pickling a device array copies it to the host: use .get()")

    # ---- nothing becomes a host array by itself

    def __array__(self, *args, **keywords):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_function__(self, func, types, args, kwargs):
        raise TypeError(f"np.{func.__name__} of a device array: use xp")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        if method == "__call__" and ufunc.nin == 2 and isinstance(inputs[0], np.generic) and not keywords:
            return Ufunc(ufunc)(*inputs)  # np.float32(2) * x
        raise TypeError(f"np.{ufunc.__name__} of a device array: use xp")

    def __index__(self):
        raise TypeError("'cupy.ndarray' object cannot be interpreted as an integer")

    def _wait(self, how):
        _syncs.append(how.__name__)
        return how(self._host)

    __bool__, __int__, __float__ = (lambda self, t=t: self._wait(t) for t in (bool, int, float))
    __repr__ = __str__ = lambda self: self._wait(repr)
    __hash__ = None

    def __format__(self, spec):
        _syncs.append("format")
        return format(self._host.item() if self.ndim == 0 else self._host, spec)

    def __len__(self):
        return len(self._host)

    # ---- indices

    def _key(self, key):
        parts = key if isinstance(key, tuple) else (key,)
        for part in parts:
            if isinstance(part, np.ndarray | list | bool | np.bool_):
                raise TypeError(f"index of type {type(part).__name__}: a host index is uploaded at every use")
            if isinstance(part, slice) and any(isinstance(n, ndarray) for n in (part.start, part.stop, part.step)):
                raise TypeError("a device array in a slice")
        return tuple(unbox(part) for part in parts)

    def __getitem__(self, key):
        refuse_while_fusing("an index")
        key = self._key(key)
        arrays = [k for k in key if isinstance(k, np.ndarray)]
        if arrays:
            self.here()
        if any(a.dtype == bool for a in arrays):
            _syncs.append("mask")  # how many elements there are must be known
        result = box(self._host[whole(key)], self)
        return _done("take", (self, *map(ndarray, arrays)), result) if arrays else result

    def __setitem__(self, key, value):
        key, target = self._key(key), self.here()
        arrays = [k for k in key if isinstance(k, np.ndarray)]
        if arrays and all(a.dtype.kind in "iu" for a in arrays):
            places = np.stack([a.ravel() for a in np.broadcast_arrays(*arrays)], axis=1)
            if len(np.unique(places, axis=0)) < len(places):
                raise ValueError("duplicate indices in an assignment: the result is undefined")
        if any(a.dtype == bool for a in arrays):
            _syncs.append("mask")
        given, part = unbox(value, lists=False), self if arrays else box(target[whole(key)], self)
        if isinstance(given, np.ndarray) and overlap(part._host, given):
            raise ValueError("an assignment from a part of the array that overlaps: the result is undefined")
        target[key] = given
        _done("scatter" if arrays else "assign", (value, *map(ndarray, arrays)), part)


class Ufunc:
    """A ufunc with the keywords and methods that CuPy's have."""

    def __init__(self, ufunc):
        self.ufunc, self.name = ufunc, ufunc.__name__

    def __call__(self, *args, **keywords):
        check_keywords(self.name, keywords, API.get(self.name))
        refuse_behind_a_sum()
        if self.name == "matmul":
            refuse_while_fusing("a matrix product")
        if isinstance(keywords.get("out"), tuple):
            raise TypeError("out= is one array")
        out = keywords.pop("out", args[self.ufunc.nin] if len(args) > self.ufunc.nin else None)
        if out is not None and not isinstance(out, ndarray):
            raise TypeError("out= must be a device array")
        args = args[: self.ufunc.nin]
        given = [unbox(a, lists=False) for a in args]
        place = {"order": "C"} if out is None else {"out": out.here()}  # NumPy keeps the order of transposed arrays
        result = self.ufunc(*given, **keywords, **place)
        return _done(self.name, args, box(result) if out is None else out)

    def reduce(self, x, axis=0, dtype=None, out=None, keepdims=False):
        if self.name not in REDUCE:
            raise NotImplementedError(f"{self.name}.reduce")
        result = self.ufunc.reduce(unbox(x), axis=axis, dtype=dtype, out=unbox(out), keepdims=keepdims)
        return _done(f"{self.name}.reduce", (x,), box(result))

    def at(self, target, index, *values):
        if self.name not in AT:
            raise NotImplementedError(f"{self.name}.at")
        if target.dtype.str[1:] not in AT[self.name].split():
            raise TypeError(f"cupy.{self.name}.at only supports {AT[self.name]} as data type")
        self.ufunc.at(target.here(), target._key(index), *(unbox(v, lists=False) for v in values))
        _done(f"{self.name}.at", (index, *values), target)


def _binary(ufunc, swap):
    def operation(self, other):
        if not isinstance(other, ndarray | np.ndarray | np.generic | int | float | list | tuple):
            return NotImplemented  # a Tensor knows what to do
        return Ufunc(ufunc)(*((other, self) if swap else (self, other)))

    return operation


def _in_place(ufunc):
    return lambda self, other: Ufunc(ufunc)(self, other, out=self)


for _names, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "lshift": np.left_shift, "rshift": np.right_shift,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_names}__", _binary(_ufunc, swap=False))
    setattr(ndarray, f"__r{_names}__", _binary(_ufunc, swap=True))
    setattr(ndarray, f"__i{_names}__", _in_place(_ufunc))
for _names, _ufunc in {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_names}__", _binary(_ufunc, swap=False))
for _names, _ufunc in {"neg": np.negative, "abs": np.absolute, "invert": np.invert, "pos": np.positive}.items():
    setattr(ndarray, f"__{_names}__", lambda self, u=_ufunc: Ufunc(u)(self))


# ---- the module: xp.<name>


def __getattr__(name):
    thing = getattr(np, name, None)
    if name.startswith("__") or name not in API or isinstance(thing, ModuleType):  # np.random is drawn on the host
        raise AttributeError(f"module 'cupy' has no attribute '{name}'")
    if isinstance(thing, np.ufunc):
        return Ufunc(thing)
    if isinstance(thing, type) or not callable(thing):  # float32, pi, newaxis
        return thing
    return _function(name, thing)


def fuse(kernel_name=None):
    """The function as it stands, which may do element-wise arithmetic on device arrays, and end with one sum."""

    def decorator(function):
        def fused(*args):
            global _fusing
            for a in args:
                if not isinstance(a, ndarray | np.floating):
                    raise TypeError(f"{type(a).__name__} given to a fused function: a number becomes float64 there")
            _fusing = "elements"
            try:
                result = function(*args)
                if _fusing == "sum":
                    refuse_scattered_rows(args)
            finally:
                _fusing = ""
            return _done(f"fused {kernel_name or function.__name__}", args, result)

        return fused

    return decorator


_fusing = ""  # inside a fused function: "elements", then "sum" when it has summed


def refuse_while_fusing(what):
    if _fusing:
        raise TypeError(f"{what} inside a fused function: only element-wise arithmetic")


def refuse_behind_a_sum():
    if _fusing == "sum":
        raise TypeError("arithmetic behind the sum of a fused function: its sum is the end")


def refuse_scattered_rows(args):
    """CuPy gives neighbouring results to neighbouring threads if one array has them side by side, as a column has."""
    arrays = np.broadcast_arrays(*(a._host for a in args if isinstance(a, ndarray)))
    axes = [axis for axis, n in enumerate(arrays[0].shape[:-1]) if n > 1]
    steps = {a.strides[axes[-1]] // a.itemsize for a in arrays} if axes else set()
    if arrays[0].shape[-1] > 1 and 1 in steps and steps - {0, 1}:
        raise ValueError("a sum over rows beside a column: its threads would read numbers that lie far apart")


def _function(name, function):
    def call(*args, **keywords):
        global _fusing
        if name == "sum" and _fusing == "elements" and keywords.keys() == {"axis"}:  # CuPy drops keepdims
            _fusing = "sum"
        elif name != "where" or len(args) == 1:
            refuse_while_fusing(name)
        check_keywords(name, keywords, API[name])
        if name in WAITING or (name == "where" and len(args) == 1):
            _syncs.append(name)
        if name in CONSTRUCTORS and not isinstance(args[0], ndarray):
            return _done("upload", (), ndarray(np.array(args[0], **keywords)))  # a copy, on another device
        if name in CONSTRUCTORS and args[0]._device != current_device():
            args = (args[0].copy(), *args[1:])
        check_arguments(name, args)
        result = function(*(unbox(a) for a in args), **{k: unbox(v) for k, v in keywords.items()})
        operands = (*args, *(args[0] if args and isinstance(args[0], list | tuple) else ()))
        return _done(name, (*operands, *keywords.values()), box(result, *operands))

    return call


def check_arguments(name, args):
    """Refuse what NumPy makes an array of, and CuPy does not or by an upload."""
    if any(isinstance(a, list) and not all(isinstance(x, ndarray) for x in a) for a in args) and name not in SIZES:
        raise TypeError(f"{name} of a list: upload it with xp.asarray")
    if name == "where" and len(args) == 3 and not isinstance(args[0], ndarray):
        raise AttributeError(f"'{type(args[0]).__name__}' object has no attribute 'astype'")
    if name == "searchsorted" and not isinstance(args[1], ndarray | int | float):
        raise NotImplementedError("Only python scalars or ndarrays are supported for v")
    if name == "take" and len(args) > 1 and not isinstance(args[1], ndarray | int):
        raise TypeError("take: upload the indices with xp.asarray")


def asnumpy(x):
    return x.get()


linalg = SimpleNamespace(
    **{n.partition(".")[2]: _function(n, getattr(np.linalg, n.partition(".")[2]))
       for n in API if n.startswith("linalg.") and callable(getattr(np.linalg, n.partition(".")[2], None))}
)  # fmt: skip


class Device:
    def __init__(self, index=None):
        self.id = current_device() if index is None else index
        self._before = []

    def use(self):
        _thread.device = self.id
        return self

    def __enter__(self):
        self._before.append(current_device())
        return self.use()

    def __exit__(self, *_):
        _thread.device = self._before.pop()


cuda = SimpleNamespace(is_available=lambda: True, Device=Device, runtime=SimpleNamespace(getDeviceCount=lambda: 1))
