"""How many parameters LoRA trains: the closed formula, matrix by matrix.

For one configuration:

    trainable = Σ r (in + out)  over the adapted matrices        (Hu et al. 2021, section 5.1)
    percent   = 100 · trainable / (base + trainable)             (what PEFT prints)
    reduction = base / trainable
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ..adapters.files import PREFIX
from ..adapters.registry import method_of
from ..adapters.targets import as_target_modules, leaves, match_targets, row_places, spell_out
from ..errors import ConfigError, nearest
from ..methods.lora import LoraConfig
from ..methods.trainable_tokens import tokens_at
from .architectures.experts import match_experts, notes_on_experts
from .architectures.parts import LORA_KINDS, Architecture
from .architectures.sizes import LARGEST


@dataclass(frozen=True)
class Count:
    """One configuration, counted.

    targets  the target modules, as a person writes them
    config   the whole configuration
    chosen   the adapted WeightSpecs
    saved    the WeightSpecs that are trained in full beside the adapter (modules_to_save)
    rows     the Places of embeddings and heads of which single rows are trained (trainable_token_indices)
    """

    architecture: Architecture
    targets: str
    config: LoraConfig
    chosen: tuple
    saved: tuple = ()
    rows: tuple = ()

    @property
    def rank(self) -> int:
        """r; rank_pattern may give some matrices another one."""
        return self.config.r

    def rank_of(self, part) -> int:
        """The rows of A beside one WeightSpec."""
        return part.lora_rank(self.config.rank(part.path))

    @property
    def base(self) -> int:
        return self.architecture.base

    @property
    def in_adapter(self) -> int:
        """Numbers in A and B, in DoRA's magnitudes or the biases of B, and in the rows of tokens."""
        vectors = self.config.use_dora + self.config.lora_bias  # for each output of an adapted matrix
        return sum(self.rank_of(p) * (p.n_in + p.out) + vectors * p.out for p in self.chosen) + self.in_rows

    @property
    def in_rows(self) -> int:
        """Numbers in the rows of tokens: a tied head reads those of the embedding."""
        own = [p for p in self.rows if p.kind != "tied head rows"]
        return sum(len(tokens_at(self.config, p.path)) * p.shape[1] for p in own)

    @property
    def trainable(self) -> int:
        return self.in_adapter + sum(p.weights + p.bias for p in self.saved)

    @property
    def trained(self) -> dict:
        """{path: rank of its adapter, or 0 where the weight itself is trained}"""
        rows = {p.path: 1 for p in self.rows}  # as a LoRA of rank 1
        return {p.path: self.rank_of(p) for p in self.chosen} | {p.path: 0 for p in self.saved} | rows

    @property
    def total(self) -> int:
        return self.base + self.trainable

    @property
    def percent(self) -> float:
        return 100 * self.trainable / self.total

    @property
    def reduction(self) -> float:
        return self.base / self.trainable

    @property
    def working(self) -> str:
        """The sum to redo by hand: "8 x (32 x (4096 + 4096) + 32 x (4096 + 1024))"."""
        shapes = {}
        for p in self.chosen:
            r = self.config.rank(p.path)
            shapes.setdefault(r, Counter())[p.n_in, p.out] += p.lora_rank(1)
        terms = [
            f"{r} x ({' + '.join(f'{n} x ({i} + {o})' for (i, o), n in found.items())})" for r, found in shapes.items()
        ]
        terms += [f"{sum(p.out for p in self.chosen)} magnitudes"] * self.config.use_dora
        terms += [f"{sum(p.out for p in self.chosen)} biases"] * self.config.lora_bias
        terms += [f"{self.in_rows} in the rows of tokens"] * bool(self.rows)
        return " + ".join(
            terms + [f"{sum(p.weights + p.bias for p in self.saved)} in modules_to_save"] * bool(self.saved)
        )

    @property
    def notes(self) -> list:
        """What a reader of the number should know."""
        notes = []
        wide = [p for p in self.chosen if self.config.rank(p.path) > min(p.n_in, p.out)]
        if wide:
            p = min(wide, key=lambda p: min(p.n_in, p.out))
            rank, side = self.config.rank(p.path), min(p.n_in, p.out)
            notes.append(
                f"rank {rank} is above the smaller side of {len(wide)} of {len(self.chosen)} matrices (such as "
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

    def adapter_bytes(self, width: int) -> int:
        """Bytes of all trained numbers. width: 4 for float32, 2 for a 16-bit type."""
        return width * self.trainable

    @property
    def tensors(self) -> dict:
        """The tensors of the adapter's file: {name: shape}."""
        found = {}
        for part in self.chosen:
            config = replace(self.config, r=self.rank_of(part), rank_pattern={})
            shapes = method_of(config).shapes(part.place, config)
            found |= {f"{PREFIX}{part.place.path}.{name}": shape for name, shape in shapes.items()}
        for place in self.rows:
            shapes = method_of(self.config).shapes(place, self.config)
            found |= {f"{PREFIX}{place.path}.{name}": shape for name, shape in shapes.items()}
        for part in self.saved:
            bias = {f"{PREFIX}{part.path}.bias": (part.bias,)} if part.bias else {}
            found |= {f"{PREFIX}{part.path}.weight": part.shape} | bias
        return found

    def file_bytes(self, dtype: str) -> int:
        """Bytes of adapter_model.safetensors. dtype: "F32", "BF16" or "F16"."""
        return safetensors_bytes(self.tensors, dtype)


def count(architecture: Architecture, targets: str, rank: int) -> Count:
    """Count LoRA of one rank beside the modules that `targets` names. Raises ConfigError."""
    if type(rank) is not int or not 1 <= rank <= LARGEST:
        raise ConfigError(f"rank {rank!r}: expected a whole number of 1 to {LARGEST:,}")
    targets = "all-linear" if targets.lower() == "all-linear" else targets  # PEFT takes any case of letters
    return count_config(architecture, LoraConfig(r=rank, target_modules=as_target_modules(targets)), targets)


def count_config(architecture: Architecture, config: Any, targets: str = "") -> Count:
    """Count a whole configuration. targets: its target modules, as a person writes them.

    Raises ConfigError when a target matches nothing or something that cannot be adapted, and for another method than
    LoRA and DoRA.
    """
    if config.peft_type != "LORA":
        raise ConfigError(f"peft_type {config.peft_type!r} cannot be counted, only LORA")
    named = config.target_modules
    return Count(
        architecture, targets or (named if isinstance(named, str) else ",".join(named or ())), config,
        tuple(match_parts(architecture, config)), tuple(parts_to_save(architecture, config)),
        tuple(rows_of_tokens(architecture, config)),
    )  # fmt: skip


def rows_of_tokens(architecture: Architecture, config: LoraConfig) -> list:
    """The Places of trainable_token_indices. Raises ConfigError."""
    places = {p.path: p.place for p in architecture.parts if p.kind == "embedding" or p.head}
    embedding = next((p.path for p in architecture.parts if p.kind == "embedding"), "")
    return row_places(config, places, embedding, any(p.tied for p in architecture.parts))


def match_parts(architecture: Architecture, config: LoraConfig) -> list:
    """The WeightSpecs that get an adapter, as PEFT chooses them. Raises ConfigError."""
    adaptable = {p.path: p for p in architecture.parts if p.kind in LORA_KINDS}
    linear = [p.path for p in architecture.linears]
    wanted, experts = match_experts(architecture, config.target_modules)
    if experts and (field := next((f for f in SOME_LAYERS if getattr(config, f)), "")):
        raise ConfigError(f"{field} cannot be counted for the experts of {architecture.name}")
    if experts and not wanted:
        return experts
    config = spell_out(replace(config, target_modules=wanted), architecture.modules, linear, architecture.model_type)
    chosen = match_targets(config, architecture.modules, linear)
    if wrong := [path for path in chosen if path not in adaptable]:
        named, near = config.target_modules, nearest(wrong[0], leaves(adaptable))
        raise ConfigError(
            f"target_modules {named!r} matches {wrong[0]}, which is no linear layer or embedding; try {near}"
        )
    return [adaptable[path] for path in chosen] + experts


SOME_LAYERS = ("layers_to_transform", "exclude_modules", "rank_pattern")


def parts_to_save(architecture: Architecture, config: LoraConfig) -> list:
    """The WeightSpecs in the modules of modules_to_save: as in PEFT, every path that ends with one of the names.

    Raises ConfigError for a name that matches no module.
    """
    modules = {name: [m for m in architecture.modules if m.endswith(name)] for name in config.modules_to_save or ()}
    if missing := [name for name, found in modules.items() if not found]:
        near = nearest(missing[0], leaves(architecture.modules))
        raise ConfigError(f"no module matches modules_to_save {missing[0]!r}; the model has: {near}")
    saved = {m for found in modules.values() for m in found}
    return [p for p in architecture.parts if any(p.path == m or p.path.startswith(m + ".") for m in saved)]


def safetensors_bytes(shapes, dtype):  # {name: shape}, "F32" | "BF16" | "F16" -> int
    """Size of a safetensors file: 8 bytes, a JSON header padded to a multiple of 8, then the data in order of name.

    The header reads

        {"__metadata__":{"format":"pt"},"name":{"dtype":"F32","shape":[8,64],"data_offsets":[0,2048]},...}
    """
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        begin = end
        width = 4 if dtype == "F32" else 2
        for side in shapes[name]:
            width *= side
        end = begin + width
        header[name] = {"dtype": dtype, "shape": list(shapes[name]), "data_offsets": [begin, end]}
    text = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8"))
    return 8 + text + -text % 8 + end
