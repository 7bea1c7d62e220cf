"""The stand-in for CuPy refuses what a GPU would; every operation and the whole model run on it as they do on NumPy."""

import copy
import itertools
import pickle
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
import strict_cupy
from strict_cupy import count_syncs
from tiny import random_ids, tiny_llama, with_lora

from minilora import ops
from minilora.backend import to_host
from minilora.training.callbacks import History
from minilora.training.loop import train
from minilora.training.optim import AdamW, clip_grad_norm_

xp = strict_cupy


def boxed(a):
    return strict_cupy.asarray(a)


def on_stand_in(model):
    """Every weight of `model` moved into boxes, where model.to("cuda") would move it to a GPU."""
    for p in model.parameters():
        p.data = boxed(p.data)
    return model


# ---- portability mistakes that NumPy lets pass: each runs on NumPy arrays, and is refused here

x64 = np.arange(6.0).reshape(2, 3)
MISTAKES = {
    "a function of np on a device array": lambda xp, x: np.exp(x),
    "a reduction of np on a device array": lambda xp, x: np.sum(x),
    "np.asarray of a device array": lambda xp, x: np.asarray(x),
    "a host array in an expression": lambda xp, x: x + np.ones(3),
    "a host array on the left": lambda xp, x: np.ones(3) * x,
    "a host array in a function": lambda xp, x: xp.maximum(x, np.ones(3)),
    "a host array in where": lambda xp, x: xp.where(np.ones((2, 3), bool), x, 0.0),
    "a list in a function": lambda xp, x: xp.add(x, [1.0, 2.0, 3.0]),
    "a host array assigned": lambda xp, x: x.__setitem__(0, np.ones(3)),
    "a host array added in place": lambda xp, x: x.__iadd__(np.ones(3)),
    "a host array as an index": lambda xp, x: x[np.array([0, 1])],
    "a list as an index": lambda xp, x: x[[0, 1]],
    "a host mask": lambda xp, x: x[np.ones((2, 3), bool)],
    "a host index of an assignment": lambda xp, x: x.__setitem__(np.array([0]), 1.0),
    "duplicate indices in an assignment": lambda xp, x: x.__setitem__(xp.asarray([0, 0]), 1.0),
    "where= of a ufunc": lambda xp, x: xp.log(x, where=x > 0, out=x),
    "where= of a sum": lambda xp, x: x.sum(where=x > 0),
    "initial= of a max": lambda xp, x: x.max(initial=0.0),
    "out= of einsum": lambda xp, x: xp.einsum("ij->i", x, out=xp.zeros(2)),
    "maximum.reduce": lambda xp, x: xp.maximum.reduce(x),
    "a host index in add.at": lambda xp, x: xp.add.at(x, np.array([0]), 1.0),
    "a name that CuPy lacks": lambda xp, x: xp.vecdot(x, x),
    "a name of linalg that CuPy lacks": lambda xp, x: xp.linalg.vector_norm(x),
    "errstate": lambda xp, x: xp.errstate(over="ignore"),
    "a method that CuPy lacks": lambda xp, x: x.setflags(write=False),
    "a device number as a count": lambda xp, x: range(x.argmax()),
    "a device number in a slice": lambda xp, x: x[: x.argmax()],
    "a device number as a key": lambda xp, x: {x.argmax(): 1},
    "the host's random numbers": lambda xp, x: xp.random.default_rng(0).permutation(3),
    "words": lambda xp, x: xp.asarray(["a", "b"]),
    "bfloat16 of ml_dtypes": lambda xp, x: xp.asarray(np.ones(2, ml_dtypes.bfloat16)),
    "casting= of astype": lambda xp, x: x.astype(np.float32, casting="same_kind"),
    "a place in item": lambda xp, x: x.item(0),
    "a part assigned to a part that overlaps": lambda xp, x: x[0].__setitem__(slice(1, 3), x[0, :2]),
    "rows assigned from the same rows": lambda xp, x: x.__setitem__(xp.asarray([0, 1]), x[::-1]),
    "add.at into 8 bits": lambda xp, x: xp.add.at(xp.zeros(3, np.int8), xp.asarray([0]), 1),
    "subtract.at of floats": lambda xp, x: xp.subtract.at(x, xp.asarray([0]), 1.0),
    "a number of NumPy in searchsorted": lambda xp, x: xp.searchsorted(x[0], np.float32(1)),
    "a condition that is no array": lambda xp, x: xp.where(True, x, 0.0),
    "a list in take": lambda xp, x: xp.take(x, [0, 1]),
    "a list in a function that is no ufunc": lambda xp, x: xp.clip([1.0, 2.0], 0, 1),
    "pickle": lambda xp, x: pickle.dumps(x),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_portability_mistake_passes_on_numpy_and_is_refused_by_the_stand_in(name):
    MISTAKES[name](np, x64.copy())
    with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError)):
        MISTAKES[name](strict_cupy, boxed(x64))


