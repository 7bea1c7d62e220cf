"""Where the shipped data is: inside an installed wheel, or in the source tree: in `data/`, and what lessons need."""

from ..errors import MissingFileError


def places():  # -> [Path], looked at in this order
    from pathlib import Path  # not above: who computes only, opens no file

    package = Path(__file__).parent.parent
    return [package / "_shipped", package.parent / "data", package.parent]


def shipped(name: str):  # -> Path
    """The path of shipped data, a file or a folder, by its path under `data/`: `shipped("tasks/sql/test.jsonl")`,
    or by its path in the source tree: `shipped("lessons/exercises")`.

    Raises MissingFileError when neither the installed package nor the source tree has it.
    """
    for place in places():
        if (place / name).exists():
            return place / name
    raise MissingFileError(f"shipped data '{name}' not found; looked in {' and '.join(str(p) for p in places())}")


def base_digest():  # -> str
    """Which base something was measured on: the beginning of the SHA-256 of the shipped weights."""
    import hashlib

    return hashlib.sha256(shipped("base/model.safetensors").read_bytes()).hexdigest()[:16]
