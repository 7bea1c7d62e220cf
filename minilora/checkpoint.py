"""Base models in Hugging Face's layout: a folder with config.json and model.safetensors, in one file or in shards."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from .backend import to_device, working_type
from .errors import ConfigError, FormatError, MissingFileError
from .files import atomic_write, read_json, write_json
from .hub import model_folder
from .models.hf_config import config_to_json, model_of, read_config
from .safetensors_io import NO_PICKLE, iterate_tensors, read_header, same_values, write_tensors

# Buffers that old files carry and that are computed here: rotary frequencies, GPT-2's triangular masks.
BUFFERS = re.compile(r"(.*\.)?(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)")
FLOATING = {"F64", "F32", "F16", "BF16"}
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip


def load_pretrained(path, device="cpu", dtype=np.float32):  # -> CausalLM in eval mode
    """The model in the folder `path`, or of that name on the hub ("org/name"; a folder wins), ready to be used.

    It is filled tensor by tensor: in memory are its weights and a slice of a file, no second copy.

    device  "cpu", "cuda" or "cuda:n"
    dtype   what the weights become whatever they are stored in: float32, or float64 for gradient checks

    Every parameter requires a gradient (full fine-tuning); `get_peft_model` freezes them. Raises MissingFileError,
    FormatError for a broken file or one whose tensors are not exactly the model's (missing, extra, wrongly shaped: all
    are listed), ConfigError for a config.json that asks for what is not supported.
    """
    dtype = working_type(dtype)
    folder = model_folder(path)
    model = model_of(read_config(folder / "config.json"))
    files = {file: read_header(file)[0] for file in weight_files(folder)}
    places = match_tensors(model, files, folder)  # name in the files -> Parameter that it fills
    for file, header in files.items():
        for name, array in iterate_tensors(file, dtype, places.keys() & header.keys()):
            places[name].data = to_device(array, device)
    model.name_or_path = str(path)
    return model.eval()


def save_pretrained(model, path, tokenizer_from=None):
    """Write the folder `path`: config.json and model.safetensors, which transformers opens to the same logits.

    A head that shares the embedding's weight is saved once; one that shared it and was changed by merging is saved
    beside it, with tie_word_embeddings false. tokenizer_from: a folder whose tokenizer files are copied along. Raises
    ConfigError when the model still has adapters in it.
    """
    folder = Path(path)
    parameters = dict(model.named_parameters())
    config = dataclasses.replace(model.config, tie_word_embeddings="lm_head.weight" not in parameters)
    expected = dict(model_of(config).named_parameters())
    if parameters.keys() != expected.keys():
        names = _some(sorted(parameters.keys() ^ expected.keys()))
        raise ConfigError(f"not a plain model: {names}; save adapters with PeftModel, or merge_and_unload() first")
    data = config_to_json(config)
    write_tensors(folder / "model.safetensors", {name: p.data for name, p in parameters.items()})
    write_json(folder / "config.json", data | {"torch_dtype": str(next(iter(parameters.values())).dtype)})
    if tokenizer_from is not None:
        copy_tokenizer(tokenizer_from, folder)


def copy_tokenizer(source, target):
    """Copy what belongs to the tokenizer (its files, chat template, generation defaults) from folder to folder."""
    for name in TOKENIZER_FILES:
        file = Path(source) / name
        if file.is_file() and file.resolve() != (Path(target) / name).resolve():
            with atomic_write(Path(target) / name) as temporary:
                temporary.write_bytes(file.read_bytes())


def weight_files(folder):  # -> list of paths
    """model.safetensors, or the shards that its index names. Raises MissingFileError or FormatError."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        pickles = sorted(folder.glob("pytorch_model*.bin")) + sorted(folder.glob("*.pt*"))
        if pickles:
            raise FormatError(f"{pickles[0]}: {NO_PICKLE}")
        raise MissingFileError(f"no model.safetensors in {folder}")
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(f, str) for f in shards.values()):
        raise FormatError(f"{index}: no weight_map from tensor names to file names")
    for file in shards.values():
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", file):
            raise FormatError(f"{index}: {file!r} is not the name of a safetensors file in the same folder")
    files = [folder / file for file in sorted(set(shards.values()))]
    found = [(name, file.name) for file in files for name in read_header(file)[0]]
    wrong = set(found) ^ set(shards.items())
    if wrong:
        raise FormatError(f"{index}: index and shards disagree about {_some(sorted({name for name, _ in wrong}))}")
    return files


def match_tensors(model, files, folder):  # {path: {name: (dtype, shape)}} -> {name in the files: Parameter}
    """Which tensor fills which parameter. Raises FormatError with all that are missing, extra or wrongly shaped."""
    found = {n: entry for header in files.values() for n, entry in header.items() if not BUFFERS.fullmatch(n)}
    expected = dict(model.named_parameters())
    stem = next(iter(expected)).partition(".")[0] + "."  # "model." or "transformer."
    if not any(n.startswith(stem) for n in found):  # GPT-2's files on the hub leave it out
        expected = {n.removeprefix(stem): p for n, p in expected.items()}
    if model.config.tie_word_embeddings and "lm_head.weight" in found:
        _check_tied_copy(model, expected, found, files, folder)
        del found["lm_head.weight"]
    missing = [n for n in expected if n not in found]
    extra = [n for n in found if n not in expected]
    wrong = [
        f"{n} {kind} {shape} for {expected[n].shape}"
        for n, (kind, shape) in found.items()
        if n in expected and (shape != expected[n].shape or kind not in FLOATING)
    ]
    faults = [
        f"{what} {len(names)} ({_some(names)})"
        for what, names in (("missing", missing), ("extra", extra), ("wrong shape or dtype", wrong))
        if names
    ]
    if missing == ["lm_head.weight"]:
        faults.append("a head that is the embedding needs tie_word_embeddings: true")
    if faults:
        raise FormatError(f"{folder}: its tensors are not those of its config.json: {'; '.join(faults)}")
    return {n: expected[n] for n in found}


def _check_tied_copy(model, expected, found, files, folder):
    """A tied head is one weight; a file may still hold it twice, but then the copies must be equal."""
    tied = next((n for n, p in expected.items() if p is model.lm_head.weight and n in found), None)
    places = [(file, name) for name in (tied, "lm_head.weight") for file, header in files.items() if name in header]
    if tied and not same_values(*places):
        raise FormatError(f"{folder}: tie_word_embeddings is true, but lm_head.weight is not {tied}: set it to false")


def _some(names, limit=4):
    shown = [n if n.isprintable() else repr(n) for n in names[:limit]]  # a file may hold any name
    return ", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")
