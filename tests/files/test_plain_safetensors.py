"""The reader and the writer in plain Python agree with the library: on every byte, and on what they refuse."""

import random

import ml_dtypes  # noqa: F401  its types register themselves with NumPy
import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minilora.files.plain_safetensors import KINDS, read_plain_header, write_plain
from minilora.files.safetensors import DTYPES


def some_tensors(choose):
    rng = np.random.default_rng(choose.randrange(2**32))
    for _ in range(choose.randrange(7)):
        shape = tuple(choose.randrange(4) for _ in range(choose.randrange(4)))
        array = (rng.random(shape) * 10).astype(choose.choice(list(KINDS)))
        yield choose.choice(["a", "b.c", "é", "z"]) + str(choose.randrange(9)), np.asarray(array, order="C")


def by_library(path):
    try:
        with safe_open(path, "numpy") as file:
            views = {name: file.get_slice(name) for name in file.offset_keys()}
            return {n: (v.get_dtype(), tuple(v.get_shape())) for n, v in views.items()}, file.metadata() or {}
    except SafetensorError:
        return "refused"


def by_us(path):
    try:
        with path.open("rb") as file:
            return read_plain_header(file)
    except (ValueError, RecursionError):
        return "refused"


def damaged(content, choose):
    way, content = choose.randrange(3), bytearray(content)
    if way == 0:
        return content[: choose.randrange(len(content) + 1)]
    if way == 1:
        return content + b"x" * choose.randrange(1, 9)
    content[choose.randrange(min(len(content), 250))] = choose.choice(b'0123456789 "[]{},:xF\xff')
    return content


def test_the_types_are_those_of_the_reader():
    assert {kind: name for name, kind in KINDS.items()} == DTYPES


@pytest.mark.parametrize("seed", range(10))
def test_the_same_bytes_are_written_and_damaged_files_are_read_or_refused_alike(tmp_path, seed):
    choose, path, seen = random.Random(seed), tmp_path / "x.safetensors", set()
    for _ in range(40):
        tensors, metadata = dict(some_tensors(choose)), choose.choice([None, {"format": "pt"}])
        write_plain(tensors, path, metadata)
        content = path.read_bytes()
        assert content == save(tensors, metadata)
        assert by_us(path) == by_library(path) != "refused"
        for _ in range(3):
            path.write_bytes(damaged(content, choose))
            assert by_us(path) == by_library(path), path.read_bytes()[:200]
            seen.add(by_us(path) == "refused")
    assert seen == {True, False}


def test_metadata_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(TypeError, match="not text"):
        write_plain({}, tmp_path / "x.safetensors", {"format": 1})
