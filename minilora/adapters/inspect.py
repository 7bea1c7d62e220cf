"""An adapter folder read without a model: its updates, their sizes and norms."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FormatError


@dataclass
class Update:
    """One adapted module of an adapter: ΔW = s · B A, A (r, in), B (out, r)."""

    path: str
    A: np.ndarray
    B: np.ndarray
    scaling: float

    r = property(lambda self: self.A.shape[0])
    shape = property(lambda self: (self.B.shape[0], self.A.shape[1]))  # (out, in)

    def norm(self):
        """‖ΔW‖_F = s √tr(BᵀB · AAᵀ): two (r, r) matrices; ΔW itself is never formed."""
        A, B = self.A.astype(np.float64), self.B.astype(np.float64)
        return abs(self.scaling) * math.sqrt(max(0.0, float(((B.T @ B) * (A @ A.T)).sum())))


@dataclass
class Adapter:
    """An adapter folder: its LoraConfig, its updates in order, and the other tensors that it holds."""

    folder: Path
    config: object
    updates: list
    copies: dict  # tensor name -> array: modules trained in full
    magnitudes: dict  # path -> m (out,) of DoRA
    base_copies: dict  # tensor name -> array: weights of the base that PEFT saves along

    @property
    def parameters(self):
        arrays = [a for u in self.updates for a in (u.A, u.B)] + [*self.copies.values(), *self.magnitudes.values()]
        return sum(a.size for a in arrays)


def read(folder):  # -> Adapter
    """The adapter in `folder`. Raises MissingFileError, FormatError, ConfigError.

    Whatever can be known without the base is checked: every A has its B, both of the rank that the config gives them.
    """
    from .files import read_adapter_config, read_adapter_tensors

    config = read_adapter_config(folder)
    found = Adapter(folder, config, [], {}, {}, {})
    halves = {}  # path -> {"A": array, "B": array}
    for (path, place), array in read_adapter_tensors(folder, config).items():
        if place == "lora_magnitude_vector":
            found.magnitudes[path] = array
        elif place.startswith("lora_"):
            halves.setdefault(path, {})["A" if "_A" in place else "B"] = array
        elif path.endswith(".base_layer"):
            found.base_copies[f"{path}.{place}"] = array
        elif place:
            found.copies[f"{path}.{place}"] = array
        else:
            raise FormatError(f"{folder}: {path} is not a tensor of LoRA")
    for path in sorted(halves, key=_in_order):
        found.updates.append(_update(folder, path, halves[path], config))
    if not found.updates:
        raise FormatError(f"{folder}: no tensor of LoRA in it")
    return found


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


def _in_order(path):  # layer 2 before layer 10
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")]
