"""How many parameters a method trains: the closed formula, matrix by matrix.

For one configuration:

    trainable = Σ r (in + out)  over the adapted matrices        (LoRA; Hu et al. 2021, section 5.1)
    percent   = 100 · trainable / (base + trainable)             (what PEFT prints)
    reduction = base / trainable
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ..adapters.files import PREFIX
from ..adapters.registry import config_named, method_of, name_of
from ..adapters.targets import as_target_modules, leaves, match_targets, row_places, spell_out
from ..errors import ConfigError, nearest
from ..methods.ia3 import DEFAULTS as IA3_DEFAULTS
from ..methods.lora import LoraConfig
from ..methods.trainable_tokens import tokens_at
from . import methods
from .architectures.catalog import default_targets
from .architectures.experts import match_experts, notes_on_experts
from .architectures.parts import LORA_KINDS, Architecture
from .architectures.sizes import LARGEST
from .methods import places_in_front


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
    config: Any
    chosen: tuple
    saved: tuple = ()
    rows: tuple = ()

    @property
    def rank(self) -> int | None:
        """r, or init_r of AdaLoRA; None for a method without. rank_pattern may give some matrices another one."""
        return getattr(self.config, "r", getattr(self.config, "init_r", None))

    @property
    def method(self) -> str:
        """The name of the method, as in `minilora train --method`. P-tuning is read as prompt tuning."""
        return "prompt_tuning" if self.config.peft_type == "P_TUNING" else name_of(self.config)

    @property
    def starts_from_base(self) -> bool:
        """Whether it is PiSSA or OLoRA, whose file has twice the rank."""
        return self.method in ("pissa", "olora")

    @property
    def virtual_tokens(self) -> int:
        """Places in front of every sequence."""
        return places_in_front(self.architecture, self.config)[0]

    @property
    def frozen(self) -> int:
        """Numbers that the adapter adds and never trains: VeRA's A and B."""
        return methods.shared_numbers(self.config, self.chosen)

    @property
    def base(self) -> int:
        return self.architecture.base

    @property
    def in_adapter(self) -> int:
        """Numbers of the adapter itself: beside matrices, in front of a sequence, and in the rows of tokens."""
        n, width = places_in_front(self.architecture, self.config)
        return sum(methods.numbers_at(self.config, p) for p in self.chosen) + n * width + self.in_rows

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
        """{path: narrow numbers that its adapter keeps per token, or 0 where the weight itself is trained}"""
        lowest = {p.path: 1 for p in self.rows}  # as a LoRA of rank 1
        if self.virtual_tokens:  # gradients flow down to the first layer
            lowest |= {next(p.path for p in self.architecture.parts if p.kind == "embedding"): 1}
        return (
            {p.path: methods.narrow_at(self.config, p) for p in self.chosen} | {p.path: 0 for p in self.saved} | lowest
        )

    @property
    def wide(self) -> dict:
        """{path: numbers per token that a step keeps for the gradients of magnitudes or scales}"""
        return {p.path: methods.wide_at(self.config, p) for p in self.chosen}

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
        terms = self._products()
        if getattr(self.config, "use_dora", False):
            terms.append(f"{sum(p.out for p in self.chosen)} magnitudes")
        if getattr(self.config, "lora_bias", False):
            terms.append(f"{sum(p.out for p in self.chosen)} biases")
        if self.rows:
            terms.append(f"{self.in_rows} in the rows of tokens")
        if self.saved:
            terms.append(f"{sum(p.weights + p.bias for p in self.saved)} in modules_to_save")
        return " + ".join(terms)

    def _products(self):  # -> list of str
        """The terms of `working` for the method itself."""
        n, width = places_in_front(self.architecture, self.config)
        kind = self.config.peft_type
        if n:
            return [f"{n} x {width}"]
        if kind in ("VERA", "IA3"):
            r = self.config.r if kind == "VERA" else 0
            vectors = Counter(methods.numbers_at(self.config, p) - r for p in self.chosen)
            own = [f"{len(self.chosen)} x {r}"] if r else []
            return own + [f"{count} x {size}" for size, count in vectors.items()]
        shapes = {}
        for p in self.chosen:
            r = self.config.rank(p.path) if kind == "LORA" else methods.rank_at(self.config, p)
            shapes.setdefault(r, Counter())[p.n_in, p.out] += p.lora_rank(1)
        more = " + 1" * (kind == "ADALORA")
        return [
            f"{r} x ({' + '.join(f'{n} x ({i} + {o}{more})' for (i, o), n in found.items())})"
            for r, found in shapes.items()
        ]

    @property
    def notes(self) -> list:
        """What a reader of the number should know."""
        notes = []
        has_ranks = self.config.peft_type == "LORA"
        wide = [p for p in self.chosen if has_ranks and self.config.rank(p.path) > min(p.n_in, p.out)]
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
        if self.frozen:
            notes.append(f"A and B, {self.frozen:,} frozen numbers for all layers, are in the file and in memory")
        if self.starts_from_base:
            notes.append("the file is a LoRA of rank 2r for the original base, and is counted so")
        if self.config.peft_type == "ADALORA" and not self.config.rank_pattern:
            notes.append(f"counted before pruning; target_r {self.config.target_r} a matrix are left at the end")
        return notes + notes_on_experts(self.architecture, self.chosen, self.rank or 0)

    def adapter_bytes(self, width: int) -> int:
        """Bytes of all trained numbers. width: 4 for float32, 2 for a 16-bit type."""
        return width * self.trainable

    @property
    def tensors(self) -> dict:
        """The tensors of the adapter's file: {name: shape}."""
        found = {}
        for part in self.chosen:
            config = self.config
            if config.peft_type == "LORA":  # a matrix of experts has the rank of each, all of them together
                r = methods.rank_at(config, part) * (2 if self.starts_from_base else 1)
                config = replace(config, r=r, rank_pattern={})
            shapes = method_of(config).shapes(part.place, config)
            found |= {f"{PREFIX}{part.place.path}.{name}": shape for name, shape in shapes.items()}
        n, width = places_in_front(self.architecture, self.config)
        found |= {"prompt_embeddings": (n, width)} if n else {}
        shared = method_of(self.config).shared([p.place for p in self.chosen], None, self.config) if self.frozen else {}
        found |= {f"base_model.{name}": shape for name, shape in shared.items()}
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
    return count_method(architecture, "lora", targets, rank)


