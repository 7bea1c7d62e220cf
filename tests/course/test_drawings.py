"""The drawings of the lessons show the names, shapes and numbers that they are given."""

import numpy as np
import pytest

from minilora.course import drawings
from minilora.course.lesson import in_words, show_axes


def words(draw, *arguments, columns=1):
    with show_axes(columns) as axes:
        draw(axes, *arguments)
        figure = (axes if columns == 1 else axes[0]).figure
        figure.canvas.draw()  # a drawing that fails when it is painted fails here
    return in_words(figure)


@pytest.mark.parametrize(
    ("draw", "arguments", "shown"),
    [
        (drawings.lora_beside, (96, 64, 4), ("96 × 64", "4 × 64", "96 × 4", "frozen")),
        (drawings.merging, (96, 64, 4), ("W + s B A", "96 × 64")),
        (drawings.mixed_batch, (["json", "", "sql", "json"],), ("A, B of json", "A, B of sql", "base alone")),
        (drawings.heads, (128, 4, 2), ("query head 4", "key head 2, value head 2", "128 numbers")),
        (drawings.turning_pair, (30,), ("position 3", "30°")),
        (drawings.attention_weights, (np.array([[1, 0], [0.25, 0.75]]), ["a", "b"]), ("1.00", "0.25", "0.75")),
        (drawings.bits, (1.0,), ("float32", "bfloat16", "8 exponent", "23 digits", "7 digits")),
        (drawings.levels_on_histogram, (np.arange(9.0), np.linspace(-1, 1, 16)), ("16 levels", "15")),
    ],
)
def test_a_drawing_shows_what_it_is_given(draw, arguments, shown):
    text = words(draw, *arguments)
    assert [part for part in shown if part not in text] == []


def test_the_boxes_of_a_number_hold_its_bits():
    with show_axes() as axes:
        drawings.bits(axes, -1.0, ("bfloat16",))
    assert "".join(t.get_text() for t in axes.texts if t.get_text() in "01") == "1011111110000000"


def test_columns_times_rows_says_how_much_of_the_matrix_they_are():
    D = np.outer(np.arange(1.0, 5), np.arange(1.0, 4))  # one column times one row
    assert "1 column × 1 row 100% of the energy" in words(
        lambda p, D: drawings.columns_times_rows(p, D, (1, 2)), D, columns=2
    )


def test_a_tape_has_a_box_for_each_place_and_a_label_for_each_arrow():
    places, arrows = {"L": (2, 0, "L = Σ x"), ".x": (0, 0, "x")}, [("L", ".x", "g = 1", 0)]
    text = words(lambda axes, *_: drawings.tape(axes, places, arrows))
    assert all(part in text for part in ("L = Σ x", "g = 1"))
