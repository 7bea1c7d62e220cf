"""The folder of an adapter as a server reads it: whole, checked, and told from an earlier state of the same folder."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..adapters import files
from ..adapters.mixed import check_mixable
from ..errors import ConfigError, FormatError, MissingFileError
from ..methods.lora import Lora

FILES = (files.CONFIG, files.TENSORS)
ABOUT = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json", "history.json")  # how it is asked


@dataclass(eq=False)
class Version:
    """One reading of an adapter's folder. Reloading makes another one, so what was asked of this one stays its own.

    key      its identity: name and number
    stamp    times and sizes of the files that were read
    about    what `describe` found beside the adapter: how it is asked
    leases   requests that wait for it or run on it; 0: it may be evicted
    """

    key: str
    name: str
    path: Path
    adapter: Any
    stamp: tuple
    bytes: int
    seconds: float  # that reading and checking took
    about: Any = None
    leases: int = 0
    rows: int = 0  # how many of them are in the batch: then its slot is held
    used: int = 0  # order of the last lease
    dropped: bool = False  # unloaded or replaced: it goes when its last lease ends

    @property
    def is_scalable(self):
        """Whether each update is a sum of its own in slots, so that a row can have it at another strength."""
        return all(m.additive and isinstance(m, Lora) and m.stacked(None) for m in self.adapter.methods.values())


class Reader:
    """Reads adapters of one base.

    model, max_rank, describe: see Pool
    """

    def __init__(self, model, max_rank: int, describe: Callable):
        self.model, self.max_rank, self.describe = model, max_rank, describe
        self.fingerprint = model.fingerprint()
        self._numbers = itertools.count(1)

    def parts(self, name, path):  # yields None after each part of the work, and the Version at the end
        """The stamp is taken before: a change while reading is seen by the next request."""
        began, before = time.perf_counter(), stamp(path)
        config = files.read_adapter_config(path)
        yield
        tensors, trained_on = files.read_adapter_tensors(path, config)
        yield
        try:
            self._check(name, config)
            config = self.model.accept(config)
            yield
            adapter = self.model.make(config)
            check_mixable(name, adapter)
        except ConfigError as error:
            raise ConfigError(f"{path / files.CONFIG}: {error}") from error
        yield
        parameters = adapter.own_parameters()
        files.match(tensors, parameters, self.model.base_parameters, path)
        if trained_on and trained_on != self.fingerprint:
            raise ConfigError(f"{path} was trained on another base than this one, with the same shapes")
        yield
        self.model.assign(parameters, tensors)
        yield
        about = self.describe(path)
        yield
        if stamp(path) != before:
            raise FormatError(f"{path} changed while it was read: try again when it is complete")
        size = sum(p.data.nbytes for p in parameters.values())
        seconds = time.perf_counter() - began
        key = f"{name}#{next(self._numbers)}"
        yield Version(key, name, path, adapter, before, size, seconds, about)

    def _check(self, name, config):
        if getattr(config, "modules_to_save", None):
            raise ConfigError(f"adapter {name!r} has modules_to_save {config.modules_to_save}: the server has one head")
        if (rank := highest_rank(config)) > self.max_rank:
            raise ConfigError(f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}")


def highest_rank(config) -> int:
    """The highest rank that a configuration names, whether a layer has it or not; 0 for a method without ranks."""
    pattern = (config.rank_pattern or {}).values() if hasattr(config, "rank") else ()  # AdaLoRA's has masks in it
    return max(getattr(config, "r", 0), getattr(config, "init_r", 0), *pattern)


def has_files(path) -> bool:
    """Whether a folder has an adapter, or a part of one."""
    return any(state(path / name) for name in FILES)


def stamp(path):  # -> times and sizes of an adapter's files
    """Tells one state of a folder from another. Raises MissingFileError for a folder without an adapter, FormatError
    when one of its files is missing."""
    found = [state(path / name) for name in (*FILES, *ABOUT)]
    if found[0] is None and found[1] is None:
        raise MissingFileError(f"no adapter in {path}: expected {' and '.join(FILES)}")
    for name, its in zip(FILES, found, strict=False):
        if its is None:
            raise FormatError(f"{path} is no whole adapter: {name} is missing")
    return tuple(found)


def state(file):
    """Tells one state of a file from another. None: it is not there, or the file system refuses its name."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
