"""How many parameters LoRA trains: the closed formula, matrix by matrix.

For one configuration:

    trainable = Σ r (in + out)  over the adapted matrices        (Hu et al. 2021, section 5.1)
    percent   = 100 · trainable / (base + trainable)             (what PEFT prints)
    reduction = base / trainable
"""

import json
from collections import Counter
from dataclasses import dataclass

from ..adapters.files import PREFIX
from ..adapters.registry import method_of
from ..adapters.targets import as_target_modules, leaves, names_match
from ..errors import ConfigError, nearest
from ..methods.lora import LoraConfig
from .architectures.experts import match_experts, notes_on_experts
from .architectures.parts import LORA_KINDS, Architecture
from .architectures.sizes import LARGEST


@dataclass(frozen=True)
class Count:
    """One configuration, counted. chosen: the adapted WeightSpecs."""

    architecture: Architecture
    targets: str
    rank: int
    chosen: tuple

    @property
    def base(self):
        return self.architecture.base

    @property
    def trainable(self):
        return sum(p.lora_size(self.rank) for p in self.chosen)

    @property
    def total(self):
        return self.base + self.trainable

    @property
    def percent(self):
        return 100 * self.trainable / self.total

    @property
    def reduction(self):
        return self.base / self.trainable

    @property
    def working(self):
        """The sum to redo by hand: "8 x (32 x (4096 + 4096) + 32 x (4096 + 1024))"."""
        shapes = Counter((p.lora_rank(1), p.n_in, p.out) for p in self.chosen)
        return f"{self.rank} x ({' + '.join(f'{n * of} x ({i} + {o})' for (of, i, o), n in shapes.items())})"

    @property
    def notes(self):
        """What a reader of the number should know."""
        notes = []
        wide = [p for p in self.chosen if self.rank > min(p.n_in, p.out)]
        if wide:
            p = min(wide, key=lambda p: min(p.n_in, p.out))
            side = min(p.n_in, p.out)
            notes.append(
                f"rank {self.rank} is above the smaller side of {len(wide)} of {len(self.chosen)} matrices (such as "
                f"{p.path}, {p.out} x {p.n_in}): rank {side} already gives every update, so this saves nothing there"
            )
        kept = [p for p in self.chosen if p.head or p.kind == "embedding"]
        if kept:
            notes.append(f"PEFT also saves the base weight of {kept[0].path}; the sizes here are the adapter's alone")
        if self.architecture.model_type == "t5" and not any(p.tied for p in self.architecture.parts):
            notes.append("the head is its own, as in the published checkpoints; transformers 5 ties it in a new model")
        if any(p.tied for p in self.chosen):
            notes.append("the head shares the embedding's weight: merging this adapter must untie the two")
        return notes + notes_on_experts(self.architecture, self.chosen, self.rank)

    def adapter_bytes(self, width):
        """Bytes of A and B alone. width: 4 for float32, 2 for a 16-bit type."""
        return width * self.trainable

    @property
    def tensors(self) -> dict:
        """The tensors of the adapter's file: {name: shape}."""
        found = {}
        for part in self.chosen:
            config, place = LoraConfig(r=part.lora_rank(self.rank)), part.place
            shapes = method_of(config).shapes(place, config)
            found |= {f"{PREFIX}{place.path}.{name}": shape for name, shape in shapes.items()}
        return found

    def file_bytes(self, dtype):
        """Bytes of adapter_model.safetensors. dtype: "F32", "BF16" or "F16"."""
        return safetensors_bytes(self.tensors, dtype)


def count(architecture, targets, rank):  # Architecture, str, int -> Count
    """Count LoRA of `rank` beside the modules that `targets` chooses (see `match_targets`). Raises ConfigError."""
    if type(rank) is not int or not 1 <= rank <= LARGEST:
        raise ConfigError(f"rank {rank!r}: expected a whole number of 1 to {LARGEST:,}")
    targets = "all-linear" if targets.lower() == "all-linear" else targets  # PEFT takes any case of letters
    return Count(architecture, targets, rank, tuple(match_targets(architecture, targets)))


def match_targets(architecture, targets):  # Architecture, str -> [WeightSpec]
    """The parts that `targets` adapts. Raises ConfigError when a name or the expression matches nothing, or matches
    something that cannot have a low-rank update."""
    wanted = LoraConfig(target_modules=as_target_modules(targets)).target_modules  # checks that an expression is one
    adaptable = {p.path: p for p in architecture.parts if p.kind in LORA_KINDS}
    known = leaves(adaptable)
    wanted, experts = match_experts(architecture, wanted)
    if wanted == "all-linear":
        return architecture.linears
    for name in wanted if isinstance(wanted, list) else [wanted]:
        if not any(names_match([name] if isinstance(wanted, list) else name, path) for path in architecture.modules):
            hint = "" if isinstance(wanted, list) else " (a regular expression for the whole path)"
            near = nearest(name, known)
            raise ConfigError(f"no module matches target {name!r}{hint}; {architecture.name} has: {near}")
    chosen = [path for path in architecture.modules if names_match(wanted, path)]
    if wrong := [path for path in chosen if path not in adaptable]:
        near = nearest(wrong[0], known)
        raise ConfigError(f"target {targets!r} matches {wrong[0]}, which is no linear layer or embedding; try {near}")
    return [adaptable[path] for path in chosen] + experts


def safetensors_bytes(shapes, dtype):  # {name: shape}, "F32" | "BF16" | "F16" -> int
    """Size of a safetensors file: 8 bytes, a JSON header padded to a multiple of 8, then the data in order of name.

    The header reads

        {"__metadata__":{"format":"pt"},"name":{"dtype":"F32","shape":[8,64],"data_offsets":[0,2048]},...}
    """
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(shapes):
        begin = end
        width = 4 if dtype == "F32" else 2
        for side in shapes[name]:
            width *= side
        end = begin + width
        header[name] = {"dtype": dtype, "shape": list(shapes[name]), "data_offsets": [begin, end]}
    text = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8"))
    return 8 + text + -text % 8 + end
