"""From what a person types to an architecture: a preset, a config.json, or one matrix such as 4096x4096."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, FormatError, MissingFileError, UnknownNameError, nearest
from ...files.atomic import read_json
from ...files.config_json import DEFAULTS
from . import decoders, encoders
from .parts import Architecture, linear
from .presets import PRESETS
from .sizes import LARGEST, Sizes


@dataclass(frozen=True)
class Family:
    """parts: the function that lists the weights; model_class: the class of transformers that is counted, the one PEFT
    trains by default (a causal LM, or the bare encoder); targets: what PEFT adapts when nothing is said."""

    parts: Any
    model_class: str
    targets: str


QV = "q_proj,v_proj"
FAMILIES = {  # model_type -> Family
    "llama": Family(decoders.llama, "LlamaForCausalLM", QV),
    "mistral": Family(decoders.llama, "MistralForCausalLM", QV),
    "qwen2": Family(decoders.qwen2, "Qwen2ForCausalLM", QV),
    "qwen3": Family(decoders.qwen3, "Qwen3ForCausalLM", QV),
    "gemma": Family(decoders.llama, "GemmaForCausalLM", QV),
    "phi": Family(decoders.phi, "PhiForCausalLM", "q_proj,v_proj,fc1,fc2"),
    "gpt2": Family(decoders.gpt2, "GPT2LMHeadModel", "c_attn"),
    "opt": Family(decoders.opt, "OPTForCausalLM", QV),
    "gptj": Family(decoders.gptj, "GPTJForCausalLM", QV),
    "gpt_neox": Family(decoders.gpt_neox, "GPTNeoXForCausalLM", "query_key_value"),
    "bloom": Family(decoders.bloom, "BloomForCausalLM", "query_key_value"),
    "bert": Family(encoders.bert, "BertModel", "query,value"),
    "roberta": Family(encoders.bert, "RobertaModel", "query,value"),
    "deberta-v2": Family(encoders.deberta_v2, "DebertaV2Model", "query_proj,value_proj"),
    "t5": Family(encoders.t5, "T5ForConditionalGeneration", "q,v"),
}


def load(model):  # str -> Architecture
    """What `model` names: a preset in any case of letters, the path of a config.json (or of its folder), or OUTxIN.

    Raises UnknownNameError with the near names, MissingFileError, FormatError or ConfigError.
    """
    if size := re.fullmatch(r"([0-9]{1,10}) ?[xX×] ?([0-9]{1,10})", model):
        return one_matrix(int(size[1]), int(size[2]))
    if model.lower() in PRESETS:
        return from_config(PRESETS[model.lower()], model.lower())
    path = Path(model)
    try:
        path = path / "config.json" if path.is_dir() else path
        found = path.is_file()
    except OSError as error:  # a name too long for a file, a folder that may not be read
        raise UnknownNameError(f"no model {model[:40]!r}: {error.strerror}") from error
    if found:
        return from_config(read_json(path), str(path))
    if path.suffix == ".json" or path.name == "config.json":
        raise MissingFileError(f"no such file: {path}")
    near = nearest(model.lower().rpartition("/")[2], PRESETS)
    raise UnknownNameError(f"no model {model!r}: the nearest are {near}; or give a config.json, or a size as 4096x4096")


def one_matrix(out, n_in):
    """A single weight W (out, in), the case that every introduction starts with."""
    if not (1 <= out <= LARGEST and 1 <= n_in <= LARGEST):
        raise ConfigError(f"a matrix of {out} x {n_in}: each side must be 1 to {LARGEST:,}")
    return Architecture(f"{out}x{n_in}", "", "one matrix", (linear("matrix", n_in, out, reads="input"),))


def from_config(config, name):  # dict, str -> Architecture
    """The architecture that the contents of a config.json describe. Raises FormatError or ConfigError."""
    kind = config.get("model_type")
    if kind is None:
        raise FormatError(f"{name}: no model_type; supported are {', '.join(FAMILIES)}")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ConfigError(f"{name}: model_type {str(kind)[:40]!r} is not supported; supported are {known}")
    family = FAMILIES[kind]
    return Architecture(
        name, kind, family.model_class, tuple(family.parts(Sizes(config, name, DEFAULTS[kind]))), config
    )


def default_targets(architecture):
    """What PEFT adapts when nothing is said (its table of target modules), or the one matrix."""
    return FAMILIES[architecture.model_type].targets if architecture.model_type else "all-linear"
