"""Reading and writing safetensors files: tensors and nothing else, so that a file cannot run code.

    u64, little-endian: length n of the header | n bytes of JSON | the tensors' bytes, one after the other
    JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"format": "pt"}}

The `safetensors` library writes files and checks headers (plain_safetensors.py where it is not installed): every byte
belongs to exactly one tensor, so the sizes of the tensors say where each begins. The numbers are read here, a slice at
a time and by ordinary reads. The library reads through a memory map, and the system kills a process whose mapped file
another one shortens; here the map lasts only while the header is checked.
"""

import contextlib
import json
import math
import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ..backend import to_host
from ..errors import ConfigError, FormatError, MiniloraError, MissingFileError, listed
from .atomic import atomic_write
from .plain_safetensors import read_plain_header, write_plain

SLICE = 2**18  # numbers converted at a time: a slice and its float32 copy stay in the processor's cache
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
NO_PICKLE = "a pickle can run code and is not read: convert with save_pretrained() of transformers or PEFT"
FOREIGN = {  # first bytes of what is often found in the place of a safetensors file
    b"PK\x03\x04": f"a torch.save archive; {NO_PICKLE}",
    b"\x80\x02": f"a pickle; {NO_PICKLE}",
    b"GGUF": "a GGUF file, not safetensors",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
}

# The format's names and NumPy's. ml_dtypes adds the last three to NumPy. They become float32, which is exact. To read
# bfloat16 nobody needs ml_dtypes: it is the upper half of a float32.
FLOAT8 = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
WIDENED = {"BF16": "bfloat16"} | FLOAT8
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
} | WIDENED  # fmt: skip
FLOATING = {"F64", "F32", "F16"} | WIDENED.keys()


def read_header(path: str | Path) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, str]]:
    """What a file holds, without reading it: {"w": ("F32", (2, 3))} in order of position, and its metadata.

    Raises MissingFileError, or FormatError when the header and the file do not agree.
    """
    with _opened(path) as (_, entries, metadata):
        return {name: (kind, shape) for name, (kind, _, shape, _) in entries.items()}, metadata


def read_all(path: str | Path):  # -> {name: numpy.ndarray}, metadata
    """Every tensor of a file as stored (bfloat16 and float8 as float32), and its metadata.

    Raises MissingFileError or FormatError.
    """
    with _opened(path) as (file, entries, metadata):
        return dict(_arrays(file, entries, path)), metadata


def read_tensors(path: str | Path, dtype=None):  # -> {name: numpy.ndarray}
    """Every tensor of a file. dtype: what floating tensors become; None: as stored (bfloat16 and float8 as float32).

    Raises MissingFileError or FormatError.
    """
    return dict(iterate_tensors(path, dtype))


def iterate_tensors(
    path: str | Path, dtype=None, names: Collection[str] | None = None
):  # -> iterator of (name, numpy.ndarray)
    """The same one by one, in order of position: no more memory than the array at hand and one slice.

    names: only these; None: all.
    """
    with _opened(path) as (file, entries, _):
        yield from _arrays(file, {n: e for n, e in entries.items() if names is None or n in names}, path, dtype)


def _arrays(file, entries, path, dtype=None):  # -> iterator of (name, numpy.ndarray)
    for name, entry in entries.items():
        kind, stored, shape, begin = entry
        wanted = np.float32 if kind in WIDENED else stored
        try:
            array = np.empty(shape, dtype if dtype is not None and kind in FLOATING else wanted)
        except (ValueError, MemoryError) as error:  # a side of 2**61 beside one of 0; more than there is
            raise FormatError(f"{path}: {name!r} cannot have shape {shape}: {error}") from error
        if array.dtype == stored:
            _fill(array, file, begin, path)
        else:
            for at, part in _slices(file, entry, path):
                array.reshape(-1)[at : at + part.size] = part
        yield name, array


def _fill(array, file, begin, path):
    """Read the bytes of a contiguous array."""
    file.seek(begin)
    if file.readinto(array.reshape(-1).view(np.uint8)) < array.nbytes:
        raise FormatError(f"{path}: truncated while it was read")


def read_bytes(path: str | Path, name: str):  # -> (bytes,) uint8
    """The bytes of the tensor `name`, whatever its type. Raises MissingFileError or FormatError."""
    with _opened(path) as (file, entries, _):
        _, stored, shape, begin = entries[name]
        array = np.empty(math.prod(shape) * stored.itemsize, np.uint8)
        _fill(array, file, begin, path)
        return array


def same_values(first: tuple[Path, str], second: tuple[Path, str]) -> bool:
    """Whether two tensors of files, each given as (path, name), are equal, in the memory of two slices."""
    with _opened(first[0]) as (one, entries, _), _opened(second[0]) as (two, others, _):
        left, right = entries[first[1]], others[second[1]]
        pairs = zip(_slices(one, left, first[0]), _slices(two, right, second[0]), strict=True)
        return left[2] == right[2] and all(np.array_equal(a, b) for (_, a), (_, b) in pairs)


