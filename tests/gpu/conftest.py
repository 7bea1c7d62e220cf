"""Each test here runs in two ways: on a stand-in for CuPy that refuses what a GPU would, and on a card.

python -m pytest tests/gpu              the stand-in
python -m pytest -m gpu tests/gpu       a CUDA device: pip install "minilora[cuda12]", or cuda13

On a card the first run compiles some 700 kernels, which a process for each file does sooner (the command is in
benchmarks/RESULTS.md). A kernel that breaks the device for its process fails every test behind it: look at the first.
"""

import sys

import pytest
import strict_cupy

CARD = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # what CuPy warns of is shown, and fails nothing


@pytest.fixture(params=["stand-in", pytest.param("card", marks=CARD)])
def device(request, monkeypatch):
    """The name of a device that is not the CPU."""
    if request.param == "card":
        cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
        if not cupy.cuda.is_available():
            pytest.skip("no CUDA device")
    else:
        monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    return "cuda"


@pytest.fixture
def second(device, monkeypatch):
    """The name of a second device."""
    cupy = sys.modules["cupy"]
    if cupy is strict_cupy:
        monkeypatch.setattr(strict_cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one CUDA device")
    yield "cuda:1"
    cupy.cuda.Device(0).use()
