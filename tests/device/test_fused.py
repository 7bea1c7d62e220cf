"""Each chain that CuPy fuses into one kernel: the package uses it, and on NumPy arrays it gives the same numbers."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import strict_cupy
from tracer import Traced, traced, types_of

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


# ---- in CuPy itself, which traces a chain without a card


@pytest.fixture
def trace(monkeypatch):
    cupy = pytest.importorskip("cupy")

    def trace(name, dtype):  # -> ElementwiseKernel or ReductionKernel, its history
        chain = fused.chains(cupy)[name]
        names = inspect.signature(chain).parameters
        kinds = [np.dtype(dtype).type(0.5) if name in NUMBERS else Traced(dtype) for name in names]
        return traced(monkeypatch, chain, kinds)

    return trace


NUMBERS = set("scale n beta1 rest1 beta2 rest2 rate keep".split())
each_chain = pytest.mark.parametrize("name", fused.chains(np))


@each_chain
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_cupy_makes_one_kernel_of_a_chain_in_the_type_of_its_arrays(trace, name, dtype):
    kernel, history = trace(name, dtype)  # raises for what CuPy's first tracer cannot put in one kernel
    assert types_of(history) == {dtype}
    assert {p.dtype.name for p in kernel.in_params + kernel.out_params} == {dtype}
    assert type(kernel).__name__ == ("ReductionKernel" if name.startswith("sum_") else "ElementwiseKernel")


@each_chain
def test_the_compiler_of_cuda_accepts_a_chain(trace, name):
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc")
    kernel, history = trace(name, "float32")
    given = [f"{'float' if p.is_const else 'float &'} {p.name}" for p in kernel.in_params + kernel.out_params]
    if hasattr(kernel, "operation"):
        code = f"__device__ void chain({', '.join(given)}) {{ {kernel.operation} }}"
    else:  # the sum itself is CuPy's
        code = f"__device__ float chain({', '.join(given[: len(kernel.in_params)])}) {{ return {kernel.map_expr}; }}"
    source = kernel.preamble.replace('#include "cupy/float16.cuh"', "") + code
    try:
        program = nvrtc.createProgram(source, f"{name}.cu", (), ())
    except Exception as error:  # CuPy raises its own when the library is not there
        pytest.skip(str(error))
    nvrtc.compileProgram(program, ("-arch=compute_90",))
