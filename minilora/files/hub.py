"""Finding a model: a folder, or a name on the Hugging Face hub ("org/name"), kept in the hub's own cache folder."""

import re
from pathlib import Path

from ..errors import ConfigError, MissingFileError, first_line

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
FILES = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*",
         "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template*")  # fmt: skip


def model_folder(path: str | Path) -> Path:
    """`path` when it is a folder; otherwise the folder of the hub's model of that name, downloaded unless it is cached.

    Raises MissingFileError, with a list of the files to download, when the hub has no such model or cannot be reached;
    ConfigError when huggingface_hub is not installed.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    name = folder.as_posix()
    if folder.exists() or not HUB_NAME.fullmatch(name):
        raise MissingFileError(f"no such folder: {folder} (a model is a folder with config.json and model.safetensors)")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(f"no such folder: {name}; to look for it on the hub, install minilora[hf]") from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # no network, no such name, no access: each version of the library has its own classes
        raise MissingFileError(
            f"no such folder: {name}, and the hub could not be reached ({first_line(error, 120)}). If it is a hub "
            f"model, download config.json, *.safetensors* and tokenizer* from https://huggingface.co/{name} and pass "
            "that folder"
        ) from error
