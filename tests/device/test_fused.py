"""Each chain that CuPy fuses into one kernel: the package uses it, and on NumPy arrays it gives the same numbers."""

import inspect
from pathlib import Path

import numpy as np
import strict_cupy

import minilora
from minilora.device import fused


def test_every_chain_is_used_and_is_the_same_on_numpy_arrays(rng):
    chains = fused.chains(np)
    assert chains
    source = "".join(p.read_text(encoding="utf-8") for p in Path(minilora.__file__).parent.rglob("*.py"))
    for name, chain in chains.items():
        assert f"kernels(xp).{name}(" in source or f"fused.{name}(" in source
        arrays = [rng.random((2, 3), dtype=np.float32) for _ in inspect.signature(chain).parameters]
        on_device = [strict_cupy.asarray(a) for a in arrays]
        ours = getattr(fused.kernels(strict_cupy), name)(*on_device)
        expected = chain(*arrays)
        if expected is None:  # it wrote into its arguments
            ours, expected = tuple(on_device), tuple(arrays)
        for a, b in zip(*(r if isinstance(r, tuple) else [r] for r in (ours, expected)), strict=True):
            assert a.dtype == np.float32 and np.array_equal(a.get(), b)
