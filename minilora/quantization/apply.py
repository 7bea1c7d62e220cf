"""A model whose weights are stored in fewer bits from the start: its modules are replaced before it is filled."""

from dataclasses import replace

from ..errors import ConfigError, nearest
from ..nn import Embedding, Linear, Module, replacement
from .config import BitsAndBytesConfig
from .int8 import Int8
from .linear import StoredEmbedding, StoredLinear, StoredParameter
from .nf4 import FourBit
from .sixteen_bit import KINDS, SixteenBit


def store_weights(model: Module, config: BitsAndBytesConfig | None, dtype: str, packed: bool = False) -> None:
    """Replace the modules of an unfilled model whose weights `config` and `dtype` store in fewer bits.

    config  linear layers in 4 or 8 bits, all but those that it skips; None: none
    dtype   "bfloat16" or "float16": every other matrix in 16 bits; "float32" or "float64": as it is
    packed  whether the files hold codes: they are (out, in) for GPT-2 too
    """
    shared = {}  # a weight that was replaced -> the new one: a tied head is one weight
    quantized = set(quantized_layers(model, config)) if config else set()
    for path, layer in list(model.named_modules()):
        if not isinstance(layer, Linear | Embedding):
            continue
        if config and path in quantized:
            store, compute = config.store(dtype if dtype in KINDS else "float32"), config.compute
        elif dtype in KINDS:
            store, compute = _in_16_bits(dtype), "float32"
        else:
            continue
        transposed = getattr(layer, "fan_in_fan_out", False)
        in_file = transposed and not (packed and path in quantized)
        weight = shared.setdefault(id(layer.weight), StoredParameter(layer.shape, store, in_file))
        if isinstance(layer, Embedding):
            new = StoredEmbedding(weight, getattr(layer, "scale", 1.0))
        else:
            new = StoredLinear(weight, layer.bias, compute, transposed)
        model.set_submodule(path, new)


def quantized_layers(model, config: BitsAndBytesConfig) -> list[str]:
    """The paths of the linear layers that are quantized. Raises ConfigError for a skipped name that matches none."""
    linear = [path for path, m in model.named_modules() if isinstance(m, Linear)]
    skip = config.llm_int8_skip_modules
    if skip is None:
        return [path for path in linear if path != "lm_head"]
    for name in skip:
        if not any(_matches(name, path) for path, _ in model.named_modules()):
            leaves = dict.fromkeys(path.rpartition(".")[2] for path in linear)
            raise ConfigError(f"llm_int8_skip_modules {name!r} matches no module: {nearest(name, leaves)}")
    return [path for path in linear if not any(_matches(name, path) for name in skip)]


def stored_config(model: Module, config: BitsAndBytesConfig | None) -> BitsAndBytesConfig | None:
    """`config`, skipping the linear layers that are not quantized now; None when none is."""
    layers = {path: m.weight for path, m in model.named_modules() if isinstance(m, Linear)}
    dense = [path for path, weight in layers.items() if not isinstance(getattr(weight, "data", None), FourBit | Int8)]
    if config is None or len(dense) == len(layers):
        return None
    return replace(config, llm_int8_skip_modules=None if dense == ["lm_head"] else dense)


def dequantize(model: Module) -> None:
    """Give every layer of `model` that has a stored weight an ordinary one, in float32. A tied head stays tied."""
    dense = {}
    for _, m in model.named_modules():
        weight = getattr(m, "weight", None)
        if isinstance(m, StoredLinear | StoredEmbedding) and isinstance(weight, StoredParameter):
            dense.setdefault(id(weight), replacement(weight, weight.data.dense()))
            m.weight = dense[id(weight)]


def _matches(name, path):
    """As transformers reads a name: the end of a path, or its beginning up to a dot."""
    return path.endswith(name) or path == name or path.startswith(name + ".")


def _in_16_bits(kind):
    return lambda W: SixteenBit.of(W, kind)
