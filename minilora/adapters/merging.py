"""W <- W + ΔW on every layer of a model or on none, and a model that is as before when an adapter cannot be added."""

import contextlib

import numpy as np

from ..backend import to_host, use_device
from ..errors import ConfigError


def check_mergeable(adapted, names):  # AdaptedModel, names of adapters
    """Raises ConfigError when one of them can never be merged."""
    for name in names:
        adapted.adapters[name].check_mergeable()


def in_order(adapted, names, active, merged):  # -> those of `names` and `merged` in the order in which they act
    """Raises ConfigError when merging `names` would change the function that the `active` adapters compute."""
    if inactive := [n for n in names if n not in active]:
        acting = ", ".join(active) or "none"
        raise ConfigError(f"adapter {inactive[0]!r} is not active ({acting}): merging it would change the function")
    names = [n for n in active if n in names or n in merged]
    if names != list(active[: len(names)]) and not adapted.is_additive(active):
        raise ConfigError(
            f"adapters {', '.join(active)} act in this order, and not all of them are sums: merge the first ones, "
            "or all"
        )
    return names


def merge(adapted, names):
    """Merge these adapters, in this order, into every layer. When one fails, none is merged."""
    check_mergeable(adapted, names)
    use_device(adapted.device)
    try:
        for layer in adapted.layers:
            layer.merge(names)
        _share_equal(adapted.layers)
    except BaseException:  # a broken adapter, no memory, Ctrl-C: not half of the layers
        unmerge(adapted)
        raise


def _share_equal(layers):
    """Let layers that shared a weight, and were changed alike (trained tokens of a tied head), share one again."""
    first = {}  # id of the original weight -> the first layer that had it
    for layer in layers:
        twin = layer if layer.original is None else first.setdefault(id(layer.original[0]), layer)
        if twin is not layer and np.array_equal(to_host(twin.base_layer.dense()), to_host(layer.base_layer.dense())):
            layer.base_layer.weight = twin.base_layer.weight


def unmerge(adapted):
    """Restore the original weights: the same array objects, bit for bit."""
    for layer in adapted.layers:
        layer.unmerge()


@contextlib.contextmanager
def as_before_on_failure(adapted, name, merged):
    """Adapter `name` is added inside this block. When that fails, it is taken out, and those in `merged` are merged."""
    try:
        yield
    except BaseException:  # also no memory, and Ctrl-C
        if name in adapted.adapters:
            adapted.remove(name)
        merge(adapted, merged)
        raise
