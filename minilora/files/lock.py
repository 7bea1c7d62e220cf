"""One process at a time writes into a folder; what a killed one left there is removed."""

import contextlib
import errno
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from ..errors import MiniloraError

FILE = ".minilora.lock"
LEFT_OVER = re.compile(r"\..+\.[a-z0-9_]{8}\.part|\.merging\.[a-z0-9_]{8}")  # temporary files and folders of ours
NOT_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # a file system without locks


@contextlib.contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """In the block no other process that asks for it writes into `folder`; temporary files of a dead one are removed.

    The folder is made; it is removed when it is empty at the end. The system frees the lock of a process that ends,
    however it ends. Raises MiniloraError when another process holds it, or when the folder cannot be written.
    """
    folder = Path(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    handle = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _signals_wait():
                handle = _locked(folder / FILE)
        except BlockingIOError as error:
            raise MiniloraError(
                f"another process is writing into {folder}; wait for it, or choose another folder"
            ) from error
        except OSError as error:
            raise MiniloraError(f"cannot write in {folder}: {error.strerror or error}") from error
        _remove_left_overs(folder)
        yield
    finally:
        with _signals_wait():
            if handle is not None:
                _unlock(handle, folder / FILE)
            with contextlib.suppress(OSError):  # not empty
                for place in missing:
                    place.rmdir()


@contextlib.contextmanager
def _signals_wait():
    """A signal that arrives in the block takes effect after it: whatever is locked is known, and can be unlocked."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_left_over(name: str) -> bool:
    """Whether a file of this name is the lock, or a temporary one that only a killed process leaves."""
    return name == FILE or bool(LEFT_OVER.fullmatch(name))


def _remove_left_overs(folder):
    for path in folder.iterdir():
        if LEFT_OVER.fullmatch(path.name):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _locked(path):  # -> open file number; BlockingIOError when another process has it
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
            if _is_at(handle, path):  # not removed by its last holder between the two calls
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_at(handle, path):
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


if os.name == "nt":
    import msvcrt

    def _lock(handle):
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(*error.args) from error

    def _unlock(handle, path):
        os.close(handle)
        with contextlib.suppress(OSError):  # another process has opened it meanwhile
            path.unlink()

else:
    import fcntl

    def _lock(handle):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise

    def _unlock(handle, path):
        path.unlink(missing_ok=True)  # while it is held: whoever opened it finds that it is another file
        os.close(handle)