def count_method(
    architecture: Architecture,
    method: str,
    targets: str | None = None,
    rank: int | None = None,
    virtual_tokens: int = 20,
) -> Count:
    """Count a method by its name in `adapters.registry.NAMES`. None: PEFT's targets for this model; 8, VeRA's 256.

    rank: AdaLoRA's init_r; virtual_tokens: of prefix and prompt tuning. Raises ConfigError.
    """
    if rank is not None and not 1 <= rank <= LARGEST:
        raise ConfigError(f"rank {rank!r}: expected a whole number of 1 to {LARGEST:,}")
    if targets is None and method != "ia3":
        targets = default_targets(architecture)
    if targets is None and architecture.model_type not in IA3_DEFAULTS:
        raise ConfigError(f"PEFT has no targets of IA3 for {architecture.name}: name them with --targets")
    if targets and targets.lower() == "all-linear":
        targets = "all-linear"  # PEFT takes any case of letters
    settings: dict[str, Any] = {"target_modules": targets and as_target_modules(targets)}
    if method == "adalora":
        rank = LoraConfig.r if rank is None else rank
        settings |= {"init_r": rank, "target_r": max(1, 2 * rank // 3)}
    settings |= {"r": rank, "num_virtual_tokens": virtual_tokens}
    return count_config(architecture, config_named(method, **settings), targets or "")


def count_config(architecture: Architecture, config: Any, targets: str = "") -> Count:
    """Count a whole configuration. targets: its target modules, as a person writes them.

    Raises ConfigError when a target matches nothing or something that cannot be adapted, and where the method has no
    count.
    """
    if config.peft_type in methods.IN_FRONT:
        places_in_front(architecture, config)  # raises for what is no decoder
        return Count(architecture, "the sequence", config, ())
    config = config.with_defaults(architecture)
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
    if experts and config.peft_type != "LORA":
        raise ConfigError(f"the experts of {architecture.name} are counted for LoRA alone, not for {config.peft_type}")
    if experts and (field := next((f for f in SOME_LAYERS if getattr(config, f)), "")):
        raise ConfigError(f"{field} cannot be counted for the experts of {architecture.name}")
    if experts and not wanted:
        return experts
    config = spell_out(replace(config, target_modules=wanted), architecture.modules, linear, architecture)
    chosen = match_targets(config, architecture.modules, linear)
    if wrong := [path for path in chosen if path not in adaptable]:
        named, near = config.target_modules, nearest(wrong[0], leaves(adaptable))
        raise ConfigError(
            f"target_modules {named!r} matches {wrong[0]}, which is no linear layer or embedding; try {near}"
        )
    for path in chosen:
        method_of(config).method_class(adaptable[path].place)  # raises where the method has none for this kind
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
