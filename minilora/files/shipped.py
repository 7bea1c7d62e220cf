"""Finding the data that comes with the package: in the installed package, or in the source tree."""

from typing import TYPE_CHECKING

from ..errors import MissingFileError

if TYPE_CHECKING:
    from pathlib import Path


def places() -> "list[Path]":
    """The folders that `shipped` searches, in this order."""
    from pathlib import Path  # loaded when a file is needed: `import minilora` stays fast

    package = Path(__file__).parent.parent
    return [package / "_shipped", package.parent / "data", package.parent]


def shipped(name: str) -> "Path":
    """The path of a shipped file or folder.

    name: its path under `data/`, as in shipped("tasks/sql/test.jsonl"), or under the root of the source tree, as in
    shipped("lessons/exercises"). Raises MissingFileError when neither the package nor the source tree has it.
    """
    for place in places():
        if (place / name).exists():
            return place / name
    raise MissingFileError(f"shipped data '{name}' not found; looked in {' and '.join(str(p) for p in places())}")


def base_digest() -> str:
    """The first 16 hex digits of the SHA-256 of the shipped weights: it names the base of a measurement."""
    import hashlib

    return hashlib.sha256(shipped("base/model.safetensors").read_bytes()).hexdigest()[:16]
