"""What becomes of an adapter that was trained on a quantized base when it is merged. There are three answers.

dequantize   W' + ΔW in float32, where W' is the weight that is read from 4 or 8 bits: the function that was trained
original     W + ΔW, where W is the weight before it was quantized. ΔW was trained beside W': W - W' is added to it
requantize   W' + ΔW in 4 or 8 bits again: as small as before, and what is smaller than a step of the codes is lost
"""

from dataclasses import dataclass

import numpy as np

from ..backend import array_module
from ..quantization.apply import dequantize
from ..quantization.int8 import Int8
from ..quantization.linear import StoredParameter
from ..quantization.nf4 import FourBit
from ..quantization.residual import Residual

HOW = ("dequantize", "original", "requantize")
BASE = ".base_layer"  # of an adapted layer
QUANTIZED = FourBit | Int8 | Residual


@dataclass
class Requantized:
    """What was lost. changed: how many of all `codes` are others now; survived: the share of ΔW that is left,
    <ΔW', ΔW> / <ΔW, ΔW>, where ΔW' is the difference of the weights that are read before and after."""

    changed: int = 0
    codes: int = 0
    survived: float = 0.0


def is_quantized(model) -> bool:
    """Whether a weight of `model` is in 4 or 8 bits."""
    return any(isinstance(p.data, QUANTIZED) for p in model.parameters())


def merge_dequantized(model):  # PeftModel -> CausalLM
    """The plain model in float32 with the active adapters in its weights. The PeftModel is used up."""
    plain = model.merge_and_unload()
    dequantize(plain)
    return plain


def merge_requantized(model):  # PeftModel -> CausalLM, Requantized
    """The plain model with the active adapters in its weights, in their format. The PeftModel is used up."""
    before = {}
    for path, layer in model.get_base_model().named_modules():
        if path.endswith(BASE) and isinstance(layer.weight.data, QUANTIZED):
            before[path.removesuffix(BASE)] = layer.weight
    plain, lost = model.merge_and_unload(), Requantized()
    kept = whole = 0.0
    for path, old in before.items():
        layer = plain.get_submodule(path)
        merged = layer.dense()
        if isinstance(layer.weight, StoredParameter):  # no active adapter is on it
            continue
        layer.weight = StoredParameter(old.shape, old.store, old.transposed)
        layer.weight.data = new = old.data.again(merged)
        changed, codes = changed_codes(old.data, new)
        lost.changed, lost.codes = lost.changed + changed, lost.codes + codes
        for (rows, W), (_, W2) in zip(old.data.blocks(), new.blocks(), strict=True):
            delta = merged[rows] - W
            kept += float(((W2 - W) * delta).sum())
            whole += float((delta * delta).sum())
    lost.survived = kept / whole if whole else 1.0
    return plain, lost


def changed_codes(old, new) -> tuple[int, int]:  # two weights of one format and shape
    """How many codes differ, and how many there are."""
    n, old = int(np.prod(old.shape)), getattr(old, "rest", old)
    if isinstance(old, Int8):
        return int((old.codes != new.codes).sum()), n
    different = array_module(old.packed).bitwise_xor(old.packed, new.packed)
    return int((different > 15).sum() + (different & 15 > 0).sum()), n
