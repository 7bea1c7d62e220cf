"""What a person sees while a model trains, and what is drawn afterwards."""

import io
import re

import numpy as np
from tiny import random_ids, tiny_llama

from minilora.display.progress import Progress, show_progress
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
