"""The memory of this machine that a program can still take."""

import ctypes
import os
import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
LIMIT, USED = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))  # of a Linux container


def free_memory() -> int:
    """Bytes that a program can still take: of the machine, or of the container when that is less.

    On macOS all memory of the machine, because the system does not say how much of it is free.
    """
    free = _of_system()
    limit, used = (path.read_text().strip() if path.is_file() else "" for path in (LIMIT, USED))
    return min(free, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else free


def _of_system():
    if MEMINFO.is_file():
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024
    if sys.platform == "win32":
        status = _Status(ctypes.sizeof(_Status))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status.ullAvailPhys
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _Status(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = [
        ("dwLength", ctypes.c_ulong), ("dwMemoryLoad", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in (
            "ullTotalPhys", "ullAvailPhys", "ullTotalPageFile", "ullAvailPageFile", "ullTotalVirtual",
            "ullAvailVirtual", "ullAvailExtendedVirtual")),
    ]  # fmt: skip
