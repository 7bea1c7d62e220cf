"""Writing files so that an interrupted or failed write leaves what was there before."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

from ..errors import FormatError, MiniloraError, MissingFileError


@contextlib.contextmanager
def atomic_write(path):
    """Yield a temporary path beside `path`; rename it over `path` when the block succeeds, delete it when it fails.

    Raises MiniloraError (one line) when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files private
        temporary.replace(path)
    except MiniloraError:  # the block's own, among them MissingFileError, which is an OSError too
        raise
    except OSError as error:
        raise MiniloraError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path, text):
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path, value):
    """Write `value` as JSON with PEFT's layout: two spaces, sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_utf8(path, mistake=FormatError):  # -> str
    """The text of a file, without a byte order mark.

    Raises MissingFileError, `mistake` for bytes that are not UTF-8, MiniloraError when the file cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path} is a folder, expected a file" if path.is_dir() else f"no such file: {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise mistake(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise MiniloraError(f"cannot read {path}: {error.strerror or error}") from error


def read_json(path, limit=64 * 2**20):  # -> dict
    """Read a JSON object. Raises MissingFileError, or FormatError naming the line of the mistake."""
    path = Path(path)
    if path.is_file() and path.stat().st_size > limit:
        raise FormatError(f"{path}: {path.stat().st_size:,} bytes of JSON, expected at most {limit:,}")
    text = read_utf8(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (RecursionError, ValueError) as error:  # nested too deep; an integer of thousands of digits
        raise FormatError(f"{path}: not JSON that can be read: {str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
