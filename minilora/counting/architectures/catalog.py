"""From what a person types to an architecture: a preset, a config.json, or one matrix such as 4096x4096."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError, FormatError, MissingFileError, UnknownNameError, nearest, similar
from ...files.atomic import read_json
from ...files.families import DEFAULTS
from . import decoders, encoders, experts, llamas, multimodal, seq2seq
from .aliases import ALIASES, find
from .parts import Architecture, linear
from .presets import PRESETS
from .sizes import LARGEST, Sizes


@dataclass(frozen=True)
class Family:
    """parts: the function that lists the weights; model_class: the class of transformers that is counted, the one PEFT
    trains by default (a causal LM, or the bare encoder); targets: what PEFT adapts when no target is given."""

    parts: Callable
    model_class: str
    targets: str


QV = "q_proj,v_proj"
NONE = "all-linear"  # the families that PEFT 0.21.2 has no default for
FAMILIES = {  # model_type -> Family
    "llama": Family(llamas.llama, "LlamaForCausalLM", QV),
    "mistral": Family(llamas.llama, "MistralForCausalLM", QV),
    "qwen2": Family(llamas.qwen2, "Qwen2ForCausalLM", QV),
    "qwen3": Family(llamas.qwen3, "Qwen3ForCausalLM", QV),
    "gemma": Family(llamas.llama, "GemmaForCausalLM", QV),
    "gemma2": Family(llamas.gemma2, "Gemma2ForCausalLM", QV),
    "gemma3_text": Family(llamas.gemma3_text, "Gemma3ForCausalLM", QV),
    "gemma3": Family(multimodal.gemma3, "Gemma3ForConditionalGeneration", NONE),
    "phi3": Family(llamas.phi3, "Phi3ForCausalLM", NONE),
    "olmo2": Family(llamas.olmo2, "Olmo2ForCausalLM", NONE),
    "smollm3": Family(llamas.llama, "SmolLM3ForCausalLM", NONE),
    "granite": Family(llamas.llama, "GraniteForCausalLM", NONE),
    "starcoder2": Family(llamas.starcoder2, "Starcoder2ForCausalLM", NONE),
    "mixtral": Family(experts.mixtral, "MixtralForCausalLM", QV),
    "qwen3_moe": Family(experts.qwen3_moe, "Qwen3MoeForCausalLM", NONE),
    "gpt_oss": Family(experts.gpt_oss, "GptOssForCausalLM", NONE),
    "phi": Family(decoders.phi, "PhiForCausalLM", "q_proj,v_proj,fc1,fc2"),
    "gpt2": Family(decoders.gpt2, "GPT2LMHeadModel", "c_attn"),
    "opt": Family(decoders.opt, "OPTForCausalLM", QV),
    "gptj": Family(decoders.gptj, "GPTJForCausalLM", QV),
    "gpt_neox": Family(decoders.gpt_neox, "GPTNeoXForCausalLM", "query_key_value"),
    "bloom": Family(decoders.bloom, "BloomForCausalLM", "query_key_value"),
    "falcon": Family(decoders.falcon, "FalconForCausalLM", "query_key_value"),
    "bert": Family(encoders.bert, "BertModel", "query,value"),
    "roberta": Family(encoders.bert, "RobertaModel", "query,value"),
    "xlm-roberta": Family(encoders.bert, "XLMRobertaModel", "query,value"),
    "deberta-v2": Family(encoders.deberta_v2, "DebertaV2Model", "query_proj,value_proj"),
    "modernbert": Family(encoders.modernbert, "ModernBertModel", NONE),
    "vit": Family(encoders.vit, "ViTModel", NONE),
    "t5": Family(seq2seq.t5, "T5ForConditionalGeneration", "q,v"),
    "whisper": Family(seq2seq.whisper, "WhisperForConditionalGeneration", NONE),
}


def load(model: str) -> Architecture:
    """What `model` names: a preset or another name of one, the path of a config.json (or of its folder), or OUTxIN.

    A preset may be written in any case of letters, or as an id of the hub (meta-llama/Llama-3.1-8B-Instruct); a file or
    folder of that name wins. Raises UnknownNameError with the near names, MissingFileError, FormatError or ConfigError.
    """
    if size := re.fullmatch(r"([0-9]{1,10}) ?[xX×] ?([0-9]{1,10})", model):
        return one_matrix(int(size[1]), int(size[2]))
    if model.lower() in PRESETS:
        return from_config(PRESETS[model.lower()], model.lower())
    path = Path(model)
    try:
        path = path / "config.json" if path.is_dir() else path
        found = model.strip() and path.is_file()
    except OSError as error:  # a name too long for a file, a folder that may not be read
        raise UnknownNameError(f"no model {model[:40]!r}: {error.strerror}") from error
    if found:
        return from_config(read_json(path), str(path))
    if preset := find(model):
        return from_config(PRESETS[preset], preset)
    if model.strip() and (path.suffix == ".json" or path.name == "config.json"):
        raise MissingFileError(f"no such file: {path}")
    near = similar(model.lower().rpartition("/")[2], [*PRESETS, *ALIASES], limit=8)
    near = list({ALIASES.get(name, name): name for name in reversed(near)}.values())[::-1][:4]  # each model once
    near = f"the nearest are {', '.join(near)}; " if near else ""
    raise UnknownNameError(
        f"no model {model!r}: {near}--help lists {len(PRESETS)} names; or give a config.json, or a size as 4096x4096"
    )


def one_matrix(out: int, n_in: int) -> Architecture:
    """A single weight W (out, in), the case that every introduction starts with."""
    if not (1 <= out <= LARGEST and 1 <= n_in <= LARGEST):
        raise ConfigError(f"a matrix of {out} x {n_in}: each side must be 1 to {LARGEST:,}")
    return Architecture(f"{out}x{n_in}", "", "one matrix", (linear("matrix", n_in, out, reads="input"),))


def from_config(config: dict, name: str) -> Architecture:
    """The architecture that the contents of a config.json describe. Raises FormatError or ConfigError."""
    kind = config.get("model_type")
    if kind is None:
        raise FormatError(f"{name}: no model_type; supported are {', '.join(FAMILIES)}")
    if not isinstance(kind, str) or kind not in FAMILIES:
        alike = [k for k in FAMILIES if isinstance(kind, str) and k[:3] == kind[:3]]
        known = f"the nearest are {nearest(kind, alike)}" if alike else f"supported are {', '.join(FAMILIES)}"
        raise ConfigError(f"{name}: model_type {str(kind)[:40]!r} is not supported; {known}")
    family = FAMILIES[kind]
    parts = family.parts(Sizes(config, name, DEFAULTS[kind]))
    return Architecture(name, kind, family.model_class, tuple(parts), config)


def default_targets(architecture: Architecture) -> str:
    """What PEFT adapts when no target is given (its table of target modules); "all-linear" where it has no default, and
    for one matrix."""
    return FAMILIES[architecture.model_type].targets if architecture.model_type else "all-linear"
