"""The cache of keys and values: what it returns, and whose memory it is."""

import numpy as np
from tiny import random_ids, tiny_llama

from minilora import ops
from minilora.autograd import Tensor, no_grad
from minilora.models.cache import KVCache

MODEL = tiny_llama()


def entry(rng, T):
    return Tensor(rng.standard_normal((1, T, 2, 3)).astype(np.float32))


def test_a_cache_returns_everything_in_order_and_knows_its_length(rng):
    for capacity in (0, 2, 9):
        cache, parts = KVCache(capacity), []
        assert cache.length == 0
        with no_grad():
            for T in (2, 1, 3):
                parts.append((entry(rng, T), entry(rng, T)))
                keys, values = cache.extend(0, *parts[-1])
        assert cache.length == 6
        assert np.array_equal(keys.data, np.concatenate([k.data for k, _ in parts], axis=1))
        assert np.array_equal(values.data, np.concatenate([v.data for _, v in parts], axis=1))


def test_a_cache_with_room_writes_into_one_buffer_and_copies_nothing_twice(rng):
    cache = KVCache(8)
    with no_grad():
        first, _ = cache.extend(0, entry(rng, 2), entry(rng, 2))
        second, _ = cache.extend(0, entry(rng, 1), entry(rng, 1))
    assert np.shares_memory(first.data, second.data)
    assert second.data.base.shape[1] == 8


def test_entries_that_somebody_put_into_a_cache_count_and_are_not_written_over(rng):
    cache = KVCache(9)
    with no_grad():
        older = cache.extend(0, entry(rng, 2), entry(rng, 2))
        longer = cache.extend(0, entry(rng, 1), entry(rng, 1))
        kept = longer[0].data.copy()
        cache.entries[0] = older  # one step back
        other = entry(rng, 1)
        keys, _ = cache.extend(0, other, other)
        assert np.array_equal(keys.data, np.concatenate([older[0].data, other.data], axis=1))
        assert np.array_equal(longer[0].data, kept)
        cache.entries[0] = tuple(Tensor(t.data * 2) for t in older)
        keys, _ = cache.extend(0, other, other)
        assert np.array_equal(keys.data, np.concatenate([2 * older[0].data, other.data], axis=1))


def test_a_cut_cache_goes_on_behind_what_is_left(rng):
    cache = KVCache(9)
    with no_grad():
        first = [t.data.copy() for t in cache.extend(0, entry(rng, 3), entry(rng, 3))]
        cache.cut(2)
        assert cache.length == 2
        keys, _ = cache.extend(0, entry(rng, 2), entry(rng, 2))
        assert np.array_equal(keys.data[:, :2], first[0][:, :2])
        cache.cut(0)
        assert cache.length == 0


def test_keys_and_values_that_were_recorded_are_not_written_over_by_decoding(rng):
    cache = KVCache()
    flat = Tensor(rng.standard_normal((20, 6)), requires_grad=True)
    prefix = flat[:2].reshape(1, 2, 2, 3)  # a view of a larger array, as the output of a projection is
    cache.extend(0, prefix, prefix)
    before = flat.data.copy()
    with no_grad():
        keys, _ = cache.extend(0, Tensor(np.ones((1, 1, 2, 3))), Tensor(np.ones((1, 1, 2, 3))))
    assert np.array_equal(flat.data, before)
    assert np.array_equal(keys.data[:, :2], prefix.data)
    assert cache.length == 3


def test_recording_after_decoding_keeps_what_was_decoded(rng):
    cache = KVCache(9)
    with no_grad():
        first = [t.data.copy() for t in cache.extend(0, entry(rng, 2), entry(rng, 2))]
    new = entry(rng, 1)
    new.requires_grad = True
    keys, _ = cache.extend(0, new, new)
    keys.sum().backward()
    assert np.array_equal(keys.data[:, :2], first[0])
    assert (new.grad == 1).all()
    with no_grad():
        longer, _ = cache.extend(0, entry(rng, 1), entry(rng, 1))
    assert np.array_equal(longer.data[:, :3], keys.data)


def test_two_continuations_of_one_prompt_do_not_overwrite_each_other():
    ids = random_ids(shape=(1, 5))
    shared = KVCache(16)
    with no_grad():
        MODEL(ids, cache=shared)
        branches = []
        for token in (3, 7):
            branch = KVCache(16)
            branch.entries = dict(shared.entries)
            branches.append((branch, token, MODEL(np.array([[token]]), cache=branch).data))
        for branch, token, _ in branches:  # both go on, after both have begun
            found = MODEL(np.array([[1]]), cache=branch).data[0, -1]
            whole = MODEL(np.concatenate([ids, [[token, 1]]], axis=1)).data[0, -1]
            np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-4)


def test_gradients_flow_to_cached_keys_and_values_through_the_model():
    ids = random_ids(shape=(1, 6))
    whole = tiny_llama(dtype=np.float64)
    whole.loss(ids, ids).backward()
    parts = tiny_llama(dtype=np.float64)
    cache = KVCache()
    front, back = parts(ids[:, :3], cache=cache), parts(ids[:, 3:], cache=cache)
    logits = ops.concat([front, back], axis=1)[:, :-1]
    ops.cross_entropy(logits, ids[:, 1:]).backward()
    for (name, a), b in zip(parts.named_parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-9, atol=1e-12, err_msg=name)
