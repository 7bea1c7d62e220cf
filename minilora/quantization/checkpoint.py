"""Weights in 4 and 8 bits in safetensors files, as transformers and bitsandbytes write them.

    4 bits   X.weight                                   the bytes of the codes, (bytes, 1) in any type
             X.weight.absmax                            float32, or uint8 with double quantization
             X.weight.quant_map                         the 16 values
             X.weight.quant_state.bitsandbytes__nf4     JSON in uint8: quant_type, blocksize, dtype, shape, and with
                                                        double quantization nested_blocksize, _dtype, _offset
             X.weight.nested_absmax, X.weight.nested_quant_map        with double quantization
    8 bits   X.weight int8 (out, in)        X.SCB float32 (out,)        X.weight_format uint8 (), 0: row by row

What the JSON says is used: block size, shape and type. A missing key is refused.
"""

import json
import math
import re
from pathlib import Path

import numpy as np

from ..errors import FormatError, printable
from ..files.safetensors import read_bytes
from .config import BitsAndBytesConfig
from .double_quantization import SIZE, dynamic_map
from .int8 import Int8
from .nf4 import SIZES, VALUES, FourBit

STATE = re.compile(r"(.+)\.quant_state\.bitsandbytes__(nf4|fp4)")
BESIDE = re.compile(r"(.+\.weight)\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__\w+)")
SCALE = re.compile(r"(.+)\.(SCB|weight_format)")
KEYS = {"quant_type": str, "blocksize": int, "dtype": str, "shape": list}
TYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "U8": np.uint8, "I8": np.int8}
NESTED_KEYS = {"nested_blocksize": int, "nested_offset": float}


