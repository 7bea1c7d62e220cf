"""The table of methods. A new method is a file in methods/ and a line here."""

from ..errors import ConfigError, nearest
from ..methods.adalora import AdaLoraAdapter
from ..methods.base import Adapter, PeftConfig
from ..methods.dora import DoraAdapter
from ..methods.ia3 import IA3Adapter
from ..methods.lora import LoraAdapter
from ..methods.pissa import OloraAdapter, PissaAdapter
from ..methods.prefix_tuning import PrefixTuningAdapter
from ..methods.prompt_tuning import PromptEncoderAdapter, PromptTuningAdapter
from ..methods.vera import VeraAdapter

ADAPTERS = {  # PEFT's peft_type -> class of the adapter
    "ADALORA": AdaLoraAdapter,
    "IA3": IA3Adapter,
    "LORA": LoraAdapter,
    "PREFIX_TUNING": PrefixTuningAdapter,
    "PROMPT_TUNING": PromptTuningAdapter,
    "P_TUNING": PromptEncoderAdapter,
    "VERA": VeraAdapter,
}
FLAGS = {"use_dora": DoraAdapter}  # a field that makes another method of the same peft_type
STARTS = {"pissa": PissaAdapter, "olora": OloraAdapter}  # an init_lora_weights that does, up to its "_niter_"


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
