import numpy as np

from minilora.course.lab import pace
from minilora.course.lab.own_lora import lora_from
from minilora.course.lab.pace import at_pace
from minilora.course.mutants import solution

x, W, A, B = np.ones((8, 3)), np.ones((2, 3)), np.ones((1, 3)), np.ones((2, 1))


def by_loops(x, W, A, B, alpha, r):
    y = [[0.0] * len(W) for _ in x]
    for n in range(len(x)):
        for o in range(len(W)):
            for i in range(x.shape[1]):
                y[n][o] += x[n, i] * W[o, i]
            for k in range(len(A)):
                y[n][o] += alpha / r * B[o, k] * sum(x[n, i] * A[k, i] for i in range(x.shape[1]))
    return y


def test_a_fast_function_is_kept_and_nothing_is_said(capsys):
    fast = solution(6, "lora_forward")[0]
    assert at_pace("6.1", fast, x, W, A, B, 1.0, 1) is fast
    assert capsys.readouterr().out == ""


def test_the_course_takes_the_place_of_a_function_that_would_take_minutes(monkeypatch, capsys):
    clock = iter([0.0, 0.05])
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    assert at_pace("6.1", by_loops, x, W, A, B, 1.0, 1) is solution(6, "lora_forward")[0]
    assert capsys.readouterr().out == (
        "6.1: a training step would take 134 s with your lora_forward, so the lesson takes the course's own here. "
        "A loop over numbers is slow in Python; one operation on whole arrays is fast.\n"
    )


def test_right_loops_in_python_do_not_stop_the_lesson(capsys):
    own = solution(6, "lora_gradients")[0], solution(6, "input_gradient")[0]
    model, _ = lora_from(by_loops, *own)
    ids = np.arange(2, 10)[None]
    assert model.loss(ids, ids).numpy() > 0
    said = capsys.readouterr().out
    assert "with your lora_forward" in said and "6.2" not in said
