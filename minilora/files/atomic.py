"""Writing files whole or not at all (a failed write leaves the old file), and reading text and JSON.

Every mistake is one line: files that are missing, unreadable, not UTF-8 or not JSON, full disks.
"""

import contextlib
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import FormatError, MiniloraError, MissingFileError, first_line


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds, delete it when it fails.

    Missing folders are made. Raises MiniloraError when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"  # known before it exists, see files/lock
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is a folder" if path.is_dir() else "it is a device, not a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # a library may have made the file anew, readable by its owner only
        temporary.replace(path)
    except MiniloraError:  # from the block; MissingFileError is an OSError too
        raise
    except OSError as error:
        raise MiniloraError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # no such folder
            temporary.unlink(missing_ok=True)


def is_taken(path: str | Path) -> bool:
    """Whether something has this name: also a link that leads nowhere, which a new file would replace."""
    return os.path.lexists(path)


def same_place(first: str | Path, second: str | Path) -> bool:
    """Whether two paths lead to the same file or folder. A link that leads to itself leads nowhere."""
    try:
        return Path(first).resolve() == Path(second).resolve()
    except (OSError, RuntimeError):  # a loop of links, in old and new versions of Python
        return False


def check_writable(folder: str | Path) -> None:
    """Raises MiniloraError when no file can be written into `folder`, which need not exist. Leaves nothing behind."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise MiniloraError(f"cannot write in {folder}: it is a file, expected a folder")
    places = Path(os.path.abspath(folder))  # without "..", so that only what is made here is removed
    missing = [place for place in (places, *places.parents) if not place.exists()]
    try:
        places.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=places) as file:
            file.write(bytes(2**16))
    except OSError as error:
        raise MiniloraError(f"cannot write in {folder}: {error.strerror or error}") from error
    finally:
        for place in missing:
            if place.is_dir():
                place.rmdir()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, with the same line ends on every system.

    Raises MiniloraError when the file cannot be written, or UTF-8 cannot hold the text.
    """
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:  # for example a file name that is not UTF-8
        raise MiniloraError(f"cannot write {path}: {error.object[error.start]!r} in it is not valid text") from error
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON in PEFT's layout: two spaces, sorted keys. Raises as `write_text` does."""
    write_text(path, json_text(value))


def json_text(value: Any, sort_keys: bool = True) -> str:
    """`value` as JSON in PEFT's layout. Half a surrogate pair, as Python reads a file name that is not UTF-8, becomes
    its JSON escape."""
    text = json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_utf8(path: str | Path, mistake: type[MiniloraError] = FormatError, pipes: bool = False) -> str:
    """The text of a UTF-8 file, without a byte order mark; every line ends with \\n.

    pipes: whether a pipe, which has an end only when its writer ends, is read too, and for "-" standard input.

    Raises MissingFileError, `mistake` for bytes that are not UTF-8 or too often zero, MiniloraError when the file
    cannot be read.
    """
    path = Path(path)
    try:
        if pipes and str(path) == "-":
            if sys.stdin is None:
                raise MissingFileError("standard input (-) is closed")
            text = sys.stdin.buffer.read().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        elif path.is_file() or pipes and path.is_fifo():
            text = path.read_text(encoding="utf-8-sig")
        else:
            raise MissingFileError(f"{path} is a folder, expected a file" if path.is_dir() else f"no such file: {path}")
    except MissingFileError:
        raise
    except UnicodeDecodeError as error:
        raise mistake(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise MiniloraError(f"cannot read {path}: {error.strerror or error}") from error
    nulls = text.count("\0")
    if nulls > len(text) / 4:  # UTF-16 without its mark, or a file that was never filled
        raise mistake(f"{path}: not UTF-8 text ({nulls:,} of its {len(text):,} characters are null)")
    return text


def read_json(path: str | Path, limit: int = 64 * 2**20) -> dict:
    """Read a JSON object from a file of at most `limit` bytes.

    Raises MissingFileError, or FormatError with the place of the mistake.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size > limit:
        raise FormatError(f"{path}: {path.stat().st_size:,} bytes of JSON, expected at most {limit:,}")
    text = read_utf8(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (RecursionError, ValueError) as error:  # nested too deep; an integer of thousands of digits
        raise FormatError(f"{path}: not JSON that can be read: {first_line(error, 100)}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
