"""The lesson that takes a GPU where there is one, run as a script there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import strict_cupy

LESSON = Path(__file__).parents[2] / "lessons" / "12_leave_the_toy.py"
RUN = "import sys, runpy{more}; runpy.run_path(sys.argv[1], run_name='__main__')"
STAND_IN = "; import strict_cupy; sys.modules['cupy'] = strict_cupy"


@pytest.mark.slow
def test_lesson_12_runs_on_the_device_and_every_number_matches(device, tmp_path):
    more = STAND_IN if sys.modules["cupy"] is strict_cupy else ""
    path = [str(LESSON.parents[1]), str(Path(strict_cupy.__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(more=more), LESSON], capture_output=True, text=True, encoding="utf-8",
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "MPLBACKEND": "Agg", "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "device: cuda:0" in done.stdout
    assert "match: True   outputs on the device and on the CPU" in done.stdout and "match: False" not in done.stdout
