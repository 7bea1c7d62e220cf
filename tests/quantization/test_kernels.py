"""Reading codes on a GPU in one kernel. test_nf4.py and test_int8.py compare its numbers with those of a CPU."""

import numpy as np
import pytest
import strict_cupy
from launches import count_launches
from tracer import Traced, traced, types_of

from minilora.quantization.int8 import TO_ONE, Int8
from minilora.quantization.kernels import chosen, eight_bits, four_bits
from minilora.quantization.nf4 import VALUES, FourBit

FORMATS = {"nf4": FourBit.of, "nf4, double": lambda W: FourBit.of(W, double=True), "int8": Int8.of}


def test_each_number_of_four_bits_chooses_its_value():
    code, values = np.arange(16)[::-1], np.arange(16) * 10.0
    assert chosen(np, values, [(code & bit) > 0 for bit in (8, 4, 2, 1)]).tolist() == (code * 10).tolist()


@pytest.mark.parametrize("format, launches", [("nf4", 1), ("nf4, double", 4), ("int8", 1)])  # three of the scales
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_gpu_reads_a_whole_weight_in_one_kernel(format, launches, kind):
    W = np.random.default_rng(0).standard_normal((48, 128)).astype(np.float32)
    stored = FORMATS[format](strict_cupy.asarray(W))
    stored.rows(0, 48)  # uploads the tables
    with count_launches() as found:
        read = list(stored.blocks(kind))
    assert len(read) == 1 and read[0][1].dtype == kind
    assert len(found) == launches and not found.copies() and not found.uploads


@pytest.mark.parametrize("format", FORMATS)
def test_a_gpu_makes_no_second_copy_of_a_whole_weight(format):
    stored = FORMATS[format](strict_cupy.asarray(np.ones((256, 128), np.float32)))
    stored.dense()  # uploads the tables
    with count_launches() as found:
        stored.dense()
    assert not found.copies()


# ---- in CuPy itself, which traces them without a card


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_cupy_computes_in_float32_what_it_reads_and_rounds_once(monkeypatch, kind):
    cupy = pytest.importorskip("cupy")
    eight = eight_bits(cupy, TO_ONE, np.dtype(kind))
    kernel, history = traced(monkeypatch, eight, [Traced("int8"), Traced("float32")])
    assert types_of(history) == {"float32", kind} and kernel.out_params[0].dtype == kind
    four = four_bits(cupy, tuple(VALUES["nf4"].tolist()))
    kernel, history = traced(monkeypatch, four, [Traced(t) for t in ("uint8", "float32", kind, kind)])
    assert types_of(history) - {kind} <= {"float32", "uint8", "int64", "bool"}
    assert all(f" = {value!r}f;" in kernel.operation for value in VALUES["nf4"].tolist())
