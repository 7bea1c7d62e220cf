"""The modules of lessons/ that write pages. Without their libraries a test that imports this is skipped."""

import sys
from pathlib import Path

import pytest

LESSONS = Path(__file__).parents[2] / "lessons"
for library in ("nbformat", "jupytext", "latex2mathml", "markdown_it", "mdit_py_plugins", "pygments", "griffe"):
    pytest.importorskip(library)
sys.path.insert(0, str(LESSONS))

import build  # noqa: E402, F401
import pages  # noqa: E402, F401
import site_pages  # noqa: E402, F401
import site_panels  # noqa: E402, F401
