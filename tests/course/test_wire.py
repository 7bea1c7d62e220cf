"""Values between two processes: each arrives as it was, of its own type."""

import io
import struct

import numpy as np
import pytest
from exercise_answers import each

from minilora import Tensor
from minilora.course.wire import Formula, Unknown, decoded, encoded, formula, frame, read_frame

VALUES = [
    None,
    True,
    3,
    -(10**40),
    0.1,
    float("inf"),
    "größer",
    2 + 3j,
    [],
    [1, 2.5, "a", None],
    (1, (2, [3])),
    {1, 2},
    frozenset({"a"}),
    {"a": (1, 2), 3: []},
    np.float64(0.5),
    np.float32(0.1),
    np.int64(7),
    np.bool_(True),
    np.array(2.0),
    np.zeros((0, 3)),
    np.arange(6, dtype=np.int8).reshape(2, 3).T,
    np.array([1.5], dtype=np.float16),
    np.array(["a", "bc"]),
    np.array([1j]),
]


def sent(value):
    stream = io.BytesIO(frame({"value": encoded(value)}))
    return read_frame(stream.read)["value"]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_arrives_with_its_type(value):
    got = decoded(sent(value))
    assert type(got) is type(value)
    if isinstance(value, np.ndarray | np.generic):
        assert (got.dtype, got.shape, got.tobytes()) == (value.dtype, value.shape, value.tobytes())
    else:
        assert got == value


def test_nan_arrives_as_nan():
    assert np.isnan(decoded(sent(float("nan"))))


def test_a_tensor_arrives_as_a_tensor():
    got = decoded(sent(Tensor(np.array([1.0, 2.0]))))
    assert isinstance(got, Tensor) and got.numpy().tolist() == [1.0, 2.0]


def test_what_is_no_value_arrives_as_its_text_alone():
    got = decoded(sent(print))
    assert isinstance(got, Unknown) and repr(got) == "<built-in function print>"


def test_a_formula_is_a_function_for_the_submission_and_nothing_for_the_judge():
    tree = sent(Formula("x * x"))
    assert formula(tree)(3.0) == 9.0
    with pytest.raises(ValueError, match="not a value"):
        decoded(tree)


@each
def test_the_arguments_of_every_exercise_arrive(exercise):
    for arguments in exercise.cases():
        for value in arguments:
            got = formula(sent(value))
            assert type(got) is type(value)
            assert not isinstance(got, Unknown)


@pytest.mark.parametrize(
    "tree",
    [
        ["array", "O", [1], ""],
        ["array", "<f8", [2], "AAAA"],
        ["list"],
        ["int"],
        ["pickle", "x"],
        5,
        [],
        ["set", [["list", []]]],
    ],
    ids=str,
)
def test_what_is_no_value_is_refused(tree):
    with pytest.raises(ValueError, match=r"."):
        decoded(tree)


@pytest.mark.parametrize("data", [struct.pack(">Q", 2**40), struct.pack(">Q", 2) + b"[]", struct.pack(">Q", 1) + b"x"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        read_frame(io.BytesIO(data).read)


def test_half_a_message_is_the_end():
    assert read_frame(io.BytesIO(frame({"a": 1})[:-1]).read) is None
