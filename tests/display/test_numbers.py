"""Numbers as text."""

import numpy as np
import pytest

from minilora.display.numbers import number_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (16_777_216, "16,777,216"),
        (np.int64(1000), "1,000"),
        (0.04231, "0.04231"),
        (1234.5678, "1,235"),
        (294912.0, "294,912"),
        (3.1e-7, "3.1e-07"),
        (True, "True"),
        (np.bool_(False), "False"),
        ("a", "a"),
    ],
)
def test_numbers_are_shown_as_one_reads_them(value, text):
    assert number_text(value) == text


def test_more_digits_can_be_asked_for():
    assert number_text(9250.8123, digits=6) == "9,250.81"


def test_a_number_with_more_digits_before_the_point_keeps_them_all():
    assert number_text(12345678.25) == "12,345,678.2"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_value_without_digits_is_its_own_text(value):
    assert number_text(value) == str(value)