def write_tensors(path: str | Path, tensors, metadata: dict[str, str] | None = None) -> None:
    """Write {name: array} (NumPy or CuPy) as a safetensors file, whole or not at all.

    metadata: None: {"format": "pt"}, which transformers and PEFT ask for. The same arguments give the same bytes.
    Raises FormatError for a dtype that is not read here, MiniloraError when the file cannot be written.
    """
    for name, array in tensors.items():
        if array.dtype.name not in DTYPES.values():
            raise FormatError(f"{name!r} has dtype {array.dtype}, expected one of {', '.join(DTYPES.values())}")
    metadata = {"format": "pt"} if metadata is None else metadata
    host = {name: np.asarray(to_host(array), order="C") for name, array in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file, library_error = _writer()
            save_file(host, temporary, metadata or None)  # the header that it makes of {} and no tensor is no JSON
            if len(metadata) > 1:
                _order_metadata(temporary, metadata)
        except (library_error, TypeError) as error:  # a full disk; metadata that is not text
            raise MiniloraError(f"cannot write {path}: {error}") from error


def _writer():  # -> the library's function and its error; in a browser, where it cannot be installed, our own
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError:
        return write_plain, ValueError
    return save_file, SafetensorError


def in_type(tensors, dtype: str) -> dict:  # {name: array} -> {name: host array}
    """The tensors rounded to "float32", "bfloat16" or "float16"; whole numbers as they are.

    Raises ConfigError for a number that the type does not have.
    """
    import ml_dtypes  # noqa: F401  its types register themselves with NumPy

    rounded = {}
    for name, array in tensors.items():
        array = to_host(array)
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(dtype)
            if not np.isfinite(array.astype(np.float32)).all():
                other = "; choose float32 or bfloat16" if dtype == "float16" else ""
                raise ConfigError(f"{name} has a number that {dtype} does not have{other}")
        rounded[name] = array
    return rounded


def _order_metadata(path, metadata):
    """Put the entries of the metadata in their order; the library writes them in one of chance, in as many bytes."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) | {"__metadata__": metadata}
        file.seek(8)
        file.write(json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode())


@contextlib.contextmanager
def _opened(path):  # -> open file, entries in order of position, metadata
    path = Path(path)
    if path.suffix in PICKLES:
        raise FormatError(f"{path}: {NO_PICKLE}")
    if not path.is_file():
        raise MissingFileError(f"{path} is a folder, expected a file" if path.is_dir() else f"no such file: {path}")
    try:
        with path.open("rb") as file:
            yield file, *_checked_header(file, path)
    except OSError as error:
        raise MiniloraError(f"cannot read {path}: {error.strerror or error}") from error


def _checked_header(file, path):  # -> {name: (the format's dtype, NumPy's, shape, where it begins)}, metadata
    length = int.from_bytes(file.read(8), "little")
    try:
        found, metadata = _header(path)
        names = Counter(name for name, _ in json.loads(file.read(length), object_pairs_hook=list))
        if twice := [name for name, count in names.items() if count > 1]:  # the library takes one of them
            raise ValueError(f"the header names {listed(twice)} twice")
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: {_reason(error, file)}") from error
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise FormatError(f"{path}: another file took its place while it was opened")
    entries, begin = {}, 8 + length
    for name, (kind, shape) in found.items():
        if kind not in DTYPES:
            raise FormatError(f"{path}: {name!r} has dtype {kind}, expected one of {', '.join(DTYPES)}")
        if kind in FLOAT8:
            import ml_dtypes  # noqa: F401  its types register themselves with NumPy
        stored = np.dtype("uint16" if kind == "BF16" else DTYPES[kind])
        entries[name] = (kind, stored, shape, begin)
        begin += math.prod(shape) * stored.itemsize
    return entries, metadata


def _header(path):  # -> {name: (the format's dtype, shape)} in order of position, metadata; raises ValueError
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        with path.open("rb") as file:
            return read_plain_header(file)
    try:
        with safe_open(path, "numpy") as checked:
            views = {name: checked.get_slice(name) for name in checked.offset_keys()}
            found = {name: (view.get_dtype(), tuple(view.get_shape())) for name, view in views.items()}
            return found, checked.metadata() or {}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _reason(error, file):  # -> why the library refused the file, in one line
    file.seek(0)
    first = file.read(32)
    for magic, what in FOREIGN.items():
        if first.startswith(magic) and first[8:9] != b"{":  # a header of 640 bytes begins like a pickle
            return what
    size = file.seek(0, 2)
    detail = repr(str(error).removeprefix("Error while deserializing header: ")[:200])[1:-1]  # names may break the line
    return f"not a safetensors file, or truncated or damaged ({size:,} bytes): {detail}"


def _slices(file, entry, path):  # -> iterator of (place, (n,) array, valid until the next); bfloat16 as float32
    kind, stored, shape, begin = entry
    size = math.prod(shape)
    buffer = np.empty(min(size, SLICE), stored)
    wide = np.empty(buffer.size, np.uint32) if kind == "BF16" else None
    for at in range(0, size, SLICE):
        part = buffer[: size - at]
        _fill(part, file, begin + at * part.itemsize, path)
        if wide is not None:
            part = np.left_shift(part, 16, out=wide[: part.size], dtype=np.uint32).view(np.float32)
        yield at, part
