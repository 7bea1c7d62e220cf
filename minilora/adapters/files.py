"""Adapters as PEFT keeps them: a folder with adapter_config.json and adapter_model.safetensors, both directions.

Reading is strict: every key that changes the computation is honoured or refused by name, and every tensor must find
its place in the model. (PEFT warns about missing tensors and runs with B = 0; it ignores extra ones in silence.)
This file knows configurations, names and tensors, and no model. Facts are those of PEFT 0.21.2: its sources and files.
"""

import dataclasses
import re
from pathlib import Path

import numpy as np

from ..errors import ConfigError, FormatError, MissingFileError, listed
from ..files.atomic import json_text, read_json, write_text
from ..files.safetensors import read_all, read_header, write_tensors
from ..methods.base import PeftConfig
from .registry import config_class, method_of

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
FINGERPRINT = "minilora_base"  # key of the metadata of a file of tensors

FEATURE_OF_TENSOR = {  # ending of a tensor's name -> what it belongs to
    "lora_magnitude_vector": "of DoRA, but the config does not say use_dora",
    "lora_B.bias": "of lora_bias, but the config does not say so",
    "trainable_tokens_delta": "of trainable_token_indices, but the config does not name tokens",
    "lora_E": "of AdaLoRA, but the config is of another method",
    "base_layer.bias": "of bias, which is not supported",
}
SIZED_BY = {  # tensor -> the field of the config that is the length of one of its axes, and which axis
    "lora_A": ("r", 0), "lora_B": ("r", 1), "lora_embedding_A": ("r", 0), "lora_embedding_B": ("r", 1),
    "vera_lambda_d": ("r", 0), "prompt_embeddings": ("num_virtual_tokens", 0),
}  # fmt: skip
COPY_NAME = re.compile(r"(.+?)(?:\.modules_to_save(\.[^.]+)?)?\.(weight|bias)")
A_ROW_A_TOKEN = re.compile(r"(embed_tokens|wte|lm_head)(\.base_layer|\.original_module)?\.weight$")
WRAPPED = re.compile(r"\.(?:base_layer|original_module)(?=\.)")  # what PEFT puts into the path of a base's own module


def read(folder):  # -> PeftConfig, {(module path, tensor name): numpy.ndarray}
    """The adapter in `folder`. Raises MissingFileError, FormatError or ConfigError."""
    config = read_adapter_config(folder)
    return config, read_adapter_tensors(folder, config)[0]


def write(folder, config: PeftConfig, tensors, base_fingerprint: str = "") -> None:
    """Write an adapter into `folder`. Raises MiniloraError when it cannot be written.

    tensors           {(module path, tensor name): Parameter}
    base_fingerprint  tells which base it was trained on; it is kept in the metadata of the tensors' file

    An old configuration that says something else is removed first: whenever this is interrupted, the folder never holds
    the tensors of one adapter beside the configuration of another.
    """
    folder = Path(folder)
    written = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    fixed = {"peft_type": config.peft_type, "inference_mode": True, "auto_mapping": None, "revision": None}
    fixed |= config.written_too
    # sorted as in PEFT's file, but not inside: the first pattern that matches wins, so the order of patterns matters
    text = json_text(dict(sorted((written | fixed).items())), sort_keys=False)
    if (folder / CONFIG).is_file() and (folder / CONFIG).read_bytes() != text.encode():
        (folder / CONFIG).unlink()
    metadata = {"format": "pt"} | ({FINGERPRINT: base_fingerprint} if base_fingerprint else {})
    shared = method_of(config).shared_names
    prefix = {name: method_of(config).shared_prefix for name in shared}
    arrays = {prefix.get(place[0], PREFIX) + _key(place): p.data for place, p in tensors.items()}
    write_tensors(folder / TENSORS, arrays, metadata)
    write_text(folder / CONFIG, text)


def base_fingerprint(folder) -> str:
    """The fingerprint of the base that an adapter was trained on; "" when its file does not say."""
    return read_header(Path(folder) / TENSORS)[1].get(FINGERPRINT, "")


