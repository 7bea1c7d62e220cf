"""Weights in 4, 8 and 16 bits as tensors of a safetensors file: what checkpoint.py reads."""

import json

import numpy as np

from ..backend import to_host
from ..errors import ConfigError
from ..nn import Module
from .config import BitsAndBytesConfig
from .double_quantization import SIZE, dynamic_map
from .int8 import Int8
from .linear import StoredLinear, StoredParameter
from .nf4 import VALUES
from .residual import Residual
from .sixteen_bit import SixteenBit


def tensors_of(model: Module, config: BitsAndBytesConfig | None) -> dict:  # -> {name: array}
    """The tensors of a file that holds the parameters of `model`. config: of those that are quantized."""
    turned = {id(m.weight) for _, m in model.named_modules() if isinstance(m, StoredLinear) and m.transposed}
    tensors = {}
    for name, p in model.named_parameters():
        if isinstance(p, StoredParameter):
            tensors |= _tensors(name, p, config)
        else:
            tensors[name] = p.data.T if id(p) in turned else p.data
    return tensors


def _tensors(name, parameter, config):
    stored = parameter.data
    if isinstance(stored, Residual):
        raise ConfigError(
            f"{name} has a part in float32 beside its codes, which no checkpoint holds: save the adapter, which is for "
            "the base before it was quantized"
        )
    if isinstance(stored, SixteenBit):
        bits = to_host(stored.bits.T if parameter.transposed else stored.bits)
        return {name: bits if stored.kind == "float16" else np.ascontiguousarray(bits).view(_bfloat16())}
    if isinstance(stored, Int8):
        stem = name.removesuffix(".weight")
        return {name: stored.codes, f"{stem}.SCB": stored.scale, f"{stem}.weight_format": np.zeros((), np.uint8)}
    state = {"quant_type": stored.kind, "blocksize": stored.size, "dtype": stored.rounded, "shape": list(stored.shape)}
    codes = _viewed(name, to_host(stored.packed), config.bnb_4bit_quant_storage)
    tensors = {name: codes, f"{name}.absmax": stored.absmax}
    tensors[f"{name}.quant_map"] = VALUES[stored.kind]
    if stored.absmax2 is not None:
        tensors |= {f"{name}.nested_absmax": stored.absmax2, f"{name}.nested_quant_map": dynamic_map()}
        state |= {"nested_blocksize": SIZE, "nested_dtype": "float32", "nested_offset": float(stored.offset)}
    data = json.dumps(state).encode()
    return tensors | {f"{name}.quant_state.bitsandbytes__{stored.kind}": np.frombuffer(data, np.uint8).copy()}


def _viewed(name, packed, storage):  # (bytes,) uint8 -> (n, 1) of the type `storage`
    dtype = _bfloat16() if storage == "bfloat16" else np.dtype(storage)
    if packed.nbytes % dtype.itemsize:
        raise ConfigError(
            f"{name} has {packed.nbytes} bytes of codes, which are no whole numbers of bnb_4bit_quant_storage {storage}"
        )
    return packed.view(dtype).reshape(-1, 1)


def _bfloat16():
    import ml_dtypes  # here: only a file needs NumPy to know this type

    return np.dtype(ml_dtypes.bfloat16)
