"""LoraConfig: PEFT's names and meaning, which modules it chooses, and the one place where the scale is computed."""

import math
import re
from dataclasses import dataclass, field

from ..errors import ConfigError, nearest
from .checks import check_fields


def scaling(lora_alpha, r, use_rslora=False):
    """s in y = W x + s B A x:  alpha / r (Hu et al. 2021, section 4.1), or alpha / √r (rsLoRA, arXiv 2312.03732)."""
    return lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r


@dataclass
class LoraConfig:
    """Fields as in PEFT 0.21; a value that is not supported here is refused by name.

    r                    rank of every update, unless rank_pattern says otherwise
    lora_alpha           numerator of the scale (see `scaling`)
    target_modules       list of names ("q_proj": that name or a path that ends with it), a regular expression for the
                         whole path, or "all-linear": every linear layer but the head; None: what PEFT takes for the
                         model (q_proj and v_proj; GPT-2's c_attn)
    exclude_modules      list or regular expression of what to leave out, checked first
    lora_dropout         probability, on the input of the adapter only, in training only
    rank_pattern         {pattern: r}, alpha_pattern {pattern: alpha}: the first key that the path ends with wins
    layers_to_transform  index or list of indices of the layers to adapt; layers_pattern: the name of the layer list
    modules_to_save      names of modules trained in full beside the adapter, and saved with it
    init_lora_weights    True: A uniform in ±1/√in, B zero; "gaussian": A normal with std 1/r, B zero;
                         False: B random too, so that the update is not zero at the start
    """

    r: int = 8
    lora_alpha: float = 8
    target_modules: list | str | None = None
    exclude_modules: list | str | None = None
    lora_dropout: float = 0.0
    use_rslora: bool = False
    rank_pattern: dict = field(default_factory=dict)
    alpha_pattern: dict = field(default_factory=dict)
    layers_to_transform: int | list | None = None
    layers_pattern: list | str | None = None
    modules_to_save: list | None = None
    init_lora_weights: bool | str = True
    fan_in_fan_out: bool = False
    bias: str = "none"
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    def __post_init__(self):
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), set | tuple):
                setattr(self, name, sorted(getattr(self, name), key=str))
        check_fields(self)

    def rank(self, path):
        return first_match(self.rank_pattern, path, self.r)

    def alpha(self, path):
        return first_match(self.alpha_pattern, path, self.lora_alpha)

    def scaling(self, path):
        """s for the module at `path`."""
        return scaling(self.alpha(path), self.rank(path), self.use_rslora)


def first_match(patterns, path, default):
    """The value of the first key that `path` ends with (at a dot), as PEFT reads rank_pattern and alpha_pattern."""
    return next((v for key, v in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", path)), default)


def as_target_modules(targets):  # str -> list or str, as LoraConfig and PEFT take them
    """Plain names joined by commas are a list, even one; any other character makes it a regular expression for the
    whole path; "all-linear" is reserved. Raises ConfigError when nothing is named."""
    if not targets.strip():
        raise ConfigError("no target is named; expected names like q_proj,v_proj, a regular expression or all-linear")
    names = [name.strip() for name in targets.split(",")]
    return names if all(re.fullmatch(r"\w+", name) for name in names) else targets


def names_match(names, path):
    """`names` a regular expression for the whole path, or a list of which one is the path or its ending."""
    if isinstance(names, str):
        return re.fullmatch(names, path) is not None
    return any(path == n or path.endswith("." + n) for n in names)


def chosen_modules(config, paths, linear):
    """The paths, of all modules of a model, that `config` adapts, in order ("all-linear" is written out before).

    Raises ConfigError when nothing matches, with the nearest names of the `linear` layers.
    """
    targets = config.target_modules
    matched = [p for p in paths if names_match(targets, p)]
    if not matched:
        name = targets if isinstance(targets, str) else targets[0]
        hint = f" (a regular expression for the whole path; a name is [{name!r}])" if name is targets else ""
        near = nearest(name, leaves(linear))
        raise ConfigError(f"no module matches target_modules {targets!r}{hint}; the model has: {near}")
    left_out = [names for names in (config.exclude_modules, config.modules_to_save) if names]
    chosen = [p for p in matched if _layer_wanted(config, p) and not any(names_match(n, p) for n in left_out)]
    if not chosen:
        raise ConfigError(
            f"all {len(matched)} modules that match target_modules {targets!r} are left out again, by "
            "exclude_modules, modules_to_save or layers_to_transform"
        )
    return chosen


def leaves(paths):
    """The last names: "q_proj" of "model.layers.0.self_attn.q_proj"; each once."""
    return sorted({p.rpartition(".")[2] for p in paths})


def _layer_wanted(config, path):
    """Whether the layer index in `path` is one of layers_to_transform; a target that is a whole path needs no index."""
    wanted = config.layers_to_transform
    if wanted is None or wanted == [] or path in config.target_modules:
        return True
    names = config.layers_pattern or []
    patterns = [rf"(?:^|.*?\.){n}\.(?P<idx>\d+)\." for n in ([names] if isinstance(names, str) else names)]
    found = next((m for p in patterns or [r".*?\.[^.]*\.(?P<idx>\d+)\."] if (m := re.match(p, path))), None)
    return found is not None and int(found["idx"]) in ([wanted] if isinstance(wanted, int) else wanted)
