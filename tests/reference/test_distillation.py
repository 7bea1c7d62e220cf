"""The divergence of a distillation, beside torch's kl_div."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from minilora.autograd import Tensor  # noqa: E402
from minilora.training.distillation import divergence  # noqa: E402

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
@pytest.mark.parametrize(("dtype", "rounding"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_value_and_gradient_are_those_of_torchs_kl_div(temperature, dtype, rounding):
    student, teacher = ((RNG.standard_normal((6, 40)) * 3).astype(dtype) for _ in range(2))
    theirs = torch.tensor(student, requires_grad=True)
    log_q = torch.log_softmax(theirs / temperature, -1)
    p = torch.softmax(torch.tensor(teacher) / temperature, -1)
    expected = torch.nn.functional.kl_div(log_q, p, reduction="batchmean") * temperature**2
    expected.backward()
    ours = Tensor(student, requires_grad=True)
    value = divergence(ours, teacher, temperature)
    value.backward()
    assert value.dtype == dtype and value.item() == pytest.approx(expected.item(), rel=rounding)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=rounding * 10, atol=rounding)
