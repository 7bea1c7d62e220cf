"""What the tests of tests/gpu compare: numbers of a device with those of the CPU."""

import numpy as np
import pytest

from minilora.backend import device_of, to_host


def slow_but(fast, names):
    """The values of a parameter: those that are not in `fast` are left to the slow run."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def arrays_of(model):
    """Every array of `model`: its weights, also in fewer bits, and what adapters keep and never train."""
    found = [p.data for p in model.parameters()]
    for adapter in getattr(getattr(model, "base_model", None), "adapters", {}).values():
        frozen = [p for method in adapter.methods.values() for p in method.frozen.values()]
        found += [p.data for p in (*frozen, *adapter.parameters.values())]
    while stored := [a for a in found if hasattr(a, "arrays")]:
        found = [a for a in found if not hasattr(a, "arrays")]
        for s in stored:
            found += [getattr(s, name) for name in s.arrays] + ([s.rest] if hasattr(s, "rest") else [])
    return found


def is_all_on(model, device):
    """Whether no array of `model` was left behind. device: "cpu" or "cuda:0"."""
    return {device_of(a) for a in arrays_of(model)} == {device}


def assert_close(there, here, tolerance=1e-4):
    """Numbers of one type and shape, within `tolerance` of the largest: another library sums in another order.

    The largest counts as 0.01 at least: a gradient that is zero but for rounding has no digits to compare.
    """
    there, here = to_host(there), to_host(here)
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    np.testing.assert_allclose(there, here, rtol=tolerance, atol=tolerance * np.abs(here).max(initial=0.01))


def assert_all_close(there, here, tolerance=1e-4):
    for a, b in zip(there, here, strict=True):
        assert_close(a, b, tolerance)


def assert_same_bits(there, here):
    """Equal arrays; a failure says in how many places they differ, and by how much at most."""
    there, here = to_host(there), to_host(here)
    np.testing.assert_array_equal(there, here, strict=True)
    assert np.array_equal(there, here)  # the line above takes a nan for equal to a nan


def assert_all_same_bits(there, here):
    for a, b in zip(there, here, strict=True):
        assert_same_bits(a, b)
