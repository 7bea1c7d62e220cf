"""Reading and writing safetensors files: tensors and nothing else, so that a file cannot run code.

    u64, little-endian: length n of the header | n bytes of JSON | the tensors' bytes, one after the other
    JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"format": "pt"}}

The header is believed only as far as it agrees with the file: every byte belongs to exactly one tensor. Tensors are
read into arrays of our own, large ones in slices; nothing stays mapped, so the memory of a model is its arrays.
"""

import contextlib
import json
import math
from pathlib import Path

import numpy as np

from ..backend import to_host
from ..errors import FormatError, MiniloraError, MissingFileError
from .atomic import atomic_write

MAX_HEADER = 100_000_000  # bytes; the limit of the format's own library
SLICE = 2**20  # elements converted at a time
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
NO_PICKLE = "a pickle can run code and is not read: convert with save_pretrained() of transformers or PEFT"
FOREIGN = {  # first bytes of what is often found in the place of a safetensors file
    b"PK\x03\x04": f"a torch.save archive; {NO_PICKLE}",
    b"\x80\x02": f"a pickle; {NO_PICKLE}",
    b"GGUF": "a GGUF file, not safetensors",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
}

# The format's names. BF16 is the upper half of a float32; NumPy lacks it, so it is kept as uint16 and widened exactly.
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}


def read_header(path):  # -> {name: (dtype, shape)}, metadata
    """What a file holds, without reading it: {"w": ("F32", (2, 3))} in order of position, and its metadata.

    Raises MissingFileError, or FormatError when the header and the file do not agree.
    """
    with _opened(path) as file:
        entries, metadata, _ = _parse_header(file, path)
    return {name: (dtype, shape) for name, (dtype, shape, _) in entries.items()}, metadata


def read_tensors(path, dtype=None):  # -> {name: numpy.ndarray}
    """Every tensor of a file. dtype: what floating tensors become; None: as stored (BF16 as float32).

    Raises MissingFileError or FormatError.
    """
    return dict(iterate_tensors(path, dtype))


def iterate_tensors(path, dtype=None, names=None):  # -> iterator of (name, numpy.ndarray)
    """The same one by one, in order of position: no more memory than the array at hand and one slice.

    names: only these; None: all.
    """
    with _opened(path) as file:
        entries, _, start = _parse_header(file, path)
        for name, (kind, shape, begin) in entries.items():
            if names is not None and name not in names:
                continue
            file.seek(start + begin)
            yield name, _read_array(file, kind, shape, dtype, path)


def write_tensors(path, tensors, metadata=None):
    """Write {name: array} (NumPy or CuPy) as a safetensors file, whole or not at all.

    metadata: {str: str}; None: {"format": "pt"}, which transformers and PEFT ask for. Raises FormatError for a dtype
    that the format lacks, MiniloraError when the file cannot be written.
    """
    header = {"__metadata__": {"format": "pt"} if metadata is None else metadata}
    end = 0
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # wide first: all are aligned
    for name in order:
        array = tensors[name]
        kind = NAMES.get(np.dtype(array.dtype).newbyteorder("<"))
        if kind is None:
            raise FormatError(f"{name!r} has dtype {array.dtype}, which safetensors cannot hold")
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            array = to_host(tensors[name])
            file.write(_as_bytes(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))))


@contextlib.contextmanager
def _opened(path):
    path = Path(path)
    if path.suffix in PICKLES:
        raise FormatError(f"{path}: {NO_PICKLE}")
    if not path.is_file():
        raise MissingFileError(f"no such file: {path}")
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise MiniloraError(f"cannot read {path}: {error.strerror or error}") from error


