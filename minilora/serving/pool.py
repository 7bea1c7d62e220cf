"""Adapters by name beside one base: loaded on demand, in slots for a batch, evicted when others need the room.

    folder --read, checked--> memory (--max-cpu-loras) --copied--> slot (--max-loras): only a slot can answer

Two threads meet here. A handler's thread takes a lease (`lease`): it reads and checks the folder, however long that
takes, and touches neither model nor slots. The engine's thread alone moves adapters in and out of slots (`activate`).
Python runs one of them at a time, and a step that shares it with a reader takes three times as long. So they take
turns: a part of the reading, a step, the next part.
"""

import contextlib
import itertools
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..adapters.resident import Resident
from ..errors import BusyError, ConfigError, UnknownNameError, printable
from .names import check_name, is_name
from .reading import Reader, Version, has_files, stamp

YIELD = 1e-5  # seconds: who waits for a lock gets it only when its holder sleeps
TURN = 0.01  # seconds that a step waits at most for a reader, whose file may be large


@dataclass(eq=False)
class Entry:
    """A name that answers. taken: by --lora-modules or a request to load it, not because a folder exists."""

    path: Path
    taken: bool
    version: Version | None = None
    loading: Any = field(default_factory=threading.Lock)


class Pool:
    """The adapters of a server.

    model          the AdaptedModel that the engine runs
    max_loras      slots: different adapters in one batch
    max_cpu_loras  versions in memory
    max_rank       of an adapter
    folder         --lora-dir, whose subfolders are adapters by name; None: there is none
    describe       called with a folder, returns what is kept in `Version.about`; raises MiniloraError
    """

    def __init__(self, model, max_loras=32, max_cpu_loras=64, max_rank=64, folder=None, describe: Callable = str):
        if max_cpu_loras < max_loras:
            raise ConfigError(f"max_cpu_loras {max_cpu_loras}: expected at least max_loras, {max_loras}")
        self.model, self.resident, self.reader = model, Resident(max_loras), Reader(model, max_rank, describe)
        self.max_loras, self.max_cpu_loras = max_loras, max_cpu_loras
        self.folder = None if folder is None else Path(folder).resolve()
        self.entries = {}  # name -> Entry, in the order of loading
        self.versions = {}  # key -> Version, in memory
        self.evicted, self.evictions = [], 0  # the latest names, and how many there were
        self.active = {}  # key -> Version, in a slot or attached: the engine's thread owns it
        self._uses = itertools.count(1)
        self._lock = threading.Lock()
        self._turn, self._readers = threading.Lock(), 0  # of a reader or of the engine; how many read now
        self.observe: Callable = lambda seconds: None  # called with the time that reading a folder took

    # ---- handlers' threads

    def add(self, name, path, replace=False):  # -> Version
        """Load the folder `path` under `name`. Raises ConfigError for a name that is taken, unless `replace`; and what
        reading raises."""
        check_name(name)
        with self._lock:
            old = self.entries.get(name)
            if old is not None and old.taken and not replace:
                raise ConfigError(
                    f"the adapter {name!r} has already been loaded. To load it in place, set 'load_inplace' to true."
                )
        version = self._read_into_memory(name, Path(path))
        try:
            with self._lock:
                other = self.entries.get(name)
                if other is not None and other is not old and other.taken and not replace:
                    version.dropped = True
                    raise ConfigError(f"the adapter {name!r} has already been loaded by another request")
                self._forget(self.entries.pop(name, None))
                self.entries[name] = Entry(version.path, True, version)
        finally:
            self.release(version)
        return version

    def remove(self, name):
        """Forget an adapter; its memory goes when its last request ends. Raises UnknownNameError."""
        with self._lock:
            if name not in self.entries:
                raise UnknownNameError(f"the lora adapter {name!r} cannot be found.")
            self._forget(self.entries.pop(name))

    def lease(self, name):  # -> Version
        """The adapter that answers to `name`, kept until `release`; read now if it is not in memory.

        Raises UnknownNameError for a name that nothing answers to, BusyError when no memory is free, and what reading
        raises.
        """
        name, entry = self._entry(name)
        with entry.loading:  # two requests for one adapter read it once
            try:
                found = stamp(entry.path)
                with self._lock:
                    version = entry.version
                    if version is not None and not version.dropped and version.stamp == found:
                        return self._used(version)
                fresh = self._read_into_memory(name, entry.path)
            except Exception:
                with self._lock:
                    if not entry.taken and self.entries.get(name) is entry:
                        self._forget(self.entries.pop(name))  # only its folder gave it a name
                raise
            with self._lock:
                self._forget(entry)
                entry.version = fresh
                fresh.dropped = self.entries.get(name) is not entry  # unloaded meanwhile: this request is its last
        return fresh

    def release(self, version):
        """A request of this version ended. None: of the base."""
        if version is None:
            return
        with self._lock:
            version.leases -= 1
            if version.dropped and not version.leases:
                self.versions.pop(version.key, None)

    def keep(self, version, more):
        """`more` requests of a version that is leased already."""
        if version is not None:
            with self._lock:
                version.leases += more

    def names(self):  # -> [(name, path, whether it is in memory)]
        """Every name that answers: folders that are not loaded, then adapters in the order of their loading."""
        with self._lock:
            entries = list(self.entries.items())
        loaded = [
            (name, entry.path, entry.version is not None and not entry.version.dropped)
            for name, entry in entries
            if entry.taken or has_files(entry.path)
        ]
        known = {name for name, _ in entries}
        folders = sorted(self.folder.iterdir()) if self.folder is not None and self.folder.is_dir() else []
        found = [(p.name, self._folder_of(p.name)) for p in folders if p.name not in known]
        return [(name, path, False) for name, path in found if path is not None] + loaded

    def inside(self, path):  # -> Path
        """A path from a request: absolute or relative to `folder`, and inside it. Raises ConfigError otherwise."""
        if self.folder is None:
            raise ConfigError("lora_path: this server has no --lora-dir, so adapters cannot be loaded by path")
        if not isinstance(path, str) or not path or not path.isprintable():
            raise ConfigError(f"lora_path {printable(str(path)[:60])!r}: expected the path of a folder")
        found = (self.folder / path).resolve()
        if found == self.folder or not found.is_relative_to(self.folder):
            raise ConfigError(f"lora_path {path[:100]!r} is not inside the --lora-dir of this server")
        return found

    def _entry(self, name):  # -> the name as it is registered, Entry
        for known in itertools.chain([name], self._spelled_otherwise(name)):
            with self._lock:
                if known in self.entries:
                    return known, self.entries[known]
                if (path := self._folder_of(known)) is not None:
                    return known, self.entries.setdefault(known, Entry(path, taken=False))
        raise UnknownNameError(f"The model `{printable(str(name)[:100])}` does not exist.")

    def _spelled_otherwise(self, name):  # -> iterator of names
        """The same letters in Unicode's other spelling: a Mac writes the "é" of a folder as two characters."""
        if isinstance(name, str) and not name.isascii():
            yield from (other for other, _, _ in self.names() if composed(other) == composed(name))

    def _folder_of(self, name):
        """The subfolder with an adapter, or a part of one, that has this name; None: there is none, or it is a link
        that leads out."""
        if self.folder is None or not is_name(name):
            return None
        path = (self.folder / name).resolve()
        return path if path.is_relative_to(self.folder) and has_files(path) else None

    def _used(self, version):
        version.leases += 1
        version.used = next(self._uses)
        return version

    def _read_into_memory(self, name, path):  # -> Version, leased once
        """Read and check a folder, and evict others where it needs the room. Raises BusyError when all are in use."""
        version = self._used(self._read(name, path))
        with self._lock:
            self.versions[version.key] = version
            while len(self.versions) > self.max_cpu_loras:
                idle = [v for v in self.versions.values() if not v.leases]
                if not idle:
                    del self.versions[version.key]
                    raise BusyError(f"all {self.max_cpu_loras} adapters in memory are in use: try again later")
                self._evict(min(idle, key=lambda v: v.used))
        self.observe(version.seconds)
        return version

    def _read(self, name, path):  # -> Version
        """Read and check a folder, between the steps of the engine."""
        with self._lock:
            self._readers += 1
        try:
            parts = self.reader.parts(name, path)
            while True:
                with self._turn:
                    version = next(parts)
                if version is not None:
                    return version
                time.sleep(YIELD)
        finally:
            with self._lock:
                self._readers -= 1

    def _evict(self, version):
        del self.versions[version.key]
        version.dropped = True
        self.evicted, self.evictions = [*self.evicted[-99:], version.name], self.evictions + 1
        entry = self.entries.get(version.name)
        if entry is not None and entry.version is version:
            entry.version = None
            if not entry.taken:
                del self.entries[version.name]

    def _forget(self, entry):
        if entry is not None and entry.version is not None:
            entry.version.dropped = True
            if not entry.version.leases:
                self.versions.pop(entry.version.key, None)

    # ---- the engine's thread

    def activate(self, version) -> bool:
        """See that a version can be in a batch. False: every slot is held by an adapter that is in use."""
        if version is None or version.key in self.active:
            return True
        self.sweep()
        if len(self.active) >= self.max_loras:
            idle = [v for v in self.active.values() if not v.rows]
            if not idle:
                return False
            self._deactivate(min(idle, key=lambda v: v.used))
        layers = {path: self.model.wrap(path) for path in version.adapter.methods}
        if not self.resident.put(version.key, version.adapter.methods, layers):
            for path, method in version.adapter.methods.items():
                layers[path].adapters[version.key] = method
        self.active[version.key] = version
        return True

    @contextlib.contextmanager
    def turn(self):
        """A step of the engine: begins after a reader's part, or after TURN seconds; lets a reader go on behind it."""
        has_turn = self._turn.acquire(timeout=TURN)
        try:
            yield
        finally:
            if has_turn:
                self._turn.release()
        if self._readers:
            time.sleep(YIELD)

    def sweep(self):
        """Free the slots of versions that were unloaded, replaced or evicted, and that no request uses any more."""
        for gone in [v for v in self.active.values() if v.dropped and not v.leases]:
            self._deactivate(gone)

    def _deactivate(self, version):
        del self.active[version.key]
        if version.key in self.resident.slots:
            self.resident.drop(version.key)
            return
        for path in version.adapter.methods:
            del self.model.wrap(path).adapters[version.key]


def composed(name: str) -> str:
    """The name with each accent in its letter, where Unicode has such a letter."""
    return unicodedata.normalize("NFC", name)
