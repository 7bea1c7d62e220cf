"""The table of methods. A new method is a file in methods/ and a line here."""

from dataclasses import fields

from ..errors import ConfigError, UnknownNameError, nearest
from ..methods.adalora import AdaLoraAdapter, AdaLoraConfig
from ..methods.base import Adapter, PeftConfig
from ..methods.dora import DoraAdapter
from ..methods.ia3 import IA3Adapter, IA3Config
from ..methods.lora import LoraAdapter, LoraConfig
from ..methods.lora_bias import LoraBiasAdapter
from ..methods.pissa import OloraAdapter, PissaAdapter
from ..methods.prefix_tuning import PrefixTuningAdapter, PrefixTuningConfig
from ..methods.prompt_tuning import PromptEncoderAdapter, PromptTuningAdapter, PromptTuningConfig
from ..methods.vera import VeraAdapter, VeraConfig

ADAPTERS = {  # PEFT's peft_type -> class of the adapter
    "ADALORA": AdaLoraAdapter,
    "IA3": IA3Adapter,
    "LORA": LoraAdapter,
    "PREFIX_TUNING": PrefixTuningAdapter,
    "PROMPT_TUNING": PromptTuningAdapter,
    "P_TUNING": PromptEncoderAdapter,
    "VERA": VeraAdapter,
}
FLAGS = {"use_dora": DoraAdapter, "lora_bias": LoraBiasAdapter}  # a field that makes another method of a peft_type
STARTS = {"pissa": PissaAdapter, "olora": OloraAdapter}  # an init_lora_weights that does, up to its "_niter_"

# A method's name in `train --method NAME` -> its configuration, and the fields that make it this method.
NAMES = {
    "lora": (LoraConfig, {}),
    "dora": (LoraConfig, {"use_dora": True}),
    "pissa": (LoraConfig, {"init_lora_weights": "pissa"}),
    "olora": (LoraConfig, {"init_lora_weights": "olora"}),
    "lora_plus": (LoraConfig, {}),  # LoRA's: only the optimizer is another
    "adalora": (AdaLoraConfig, {}),
    "vera": (VeraConfig, {}),
    "ia3": (IA3Config, {}),
    "prefix_tuning": (PrefixTuningConfig, {}),
    "prompt_tuning": (PromptTuningConfig, {}),
}


def config_named(method: str, **settings) -> PeftConfig:
    """The configuration of the method of that name. Settings that it has no field for are left out, as are None.

    Raises UnknownNameError with the nearest names, ConfigError for a value that cannot be.
    """
    if method not in NAMES:
        raise UnknownNameError(f"no method {method!r}; there are: {nearest(method, NAMES)}")
    kind, fixed = NAMES[method]
    own = {f.name for f in fields(kind)}
    return kind(**{name: v for name, v in settings.items() if name in own and v is not None} | fixed)


def name_of(config: PeftConfig) -> str:
    """The name in `NAMES` of a configuration's method. LoRA+ is "lora": an adapter does not note its optimizer."""
    own = [n for n, (kind, fixed) in NAMES.items() if type(config) is kind and fixed.items() <= vars(config).items()]
    return max(own, key=lambda name: len(NAMES[name][1]))


def method_of(config: PeftConfig) -> type[Adapter]:
    """The class that makes adapters for a configuration."""
    flagged = [adapter for flag, adapter in FLAGS.items() if getattr(config, flag, False)]
    if flagged:
        return flagged[0]
    start = str(getattr(config, "init_lora_weights", "")).partition("_niter_")[0]
    return STARTS.get(start, ADAPTERS[config.peft_type])


def config_class(peft_type: str) -> type[PeftConfig]:
    """The class of the configurations that PEFT calls `peft_type`. Raises ConfigError for one that is not supported."""
    if not isinstance(peft_type, str) or peft_type not in ADAPTERS:
        known = nearest(str(peft_type), ADAPTERS)
        raise ConfigError(f"peft_type {str(peft_type)[:40]!r} is not supported, only {known}")
    return ADAPTERS[peft_type].config_class
