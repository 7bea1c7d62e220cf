"""A regular expression from a file means what it means in Python, and cannot run for ever."""

import re
import time

import pytest

from minilora.errors import ConfigError
from minilora.files import patterns

PATH = "model.layers.10.self_attn.q_proj"


@pytest.mark.parametrize(
    "pattern", [r".*q_proj", r".*\.(q|v)_proj", r"model\.layers\.1\d\..*", r"(?P<a>x)?.*proj", "q_proj"]
)
def test_it_matches_what_python_matches(pattern):
    assert bool(patterns.fullmatch(pattern, PATH)) == bool(re.fullmatch(pattern, PATH))
    assert bool(patterns.match(pattern, PATH)) == bool(re.match(pattern, PATH))


@pytest.mark.parametrize("pattern", [r"(.*.*)*=(.*.*)*!", r"([a-z_0-9.]*)*=", r"(\w|\w\w|\.)*!", r"(x+x+)+y|(.+.+)+!"])
def test_a_pattern_that_would_take_for_ever_is_refused_in_seconds(pattern):
    began = time.monotonic()
    try:
        assert patterns.fullmatch(pattern, (PATH + ".") * 40) is None
    except ConfigError as error:
        assert "takes more than 2 s" in str(error)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("pattern", ["(", "[", "*", "(?P<x>", "a{2,1}", r"\p{L}", "(" * 400 + ")" * 400, "x" * 10_001])
def test_a_mistake_is_told_and_not_raised(pattern):
    assert patterns.mistake(pattern)


def test_a_sound_pattern_has_no_mistake():
    assert patterns.mistake(r".*\.(q|v)_proj") == ""


@pytest.mark.slow
def test_many_slow_matches_are_refused_together(monkeypatch):
    monkeypatch.setattr(patterns, "_slow", [])
    monkeypatch.setattr(patterns, "SLOW", 0.0)
    monkeypatch.setattr(patterns, "TOGETHER", 0.02)
    with pytest.raises(ConfigError, match="'.*q_proj' takes with the other matches of this minute more than 0.02 s"):
        for _ in range(1_000_000):
            patterns.fullmatch(".*q_proj", PATH)


def test_slow_matches_of_an_earlier_minute_do_not_count(monkeypatch):
    monkeypatch.setattr(patterns, "_slow", [(time.monotonic() - 61, 100.0)])
    monkeypatch.setattr(patterns, "SLOW", 0.0)
    assert patterns.fullmatch(".*q_proj", PATH)
