"""The tasks by name."""

import pytest

from minilora.errors import UnknownNameError
from minilora.tasks.shipped import get_task


def test_an_unknown_task_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="no task 'sqll'; there are: sql"):
        get_task("sqll")
