"""Where arrays live: NumPy's are found without an import, a missing GPU is one clear line, scatter_add adds up."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import strict_cupy
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_llama

from minilora.autograd import Tensor
from minilora.backend import (
    array_module,
    compute_beside,
    device_index,
    device_of,
    inner_columns,
    like,
    narrow_product,
    reads_in_place,
    require_cupy,
    scatter_add,
    to_device,
    to_host,
    working_type,
)
from minilora.errors import ConfigError, MiniloraError


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy raises ImportError


@pytest.mark.parametrize("x", [np.ones(2), np.float32(1), 1, 1.5, True, [1], (1, 2)])
def test_host_values_belong_to_numpy(x):
    assert array_module(x) is np


def test_an_array_of_another_library_is_found_by_its_type():
    import strict_cupy

    assert array_module(strict_cupy.asarray([1.0])) is strict_cupy


def test_on_the_cpu_nothing_is_copied():
    x = np.ones(3)
    assert to_host(x) is x
    assert to_device(x, "cpu") is x
    assert like(x, np.zeros(1)) is x
    assert Tensor(x).numpy() is x
    assert device_of(x) == "cpu"


def test_a_list_becomes_a_host_array():
    assert to_host([1, 2]).tolist() == [1, 2]


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)])
def test_the_index_of_a_device(device, index):
    assert device_index(device) == index


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1:2", "cuda:²", "cpu:0", "", None, 0])
def test_an_unknown_device_is_named(device):
    with pytest.raises(ConfigError, match="expected cpu, cuda or cuda:n") as error:
        to_device(np.ones(2), device)
    assert repr(device) in str(error.value)


def test_a_gpu_without_cupy_is_one_line_that_says_what_to_install(no_cupy):
    with pytest.raises(ConfigError, match=r"device cuda:0 needs CuPy: .*minilora\[cuda12\]") as error:
        require_cupy("cuda:0")
    assert isinstance(error.value, MiniloraError)
    assert "\n" not in str(error.value)


def test_a_tensor_that_cannot_move_stays_usable(no_cupy):
    x = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(ConfigError, match="device cuda needs CuPy"):
        x.to("cuda")
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_cupy_without_a_gpu_counts_no_device(monkeypatch):
    import strict_cupy

    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    monkeypatch.setattr(strict_cupy.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device cuda not found: CuPy sees 0 CUDA"):
        to_device(np.ones(2), "cuda")


def test_the_device_that_arrays_went_to_is_the_current_one_for_the_operations_that_follow(monkeypatch):
    import strict_cupy

    used = []
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    monkeypatch.setattr(strict_cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    monkeypatch.setattr(strict_cupy.Device, "use", lambda self: used.append(self.id))
    to_device(np.ones(2), "cuda:1")
    assert used == [1]


def test_importing_minilora_loads_neither_cupy_nor_matplotlib_nor_tokenizers():
    code = "import minilora, sys; print(sorted({'cupy', 'matplotlib', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_to_compute_beside_an_array_makes_its_device_current_and_the_host_has_none():
    x = strict_cupy.asarray(np.ones(2))
    strict_cupy.Device(1).use()
    compute_beside(np.ones(2))
    assert strict_cupy.Device().id == 1
    compute_beside(x)
    assert strict_cupy.Device().id == 0


# ---- scatter_add


@given(st.data())
def test_scatter_add_equals_add_at(data):
    rows, width = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 3))
    index = np.array(data.draw(st.lists(st.integers(0, rows - 1), max_size=12)), dtype=np.int64)
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    target, source = rng.standard_normal((rows, width)), rng.standard_normal((len(index), width))
    expected = target.copy()
    np.add.at(expected, index, source)
    scatter_add(target, index, source)
    np.testing.assert_allclose(target, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.intp])
def test_scatter_add_takes_any_width_of_index(dtype):
    target = np.zeros((3, 1), np.float32)
    scatter_add(target, np.array([2, 2, 0], dtype=dtype), np.ones((3, 1), np.float32))
    assert target.ravel().tolist() == [1, 0, 2]
    assert target.dtype == np.float32


def test_scatter_add_gives_the_same_bits_every_time():
    rng = np.random.default_rng(0)
    index, source = rng.integers(0, 3, 500), rng.standard_normal((500, 4)).astype(np.float32)
    first, second = np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)
    scatter_add(first, index, source)
    scatter_add(second, index, source)
    assert np.array_equal(first, second)


def test_scatter_add_does_not_write_into_its_source():
    source = np.ones((3, 2))
    scatter_add(np.zeros((2, 2)), np.array([0, 0, 1]), source)
    assert (source == 1).all()


@pytest.mark.parametrize("r", [1, 2, 5])
def test_a_narrow_product_is_the_product_of_matrices_to_the_bit(r, rng):
    u, M = rng.standard_normal((7, r)), rng.standard_normal((r, 4))
    assert np.array_equal(narrow_product(u, M), u @ M)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_inner_columns_adds_the_products_of_each_column_in_both_libraries(n, rng):
    a, b = rng.standard_normal((n, 3)), rng.standard_normal((n, 3))
    expected = [sum(a[:, i] * b[:, i]) for i in range(3)]
    assert np.allclose(inner_columns(a, b), expected, rtol=1e-14)
    assert np.allclose(to_host(inner_columns(strict_cupy.asarray(a), strict_cupy.asarray(b))), expected, rtol=1e-14)


FAULTS = """
import resource, sys
import numpy as np

