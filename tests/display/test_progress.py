"""What a person sees while a model trains, and what is drawn afterwards."""

import io
import re

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora.display.plots import loss_curve, smooth
from minilora.display.progress import Progress, show_progress
from minilora.errors import MiniloraError
from minilora.training.callbacks import Evaluation, History
from minilora.training.loop import train
from minilora.training.optim import AdamW


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, steps=6):
    model, history = tiny_llama(), History(every=2)
    batch = (random_ids(), random_ids())
    with Progress(history, stream) as progress:
        callbacks = [history, Evaluation([batch], history, every=3), progress]
        train(model, iter([batch] * steps), AdamW(model.parameters()), steps, callbacks=callbacks)
    return stream.getvalue(), history


def test_without_a_terminal_there_is_a_plain_line_for_every_evaluation():
    printed, history = shown(io.StringIO())
    lines = printed.splitlines()
    assert [re.match(r"step +(\d+) of 6: ", line)[1] for line in lines] == ["0", "3", "6"]
    for line, (_, loss) in zip(lines, history.valid, strict=True):
        assert f"validation {loss:.4f}" in line
    assert f"loss {np.mean(history.loss):.4f}" in lines[-1]
    assert "tokens/s" in lines[1]
    assert "s left" in lines[1]
    assert printed.isascii()


def test_in_a_terminal_there_is_a_bar_with_loss_speed_and_time():
    printed, history = shown(Terminal())
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    assert "6/6" in plain
    assert "tokens/s" in plain
    assert f"validation {history.valid[-1][1]:.4f}" in plain


def test_scoring_shows_a_bar_in_a_terminal_and_nothing_elsewhere():
    for stream in (Terminal(), io.StringIO()):
        assert list(show_progress([5, 6, 7], "answers", stream)) == [5, 6, 7]
        assert ("answers" in stream.getvalue()) == stream.isatty()


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
