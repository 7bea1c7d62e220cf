from minilora.course.lab import tune
from minilora.course.lab.tune import affordable_steps


def test_fewer_steps_are_made_when_all_of_them_would_take_longer_than_a_minute(monkeypatch, capsys):
    clock = iter([0.0, 2.0])
    monkeypatch.setattr(tune.time, "perf_counter", lambda: next(clock))
    assert affordable_steps(lambda: None, 150) == 30
    assert capsys.readouterr().out == "one step takes 2 s, so 150 steps would take 300 s: 30 steps instead\n"


def test_all_steps_are_made_when_they_fit_and_nothing_is_said(capsys):
    assert affordable_steps(lambda: None, 150) == 150
    assert capsys.readouterr().out == ""
