"""The peak of this process's memory in a block, by the system and by glibc."""

import ctypes
import threading


class PeakMemory:
    """Context: the rise of resident and allocated memory above their values at its start; `mib`, a pair, afterwards."""

    def __enter__(self):
        import psutil

        self._now = lambda: (psutil.Process().memory_info().rss, allocated())
        self._before = self._peak = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.001):
            self._peak = tuple(map(max, self._peak, self._now()))

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self.mib = [(peak - before) / 2**20 for peak, before in zip(self._peak, self._before, strict=True)]


class Mallinfo2(ctypes.Structure):
    """The figures of glibc about its heap (malloc.h, since 2.33)."""

    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]  # fmt: skip


def allocated():  # -> bytes in use: on the heap, and mapped one by one
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return info.uordblks + info.hblkhd
