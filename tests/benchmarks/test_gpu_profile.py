"""The reader of a profiler's trace, on a trace written by hand; and the measurement, rehearsed."""

import pytest

from benchmarks.gpu import profile


def event(cat, name, ts, dur, **args):
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": args}


# two calls; times in microseconds
#      0    100   200   300   400   500   600   700   800
#      |copy 90|  |gemm 150    |    |gelu 100| |gemm 100|
#                     |other stream 100|               |DtoH 50|
TRACE = {
    "traceEvents": [
        {"ph": "M", "name": "process_name"},
        event("user_annotation", "measured", 0, 700),
        event("cpu_op", "aten::mm", 5, 10),
        event("cuda_runtime", "cudaMemcpyAsync", 6, 4),
        event("cuda_runtime", "cudaStreamSynchronize", 20, 30),
        event("cuda_driver", "cuStreamSynchronize", 60, 1),
        event("cuda_runtime", "cudaDeviceSynchronize", 710, 100),  # behind the calls: our own
        event("kernel", "sm90_xmma_gemm_f32", 650, 100),
        event("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", 10, 90, bytes=4096),
        event("kernel", "sm90_xmma_gemm_f32", 150, 150),
        event("kernel", "other_stream", 250, 100),
        event("kernel", "gelu", 500, 100),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 740, 50, bytes=8),
    ]
}


def test_a_trace_is_read_to_the_times_and_counts_of_one_call():
    found = profile.summary(TRACE, calls=2)
    assert found["launches"] == 2
    assert found["kernels"] == (100 + 150 + 100 + 100) / 2 / 1e3
    assert found["busy"] == (90 + 200 + 100 + 140) / 2 / 1e3  # where two run at once the time counts once
    assert found["products"] == (100 + 150) / 2 / 1e3
    assert found["gaps"] == pytest.approx((50 + 150 + 50) / 2 / 1e3)
    assert found["copies"] == {"DtoH": [0.5, 4.0], "HtoD": [0.5, 2048.0]}
    assert found["waits"] == 1
    assert found["slowest"][0] == ["sm90_xmma_gemm_f32", 0.125, 1.0]
    assert found["stalls"][0] == [0.15, "other_stream", "gelu"]
    assert [stall[0] for stall in found["stalls"]] == [0.15, 0.05, 0.05]


def test_a_kernel_inside_another_ends_no_gap():
    inner = [event("kernel", "long", 0, 100), event("kernel", "inside", 10, 20), event("kernel", "next", 130, 10)]
    assert profile.busy_and_stalls(inner) == (110, [(30, "long", "next")])


def test_only_the_longest_are_kept():
    events = [event("kernel", f"k{i}", 10 * i, i) for i in range(1, 9)]
    region = event("user_annotation", "measured", 0, 1)
    found = profile.summary({"traceEvents": [region, *events]}, calls=1, longest=3)
    assert [name for name, *_ in found["slowest"]] == ["k8", "k7", "k6"]
    assert [stall[0] for stall in found["stalls"]] == [0.009, 0.008, 0.007]


def test_a_trace_without_kernels_says_so():
    found = profile.summary({"traceEvents": [event("user_annotation", "measured", 0, 9)]}, calls=1)
    assert found == {"launches": None}
    line = profile.row(
        {"width": 64, "trained": "q,v", "precision": "float32", "side": "here", "wall": 1, "host": 1} | found
    )
    assert "the profiler saw no kernel" in line


def test_a_row_lists_the_slowest_kernels_and_the_longest_gaps_under_its_figures():
    about = {"width": 64, "trained": "q,v", "precision": "float32", "side": "here", "wall": 1, "host": 1}
    first, *below = profile.row(about | profile.summary(TRACE, calls=2)).split("\n")
    assert len(first) == len(profile.PROFILE.head) and "26%" in first
    assert len(below) == 3 + 3 and below[3].endswith("idle after other_stream, before gelu")


@pytest.mark.reference
def test_both_sides_are_profiled(card):
    pytest.importorskip("peft")
    case = profile.PROFILE.small[0] | {"width": 32, "heads": 2, "layers": 1, "tokens": 8, "seconds": 0, "calls": 1}
    rows = list(profile.measure(**case))
    assert [r["side"] for r in rows] == ["here", "torch"]
    for r in rows:
        assert r["launches"] is None and 0 < r["host"] and 0 < r["wall"]  # neither side has a device here


@pytest.mark.reference
def test_the_profiler_writes_the_region_and_the_times_that_the_reader_expects(card):
    torch = pytest.importorskip("torch")
    x = torch.ones(8, 8)
    trace = profile.traced(lambda: x @ x, calls=3)
    (region,) = [e for e in trace["traceEvents"] if e.get("name") == "measured" and e.get("cat") == "user_annotation"]
    products = [e for e in trace["traceEvents"] if e.get("name") == "aten::mm"]
    assert len(products) == 3
    assert all(region["ts"] <= e["ts"] < region["ts"] + region["dur"] for e in products)
