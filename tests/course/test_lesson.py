"""predict, expect and the rest: what the cells of a lesson call."""

import base64
import re
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from minilora.course import answering, lesson
from minilora.course.lesson import (
    budget,
    cards,
    expect,
    expect_between,
    in_words,
    predict,
    predictions,
    show_axes,
    table,
)  # fmt: skip


def test_a_prediction_never_blocks_and_never_fails(capsys):
    predict("how many?", None).compare(128)
    assert "no prediction; the result is 128" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "actual", "said"),
    [
        (128, 128, "(as predicted)"),
        (64, 128, "off by a factor of 2"),
        (256, 128, "off by a factor of 2"),
        ("GELU", "gelu", "(as predicted)"),
        ([1, 2], [1, 2], "(as predicted)"),
        (0, 5, "you said 0; the result is 5"),
        ("about ten", 10, "you said about ten"),
        (3, "three", "you said 3"),
        (-1, 5, "you said -1"),
    ],
)
def test_a_prediction_is_shown_beside_what_came(capsys, answer, actual, said):
    predict("?", answer).compare(actual)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("actual", [128, 0.0, "gelu", [1, 2], True, np.float64(2.0)])
@pytest.mark.parametrize(
    "answer",
    [
        ...,
        1j,
        b"x",
        {},
        {1},
        print,
        [],
        [[1], [2, 3]],
        np.ones(2),
        float("nan"),
        10**400,
        Fraction(1, 3),
        Decimal("1.5"),
        "1e-6",
        True,
    ],
    ids=lambda a: str(type(a).__name__),
)
def test_no_answer_of_a_reader_stops_a_lesson(answer, actual):
    predict("?", answer).compare(actual)


def test_a_number_in_quotes_is_a_number(capsys):
    predict("?", "64").compare(128)
    assert "off by a factor of 2" in capsys.readouterr().out


def test_an_expectation_prints_what_is_expected_and_what_came(capsys):
    expect("parameters", 131_072, 131_072)
    assert capsys.readouterr().out == "match: True   parameters: expected 131,072, got 131,072\n"


@pytest.mark.parametrize(
    ("got", "wanted", "within"),
    [
        (1, 2, 0.0),
        (1.0, 1.2, 0.1),
        (np.ones(3), np.zeros(3), 0.5),
        (["a"], ["b"], 0.0),
        (True, False, 0.0),
        (float("nan"), 1.0, 0.1),
        (np.array([np.nan]), np.zeros(1), 1.0),
    ],
)
def test_an_expectation_that_is_not_met_stops_the_lesson(got, wanted, within):
    with pytest.raises(AssertionError, match="match: False"):
        expect("this", got, wanted, within)


@pytest.mark.parametrize("got", [0.9, 2.1, float("nan")])
def test_a_value_outside_its_range_stops_the_lesson(got):
    with pytest.raises(AssertionError, match="expected 1 to 2"):
        expect_between("this", got, 1, 2)


def test_a_table_aligns_numbers_to_the_right(capsys):
    table([("a", 1), ("long", 1000)], ("name", "n"))
    assert capsys.readouterr().out.splitlines()[2:] == ["a         1", "long  1,000"]


def test_a_figure_in_a_script_opens_no_window_and_changes_no_setting():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with show_axes(2) as (left, right):
        left.plot([1, 2])
        right.plot([2, 1])
    assert dict(matplotlib.rcParams) == before


def test_a_figure_is_put_into_words():
    with show_axes(2) as (left, right):
        left.plot([1, 2], label="base")
        left.plot([1, 2], label="adapter")
        left.set(title="the drift", xlabel="swaps", ylabel="share of\none update")
        left.legend()
        right.bar([0], [1])
        right.text(0, 1, "0.92")
        right.set(ylabel="score")
    assert in_words(left.figure) == "the drift: share of one update against swaps: base, adapter; score: 0.92"


def test_a_card_says_how_hard_how_long_where_to_write_and_how_to_check(capsys):
    cards("6.1", "6.2")
    out = capsys.readouterr().out
    for part in (
        "6.1  The forward   (easy, 5 minutes)",
        "next cell",
        'hint("6.1")',
        "lesson_06.py",
        "minilora check 6.1 6.2",
    ):
        assert part in out


# ---- choices


