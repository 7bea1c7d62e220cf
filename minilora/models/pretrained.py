"""From a folder in Hugging Face's layout to a model. The table `FAMILIES` says which classes a model_type has."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import to_device, working_type
from ..files.atomic import read_json
from ..files.checkpoint import match_tensors, read_headers
from ..files.config_json import fields_from_json, fields_to_json
from ..files.hub import model_folder
from ..files.safetensors import iterate_tensors
from ..files.shipped import shipped
from ..text.tokenizer import TextTokenizer, load_tokenizer
from .causal_lm import CausalLM
from .gemma import GemmaConfig, GemmaForCausalLM
from .gpt2 import GPT2Config, GPT2LMHeadModel
from .llama import LlamaConfig, LlamaForCausalLM
from .phi3 import Phi3ForCausalLM

FAMILIES = {  # model_type -> class of its configuration, class of its model
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (LlamaConfig, LlamaForCausalLM),
    "qwen3": (LlamaConfig, LlamaForCausalLM),
    "phi3": (LlamaConfig, Phi3ForCausalLM),
    "gemma2": (GemmaConfig, GemmaForCausalLM),
    "gemma3_text": (GemmaConfig, GemmaForCausalLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
}


def load_pretrained(path, device="cpu", dtype=np.float32):  # -> CausalLM in eval mode
    """Load the model in the folder `path`, or of that name on the hub ("org/name"; a folder wins).

    At any moment memory holds only the model and one slice of a file, so the weights are never duplicated.

    device  "cpu", "cuda" or "cuda:n"
    dtype   what the weights become whatever they are stored in: float32, or float64 for gradient checks

    Every parameter requires a gradient (full fine-tuning); `get_peft_model` freezes them. Raises MissingFileError,
    FormatError for a broken file or one whose tensors are not exactly the model's (missing, extra, wrongly shaped: all
    are listed), ConfigError for a config.json that asks for something that is not supported.
    """
    dtype = working_type(dtype)
    folder = model_folder(path)
    model = model_of(read_config(folder / "config.json"))
    headers = read_headers(folder)
    parameters = places_in(model, headers, folder)
    for file, header in headers.items():
        for name, array in iterate_tensors(file, dtype, parameters.keys() & header.keys()):
            parameters[name].data = to_device(array, device)
    model.name_or_path = str(path)
    return model.eval()


def base_folder(path: str | Path | None = None) -> Path:
    """The folder of the base `path` (a folder, or a name on the hub); of the shipped base when it is None."""
    return model_folder(shipped("base") if path is None else path)


def load_base(path: str | Path | None = None, device: str = "cpu") -> tuple[CausalLM, TextTokenizer]:
    """The base `path` and its tokenizer; the shipped base when it is None. See `load_pretrained`."""
    model = load_pretrained(shipped("base") if path is None else path, device=device)
    if path is None:
        model.name_or_path = None  # where the package lies here means nothing elsewhere; an adapter would note it
    return model, load_tokenizer(base_folder(path))


def places_in(model, headers, folder):  # {path: {name: (dtype, shape)}} -> {name in the files: Parameter it fills}
    """Which tensor fills which parameter. Raises FormatError with all that are missing, extra or wrongly shaped."""
    expected = dict(model.named_parameters())
    head = model.lm_head.weight
    tied_to = next((n for n, p in expected.items() if p is head), None) if model.config.tie_word_embeddings else None
    names = match_tensors({n: p.shape for n, p in expected.items()}, headers, folder, tied_to)
    return {stored: expected[name] for stored, name in names.items()}


def model_of(config):
    """The unfilled model that `config` describes; no memory is taken."""
    return FAMILIES[config.model_type][1](config)


def read_config(path):  # -> LlamaConfig or GPT2Config
    """The configuration in the file `path`.

    Raises MissingFileError, FormatError for what is not such a file, ConfigError for what is not supported, by name.
    """
    return config_from_json(read_json(path), str(path))


def config_from_json(data, where="config.json"):  # dict -> LlamaConfig or GPT2Config
    """The configuration that the keys of a config.json describe. `where` is what an error line begins with."""
    fields: dict[str, Any] = fields_from_json(data, where)
    return FAMILIES[fields["model_type"]][0](**fields)


def config_to_json(config):  # LlamaConfig or GPT2Config -> dict
    """config.json in the spelling that old and new transformers read. Raises ConfigError for what it cannot store."""
    return fields_to_json(dataclasses.asdict(config))
