"""CuPy's own tracer of fused functions, which works without a card: what kernel a function becomes, in which types."""

from types import SimpleNamespace

import numpy as np
import pytest


class Traced:
    """All that CuPy's tracer asks of an array."""

    def __init__(self, dtype, ndim=2):
        self.dtype, self.ndim = np.dtype(dtype), ndim


def traced(monkeypatch, function, kinds):  # -> ElementwiseKernel or ReductionKernel, its history
    """The kernel of `function`, called with `kinds`: Traced, or NumPy numbers.

    It raises where CuPy's first tracer cannot make one kernel.
    """
    pytest.importorskip("cupy", reason="CuPy is not installed")
    from cupy._core import core, fusion

    pieces = SimpleNamespace(elementwise_copy=core.elementwise_copy, create_ufunc=core.create_ufunc)
    monkeypatch.setattr(fusion, "core", SimpleNamespace(ndarray=Traced, **vars(pieces)))
    history = fusion._FusionHistory()
    monkeypatch.setattr(fusion._thread_local, "history", history, raising=False)
    monkeypatch.setattr(fusion._thread_local, "is_old_fusing", True, raising=False)
    return history.get_fusion(function, kinds, function.__name__)[0], history


def types_of(history):
    """The names of the types in which a kernel computes."""
    return {np.dtype(t).name for step in history.op_list + history.postmap_op_list for t in step.dtypes}
