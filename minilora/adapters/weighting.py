"""Adapters with a weight: how strongly one acts, what it adds to W, several of them combined into a new one.

These functions are methods of PeftModel, with PEFT's names. In PEFT `set_scale`, `scale_layer`, `unscale_layer` and
`get_delta_weight` belong to a layer; here they act on every layer that the adapter is on.
"""

import numpy as np

from ..combining.adapters import combine
from ..combining.weighted import is_number
from ..errors import ConfigError
from ..methods.lora import Lora, LoraAdapter
from . import merging

# ---- how strongly an adapter acts


def set_scale(model, adapter: str, scale: float) -> None:
    """Let `adapter` act with `scale` times its strength: s = scale · alpha / r (rsLoRA: alpha / √r). 1 is as trained.

    With DoRA the norm and the magnitude stay, so that 0 is not the base. The scale is not saved with the adapter.
    Raises UnknownNameError, ConfigError.
    """
    [name] = _known(model, [adapter])
    _change(model, "set_scale", [name], scale, lambda now, initial: scale * initial)


def scale_layer(model, scale: float) -> None:
    """Multiply the present scales of the active adapters by `scale`."""
    _change(model, "scale_layer", model.active_adapters, scale, lambda now, initial: now * scale)


def unscale_layer(model, scale: float | None = None) -> None:
    """Divide the present scales of the active adapters by `scale`; None: as they were trained."""
    if scale == 0:
        raise ConfigError("unscale_layer: scale is 0, expected a number to divide by")
    back = (lambda now, initial: initial) if scale is None else (lambda now, initial: now / scale)
    _change(model, "unscale_layer", model.active_adapters, 1.0 if scale is None else scale, back)


def _change(model, what, names, scale, changed):  # changed: (present s, initial s) -> s
    if not is_number(scale):
        raise ConfigError(f"{what}: scale = {repr(scale)[:80]}, expected a finite number below 1e30")
    adapters = [model.base_model.adapters[name] for name in names]
    for name, adapter in zip(names, adapters, strict=True):
        if not isinstance(adapter, LoraAdapter):
            raise ConfigError(f"{what}: adapter {name!r} ({adapter.config.peft_type}) has no scale; LoRA and DoRA have")
    model.unmerge_first(what)
    for adapter in adapters:
        of_lora = {path: m for path, m in adapter.methods.items() if isinstance(m, Lora)}  # not rows of an embedding
        for path, method in of_lora.items():
            method.scaling = float(changed(method.scaling, adapter.config.scaling(path)))


# ---- what an adapter adds


def get_delta_weight(model, adapter: str):  # -> {path: array (out, in)}
    """ΔW of every layer that `adapter` is on, as merging would add it; (vocabulary, width) for an embedding.

    As everywhere here it is (out, in), also where the layer stores its weight the other way round (GPT-2).
    Raises UnknownNameError, ConfigError for an adapter that cannot be merged.
    """
    [name] = _known(model, [adapter])
    merging.check_mergeable(model.base_model, [name])
    layers = [layer for layer in model.base_model.layers if name in layer.adapters]
    return {layer.path: _delta(layer.adapters[name], layer.unmerged) for layer in layers}


def _delta(method, base):
    if isinstance(method, Lora) and method.additive:
        return method.delta()
    bias = None if base.bias is None else base.bias.data
    return method.merged(base.dense(), bias, base)[0] - base.dense()


# ---- several adapters into a new one


def add_weighted_adapter(
    model,
    adapters: list[str],
    weights: list[float],
    adapter_name: str,
    combination_type: str = "svd",
    svd_rank: int | None = None,
    svd_clamp: float | None = None,
    svd_full_matrices: bool = True,
    svd_driver: str | None = None,
    density: float | None = None,
    majority_sign_method: str = "total",
    seed: int | np.random.Generator = 0,
) -> None:
    """Add the adapter `adapter_name`, made of others. It is frozen, and acts after `set_adapter`.

    combination_type      see combining/adapters.py; one adapter is only weighted, whatever the type
    weights               one for each adapter; negative ones subtract
    svd_rank              of the new adapter, for types that end in "svd" and "ties_paper"; None: the largest of the old
    svd_clamp             a quantile that bounds the numbers of the new A and B
    svd_full_matrices     changes nothing here: only the first columns are kept
    svd_driver            a routine of CUDA's library in PyTorch; only None here
    density               share of the numbers that is kept, from 0 to 1, for ties, dare and magnitude_prune
    majority_sign_method  "total" or "frequency", for ties and dare_ties (PEFT's)
    seed                  chooses what DARE drops, a number or NumPy's Generator (PEFT takes torch's global one)

    Raises UnknownNameError, ConfigError for adapters that cannot be combined; the model is as before then.
    """
    model.check_new_name(adapter_name)
    names = _known(model, adapters)
    if svd_driver is not None:
        raise ConfigError(f"svd_driver {repr(svd_driver)[:80]}: NumPy has no choice of routines, expected None")
    config, values = combine(
        {name: model.base_model.adapters[name] for name in names},
        weights, combination_type, svd_rank, svd_clamp, density, majority_sign_method, seed,
    )  # fmt: skip
    with merging.as_before_on_failure(model.base_model, adapter_name, model.unmerge_first("add_weighted_adapter")):
        model.base_model.add(adapter_name, config)
        model.base_model.fill(adapter_name, values)
    model.peft_config[adapter_name] = config


def _known(model, adapters):  # -> list of names
    """The names: a list of loaded adapters, each once. Raises UnknownNameError, ConfigError."""
    if not isinstance(adapters, list | tuple) or not adapters:
        raise ConfigError(f"adapters = {repr(adapters)[:80]}: expected a list of one name or more")
    names = model.known_names(list(adapters))
    if len(names) < len(adapters):
        twice = next(name for name in adapters if list(adapters).count(name) > 1)
        raise ConfigError(f"adapter {twice!r} is named twice: give it one weight")
    return names
