"""The free memory of this machine: of Linux, and of a container."""

import pytest

from minilora.counting import machine
from minilora.display.numbers import GIB


@pytest.mark.parametrize(
    ("limit", "used", "free"), [("max", "5", 3 * GIB), (str(4 * GIB), str(GIB), 3 * GIB), (str(2 * GIB), str(GIB), GIB)]
)
def test_the_limit_of_a_container_bounds_the_free_memory(tmp_path, monkeypatch, limit, used, free):
    for name, text in (
        ("meminfo", f"MemTotal: 9 kB\nMemAvailable: {3 * GIB // 1024} kB\n"),
        ("limit", limit),
        ("used", used),
    ):
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "LIMIT", tmp_path / "limit")
    monkeypatch.setattr(machine, "USED", tmp_path / "used")
    assert machine.free_memory() == free


def test_this_machine_has_free_memory():
    assert machine.free_memory() > 2**20