NOT_FUSED = {
    "an index": lambda x: x[0],
    "a method": lambda x: x.sum(),
    "a function that is no ufunc": lambda x: strict_cupy.tril(x),
    "where without values": lambda x: strict_cupy.where(x > 0),
    "a matrix product": lambda x: x @ x.T,
}


@pytest.mark.parametrize("name", NOT_FUSED)
def test_a_fused_function_that_does_more_than_arithmetic_is_refused(name):
    with pytest.raises(TypeError, match="only element-wise"):
        strict_cupy.fuse()(NOT_FUSED[name])(boxed(x64))
    NOT_FUSED[name](boxed(x64))  # afterwards, and outside of it, it is allowed


def test_a_fused_function_may_choose_between_values_and_change_their_type():
    chosen = strict_cupy.fuse()(lambda x: strict_cupy.where(x > 0, x, 0).astype(np.float32))(boxed(x64))
    assert chosen.dtype == np.float32 and np.array_equal(chosen.get(), np.where(x64 > 0, x64, 0).astype(np.float32))


def test_a_python_number_given_to_a_fused_function_is_refused_because_it_would_be_float64():
    scale = strict_cupy.fuse()(lambda x, factor: x * factor)
    assert scale(boxed(x64.astype(np.float32)), np.float32(2)).dtype == np.float32
    with pytest.raises(TypeError, match="float64"):
        scale(boxed(x64), 2.0)