@pytest.mark.parametrize(
    ("answer", "actual", "of"),
    [
        ("SQL and JSON", {"JSON", "SQL"}, ()),
        ("sql, json", {"JSON", "SQL"}, ()),
        ("both", {"JSON", "SQL"}, ("JSON", "SQL")),
        ({"JSON"}, "json", ()),
        ("none", set(), ("JSON", "SQL")),
        ("4-bit and LoRA", "LoRA and 4-bit", ()),
        ("four", 4, ()),
        (["SQL", "JSON"], {"JSON", "SQL"}, ()),
    ],
)
def test_choices_are_compared_as_sets(capsys, answer, actual, of):
    predict("?", answer).compare(actual, of=of)
    assert "(as predicted)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "actual"),
    [("both", {"JSON"}), ("JSON", {"JSON", "SQL"}), ("none", {"JSON"}), ("three", 4), ("yes", "no")],
)
def test_another_choice_is_not_as_predicted(capsys, answer, actual):
    predict("?", answer).compare(actual, of=("JSON", "SQL"))
    assert "(as predicted" not in capsys.readouterr().out


def test_a_wrong_choice_gets_its_own_sentence_and_a_right_one_none(capsys):
    wrong = {"both": "Nobody trained the reviews.", "none": "Look at the loss."}
    predict("?", "reviews and JSON").compare({"JSON"}, of=("JSON", "reviews"), wrong=wrong)
    assert "Nobody trained the reviews." in capsys.readouterr().out
    predict("?", "JSON").compare({"JSON"}, of=("JSON", "reviews"), wrong=wrong)
    out = capsys.readouterr().out
    assert "Nobody" not in out and "Look" not in out


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr("minilora.course.lesson._predictions", {})


def test_the_end_of_a_lesson_counts_what_was_right_and_names_the_furthest(capsys, fresh):
    for question, answer, actual in (("a", 1, 1), ("b", 8, 19), ("c", 64, 66), ("d", "A", "B"), ("e", None, 3)):
        predict(question, answer).compare(actual)
    capsys.readouterr()
    predictions()
    assert capsys.readouterr().out == 'right in 1 of 4; furthest off at "d": you said A, it is B\n'


def test_a_cell_that_runs_again_counts_once(capsys, fresh):
    predict("a", 1).compare(2)
    predict("a", 2).compare(2)
    capsys.readouterr()
    predictions()
    assert capsys.readouterr().out == "right in 1 of 1\n"


def test_without_predictions_the_end_says_so(capsys, fresh):
    predict("a", None).compare(2)
    capsys.readouterr()
    predictions()
    assert "no prediction was made" in capsys.readouterr().out


def test_a_budget_is_smaller_in_the_browser_alone_and_a_line_says_so(capsys, monkeypatch):
    assert (budget(150, in_browser=40), capsys.readouterr().out) == (150, "")
    monkeypatch.setattr(sys, "platform", "emscripten")
    assert budget(150, in_browser=40) == 40
    assert capsys.readouterr().out == "in the browser: 40 steps in place of 150, because NumPy is slower here\n"


def test_an_expectation_stops_no_lesson_that_computes_with_a_readers_function(monkeypatch, capsys):
    with pytest.raises(AssertionError, match="match: False   how many: expected 2, got 3"):
        expect("how many", 3, 2)
    monkeypatch.setattr(answering, "in_use", {"6.1"})
    expect("how many", 3, 2)
    assert (
        "match: False   how many: expected 2, got 3\n    (computed with your functions: 6.1)" in capsys.readouterr().out
    )


def drawn_for_a_page(points):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().scatter(range(points), range(points), label='"one" & <two>')
    return lesson._for_page(figure)


def test_a_figure_in_a_page_is_an_svg_under_a_name_of_its_own():
    (first, words), (second, _) = drawn_for_a_page(3), drawn_for_a_page(3)
    assert words == '"one" & <two>' and 'aria-label="&quot;one&quot; &amp; &lt;two&gt;"' in first
    names = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert names[0] and not names[0] & names[1]


def test_a_figure_of_very_many_points_is_a_picture_of_points(monkeypatch):
    monkeypatch.setattr(lesson, "LARGEST_SVG", 5_000)
    assert base64.b64decode(drawn_for_a_page(300)[0]).startswith(b"\x89PNG")
