"""From a folder in Hugging Face's layout to a model. The table `FAMILIES` says which classes a model_type has."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import working_type
from ..errors import ConfigError, FormatError, UnknownNameError, listed, nearest
from ..files.atomic import read_json
from ..files.checkpoint import match_tensors, read_headers
from ..files.config_json import fields_from_json, fields_to_json
from ..files.hub import model_folder
from ..files.safetensors import iterate_tensors
from ..files.shipped import shipped
from ..nn import some_values
from ..quantization.apply import quantized_layers, store_weights
from ..quantization.checkpoint import PackedFiles
from ..quantization.config import QUANTIZE, BitsAndBytesConfig
from ..quantization.linear import StoredParameter
from ..quantization.residual import keep_parts
from ..quantization.sixteen_bit import KINDS as SIXTEEN_BIT
from ..rounding import round_to
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


def load_pretrained(
    path,
    device="cpu",
    dtype=np.float32,
    quantization_config: BitsAndBytesConfig | None = None,
    parts: Callable | None = None,
):  # -> CausalLM in eval mode
    """Load the model in the folder `path`, or of that name on the hub ("org/name"; a folder wins).

    At any moment memory holds only the model and one slice of a file, so the weights are never duplicated. While a
    matrix is stored in fewer bits, memory also holds its float32 copy.

    device  "cpu", "cuda" or "cuda:n"
    dtype   what the weights become whatever they are stored in: float32; float64 for gradient checks; "bfloat16" or
            "float16": matrices are kept in 16 bits, frozen, and vectors are rounded
    quantization_config  a BitsAndBytesConfig: linear layers in 4 or 8 bits, frozen. A checkpoint that transformers and
            bitsandbytes wrote in 4 or 8 bits brings its own
    parts   what PiSSA or OLoRA takes out of the weights before they are quantized: `ml.parts_of(config)`. For a moment
            the exact SVD of a matrix takes six copies of it and LAPACK's work space; "pissa_niter_4" takes four

    Every other parameter requires a gradient (full fine-tuning); `get_peft_model` freezes them. Raises
    MissingFileError, FormatError for a broken file or one whose tensors are not exactly the model's (missing, extra,
    wrongly shaped: all are listed), ConfigError for a config.json that asks for something that is not supported.
    """
    kind = storage_type(dtype)
    folder = model_folder(path)
    model, headers, packed = empty_model(folder, kind, quantization_config)
    parameters = places_in(model, headers, folder)
    if parts and quantization_config:
        keep_parts(model, parts(model), quantized_layers(model, quantization_config))
    if packed:
        for name in packed.weights:
            parameters[name].data = packed.stored(name)
            parameters[name].move(device)
    working = working_type("float32" if kind in SIXTEEN_BIT else kind)
    for file, header in headers.items():
        missing = {name for name in parameters.keys() & header.keys() if not parameters[name].is_filled}
        for name, array in iterate_tensors(file, working, missing):
            if not parameters[name].is_filled:  # a tied head is stored twice in some files
                fill(parameters[name], array, kind, device, f"{folder}: {name}")
    model.name_or_path = str(path)
    return model.eval()


def storage_type(dtype) -> str:
    """The name of a type that weights can have. Raises ConfigError for any other."""
    name = getattr(dtype, "__name__", str(dtype)).removeprefix("torch.")  # a class, its name, or torch.bfloat16
    if name not in ("float32", "float64", *SIXTEEN_BIT):
        raise ConfigError(f"dtype {dtype!r}: expected float32, float64, bfloat16 or float16")
    return name


def empty_model(folder, kind: str = "float32", config: BitsAndBytesConfig | None = None):
    """-> the unfilled model of a folder; the headers of its files, as if nothing were quantized; PackedFiles or None.

    kind, config: see `load_pretrained`. Raises ConfigError for a `config` when the files are quantized already.
    """
    where = folder / "config.json"
    own, headers, packed = read_json(where).get("quantization_config"), read_headers(folder), None
    if own and config:
        raise ConfigError(f"{where}: its weights are quantized already, and cannot be quantized again")
    model = model_of(read_config(where))
    if own:
        config = BitsAndBytesConfig.from_json(own, str(where))
        packed = PackedFiles(headers, config)
        headers = packed.plain
        if wrong := sorted({f"{path}.weight" for path in quantized_layers(model, config)} ^ set(packed.weights)):
            raise FormatError(f"{folder}: config.json and files disagree which weights are quantized: {listed(wrong)}")
    store_weights(model, config, kind, packed is not None)
    model.quantization_config = config
    return model, headers, packed


def fill(parameter, array, kind: str, device: str, name: str) -> None:
    """Give a parameter the numbers of a file, in the type `kind`. name: for errors."""
    try:
        if kind in SIXTEEN_BIT and not isinstance(parameter, StoredParameter):
            parameter.original = some_values(array)
            array = round_to(array, kind)
        parameter.fill_from_file(array, device)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


def storage_named(quantize: str | None) -> dict:
    """The options of `load_pretrained` that `quantize` means; none for None. Raises UnknownNameError."""
    if quantize is not None and quantize not in QUANTIZE:
        raise UnknownNameError(f"quantize {quantize!r}: expected {nearest(quantize, QUANTIZE)}")
    return QUANTIZE[quantize] if quantize else {}


def base_folder(path: str | Path | None = None) -> Path:
    """The folder of the base `path` (a folder, or a name on the hub); of the shipped base when it is None."""
    return model_folder(shipped("base") if path is None else path)


def load_base(
    path: str | Path | None = None, device: str = "cpu", quantize: str | None = None, parts: Callable | None = None
) -> tuple[CausalLM, TextTokenizer]:
    """The base `path` and its tokenizer; the shipped base when it is None. See `load_pretrained`.

    quantize: "nf4", "int8", "bf16" or "fp16": keep its weights in 4, 8 or 16 bits, see `QUANTIZE`.
    """
    model = load_pretrained(shipped("base") if path is None else path, device, parts=parts, **storage_named(quantize))
    if path is None:
        model.name_or_path = None  # where the package lies here means nothing elsewhere; an adapter would note it
    return model, load_tokenizer(base_folder(path))


def places_in(model, headers, folder):  # {path: {name: (dtype, shape)}} -> {name in the files: Parameter it fills}
    """Which tensor fills which parameter. Raises FormatError with all that are missing, extra or wrongly shaped."""
    expected = dict(model.named_parameters())
    head = model.lm_head.weight
    tied_to = next((n for n, p in expected.items() if p is head), None) if model.config.tie_word_embeddings else None
    names = match_tensors({n: p.shape_in_file for n, p in expected.items()}, headers, folder, tied_to)
    return {stored: expected[name] for stored, name in names.items()}


def model_of(config):
    """The unfilled model that `config` describes; no memory is taken."""
    return FAMILIES[config.model_type][1](config)


def read_config(path):  # -> LlamaConfig or GPT2Config
    """The configuration in the file `path`.

    Raises MissingFileError, FormatError for what is not such a file, ConfigError for what is not supported, by name.
    """
    data = read_json(path)
    data.pop("quantization_config", None)  # how weights are stored: `load_pretrained` reads it
    return config_from_json(data, str(path))


def config_from_json(data, where="config.json"):  # dict -> LlamaConfig or GPT2Config
    """The configuration that the keys of a config.json describe. `where` is what an error line begins with."""
    fields: dict[str, Any] = fields_from_json(data, where)
    return FAMILIES[fields["model_type"]][0](**fields)


def config_to_json(config):  # LlamaConfig or GPT2Config -> dict
    """config.json in the spelling that old and new transformers read. Raises ConfigError for what it cannot store."""
    return fields_to_json(dataclasses.asdict(config))
