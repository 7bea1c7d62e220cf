"""Some six hundred answers are judged one by one: whoever changes an exercise runs this folder."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name.startswith("test_lesson_"):
            item.add_marker(pytest.mark.slow)
