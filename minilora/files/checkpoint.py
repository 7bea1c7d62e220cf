"""Base models in Hugging Face's layout: a folder with config.json and model.safetensors, in one file or in shards.

This file knows tensors by name and shape, and no model.
"""

import itertools
import math
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import FormatError, MissingFileError, listed
from .atomic import atomic_write, read_json, same_place, write_json
from .safetensors import FLOATING, NO_PICKLE, read_header, same_values, write_tensors

# Buffers that old files carry and that are computed here: rotary frequencies, GPT-2's triangular masks.
BUFFERS = re.compile(r"(.*\.)?(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)")
SHARD = 2**28  # bytes of the weights in a file that `save_shards` writes
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip


def save_checkpoint(folder: str | Path, config: dict, tensors, tokenizer_from: str | Path | None = None) -> None:
    """Write config.json (the dict `config`) and model.safetensors ({name: array}) into `folder`, the tensors first.

    tokenizer_from: a folder whose tokenizer files are copied along.
    """
    folder = Path(folder)
    write_tensors(folder / "model.safetensors", tensors)
    write_json(folder / "config.json", config | {"torch_dtype": str(next(iter(tensors.values())).dtype)})
    if tokenizer_from is not None:
        copy_tokenizer(tokenizer_from, folder)


def save_shards(folder: Path, shapes: dict[str, tuple[int, ...]], tensors: Iterable) -> None:
    """Write float32 `tensors`, pairs (name, array) in the order of `shapes`, holding those of one shard at a time.

    One shard is model.safetensors; several have Hugging Face's names and an index.
    """
    plan, room = [{}], SHARD  # of each shard: {name: bytes}
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        if plan[-1] and size > room:
            plan.append({})
            room = SHARD
        plan[-1][name] = size
        room -= size
    files = [f"model-{i:05}-of-{len(plan):05}.safetensors" for i in range(1, len(plan) + 1)]
    files = files if len(plan) > 1 else ["model.safetensors"]
    tensors = iter(tensors)
    for file, names in zip(files, plan, strict=True):
        write_tensors(folder / file, dict(itertools.islice(tensors, len(names))))
    if len(plan) > 1:
        index = {name: file for file, names in zip(files, plan, strict=True) for name in names}
        size = sum(sum(names.values()) for names in plan)
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": index})


def copy_tokenizer(source: str | Path, target: str | Path) -> None:
    """Copy what belongs to the tokenizer (its files, chat template, generation defaults) from folder to folder."""
    for name in TOKENIZER_FILES:
        file = Path(source) / name
        if file.is_file() and not same_place(file, Path(target) / name):
            with atomic_write(Path(target) / name) as temporary:
                temporary.write_bytes(file.read_bytes())


def weight_files(folder: Path) -> list[Path]:
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
        raise FormatError(f"{index}: index and shards disagree about {listed(sorted({name for name, _ in wrong}))}")
    return files


def read_headers(folder: Path) -> dict[Path, dict[str, tuple[str, tuple[int, ...]]]]:  # {path: {name: (dtype, shape)}}
    """What the weight files in `folder` hold, without reading the weights."""
    return {file: read_header(file)[0] for file in weight_files(folder)}


def match_tensors(expected: dict, headers: dict, folder: Path, tied_to: str | None = None) -> dict[str, str]:
    """{name in the files: name in `expected`}; expected: {name: shape}; headers as `read_headers` returns them.

    tied_to: the weight that the head shares; a copy of it that the files hold as lm_head.weight must be equal.
    Raises FormatError with all that are missing, extra or wrongly shaped.
    """
    found = {n: entry for header in headers.values() for n, entry in header.items() if not BUFFERS.fullmatch(n)}
    stem = next(iter(expected)).partition(".")[0] + "."  # "model." or "transformer."
    names = {n: n for n in expected}  # name in the files -> name in the model
    if not any(n.startswith(stem) for n in found):  # GPT-2's files on the hub leave it out
        names = {n.removeprefix(stem): n for n in expected}
    if tied_to is not None and "lm_head.weight" in found:
        _check_tied_copy(next(stored for stored, n in names.items() if n == tied_to), headers, folder)
        del found["lm_head.weight"]
    missing = [n for n in names if n not in found]
    extra = [n for n in found if n not in names]
    wrong = [
        f"{n} {kind} {shape} for {expected[names[n]]}"
        for n, (kind, shape) in found.items()
        if n in names and (shape != expected[names[n]] or kind not in FLOATING)
    ]
    faults = [
        f"{what} {len(them)} ({listed(them, 2 if what == 'extra' else 1)})"
        for what, them in (("missing", missing), ("extra", extra), ("wrong shape or dtype", wrong))
        if them
    ]
    if missing == ["lm_head.weight"]:
        faults.append("a head that is the embedding needs tie_word_embeddings: true")
    if faults:
        raise FormatError(f"{folder}: its tensors are not those of its config.json: {'; '.join(faults)}")
    return {n: names[n] for n in found}


def _check_tied_copy(tied, headers, folder):
    """A tied head is one weight; a file may still hold it twice, but then the copies must be equal."""
    places = [(file, name) for name in (tied, "lm_head.weight") for file, header in headers.items() if name in header]
    if len(places) == 2 and not same_values(*places):
        raise FormatError(f"{folder}: tie_word_embeddings is true, but lm_head.weight is not {tied}: set it to false")
