"""Adapters as PEFT keeps them: a folder with adapter_config.json and adapter_model.safetensors, both directions.

Reading is strict: every key that changes the computation is honoured or refused by name, and every tensor must find
its place in the model. (PEFT warns about missing tensors and runs with B = 0; it ignores extra ones in silence.)
Facts are those of PEFT 0.21.2, read in its sources and its files.
"""

import json
import re
from pathlib import Path

import numpy as np

from ..backend import to_host
from ..errors import ConfigError, FormatError, MissingFileError, listed
from ..files.atomic import read_json, write_text
from ..files.safetensors import read_tensors, write_tensors
from ..methods.lora import LoraConfig

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."

REQUIRED = ("peft_type", "r", "lora_alpha", "target_modules")
HONOURED = (
    "r", "lora_alpha", "target_modules", "exclude_modules", "lora_dropout", "use_rslora", "rank_pattern",
    "alpha_pattern", "layers_to_transform", "layers_pattern", "modules_to_save", "init_lora_weights", "fan_in_fan_out",
    "bias", "task_type", "base_model_name_or_path",
)  # fmt: skip
# Keys that change nothing in a saved adapter: where it comes from, how it was started, sizes of features that are off.
HARMLESS = {
    "peft_type", "peft_version", "auto_mapping", "revision", "inference_mode", "runtime_config", "megatron_core",
    "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
}  # fmt: skip
# init_lora_weights of a trained adapter: two only chose the starting values, three also changed the base, which is not
# this base, and can be converted. Refused are loftq and lora_ga, which change it too, and mica, which never trains B.
STARTING_VALUES = ("eva", "orthogonal")
CHANGED_BASE = ("pissa", "olora", "corda")
FEATURE_OF_TENSOR = {  # ending of a tensor's name -> what it belongs to
    "lora_magnitude_vector": "use_dora",
    "lora_B.bias": "lora_bias",
    "trainable_tokens_delta": "trainable_token_indices",
    "lora_E": "AdaLoRA",
    "base_layer.bias": "bias",
}
TENSOR_NAME = re.compile(r"(.+)\.(?:(lora_[AB])(\.[^.]+)?\.weight|(lora_embedding_[AB])(\.[^.]+)?)")
COPY_NAME = re.compile(r"(.+?)(?:\.modules_to_save(\.[^.]+))?\.(weight|bias)")


def load_adapter(lora_model, name, folder):
    """Put the adapter in `folder` into `lora_model` under `name`, frozen; returns its LoraConfig.

    Tensors of any float type become float32. Raises MissingFileError, FormatError or ConfigError; the model is as it
    was then.
    """
    config = read_adapter_config(folder)
    tensors = read_adapter_tensors(folder)
    try:
        config = lora_model.add(name, config, seed=None, loading=True)
    except ConfigError as error:
        raise ConfigError(f"{Path(folder) / CONFIG}: {error}") from error
    try:
        _put(lora_model, name, tensors, Path(folder) / TENSORS)
    except BaseException:
        lora_model.remove(name)
        raise
    return config


def save_adapter(lora_model, name, config, folder):
    """Write adapter `name` into `folder`, the tensors first. Raises MiniloraError when it cannot be written."""
    folder = Path(folder)
    tensors = {
        PREFIX + f"{path}.{place}".replace(".{}", ""): parameter.data
        for (path, place), parameter in lora_model.parameters_of(name).items()
    }
    write_tensors(folder / TENSORS, tensors)
    written = {key: getattr(config, key) for key in HONOURED}
    fixed = {"peft_type": "LORA", "inference_mode": True, "use_dora": False, "auto_mapping": None, "revision": None}
    # sorted as PEFT's file, but not inside: the first pattern that matches wins, so their order has a meaning
    text = json.dumps(dict(sorted((written | fixed).items())), indent=2, ensure_ascii=False)
    write_text(folder / CONFIG, text + "\n")