def read_adapter_config(folder) -> PeftConfig:
    """The configuration in `folder`. Raises MissingFileError, FormatError, or ConfigError naming what is not supported.

    `folder` may also be the file itself. An unknown key is refused unless its value is null, false or empty: it might
    change the computation.
    """
    path = Path(folder)
    if not path.is_file():
        _check_folder(path)
        path = path / CONFIG
    data = read_json(path)
    try:
        kind = config_class("LORA" if data.get("peft_type") is None else data["peft_type"])
        if missing := [key for key in ("peft_type", *kind.required) if data.get(key) is None]:
            raise FormatError(f"{path}: {', '.join(missing)} missing; an adapter without it has no defined meaning")
        known = {f.name for f in dataclasses.fields(kind)}
        for key, value in data.items():
            if key not in known and key not in kind.harmless and value not in (None, False, "", [], {}):
                raise ConfigError(f"{listed([key])} = {repr(value)[:60]} is not supported")
        return kind.from_file({key: data[key] for key in known if data.get(key) is not None})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_adapter_tensors(folder, config: PeftConfig):  # -> {(module path, tensor name): numpy.ndarray}, str
    """The tensors in `folder`, with or without the adapter's name in theirs: ("...q_proj", "lora_A.weight"). And the
    fingerprint of the base that they were trained on, "" when the file does not say.

    Raises MissingFileError, or FormatError for a file that is not an adapter's, or of more than one adapter.
    """
    _check_folder(Path(folder))
    path = Path(folder) / TENSORS
    method = method_of(config)
    stored, metadata = read_all(path)
    shared = {method.shared_prefix + name: name for name in method.shared_names}  # key in the file -> name
    prefix = PREFIX if method.kinds else "base_model."  # prompt learning puts no layer around the model
    if strange := [key for key in stored if not key.startswith(prefix) and key not in shared]:
        raise FormatError(f"{path}: {listed(strange)} must begin with {prefix!r}; PEFT would load it as nothing at all")
    patterns = [(name, _name_pattern(name)) for name in method.tensor_names()]
    tensors, adapters = {}, set()
    for key, array in stored.items():
        place, adapter = ((shared[key], ""), None) if key in shared else _place(key.removeprefix(prefix), patterns)
        adapters |= {adapter} if adapter else set()
        if place in tensors and not (place[1] in ("weight", "bias") and np.array_equal(tensors[place], array)):
            raise FormatError(f"{path}: {listed([_key(place)])} is stored twice, with and without an adapter's name")
        tensors[place] = array
    if len(adapters) > 1:
        raise FormatError(f"{path}: tensors of several adapters: {listed(sorted(a[1:] for a in adapters))}")
    return tensors, metadata.get(FINGERPRINT, "")


def match(tensors, places, base, folder) -> None:
    """Check that every tensor has its place, and every place its tensor.

    tensors  {(path, name): array}, from `read`
    places   {(path, name): Parameter}, of the adapter in the model
    base     {name: Parameter} of the model itself

    PEFT saves weights of the base along with some adapters (`base_layer.weight` of an adapted embedding or head,
    `original_module.weight` beside a module that is trained in full), and would overwrite the base's with them when
    loading. Here they must equal the base's, or the base's rounded to 16 bits, and are then left out.
    Raises FormatError with the list of what is missing, extra or wrong.
    """
    faults = {"missing": [(_key(place), "") for place in places if place not in tensors]}
    for place, array in tensors.items():
        if found := _misfit(places.get(place), base, _key(place), array):
            what, detail = found
            faults.setdefault(what, []).append((_key(place), detail))
    faults = {what: keys for what, keys in faults.items() if keys}
    if faults:
        brief = len(faults) == 1 and all(len(what) < 30 and not keys[0][1] for what, keys in faults.items())
        names = 4 if brief else 1
        lines = [
            f"{len(keys)} {what}{keys[0][1]}: {listed([k for k, _ in keys], names)}" for what, keys in faults.items()
        ]
        wrong = [(tensors[p].shape, place.shape, _key(p)) for p, place in places.items() if p in tensors]
        raise FormatError(f"{Path(folder) / TENSORS}: {'; '.join(lines)}{_setting_at_fault(wrong)}")


