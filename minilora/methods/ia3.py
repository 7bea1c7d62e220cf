"""IA3: one trained scale for every input or output of a layer (Liu et al. 2022, arXiv 2205.05638, section 3.3).

    attention           y = l ⊙ (x Wᵀ + b)        l (out, 1), one scale for each output; the bias is scaled too
                        dl = Σ g ⊙ (x Wᵀ + b)     dx = (g ⊙ l) W
    feedforward         y = (l ⊙ x) Wᵀ + b        l (1, in), one scale for each input
                        dl = Σ (g W) ⊙ x          dx = (g W) ⊙ l

l starts at one: before the first step nothing changes. Σ is over all rows. These gradients are those of a product of
two tensors (ops.mul), after the frozen layer or before it.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigError
from ..files import patterns
from . import fields
from .base import Adapter, Method, PeftConfig, Scale

# PEFT's defaults by model_type: targets, and which of them are scaled on their input; None: for every other model
DEFAULTS = {
    "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    **dict.fromkeys(
        ("qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), (["q_proj", "v_proj", "down_proj"], ["down_proj"])
    ),
    **dict.fromkeys(("llama", "mistral", None), (["k_proj", "v_proj", "down_proj"], ["down_proj"])),
    "phi": (["q_proj", "v_proj", "fc2"], ["fc2"]),
    "opt": (["q_proj", "k_proj", "fc2"], ["fc2"]),
    "gptj": (["q_proj", "v_proj", "fc_out"], ["fc_out"]),
    "gpt_neox": (["query_key_value", "dense_4h_to_h"], ["dense_4h_to_h"]),
    "falcon": (["query_key_value", "dense_4h_to_h"], ["dense_4h_to_h"]),
    "bloom": (["query_key_value", "mlp.dense_4h_to_h"], ["mlp.dense_4h_to_h"]),
    **dict.fromkeys(("bert", "roberta"), (["key", "value", "output.dense"], ["output.dense"])),
    "deberta-v2": (["key_proj", "value_proj", "output.dense"], ["output.dense"]),
    "t5": (["k", "v", "wo"], ["wo"]),
}


@dataclass
class IA3Config(PeftConfig):
    """Fields as in PEFT 0.21.

    target_modules       list of names or a regular expression; None: PEFT's default for the model
    feedforward_modules  those of them that are scaled on their input, list or regular expression; None: PEFT's default
    exclude_modules      list or regular expression of modules to leave out
    init_ia3_weights     True: l starts at one; False: l starts random
    modules_to_save      names of modules trained in full beside the adapter, and saved with it
    """

    target_modules: list | str | None = None
    exclude_modules: list | str | None = None
    feedforward_modules: list | str | None = None
    modules_to_save: list | None = None
    init_ia3_weights: bool = True
    fan_in_fan_out: bool = False
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    peft_type = "IA3"
    rules = fields.rules_without("bias", "layers_to_transform", "layers_pattern") | {
        "feedforward_modules": fields.SHARED_RULES["target_modules"],
        "init_ia3_weights": fields.FLAG,
    }
    required = ("target_modules",)
    harmless = frozenset("peft_type peft_version auto_mapping revision inference_mode".split())

    def __post_init__(self):
        super().__post_init__()
        targets, inputs = self.target_modules, self.feedforward_modules
        if isinstance(targets, list) and isinstance(inputs, list) and (extra := sorted(set(inputs) - set(targets))):
            raise ConfigError(f"feedforward_modules {extra[0]!r} is not among target_modules {targets}")

    def with_defaults(self, model_config):
        targets, inputs = DEFAULTS.get(getattr(model_config, "model_type", None), DEFAULTS[None])
        if self.target_modules is not None:
            targets = self.target_modules
            if isinstance(targets, list):
                inputs = [name for name in targets if any(name.endswith(default) for default in inputs)]
        if self.feedforward_modules is not None:
            inputs = self.feedforward_modules
        return replace(self, target_modules=targets, feedforward_modules=inputs)

    def scales_input(self, path: str) -> bool:
        """Whether the module at `path` is a feedforward one."""
        names = self.feedforward_modules or []
        if isinstance(names, str):
            return patterns.fullmatch(names, path) is not None
        return any(path.endswith(name) for name in names)


class IA3(Method):
    """IA3 on one linear layer."""

    names = ("ia3_l",)
    additive = False

    def __init__(self, place, config):
        super().__init__(place, config)
        self.scale = self.parameters["ia3_l"]
        self.on_input, self.random = config.scales_input(place.path), not config.init_ia3_weights

    @staticmethod
    def shapes(place, config):
        out, n_in = place.shape
        return {"ia3_l": (1, n_in) if config.scales_input(place.path) else (out, 1)}

    def start(self, base, generator):
        shape = self.scale.shape
        return {"ia3_l": generator.standard_normal(shape) if self.random else np.ones(shape)}

    def input(self, x, context):  # (..., in) -> (..., in)
        return x * self.scale.reshape(-1) if self.on_input else x

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        return y if self.on_input else y * self.scale.reshape(-1)

    def stacked(self, base):
        return Scale(self.scale.data.reshape(-1), self.on_input)

    def merged(self, weight, bias, base):
        """The rows or columns of W scaled; with the outputs the bias is scaled too."""
        scaled = weight * self.scale.data  # (out, in) by (out, 1) or (1, in)
        return scaled, bias if bias is None or self.on_input else bias * self.scale.data[:, 0]


class IA3Adapter(Adapter):
    """IA3 on a whole model."""

    config_class = IA3Config
    kinds = {"linear": IA3}
    adapts = "IA3 adapts linear layers"
