"""Slides: what is on a screen can be read by somebody who has only the screen."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml")
pytest.importorskip("mdit_py_plugins")
sys.path.insert(0, str(Path(__file__).parents[2] / "lessons"))
try:
    import handouts
finally:
    sys.path.pop(0)


def test_a_slide_tells_an_exercise_in_sentences_and_not_in_code():
    told = handouts.task(
        'def f(x, r):\n    """A b,\n    c `d`.\n\n    E."""\n    raise NotImplementedError\ncheck("1.1", f)'
    )
    assert told == "<pre>f(x, r)</pre><p>A b, c <code>d</code>.</p><p>E.</p>"


def test_a_slide_has_no_sentence_that_leads_to_nothing():
    assert handouts.short("## T\n\nA **b**. The tape must agree:\n\nMore.") == "## T\n\nA **b**."
    assert handouts.short("## T\n\nThere are two:\n\n- one\n- two") == "## T\n\nThere are two:\n\n- one\n- two"


def test_a_long_text_is_smaller_so_that_it_fits_on_a_screen():
    assert handouts.sized("<p>a</p>", 100) == "<p>a</p>"
    assert handouts.sized("<p>a</p>", 1000) == '<div class="long"><p>a</p></div>'
