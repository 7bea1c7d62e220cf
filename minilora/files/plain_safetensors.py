"""The header of a safetensors file, read and written in plain Python: where the library `safetensors` is not installed
(in a browser). It accepts and refuses what the library does, and writes the same bytes.

    u64, little-endian: length n of the header | n bytes of JSON, filled up with spaces | the tensors' bytes
"""

import json
import math
from pathlib import Path

import numpy as np

LARGEST = 100_000_000  # bytes of a header, as in the library
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
KINDS = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3", "int16": "I16",
    "uint16": "U16", "float16": "F16", "bfloat16": "BF16", "int32": "I32", "uint32": "U32", "float32": "F32",
    "float64": "F64", "int64": "I64", "uint64": "U64",
}  # fmt: skip
ORDER = {kind: place for place, kind in enumerate(BITS)}  # files have the widest first, so that each is aligned


def read_plain_header(file) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, str]]:
    """{"w": ("F32", (2, 3))} in order of position, and the metadata. Raises ValueError with the reason.

    file: open for reading bytes. Every byte after the header belongs to exactly one tensor.
    """
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8:
        raise ValueError("header too small")
    if length > LARGEST:
        raise ValueError("header too large")
    if 8 + length > size:
        raise ValueError("invalid header length")
    header = json.loads(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("the metadata has a value that is no text")
    found, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1])):
        (begin, stop), shape = _offsets(entry), _shape(entry)
        if entry.get("dtype") not in BITS:
            raise ValueError(f"unknown variant `{entry.get('dtype')}`")
        if begin != end or (stop - begin) * 8 != math.prod(shape) * BITS[entry["dtype"]]:
            raise ValueError(f"the bytes of {name!r} are not those of its shape, or not where they should be")
        found[name], end = (entry["dtype"], shape), stop
    if 8 + length + end != size:
        raise ValueError("the file is longer or shorter than its tensors")
    return found, metadata


def _offsets(entry):  # -> (begin, stop)
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return _wholes(offsets, "data_offsets", 2)


def _shape(entry):
    return _wholes(entry.get("shape"), "shape")


def _wholes(values, what, count=None):
    right = isinstance(values, list) and all(type(v) is int and 0 <= v < 2**64 for v in values)
    if not right or count not in (None, len(values)):
        raise ValueError(f"{what} is {str(values)[:60]}, expected whole numbers")
    return tuple(values)


def write_plain(tensors: dict, path: Path, metadata: dict[str, str] | None) -> None:
    """Write {name: numpy array} as safetensors.numpy.save_file does. Raises TypeError for metadata that is not text."""
    if not all(isinstance(text, str) for pair in (metadata or {}).items() for text in pair):
        raise TypeError(f"metadata {str(metadata)[:60]} is not text")
    kind = {name: KINDS[array.dtype.name] for name, array in tensors.items()}
    names = sorted(tensors, key=lambda name: (-ORDER[kind[name]], name))
    header: dict = {"__metadata__": metadata} if metadata else {}
    begin = 0
    for name in names:
        stop = begin + tensors[name].nbytes
        header[name] = {"dtype": kind[name], "shape": list(tensors[name].shape), "data_offsets": [begin, stop]}
        begin = stop
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