def faults_of_a_round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1 << 20) for _ in range(4)]  # 8 MiB each: 2,048 pages
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of_a_round()
without = faults_of_a_round()
import minilora.backend  # sets it
faults_of_a_round()
print(without, faults_of_a_round())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_the_memory_of_freed_arrays_is_used_again_without_a_page_fault():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    without, kept = map(int, done.stdout.split())
    if without == 0:
        pytest.skip("this system keeps freed memory without being asked")
    assert kept < 20 < without


GRID = np.arange(6.0).reshape(2, 3)


def test_the_backend_finds_the_stand_in_by_the_type_of_its_arrays():
    x = strict_cupy.asarray(GRID)
    assert array_module(x) is strict_cupy
    assert device_of(x) == "cuda:0"
    assert isinstance(like(np.ones(2), x), strict_cupy.ndarray)
    assert to_host(x).tolist() == GRID.tolist()


def test_to_device_and_back_with_the_stand_in_in_the_place_of_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    x = to_device(GRID, "cuda:0")
    assert isinstance(x, strict_cupy.ndarray)
    assert to_device(x, "cuda") is x
    assert np.array_equal(to_device(x, "cpu"), GRID)
    with pytest.raises(ConfigError, match=r"cuda:1 not found: CuPy sees 1 CUDA device"):
        to_device(GRID, "cuda:1")
    model = tiny_llama().to("cuda")
    assert model.device == "cuda:0"
    assert model.to("cpu").device == "cpu"
    assert Tensor(GRID).to("cuda").to("cpu").data.tolist() == GRID.tolist()


def test_scatter_add_adds_up_repeated_rows():
    target = strict_cupy.asarray(np.zeros((3, 2)))
    scatter_add(target, strict_cupy.asarray(np.array([2, 0, 2])), strict_cupy.asarray(np.ones((3, 2))))
    assert target.get().tolist() == [[1, 1], [0, 0], [2, 2]]


@pytest.mark.parametrize("dtype", [np.float32, "float64", np.dtype("float32")])
def test_float32_and_float64_are_types_to_compute_in(dtype):
    assert working_type(dtype) == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", np.int64, None, "complex64", "nonsense"])
def test_another_type_to_compute_in_is_refused(dtype):
    with pytest.raises(ConfigError, match="expected float32 or float64"):
        working_type(dtype)


@pytest.mark.parametrize(
    ("blas", "found", "threads", "expected"),
    [
        ("scipy-openblas", ["X86_V3", "X86_V4"], 1, True), ("openblas64", ["AVX512_SKX"], 2, True),
        ("scipy-openblas", ["X86_V4"], 4, False), ("scipy-openblas", ["X86_V3"], 1, False),
        ("mkl", ["X86_V4"], 1, False),
    ],
)  # fmt: skip
def test_openblas_reads_small_matrices_in_place_on_processors_with_avx_512(monkeypatch, blas, found, threads, expected):
    config = {"Build Dependencies": {"blas": {"name": blas}}, "SIMD Extensions": {"found": found}}
    monkeypatch.setattr(np, "show_config", lambda mode: config)
    monkeypatch.setattr("minilora.backend.threads", lambda: threads)
    assert reads_in_place.__wrapped__() is expected


def test_a_numpy_that_does_not_describe_itself_is_taken_as_usual(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert not reads_in_place.__wrapped__()