def read_adapter_config(folder):  # -> LoraConfig
    """The configuration in `folder`. Raises MissingFileError, FormatError, or ConfigError naming what is not supported.

    A key that is not known here is refused unless its value is null, false or empty: it might change the computation.
    """
    folder = Path(folder)
    _check_folder(folder)
    path = folder / CONFIG
    data = read_json(path)
    if data.get("peft_type") not in (None, "LORA"):
        raise ConfigError(f"{path}: peft_type {data['peft_type']!r} is not supported, only 'LORA'")
    if missing := [key for key in REQUIRED if data.get(key) is None]:
        raise FormatError(f"{path}: {', '.join(missing)} missing; an adapter without it has no defined meaning")
    for key, value in data.items():
        if key not in HONOURED and key not in HARMLESS and value not in (None, False, "", [], {}):
            raise ConfigError(f"{path}: {listed([key])} = {repr(value)[:60]} is not supported")
    fields = {key: data[key] for key in HONOURED if data.get(key) is not None}
    init = fields.get("init_lora_weights")
    if isinstance(init, str):
        if init.lower().startswith(CHANGED_BASE):
            raise ConfigError(
                f"{path}: init_lora_weights {init!r} changed the base that it was trained on: save it in PEFT with "
                "path_initial_model_for_weight_conversion, then it fits the original"
            )
        fields["init_lora_weights"] = True if init.lower() in STARTING_VALUES else init.lower()
    try:
        return LoraConfig(**fields)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_adapter_tensors(folder):  # -> {(module path, name in the module): numpy.ndarray}
    """The tensors in `folder`, named as `LoraModel.parameters_of` names them, with or without the adapter's name.

    Raises MissingFileError, or FormatError for a file that is not an adapter's, or of more than one adapter.
    """
    _check_folder(Path(folder))
    path = Path(folder) / TENSORS
    stored = read_tensors(path)
    if strange := [key for key in stored if not key.startswith(PREFIX)]:
        raise FormatError(f"{path}: {listed(strange)} must begin with {PREFIX!r}; PEFT would load it as nothing at all")
    found, infixes = {}, set()
    for key, array in stored.items():
        place, infix = _place(key.removeprefix(PREFIX))
        infixes |= {infix} if infix else set()
        if place in found:
            raise FormatError(f"{path}: {listed([_key(place)])} stands twice, with and without an adapter's name")
        found[place] = array
    if len(infixes) > 1:
        raise FormatError(f"{path}: tensors of several adapters: {listed(sorted(i[1:] for i in infixes))}")
    return found


def _place(key):  # "q_proj.lora_A.default.weight" -> ("q_proj", "lora_A.{}.weight"), ".default"
    if m := TENSOR_NAME.fullmatch(key):
        path, linear, infix, embedding, embedding_infix = m.groups()
        place = f"{linear}.{{}}.weight" if linear else f"{embedding}.{{}}"
        return (path, place), infix or embedding_infix
    if m := COPY_NAME.fullmatch(key):
        return (m[1], m[3]), m[2]
    return (key, ""), None


def _check_folder(folder):
    """One clear line when `folder` cannot be an adapter's."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder; an adapter is a folder with {CONFIG} and {TENSORS}")
    if not (folder / CONFIG).is_file():
        inside = sorted(p.parent.name for p in folder.glob(f"*/{CONFIG}"))
        hint = f"; adapters inside: {', '.join(inside)}" if inside else ""
        raise MissingFileError(f"{folder}: no {CONFIG}{hint}")
    if not (folder / TENSORS).is_file():
        if pickles := sorted(p.name for p in folder.glob("adapter_model*.bin")):
            raise FormatError(
                f"{folder / pickles[0]}: a pickle can run code and is not read: convert with "
                f"PEFT's PeftModel.from_pretrained(base, folder).save_pretrained(folder)"
            )
        raise MissingFileError(f"{folder}: no {TENSORS}")


def _put(lora_model, name, tensors, path):
    """Every tensor to its place, or FormatError with the list of what is missing, extra or wrong.

    PEFT saves an adapted embedding or head along with its adapter (`base_layer.weight`), and would overwrite the
    base's with it when loading. Here it must equal the base's, to the bit, and is then passed over.
    """
    expected = lora_model.parameters_of(name)
    problems = {"missing": [_key(place) for place in expected if place not in tensors]}
    for place, array in tensors.items():
        if what := _misfit(lora_model, expected.get(place), _key(place), array):
            problems.setdefault(what, []).append(_key(place))
    lines = [f"{len(keys)} {what}: {listed(keys)}" for what, keys in problems.items() if keys]
    if lines:
        raise FormatError(f"{path}: {'; '.join(lines)}")
    lora_model.fill(name, lambda place, parameter: tensors[place])


def _misfit(lora_model, parameter, key, array):  # -> what is wrong with a tensor, or None
    if parameter is None:
        base = lora_model.base_parameter(key.replace(".base_layer.", "."))
        if base is not None and base.is_filled:
            return None if np.array_equal(to_host(base.data), array) else "of another base, with other values than this"
        feature = next((f for end, f in FEATURE_OF_TENSOR.items() if key.endswith(end)), None)
        return f"of {feature}, which is not supported" if feature else "without a place in this model"
    if array.shape != parameter.shape:
        return f"of the wrong shape ({array.shape} where {parameter.shape} is expected)"
    if array.dtype.kind != "f":
        return f"not floating point ({array.dtype})"
    with np.errstate(over="ignore"):
        return None if np.isfinite(array.astype(np.float32, copy=False)).all() else "with values that are not finite"


def _key(place):  # ("q_proj", "lora_A.{}.weight") -> "q_proj.lora_A.weight"
    return ".".join(place).replace(".{}", "").rstrip(".")
