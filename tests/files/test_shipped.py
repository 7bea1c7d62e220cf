"""Files that ship with the package."""

import pytest

from minilora.errors import MissingFileError
from minilora.files.shipped import shipped


def test_a_missing_shipped_file_is_named():
    with pytest.raises(MissingFileError, match="'tasks/none.jsonl' not found"):
        shipped("tasks/none.jsonl")
