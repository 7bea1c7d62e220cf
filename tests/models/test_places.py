"""Angles and masks beside an array: on a device they are the host's, uploaded once."""

import numpy as np
import pytest
import strict_cupy
from launches import count_launches

from minilora import ops
from minilora.models import places

FREQUENCIES = np.array([1.0, 0.1, 0.01], np.float32)
X = np.zeros(1, np.float32)


@pytest.fixture(autouse=True)
def empty_tables():
    places._table.cache_clear()
    places._bias.cache_clear()


@pytest.mark.parametrize(
    "positions", [[[0, 1, 2]], [[5, 6]], [[7]], [[4, 5], [4, 5]], [[0, 0, 1], [0, 1, 2]], [[3], [9]]], ids=str
)
def test_the_angles_of_a_device_are_those_of_the_host(positions):
    positions = np.array(positions)
    on_device = places.angles(positions, FREQUENCIES, strict_cupy.asarray(X))
    for a, b in zip(on_device, ops.rotary_angles(positions, FREQUENCIES), strict=True):
        assert np.array_equal(np.broadcast_to(a.get(), b.shape), b)


def test_angles_are_uploaded_once_for_texts_up_to_the_next_power_of_2():
    x = strict_cupy.asarray(X)
    with count_launches() as found:
        for start in range(5, 8):
            places.angles(np.array([[start]]), FREQUENCIES, x)
        places.angles(np.arange(8)[None], FREQUENCIES, x)
    assert [e.shape for e in found.uploads] == [(1, 8, 1, 6), (1, 8, 1, 6)]


def test_a_mask_without_padding_is_uploaded_once():
    x = strict_cupy.asarray(X)
    with count_launches() as found:
        first, second = (places.causal_bias(4, 6, None, x, window=3) for _ in range(2))
        assert places.causal_bias(1, 6, None, x) is None
    assert len(found.uploads) == 1 and first is second
    assert np.array_equal(first.get(), ops.causal_bias(4, 6, window=3))


def test_a_mask_of_padding_is_the_hosts():
    mask = np.array([[False, True], [True, True]])
    bias = places.causal_bias(2, 2, mask, strict_cupy.asarray(X))
    assert np.array_equal(bias.get(), ops.causal_bias(2, 2, mask))