def _parse_header(file, path):  # -> {name: (dtype, shape, begin)} in order of position, metadata, where data starts
    size = file.seek(0, 2)
    file.seek(0)
    first = file.read(32)
    length = int.from_bytes(first[:8], "little")
    if size < 8 or length > MAX_HEADER or length > size - 8:
        for magic, what in FOREIGN.items():  # asked only here: a good header of 640 bytes begins like a pickle
            if first.startswith(magic):
                raise FormatError(f"{path}: {what}")
        raise FormatError(f"{path}: not a safetensors file, or truncated: {size:,} bytes, header of {length:,}")
    file.seek(8)
    header = _parse_json(file.read(length), path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError(f"{path}: __metadata__ must map names to strings")
    found = [(name, *_parse_entry(name, entry, path)) for name, entry in header.items()]
    found.sort(key=lambda f: f[3])  # by (begin, end)
    position = 0
    for name, _, _, (begin, end) in found:
        if begin != position:
            what = "overlaps the tensor before it" if begin < position else "leaves a hole before it"
            raise FormatError(f"{path}: {name!r} at bytes {begin}..{end} {what}, which ends at {position}")
        position = end
    if position != size - 8 - length:
        what = "truncated" if position > size - 8 - length else "with bytes that belong to no tensor"
        raise FormatError(f"{path}: {what}: the header promises {position:,} bytes, found {size - 8 - length:,}")
    return {name: (kind, shape, begin) for name, kind, shape, (begin, _) in found}, metadata, 8 + length


def _parse_json(raw, path):  # bytes -> dict
    def unique(pairs):
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [k for k, _ in pairs]
            raise ValueError(f"the name {next(k for k in names if names.count(k) > 1)!r} stands twice")
        return made

    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
        raise FormatError(f"{path}: the header cannot be read: {str(error)[:100]}") from error
    if not isinstance(header, dict):
        raise FormatError(f"{path}: the header is a {type(header).__name__}, expected a JSON object")
    return header


def _parse_entry(name, entry, path):  # -> dtype, shape, (begin, end)
    def whole(values):
        return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**62 for n in values)

    entry = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or not whole(shape) or not whole(offsets) or len(offsets) != 2 or len(shape) > 32:
        raise FormatError(f"{path}: the entry of {name!r} is not a dtype, a shape and two offsets")
    if kind not in DTYPES:
        raise FormatError(f"{path}: {name!r} has dtype {kind!r}; readable are {', '.join(DTYPES)}")
    promised = math.prod(shape) * np.dtype(DTYPES[kind]).itemsize
    if offsets[1] - offsets[0] != promised or math.prod(n or 1 for n in shape) >= 2**56:
        given = offsets[1] - offsets[0]
        raise FormatError(f"{path}: {name!r} of shape {shape} and dtype {kind} needs {promised:,} bytes, has {given:,}")
    return kind, tuple(shape), tuple(offsets)


def _read_array(file, kind, shape, dtype, path):  # -> numpy.ndarray of `shape`
    stored = np.dtype(DTYPES[kind])
    wanted = np.dtype(np.float32) if kind == "BF16" else stored.newbyteorder("=")
    if dtype is not None and (kind == "BF16" or stored.kind == "f"):
        wanted = np.dtype(dtype)
    out = np.empty(shape, dtype=wanted)
    flat = out.reshape(-1)
    if kind != "BF16" and stored == wanted:
        _fill(file, flat, path)
        return out
    for at, part in _slices(file, kind, flat.size, path):
        flat[at : at + len(part)] = part
    return out


def _slices(file, kind, size, path):  # -> iterator of (place, (n,) array as stored, BF16 as float32)
    """The `size` elements that begin here, a slice at a time, each valid until the next."""
    buffer = np.empty(min(size, SLICE), dtype=DTYPES[kind])
    for at in range(0, size, SLICE):
        part = buffer[: min(SLICE, size - at)]
        _fill(file, part, path)
        yield at, bfloat16_to_float32(part) if kind == "BF16" else part


def same_values(first, second):  # (path, name) twice -> bool
    """Whether two tensors of files are equal, in the memory of two slices."""
    with _opened(first[0]) as one, _opened(second[0]) as two:
        slices = []
        for file, (path, name) in ((one, first), (two, second)):
            entries, _, start = _parse_header(file, path)
            kind, shape, begin = entries[name]
            file.seek(start + begin)
            slices.append((shape, _slices(file, kind, math.prod(shape), path)))
        (shape, left), (other, right) = slices
        return shape == other and all(np.array_equal(a, b) for (_, a), (_, b) in zip(left, right, strict=True))


def bfloat16_to_float32(bits):  # (n,) uint16 -> (n,) float32
    """bfloat16 is the upper 16 bits of a float32, so this is exact."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _fill(file, array, path):
    """Read the bytes of a contiguous array."""
    view = memoryview(_as_bytes(array))
    while len(view):
        count = file.readinto(view[: 2**28])
        if not count:
            raise FormatError(f"{path}: truncated: it ended while a tensor was read")
        view = view[count:]


def _as_bytes(array):  # contiguous array -> (n,) uint8 view
    return array.reshape(-1).view(np.uint8)
