"""Reading codes on a GPU in one kernel. test_nf4.py and test_int8.py compare its numbers with those of a CPU."""

import numpy as np
import pytest
import strict_cupy
from launches import count_launches

from minilora.quantization.int8 import Int8
from minilora.quantization.kernels import chosen
from minilora.quantization.nf4 import FourBit

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
