"""W <- W + ΔW on every layer of a model or on none, and a model that is as before when an adapter cannot be added."""

import contextlib


def check_mergeable(adapted, names):  # AdaptedModel, names of adapters
    """Raises ConfigError when one of them can never be merged."""
    for name in names:
        adapted.adapters[name].check_mergeable()


def merge(adapted, names):
    """Merge these adapters, in this order, into every layer. When one fails, none is merged."""
    check_mergeable(adapted, names)
    try:
        for layer in adapted.layers:
            layer.merge(names)
    except BaseException:  # a broken adapter, no memory, Ctrl-C: not half of the layers
        unmerge(adapted)
        raise


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