class PackedFiles:
    """The quantized weights among the tensors of a folder.

    headers  {file: {name: (dtype, shape)}}, as `read_headers` returns it
    weights  names of the quantized weights
    plain    the same headers as if these weights were float32 and had nothing beside them
    """

    def __init__(self, headers, config: BitsAndBytesConfig):
        self.places = {name: (file, *entry) for file, header in headers.items() for name, entry in header.items()}
        self.config = config
        beside = BESIDE if config.load_in_4bit else SCALE
        end = "" if config.load_in_4bit else ".weight"
        self.beside = {n: m[1] + end for n in self.places if (m := beside.fullmatch(n))}
        codes = {n for n, (_, kind, _) in self.places.items() if self._is_codes(n, kind)}
        self.weights = sorted({*self.beside.values()} | codes)
        shapes = {name: self._shape(name) for name in self.weights}
        self.plain = {
            file: {n: ("F32", shapes[n]) if n in shapes else e for n, e in header.items() if n not in self.beside}
            for file, header in headers.items()
        }

    def _is_codes(self, name, kind):
        return name.endswith(".weight") and kind in ("U8", "I8")

    def _read(self, name):  # -> array, as stored
        file, kind, shape = self._place(name)
        if kind == "BF16" and name.endswith(".absmax"):  # transformers opens such a file, and gets other weights
            self._refuse(
                name, "is in the order of bitsandbytes' product on a CPU: save a model before it first computes"
            )
        if kind not in TYPES:
            self._refuse(name, f"has type {kind}, expected one of {', '.join(TYPES)}")
        array = read_bytes(file, name).view(TYPES[kind]).reshape(shape)
        if not np.isfinite(array).all():
            self._refuse(name, "has a number that is not finite")
        return array

    def _place(self, name):
        if name not in self.places:
            raise FormatError(f"{self._folder()}: {printable(name)} is missing; without it the weight cannot be read")
        return self.places[name]

    def _folder(self):
        return Path(next(iter(self.places.values()))[0]).parent

    def _refuse(self, name, why):
        raise FormatError(f"{self.places[name][0] if name in self.places else self._folder()}: {printable(name)} {why}")

    # ---- 4 bits

    def _state(self, weight):  # -> dict
        """The JSON beside a weight, checked."""
        names = [n for n in self.places if (m := STATE.fullmatch(n)) and m[1] == weight]
        if len(names) != 1:
            self._refuse(weight, f"has {len(names)} tensors quant_state.bitsandbytes__nf4 or fp4, expected one")
        try:
            state = json.loads(self._read(names[0]).tobytes())
        except ValueError as error:
            raise FormatError(f"{self.places[names[0]][0]}: {printable(names[0])} is not JSON: {error}") from error
        nested = NESTED_KEYS if f"{weight}.nested_absmax" in self.places or "nested_offset" in state else {}
        for key, kind in {**KEYS, **nested}.items():
            if not isinstance(state.get(key), kind):
                self._refuse(names[0], f"has {key} {str(state.get(key))[:40]!r}, expected {kind.__name__}")
        if state["quant_type"] not in ("nf4", "fp4") or not names[0].endswith(state["quant_type"]):
            self._refuse(names[0], f"has quant_type {state['quant_type'][:40]!r}, expected that of its name")
        if state["blocksize"] not in SIZES:
            self._refuse(names[0], f"has blocksize {state['blocksize']}, expected one of {', '.join(map(str, SIZES))}")
        if state["dtype"] not in ("float32", "bfloat16", "float16"):
            self._refuse(names[0], f"has dtype {state['dtype'][:40]!r}, expected float32, bfloat16 or float16")
        if len(state["shape"]) != 2 or not all(type(n) is int and n > 0 for n in state["shape"]):
            self._refuse(names[0], f"has shape {str(state['shape'])[:40]}, expected two whole numbers")
        if nested and not math.isfinite(state["nested_offset"]):
            self._refuse(names[0], "has a nested_offset that is not finite")
        if nested and state["nested_blocksize"] != SIZE:
            self._refuse(names[0], f"has nested_blocksize {state['nested_blocksize']}, expected {SIZE}")
        return state | {"nested": bool(nested)}

    def _shape(self, weight):  # -> (out, in)
        self._place(weight)
        return tuple(self._state(weight)["shape"]) if self.config.load_in_4bit else self.places[weight][2]

    def _table(self, name, expected):
        table = self._read(name)
        if table.shape != expected.shape or abs(table.astype(np.float32) - expected).max() > 1e-6:
            self._refuse(name, "is another table than bitsandbytes'")

    def stored(self, weight: str) -> FourBit | Int8:
        """The quantized weight of this name. Raises FormatError for a missing key, and for arrays that do not fit."""
        if self.config.load_in_8bit:
            return self._int8(weight)
        state = self._state(weight)
        shape, size, kind = tuple(state["shape"]), state["blocksize"], state["quant_type"]
        n = math.prod(shape)
        packed, absmax = read_bytes(self._place(weight)[0], weight), self._read(f"{weight}.absmax")
        self._table(f"{weight}.quant_map", VALUES[kind])
        nested = ()
        if state["nested"]:
            self._table(f"{weight}.nested_quant_map", dynamic_map())
            nested = self._read(f"{weight}.nested_absmax"), np.asarray(state["nested_offset"], np.float32)
        found = {
            weight: (packed.shape, packed.dtype, (-(-n // 2),), np.uint8),
            f"{weight}.absmax": (absmax.shape, absmax.dtype, (-(-n // size),), np.uint8 if nested else np.float32),
        }
        if nested:
            scales = nested[0]
            found[f"{weight}.nested_absmax"] = (scales.shape, scales.dtype, (-(-len(absmax) // SIZE),), np.float32)
        for name, (has, dtype, wanted, expected) in found.items():
            if has != wanted or dtype != expected:
                self._refuse(name, f"has {has} {dtype}, expected {wanted} {np.dtype(expected)} for {shape}")
        return FourBit(shape, packed, absmax, *nested, kind=kind, size=size, rounded=state["dtype"])

    # ---- 8 bits

    def _int8(self, weight):
        stem = weight.removesuffix(".weight")
        codes, scale = self._read(weight), self._read(f"{stem}.SCB")
        if codes.dtype != np.int8 or codes.ndim != 2 or scale.dtype != np.float32 or scale.shape != codes.shape[:1]:
            self._refuse(
                weight, f"has {codes.shape} {codes.dtype} and SCB {scale.shape} {scale.dtype}: not int8 by rows"
            )
        if f"{stem}.weight_format" in self.places and self._read(f"{stem}.weight_format").tolist() not in (0, [0]):
            self._refuse(f"{stem}.weight_format", "is not 0, the only format that is stored row by row")
        return Int8(codes, scale)
