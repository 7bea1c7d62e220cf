"""A model by folder, or by its name on the Hugging Face hub: "org/name", kept where the hub's own tools keep it."""

import re
from pathlib import Path

from ..errors import ConfigError, MissingFileError

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
WANTED = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*",
          "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template*")  # fmt: skip


def model_folder(path):  # str or Path -> Path of a folder
    """`path` when it is a folder; otherwise the hub's model of that name, downloaded if it is not in the cache.

    Raises MissingFileError with what to download when the hub cannot be reached, ConfigError without huggingface_hub.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    name = folder.as_posix()
    if folder.exists() or not NAME.fullmatch(name):
        raise MissingFileError(f"no such folder: {folder} (a model is a folder with config.json and model.safetensors)")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(f"no such folder: {name}; to look for it on the hub, install minilora[hf]") from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED)))
    except Exception as error:  # no network, no such name, no access: as many classes as there are versions
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise MissingFileError(
            f"no such folder: {name}. As a name on the hub it cannot be reached ({reason[0][:120]}); if it is one, get "
            f"config.json, *.safetensors* and tokenizer* from https://huggingface.co/{name} and name their folder"
        ) from error