WAITS = {
    "float": lambda xp, x: float(x.sum()),
    "if": lambda xp, x: 1 if x.max() > 0 else 0,
    "int": lambda xp, x: int(x.argmax()),
    "print": lambda xp, x: str(x),
    "an f-string": lambda xp, x: f"{x.sum():.3f}",
    "item": lambda xp, x: x.sum().item(),
    "tolist": lambda xp, x: x.tolist(),
    "a mask as an index": lambda xp, x: x[x > 1],
    "where with one argument": lambda xp, x: xp.where(x > 1),
    "nonzero": lambda xp, x: xp.nonzero(x),
    "tobytes": lambda xp, x: x.tobytes(),
    "a number assigned by a mask": lambda xp, x: x.__setitem__(x > 1, 0.0),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_makes_the_host_wait_is_counted(name):
    with count_syncs() as syncs:
        WAITS[name](strict_cupy, boxed(x64))
    assert syncs


PLAIN = {
    "arithmetic": lambda xp, x: (2 * x - x / 3) ** 2 + -abs(x) @ x.T[:, :1],
    "numpy numbers": lambda xp, x: np.float32(2) * x + np.int64(1),
    "products": lambda xp, x: xp.einsum("ij,kj->ik", x, x) + xp.matmul(x, x.T),
    "in place": lambda xp, x: xp.multiply(x, x, out=x.copy()),
    "indices": lambda xp, x: x[:, None, ::-1][..., 1] + x[xp.asarray([1, 0, 1])][:2, :1],
    "comparison": lambda xp, x: xp.where(x > 2, x, 0),
    "joining": lambda xp, x: xp.concatenate([x, x.reshape(3, 2).T], axis=1),
    "reduction": lambda xp, x: x.mean(axis=-1, keepdims=True) + x.max() - xp.linalg.norm(x),
    "several axes": lambda xp, x: x[None].sum(axis=(0, 2), keepdims=True) + x.transpose([1, 0])[:1, :1],
    "a reversed slice": lambda xp, x: x[::-1, ::2] * x[:, -1:0:-1],
    "empty products": lambda xp, x: x[:, :0] @ x[:, :0].T + x[:0].sum(),
    "numbers of 8 and 16 bits": lambda xp, x: (x.astype(np.uint8) << 4 | 3).astype(np.float16) + np.float16(1),
    "a product into a part": lambda xp, x: xp.matmul(x, x.T, out=xp.zeros((2, 5))[:, 1:3]),
    "the bits of a number": lambda xp, x: x.astype(np.float32).view(np.uint32) >> 16,
    "sums by index": lambda xp, x: [y := x.copy(), xp.add.at(y, xp.asarray([1, 1, 0]), x[0])][0],
    "an index for each of two axes": lambda xp, x: x[xp.asarray([[0], [1]]), xp.asarray([2, 0])],
    "numpy's number in where": lambda xp, x: xp.where(x > 2, np.float32(1), x.astype(np.float32)),
    "singular values": lambda xp, x: xp.linalg.svd(x, full_matrices=False)[1],
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_both_libraries_have_gives_the_same_numbers_without_a_wait(name):
    with count_syncs() as syncs:
        result = PLAIN[name](strict_cupy, boxed(x64))
    expected = PLAIN[name](np, x64.copy())
    assert isinstance(result, strict_cupy.ndarray)
    assert not syncs
    assert result.dtype == np.asarray(expected).dtype
    assert np.array_equal(result.get(), expected)


def test_views_share_a_base_and_copies_do_not():
    x = boxed(x64)
    assert x[0].base is x
    assert x[0].reshape(3, 1).T.base is x
    assert (x + 1).base is None
    assert x.copy().base is None
    assert boxed(x) is x
    assert boxed(x64).get() is not x64


def test_an_element_is_a_view_and_not_a_number_of_its_own():
    x, plain = boxed(x64), x64.copy()
    for array in (x, plain):
        element = array[0, 1]
        element += 10
    assert plain[0, 1] == 1  # NumPy's number changed alone
    assert x.get()[0, 1] == 11
    assert x[0, 1].base is x


def test_a_result_is_in_the_order_of_c_also_where_numpy_keeps_another():
    assert (x64.T + 1).flags.f_contiguous and not (x64.T + 1).flags.c_contiguous
    assert (boxed(x64).T + 1).flags.c_contiguous


def test_a_copy_of_an_array_is_one_on_the_device():
    x = boxed(x64)
    for other in (copy.copy(x), copy.deepcopy(x)):
        assert isinstance(other, strict_cupy.ndarray) and other is not x and other.base is None


# ---- two devices: a kernel runs on the current device of its thread, and takes arrays from there alone


@pytest.fixture
def two_devices(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    monkeypatch.setattr(strict_cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    yield
    strict_cupy.Device(0).use()


USES = {
    "arithmetic": lambda x: x + 1,
    "a ufunc": lambda x: xp.exp(x),
    "a function": lambda x: xp.concatenate([x, x]),
    "a reduction": lambda x: x.sum(),
    "an index array": lambda x: x[xp.asarray([0])],
    "an assignment": lambda x: x.__setitem__(0, 1.0),
    "an assignment from there": lambda x: xp.zeros((2, 3)).__setitem__(..., x),
    "in place": lambda x: x.__iadd__(1),
    "out=": lambda x: xp.exp(xp.zeros((2, 3)), out=x),
    "add.at": lambda x: xp.add.at(x, xp.asarray([0]), 1.0),
}


@pytest.mark.parametrize("name", USES)
def test_an_array_of_another_device_than_the_current_one_is_refused(name, two_devices):
    x = boxed(x64)
    strict_cupy.Device(1).use()
    with pytest.raises(ValueError, match=r"resides \(0\) is different from the current device \(1\)"):
        USES[name](x)
    with x.device:
        USES[name](x)
    assert strict_cupy.Device().id == 1


def test_views_and_copies_of_an_array_of_another_device_are_allowed(two_devices):
    x = boxed(x64)
    strict_cupy.Device(1).use()
    assert [v.device.id for v in (x[0], x.T, x.reshape(-1))] == [0, 0, 0]
    assert [v.device.id for v in (x.copy(), xp.asarray(x))] == [1, 1]
    assert np.array_equal(x.get(), x64) and float(x[0, 1]) == 1.0


def test_another_thread_starts_with_device_0(two_devices):
    strict_cupy.Device(1).use()
    seen = []
    thread = threading.Thread(target=lambda: seen.append(boxed(x64).device.id))
    thread.start(), thread.join()
    assert seen == [0] and boxed(x64).device.id == 1


# ---- minilora on it


def test_generation_copies_to_the_host_once_per_token():
    model = on_stand_in(tiny_llama())
    with count_syncs() as syncs:
        model.generate([[3, 1, 4], [9]], 6)
    assert syncs == ["get"] * 6


def test_a_training_step_never_waits_for_the_device():
    model = on_stand_in(with_lora(tiny_llama(), "all-linear", dropout=0.1))
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(params, lr=1e-3)
    model.train()
    with count_syncs() as syncs:
        for _ in range(2):
            model.loss(random_ids(), random_ids(), rng=np.random.default_rng(0)).backward()
            clip_grad_norm_(params, 1.0)
            optimizer.step()
            optimizer.zero_grad()
    assert syncs == []


def test_the_training_loop_looks_at_the_device_only_when_the_history_reads():
    model = on_stand_in(with_lora(tiny_llama()))
    batches = itertools.repeat((random_ids(), random_ids()))
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    history, seen = History(every=4), []
    with count_syncs() as syncs:
        train(model, batches, optimizer, 10, callbacks=[history, lambda run: seen.append(len(strict_cupy._syncs))])
    waited = [step for step, (a, b) in enumerate(zip(seen, seen[1:], strict=False), start=1) if b > a]
    assert waited == [4, 8, 10]  # every fourth step, and the last
    assert len(syncs) <= 2 * len(waited)  # the losses, and the gradient norm
    assert len(history.loss) == 10


def test_ids_that_are_on_the_device_already_need_no_upload_and_no_wait():
    model = on_stand_in(tiny_llama())
    ids = random_ids()
    with count_syncs() as syncs:
        logits = model(boxed(ids))
        ops.cross_entropy(logits, boxed(ids)).backward()
    assert not syncs
    assert np.array_equal(to_host(logits.data), to_host(model(ids).data))


@pytest.mark.parametrize(
    ("function", "refused"),
    [
        (lambda x: strict_cupy.sum(x * x, axis=-1), None),
        (lambda x: strict_cupy.sum(x * x, axis=-1) + 1, "behind the sum"),
        (
            lambda x: strict_cupy.sum(x, axis=-1, keepdims=True),
            "sum inside a fused function",
        ),  # CuPy would drop keepdims
        (lambda x: x.sum(axis=-1), "inside a fused function"),
        (lambda x: strict_cupy.max(x, axis=-1), "max inside a fused function"),
    ],
)
def test_a_fused_function_may_end_with_one_sum(function, refused):
    x = strict_cupy.asarray(np.ones((2, 3), np.float32))
    if refused is None:
        assert strict_cupy.fuse()(function)(x).get().tolist() == [3, 3]
    else:
        with pytest.raises(TypeError, match=refused):
            strict_cupy.fuse()(function)(x)


def test_a_fused_sum_over_rows_beside_a_column_is_refused():
    product = strict_cupy.fuse()(lambda a, b: strict_cupy.sum(a * b, axis=-1))
    rows, columns, column, row = (strict_cupy.asarray(np.ones(n, np.float32)) for n in ((4, 3), (3, 4), (4, 1), (3,)))
    assert product(rows, row).get().tolist() == product(column, columns.T).get().tolist() == [3] * 4
    with pytest.raises(ValueError, match="beside a column"):
        product(rows, column)
