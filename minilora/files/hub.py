"""Models and adapters of the Hugging Face hub, by their name "org/name", through huggingface_hub: down and up.

What is downloaded stays in the hub's own cache folder.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MiniloraError, MissingFileError, first_line

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
FILES = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*",
         "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template*")  # fmt: skip
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "history.json", "tokenizer_config.json",
                 "special_tokens_map.json", "chat_template*")  # fmt: skip
UNSEEN: dict[int, str] = dict.fromkeys((401, 403, 404), "the hub has none of that name that you may read")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
REFUSALS: dict[int, str] = {
    401: f"the hub does not accept this token, or there is none; {LOG_IN}",
    403: "your token may not do this",
    404: "the hub has no such repository, or your token may not see it",
}


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
    return _download(name, FILES, "model, download config.json, *.safetensors* and tokenizer*")


def adapter_folder(path: str | Path) -> Path:
    """As `model_folder`, for an adapter: "org/name" is asked for on the hub where no folder "org" is here.

    Any other path is returned as it is.
    """
    folder = Path(path)
    name = folder.as_posix()
    if folder.exists() or folder.parent.exists() or not HUB_NAME.fullmatch(name):
        return folder
    with _no_bars():  # the library draws four, for a file that arrives within a second
        return _download(name, ADAPTER_FILES, "adapter, download adapter_config.json and adapter_model.safetensors")


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """In the block huggingface_hub draws no bars."""
    try:
        from huggingface_hub import utils
    except ImportError:
        yield
        return
    shown = not utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            utils.enable_progress_bars()


def name_of_folder(folder: Path) -> str:
    """The last part of a path; in the hub's cache, .../models--org--name/snapshots/COMMIT, that of the repository."""
    folder = Path(os.path.abspath(folder))  # a loop of links cannot be resolved
    return folder.parents[1].name.split("--")[-1] if folder.parent.name == "snapshots" else folder.name


def _download(name, files, what):
    hub = hub_library(f"no such folder: {name}; to look for it on the hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # no network, no such name, no access: each version of the library has its own classes
        why = UNSEEN.get(_status(error)) or f"the hub could not be reached ({first_line(error, 120)})"
        raise MissingFileError(
            f"no such folder: {name}, and {why}. If it is a hub {what} from https://huggingface.co/{name} and pass "
            "that folder"
        ) from error


def upload(name: str, contents: dict[str, bytes | Path], private: bool) -> str:
    """Write files ({name in the repository: content or file}) into the hub's model `name` as one commit.

    The repository is made if there is none, private or not. Returns its address. Raises ConfigError, MiniloraError.
    """
    hub = hub_library("to push to the hub")
    with hub_refusals(name):
        address = hub.HfApi().create_repo(name, private=private, exist_ok=True)
        added = [hub.CommitOperationAdd(path, given) for path, given in contents.items()]
        hub.HfApi().create_commit(name, added, commit_message="Upload an adapter trained with minilora")
    return str(address)


def check_can_push(name: str) -> None:
    """Raises ConfigError when `name` cannot be a name on the hub, MiniloraError when the hub does not know the user."""
    if "/" not in name or not HUB_NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name on the hub; expected OWNER/NAME, such as ada/my-adapter")
    hub = hub_library("to push to the hub")
    with hub_refusals(name):
        hub.HfApi().whoami()


def hub_library(purpose: str) -> Any:
    """The module huggingface_hub. Raises ConfigError when it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigError(f"{purpose}, install minilora[hf]") from error
    return huggingface_hub


@contextlib.contextmanager
def hub_refusals(name: str) -> Iterator[None]:
    """Turn an error of the hub or of the network into a MiniloraError of one line."""
    try:
        yield
    except Exception as error:
        missing = type(error).__name__ == "LocalTokenNotFoundError"
        why = REFUSALS.get(401 if missing else _status(error)) or first_line(error)
        raise MiniloraError(f"cannot push to {name} on the hub: {why}") from error


def _status(error) -> int:
    return getattr(getattr(error, "response", None), "status_code", 0)
