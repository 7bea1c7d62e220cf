"""The norms on a device: ops/test_ops.py compares their numbers with NumPy's, here their launches are counted."""

import numpy as np
import pytest
import strict_cupy
from launches import count_launches

from minilora import ops
from minilora.autograd import Tensor


def tensor(*shape, learns):
    return Tensor(strict_cupy.asarray(np.ones(shape, np.float32)), requires_grad=learns)


@pytest.mark.parametrize(
    ("norm", "weights", "launches"),
    [(ops.rms_norm, 1, {False: (2, 2), True: (2, 4)}), (ops.layer_norm, 2, {False: (4, 3), True: (4, 6)})],
)
@pytest.mark.parametrize("learns", [False, True], ids=["frozen", "trained"])
def test_a_norm_is_a_few_launches(norm, weights, launches, learns):
    x, w = tensor(2, 5, 8, learns=True), [tensor(8, learns=learns) for _ in range(weights)]
    g = strict_cupy.asarray(np.ones((2, 5, 8), np.float32))
    with count_launches() as forward:
        y = norm(x, *w)
    with count_launches() as backward:
        y.backward(g)
    assert (len(forward), len(backward)) == launches[learns], backward.table()
