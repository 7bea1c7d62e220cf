"""An adapter folder read without a model: its updates, their sizes and norms; the norms of a base for comparison."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, MissingFileError
from ..files.hub import model_folder
from ..files.safetensors import iterate_tensors
from ..methods.lora import LoraConfig
from ..methods.trainable_tokens import NAME as TOKEN_ROWS
from ..models.pretrained import empty_model, places_in
from ..nn import fingerprint_of, some_values
from . import files
from .inject import AdaptedModel
from .registry import method_of


@dataclass
class Update:
    """One adapted module of an adapter: ΔW = s · B A, A (r, in), B (out, r)."""

    path: str
    A: np.ndarray
    B: np.ndarray
    scaling: float

    r = property(lambda self: self.A.shape[0])
    shape = property(lambda self: (self.B.shape[0], self.A.shape[1]))  # (out, in)

    def norm(self) -> float:
        """‖ΔW‖_F = s √tr(BᵀB · AAᵀ): two (r, r) matrices; ΔW itself is never formed."""
        A, B = self.A.astype(np.float64), self.B.astype(np.float64)
        return abs(self.scaling) * math.sqrt(max(0.0, float(((B.T @ B) * (A @ A.T)).sum())))


@dataclass
class Adapter:
    """An adapter folder: its configuration, its updates in the order of the layers, and its other tensors.

    An adapter of another method than LoRA and DoRA has no updates: its trained tensors are `others`.
    """

    folder: Path
    config: Any  # PeftConfig
    updates: list[Update] = field(default_factory=list)
    copies: dict = field(default_factory=dict)  # tensor name -> array: modules trained in full
    vectors: dict = field(default_factory=dict)  # tensor name -> m (out,) of DoRA or the bias (out,) of lora_bias
    tokens: dict = field(default_factory=dict)  # path -> trained rows (n, width) of an embedding or head
    others: dict = field(default_factory=dict)  # tensor name -> array
    frozen: dict = field(default_factory=dict)  # tensor name -> array: drawn once, or of the base, never trained
    base_copies: dict = field(default_factory=dict)  # tensor name -> array: weights of the base that PEFT saves along

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        arrays = [a for u in self.updates for a in (u.A, u.B)] + [*self.copies.values(), *self.vectors.values()]
        arrays += self.tokens.values()
        arrays += self.others.values()
        return sum(a.size for a in arrays)

    @property
    def bytes_on_disk(self) -> int:
        return sum(f.stat().st_size for pattern in ("adapter_model*", files.CONFIG) for f in self.folder.glob(pattern))


def read_adapter(folder: str | Path) -> Adapter:
    """The adapter in `folder`. Raises MissingFileError, FormatError, ConfigError.

    It is checked as far as possible without the base: every A has its B, and both have the rank of the config.
    """
    config, tensors = files.read(folder)
    adapter = Adapter(Path(folder), config)
    if not isinstance(config, LoraConfig):
        method = method_of(config)
        for (path, place), array in tensors.items():
            frozen = method.shared_is_frozen and path in method.shared_names or _is_of_base(path, place, config)
            (adapter.frozen if frozen else adapter.others)[f"{path}.{place}".rstrip(".")] = array
        return adapter
    halves = {}  # path -> {"A": array, "B": array}
    for (path, place), array in tensors.items():
        if place in ("lora_magnitude_vector", "lora_B.bias"):
            adapter.vectors[f"{path}.{place}"] = array
        elif place == TOKEN_ROWS:
            adapter.tokens[path] = array
        elif place.startswith("lora_"):
            halves.setdefault(path, {})["A" if "_A" in place else "B"] = array
        elif _is_of_base(path, place, config):
            adapter.base_copies[f"{path}.{place}"] = array
        elif place:
            adapter.copies[f"{path}.{place}"] = array
        else:
            raise FormatError(f"{folder}: {path} is not a tensor of LoRA")
    adapter.updates = [_update(folder, path, halves[path], config) for path in sorted(halves, key=_layer_order)]
    if not adapter.updates:
        raise FormatError(f"{folder}: no tensor of LoRA in it")
    return adapter


def _is_of_base(path, place, config) -> bool:
    """Whether a tensor is a weight of the base that PEFT saved along, and no copy that was trained."""
    return place in ("weight", "bias") and not any(path.endswith(name) for name in config.modules_to_save or ())


def adapter_folders(folder: Path) -> list[Path]:
    """`folder` and the folders directly in it, those that hold an adapter. Raises MissingFileError without any."""
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {folder}")
    found = [f for f in (folder, *sorted(f for f in folder.iterdir() if f.is_dir())) if (f / files.CONFIG).is_file()]
    if not found:
        raise MissingFileError(f"no adapter in {folder} or directly in its folders: no {files.CONFIG}")
    return found


def compare_base(adapter: Adapter, base: str | Path) -> tuple[dict[str, float], bool | None]:
    """{path: ‖W‖_F} of every weight of the base that the adapter changes, and whether it was trained on this base.

    None instead: the adapter does not note its base. Weights are read one at a time. Raises FormatError listing names
    and shapes when the adapter does not fit the base, or the base its own config.json.
    """
    folder = model_folder(base)
    model, headers, packed = empty_model(folder)
    places = places_in(model, headers, folder)  # name in the files -> Parameter

    def stream(wanted):  # ids of Parameters -> (Parameter, array), one at a time
        for file, header in headers.items():
            names = [n for n in header if n in places and id(places[n]) in wanted]
            for name, array in iterate_tensors(
                file, np.float32, [n for n in names if not (packed and n in packed.weights)]
            ):
                yield places[name], array
            if packed:
                yield from ((places[n], packed.stored(n).dense()) for n in names if n in packed.weights)

    copied = {files.WRAPPED.sub("", n) for n in [*adapter.base_copies, *adapter.frozen]}
    named = dict(model.named_parameters(remove_duplicate=False))
    needed = {id(p) for n, p in named.items() if n in copied or p.ndim == 1}
    for parameter, array in stream(needed):  # copies are compared by value; vectors give the model a dtype
        parameter.data = array
    paths, noted = _check_fit(adapter, model), files.base_fingerprint(adapter.folder)
    norms, values = {}, {}
    for parameter, array in stream({id(p) for p in named.values()} if noted else paths):
        values[id(parameter)] = some_values(array)
        if id(parameter) in paths:
            norms |= dict.fromkeys(paths[id(parameter)], math.sqrt(np.square(array).sum(dtype=np.float64)))
    if not noted:
        return norms, None
    return norms, noted == fingerprint_of({n: (p.shape_in_file, values[id(p)]) for n, p in named.items()})


def _check_fit(adapter, model):  # -> {id of a weight: paths of the modules that read it}; two paths when it is tied
    adapted = AdaptedModel(model)
    config, tensors = files.read(adapter.folder)
    parameters = adapted.add("adapter", adapted.accept(config))
    files.match(tensors, parameters, adapted.base_parameters, adapter.folder)
    paths = {}
    for layer in adapted.layers:
        paths.setdefault(id(layer.base_layer.weight), []).append(layer.path)
    return paths


def _update(folder, path, pair, config):  # -> Update
    r = config.rank(path)
    for half, axis in (("A", 0), ("B", 1)):
        if half not in pair:
            raise FormatError(f"{folder}: {path} has no lora_{half}")
        shape = pair[half].shape
        if len(shape) != 2 or shape[axis] != r:
            raise FormatError(f"{folder}: lora_{half} of {path} has shape {shape}, which is not of rank {r}")
        if not np.isfinite(pair[half]).all():
            raise FormatError(f"{folder}: lora_{half} of {path} has values that are not finite")
    return Update(path, pair["A"], pair["B"], config.scaling(path))


def _layer_order(path):  # layer 2 before layer 10
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")]
