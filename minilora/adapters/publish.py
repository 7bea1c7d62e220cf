"""An adapter on the hub: which files of its folder are pushed, and what is left out of them."""

import json
import warnings
from pathlib import Path
from typing import Any

from ..files.hub import HUB_NAME, check_can_push, upload
from ..training.card import CARD
from ..training.run import HISTORY, settings_in_history
from . import files

AS_THEY_ARE = (files.TENSORS, "chat_template.jinja")
ASKED = (
    "command",
    "method",
    "task",
    "chat",
    "system",
    "examples",
)  # settings that say how an adapter wants to be asked


def push_adapter(folder: str | Path, name: str, public: bool = False) -> str:
    """Push the adapter in `folder` to the hub's repository `name` ("owner/name"); returns its address.

    public: whether everybody may see a repository that is made now. Pushed are the configuration, the tensors, the
    model card, a chat template, and of history.json what says how the adapter wants to be asked. The state of the run
    and the data stay here; files and bases are named without their folders. Raises MissingFileError, FormatError,
    ConfigError without huggingface_hub or for a wrong name, MiniloraError when the hub refuses.
    """
    folder = Path(folder)
    config: Any = files.read(folder)[0]
    check_can_push(name)
    return upload(name, contents(folder, config.base_model_name_or_path), not public)


def contents(folder: Path, base: str | None) -> dict[str, bytes | Path]:
    """{name on the hub: content or file}. A path of the base on this machine becomes its last part."""
    pushed: dict[str, bytes | Path] = {file: folder / file for file in AS_THEY_ARE if (folder / file).is_file()}
    for file in (files.CONFIG, CARD):
        if (folder / file).is_file():
            pushed[file] = (folder / file).read_bytes()
    if base and not HUB_NAME.fullmatch(base):
        warnings.warn(
            f"the base {base} is a folder of this machine; whoever uses the adapter must have it", stacklevel=3
        )
        long, short = (json.dumps(text, ensure_ascii=False)[1:-1].encode() for text in (base, Path(base).name))
        pushed |= {file: text.replace(long, short) for file, text in pushed.items() if isinstance(text, bytes)}
    if settings := settings_in_history(folder):
        asked = {key: settings.get(key) for key in ASKED}
        asked |= {key: [Path(file).name for file in settings.get(key) or []] for key in ("text", "jsonl")}
        pushed[HISTORY] = (json.dumps({"settings": asked}, indent=2) + "\n").encode()
    return pushed
