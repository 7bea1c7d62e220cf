"""The figures: a curve that does not mislead, a file that is a PNG, an error that is one line."""

import pytest

from minilora.display.plots import loss_curve, smooth
from minilora.errors import MiniloraError
from minilora.training.callbacks import History


def test_smoothing_does_not_show_a_falling_curve_late():
    falling = [10.0 - i for i in range(10)]
    assert smooth(falling, 5) == pytest.approx(falling)  # a straight line is its own mean, to both ends
    assert smooth([0.0, 3.0, 0.0], 3) == pytest.approx([0.0, 1.0, 0.0])


def test_the_loss_curve_is_a_png_and_needs_no_validation(tmp_path):
    loss_curve(History(loss=[3.0, 2.0, 1.5], valid=[[0, 3.1], [3, 1.4]]), tmp_path / "a.png")
    loss_curve(History(loss=[3.0]), tmp_path / "b.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))


def test_a_loss_curve_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MiniloraError, match="cannot write"):
        loss_curve(History(loss=[3.0]), tmp_path / "file" / "a.png")
