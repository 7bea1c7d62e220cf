"""Fixtures that every test may use. Small models are in tiny.py, the operations' cases in engine_cases.py."""

import signal
from pathlib import Path

import numpy as np
import pytest
from commands import minilora  # noqa: F401 (a fixture)
from hypothesis import settings

collect_ignore = ["support"]  # no tests; some of it imports torch, which a run of `not slow` tests never waits for

settings.register_profile("steady", deadline=None, derandomize=True)  # shared machines pause; the same cases every time
settings.load_profile("steady")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C; some tests press it


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("reference"):  # whoever asks for "not slow" waits for no other library
            item.add_marker("slow")
            item.add_marker(pytest.mark.filterwarnings("default"))  # what they warn of is shown, and fails nothing


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def readme():
    return (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