def _misfit(parameter, base, key, array):  # -> what is wrong with a tensor, and details; or None
    if parameter is None:
        original = base.get(WRAPPED.sub("", key))
        if original is not None and array.shape != original.shape:
            return "base weights of another shape", f" ({_shapes(key, array, original)})"
        if original is not None and original.is_filled:
            same = _is_or_rounds_to(original.numpy(), array)
            return None if same else ("base weights that differ from this model's", "")
        feature = next((f for end, f in FEATURE_OF_TENSOR.items() if key.endswith(end)), None)
        return feature or "that match no module of this model", ""
    if array.shape != parameter.shape:
        return "of the wrong shape", f" ({_shapes(key, array, parameter)})"
    if array.dtype.kind != "f":
        return "not floating point", f" ({array.dtype})"
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32, copy=False)).all()
    return None if finite else ("with values that are not finite", "")


def _setting_at_fault(shapes):  # [(stored shape, expected shape, key)] -> the end of the error line, "" when unknown
    """A setting of adapter_config.json that says something else than every tensor: the rank, or IA3's place."""
    sizes = {
        (field, stored[axis], expected[axis])
        for stored, expected, key in shapes
        for name, (field, axis) in SIZED_BY.items()
        if name in key.split(".") and len(stored) == len(expected) > axis
    }
    field, stored, expected = next(iter(sizes), ("", 0, 0))
    if len(sizes) == 1 and stored != expected:
        return f"; {CONFIG} says {field} = {expected}, the tensors have {stored}"
    turned = [s[::-1] == e or min(s) == min(e) == 1 and s != e for s, e, key in shapes if key.endswith("ia3_l")]
    return f"; feedforward_modules in {CONFIG} names other modules than the tensors" if any(turned) else ""


def _shapes(key, array, parameter):
    """Both shapes, and the reason when a vocabulary has grown."""
    grown = A_ROW_A_TOKEN.search(key) and array.shape[1:] == parameter.shape[1:] and array.shape[0] > parameter.shape[0]
    why = ": tokens were added; give the resized base" if grown else ""
    return f"{array.shape} where {parameter.shape} is expected{why}"


def _is_or_rounds_to(own, stored):
    """Whether `stored` is `own`, or what a 16-bit copy of it holds."""
    import ml_dtypes  # here: it registers bfloat16 with NumPy, and only this needs it

    kinds = (own.dtype, ml_dtypes.bfloat16, np.float16)
    with np.errstate(over="ignore"):
        return any(np.array_equal(own.astype(kind).astype(np.float32), stored) for kind in kinds)


def _name_pattern(name):  # "lora_A.weight" -> the expression for a path, that name, and an adapter's name inside it
    module, dot, last = name.rpartition(".")
    if last not in ("weight", "bias"):
        module, dot, last = name, "", ""
    end = re.escape(dot + last) if last else r"(?:\.weight)?"  # PEFT's magnitudes have both spellings
    return re.compile(rf"(.+)\.{re.escape(module)}(\.(?!weight$)[^.]+)?{end}")


def _place(key, patterns):  # "q_proj.lora_A.default.weight" -> ("q_proj", "lora_A.weight"), ".default"
    for name, pattern in patterns:
        if m := pattern.fullmatch(key):
            return (m[1], name), m[2]
    if m := COPY_NAME.fullmatch(key):
        return (m[1], m[3]), m[2]
    return (key, ""), None


def _key(place):  # ("q_proj", "lora_A.weight") -> "q_proj.lora_A.weight"
    return ".".join(place).rstrip(".")


def _check_folder(folder):
    """Raise one clear line when `folder` cannot be an adapter's."""
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
