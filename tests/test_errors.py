"""Errors name the nearest right answer in one line."""

from minilora import errors
from minilora.errors import DataError, MiniloraError, MissingFileError, UnknownNameError, first_line, listed, nearest


def test_every_error_is_a_minilora_error_and_what_python_programmers_would_catch():
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and v.__module__ == errors.__name__]
    kinds.remove(MiniloraError)
    for kind in kinds:
        builtins = [base for base in kind.__mro__ if base.__module__ == "builtins"]
        assert issubclass(kind, MiniloraError)
        assert builtins[0] not in (Exception, BaseException)
    assert issubclass(MissingFileError, FileNotFoundError)
    assert issubclass(DataError, ValueError)


def test_a_name_error_prints_its_message_without_quotes():
    assert str(UnknownNameError("no adapter 'a'")) == "no adapter 'a'"


def test_nearest_puts_close_names_first_and_says_how_many_are_left():
    assert nearest("q_prj", ["k_proj", "up", "q_proj"]) == "q_proj, k_proj, up"
    assert nearest("x", ["a", "b", "c"], limit=2) == "a, b and 1 more"
    assert nearest("x", []) == "none"
    assert nearest("", ["a", "a"]) == "a"
    assert nearest(3, ["a"]) == "a"


def test_a_list_of_names_is_cut_and_a_name_with_a_line_break_is_quoted():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"
    assert listed(["a\nb"]) == nearest("x", ["a\nb"]) == "'a\\nb'"


def test_the_first_line_of_an_error_is_its_class_when_it_has_no_message():
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(ValueError(" ")) == "ValueError"
    assert first_line(ValueError("x" * 500), limit=20) == "x" * 20
