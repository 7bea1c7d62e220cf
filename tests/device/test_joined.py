"""Small arrays of a device are changed as one: the numbers are those of one at a time."""

import numpy as np
import pytest
import strict_cupy
from launches import count_launches

from minilora.device import joined
from minilora.nn import Parameter
from minilora.training.optim import SGD, AdamW, clip_grad_norm_

SHAPES = [(3, 4), (5,), (2, 3), (7, 1), (4,), (2, 2), (6,), (3,), (1, 9), (2,), (4, 2), (3, 3)]


def parameters(place):
    rng = np.random.default_rng(0)
    return [Parameter(s, data=place(rng.standard_normal(s).astype(np.float32))) for s in SHAPES]


def give_gradients(params, place, seed, missing=()):
    rng = np.random.default_rng(seed)
    for i, p in enumerate(params):
        g = place(rng.standard_normal(p.shape).astype(np.float32))
        p.grad = None if i in missing else g


def train(optimizer_class, place, steps=4, change=None):
    params = parameters(place)
    optimizer = optimizer_class([{"params": params[:2]}, {"params": params[2:], "lr": 0.5}], lr=0.1)
    for step in range(steps):
        give_gradients(params, place, step, missing=(6,) if step == 1 else ())
        clip_grad_norm_(params, 1.5)
        optimizer.step()
        if change is not None and step == 1:
            change(params, optimizer, place)
    return [p.data for p in params], optimizer.state_dict()


def exchange_data(params, optimizer, place):
    params[3].data = params[3].data * 2


def load_own_state(params, optimizer, place):
    optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("change", [None, exchange_data, load_own_state])
@pytest.mark.parametrize("optimizer_class", [AdamW, SGD])
def test_joined_parameters_train_to_the_numbers_of_numpy(optimizer_class, change):
    (here, states), (there, device_states) = (
        train(optimizer_class, p, change=change) for p in (np.array, strict_cupy.asarray)
    )
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.get(), a, rtol=2e-6, atol=1e-6)
    assert states.keys() == device_states.keys()
    for name in states:
        np.testing.assert_allclose(device_states[name], states[name], rtol=2e-6, atol=1e-6)


def test_a_step_of_the_optimizer_joins_the_gradients_and_is_one_kernel():
    params = parameters(strict_cupy.asarray)
    optimizer = AdamW(params)
    for step in range(2):
        give_gradients(params, strict_cupy.asarray, step)
        with count_launches() as found:
            optimizer.step()
    assert [e.name for e in found.launches] == ["concatenate", "fused adamw"]


def test_clipping_is_ten_launches_whatever_the_number_of_gradients():
    params = parameters(strict_cupy.asarray)
    give_gradients(params, strict_cupy.asarray, 0)
    with count_launches() as found:
        clip_grad_norm_(params, 1.0)
    assert len(found) <= 10 and not found.syncs, found.table()


def test_a_large_array_is_left_where_it_is(monkeypatch):
    monkeypatch.setattr(joined, "SMALL", 6)
    params = parameters(strict_cupy.asarray)
    give_gradients(params, strict_cupy.asarray, 0)
    large = [p.grad for p in params if p.size > 6]
    arrays = joined.side_by_side(params)
    assert all(a is b for a, b in zip(arrays, large, strict=False))
    assert sum(a.size for a in arrays) == sum(p.size for p in params)


def test_gradients_of_two_types_are_not_joined():
    params = parameters(strict_cupy.asarray)
    for p, kind in zip(params, ["float32", "float64"] * 6, strict=False):
        p.grad = p.data.astype(kind)
    assert sorted(a.dtype.name for a in joined.side_by_side(params)) == ["float32", "float64"]
