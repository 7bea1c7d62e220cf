"""A cache with a row for each sequence: rows of different length do not see each other's places."""

import sys

import numpy as np
import pytest
import strict_cupy
from tiny import tiny_llama

from minilora.autograd import no_grad
from minilora.models.context import Context
from minilora.models.row_cache import RowCache


def step(model, cache, first, last, ids):
    """Hidden states of new tokens (B, T) of these rows."""
    rows = cache.of(slice(first, last))
    T = ids.shape[1]
    positions = rows.starts[:, None] + np.arange(T)
    with no_grad():
        h = model.hidden(ids, Context(cache=rows, positions=positions, mask=rows.mask(T)))
    cache.advance(slice(first, last), T)
    return h.data


@pytest.fixture
def filled():
    """A model, three sequences of lengths 5, 2, 7, and a cache that has read them."""
    model, rng = tiny_llama(dtype=np.float64), np.random.default_rng(0)
    ids = [rng.integers(0, 29, n) for n in (5, 2, 7)]
    cache = RowCache(4, 12)
    for row, own in enumerate(ids):
        step(model, cache, row, row + 1, own[None])
    return model, ids, cache


def last_alone(model, ids):
    with no_grad():
        return model.hidden(np.array(ids)[None], Context()).data[0, -1]


def test_rows_of_different_length_decode_as_alone(filled):
    model, ids, cache = filled
    ids = [[*own] for own in ids]
    for token in (3, 11, 7):
        h = step(model, cache, 0, 3, np.full((3, 1), token))
        for row in range(3):
            ids[row].append(token)
            assert np.allclose(h[row, 0], last_alone(model, ids[row]), rtol=0, atol=1e-12)
    assert cache.lengths[:3].tolist() == [8, 5, 10]


def test_a_prompt_in_pieces_is_the_prompt(filled):
    model, ids, cache = filled
    step(model, cache, 3, 4, ids[2][None, :3])
    h = step(model, cache, 3, 4, ids[2][None, 3:])
    assert np.allclose(h[0, -1], last_alone(model, ids[2]), rtol=0, atol=1e-12)


def test_moved_and_exchanged_rows_keep_their_contents(filled):
    model, ids, cache = filled
    cache.swap(1, 2)
    cache.swap(0, 0)
    cache.move(1, 0)  # rows are now sequences 2, 2, 1
    h = step(model, cache, 0, 3, np.full((3, 1), 4))
    for row, own in enumerate((2, 2, 1)):
        assert np.allclose(h[row, 0], last_alone(model, [*ids[own], 4]), rtol=0, atol=1e-12)


def test_a_cleared_row_starts_again(filled):
    model, ids, cache = filled
    cache.clear(2)
    h = step(model, cache, 2, 3, ids[0][None])
    assert np.allclose(h[0, -1], last_alone(model, ids[0]), rtol=0, atol=1e-12)


def test_rows_of_one_length_need_no_mask():
    cache = RowCache(2, 5)
    assert cache.of(slice(0, 2)).mask(3) is None
    cache.lengths[:] = 1, 3
    assert cache.of(slice(0, 2)).mask(1).tolist() == [[True, True, False, False], [True] * 4]


def test_rows_anywhere_are_read_at_once_and_shorter_ones_padded_behind(filled):
    model, ids, cache = filled
    rows, counts = np.array([3, 1]), np.array([4, 2])
    cache.clear(rows)
    new = np.zeros((2, 4), dtype=np.int64)
    new[0], new[1, :2] = ids[2][:4], ids[0][:2]
    with no_grad():
        h = model.hidden(new, Context(cache=cache.of(rows), positions=np.arange(4)[None])).data
    cache.advance(rows, counts)
    assert cache.lengths.tolist() == [5, 2, 7, 4]
    assert np.allclose(h[0, 3], last_alone(model, ids[2][:4]), rtol=0, atol=1e-12)
    assert np.allclose(h[1, 1], last_alone(model, ids[0][:2]), rtol=0, atol=1e-12)
    h = step(model, cache, 1, 2, ids[0][None, 2:3])  # the padding is overwritten
    assert np.allclose(h[0, 0], last_alone(model, ids[0][:3]), rtol=0, atol=1e-12)


def test_on_a_device_buffers_double_as_sequences_grow_and_keep_what_they_hold(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    model, cache, ids = tiny_llama().to("cuda"), RowCache(2, 12), np.random.default_rng(0).integers(0, 29, (2, 9))
    whole = step(tiny_llama(), RowCache(2, 12), 0, 2, ids)
    sizes = []
    for start, end in ((0, 3), (3, 4), (4, 5), (5, 9)):
        h = step(model, cache, 0, 2, ids[:, start:end])
        assert np.allclose(h.get(), whole[:, start:end], rtol=0, atol=1e-5)
        sizes.append({buffer.shape[1] for pair in cache.buffers.values() for buffer in pair})
    assert sizes == [{4}, {4}, {8}, {12}]  # 12, the most, and not 16
