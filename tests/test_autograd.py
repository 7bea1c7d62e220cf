"""The tape: what backward() adds where, what it frees, and that no two arrays that a user sees share memory."""

import itertools
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from minilora import ops
from minilora.autograd import Tensor, is_recording, no_grad, record
from minilora.course.lab.products import count_products, counted
from minilora.errors import GraphError, MiniloraError, ShapeError


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


# ---- what backward computes


@pytest.mark.slow
def test_a_chain_of_50000_operations_does_not_hit_the_recursion_limit():
    x = leaf(2)
    y = x
    for _ in range(50_000):
        y = y + 1.0
    y.backward(np.array([2.0, 3.0]))
    assert x.grad.tolist() == [2, 3]


@pytest.mark.slow
def test_dropping_a_chain_of_50000_operations_without_a_backward_does_not_crash():
    x = leaf(2)
    y = x
    for _ in range(50_000):
        y = y * 1.0
    gone = weakref.ref(y)
    del y
    assert gone() is None


def test_a_tensor_used_twice_gets_the_sum_of_both_gradients():
    x = Tensor(np.array([2.0, 5.0]), requires_grad=True)
    (x * x + x * 3.0).sum().backward()
    assert x.grad.tolist() == [2 * 2 + 3, 2 * 5 + 3]


def test_a_diamond_is_walked_once_and_in_order():
    x = Tensor(np.array(3.0), requires_grad=True)
    calls = []

    def square(t):
        return record(t.data * t.data, (t,), lambda g: calls.append(1) or (2 * t.data * g,))

    a = square(x)  # x²
    (a * a + a).backward()  # x⁴ + x²
    assert x.grad == 4 * 27 + 2 * 3
    assert len(calls) == 1


@pytest.mark.parametrize("reduce", [Tensor.mean, Tensor.sum])
@pytest.mark.parametrize("axis", [None, 0])
def test_a_reduction_of_a_tensor_that_is_used_again_adds_up(reduce, axis):
    # the gradient of a reduction is one number repeated; it must be an array that can be added to
    x = leaf(3, 4)
    once = leaf(3, 4)
    (reduce(x, axis=axis) * 2.0 + reduce(x, axis=axis) * 1.0).sum().backward()
    (reduce(once, axis=axis) * 3.0).sum().backward()
    np.testing.assert_allclose(x.grad, once.grad, rtol=1e-15)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
@pytest.mark.parametrize("inner", [False, True], ids=["leaf", "computed"])
def test_slices_add_up_with_each_other_and_with_the_whole_in_any_order(order, inner):
    x = leaf(3, 4)
    y = x * 1.0 if inner else x
    # two that overlap; one whose gradient is also the other summand's; one that makes an array of its own
    other = leaf(3, 4, seed=5)
    consumers = [y[1:], y[:, 2], y + other, y * 2.0]
    factors = [leaf(2, 4, seed=1), leaf(3, seed=2), leaf(3, 4, seed=3), leaf(3, 4, seed=4)]
    loss = Tensor(np.zeros(()))
    for i in order:
        loss = loss + (consumers[i] * factors[i].data).sum()
    loss = loss + (other * 0.0).sum()  # so that `other` is the last to be walked
    loss.backward()
    expected = factors[2].data + 2 * factors[3].data
    expected[1:] += factors[0].data
    expected[:, 2] += factors[1].data
    np.testing.assert_allclose(x.grad, expected, rtol=1e-14)
    np.testing.assert_array_equal(other.grad, factors[2].data)


@pytest.mark.parametrize("slice_first", [False, True])
def test_a_slice_of_a_single_number_adds_up_with_the_number(slice_first):
    x = Tensor(2.0, requires_grad=True)
    parts = [x[...], x[None].sum(), x * x]
    (parts[0] + parts[1] + parts[2] if slice_first else parts[2] + parts[1] + parts[0]).backward()
    assert x.grad == 6 and isinstance(x.grad, np.ndarray)


def test_a_computed_tensor_leaves_its_history_behind_when_it_is_moved():
    x = leaf(3)
    assert x.to("cpu").requires_grad
    with pytest.raises(GraphError, match="depends on nothing with requires_grad=True"):
        x.sum().to("cpu").backward()  # instead of a backward that reaches nobody


def test_two_losses_accumulate_in_grad():
    x = leaf(3)
    (x * 2.0).sum().backward()
    (x * 5.0).sum().backward()
    assert x.grad.tolist() == [7, 7, 7]


def test_accumulating_leaves_the_array_that_the_user_kept_as_it_was():
    x = leaf(3)
    x.sum().backward()
    kept = x.grad
    x.sum().backward()
    assert kept.tolist() == [1, 1, 1]
    assert x.grad.tolist() == [2, 2, 2]


def test_retain_graph_twice_gives_exactly_twice_the_gradient():
    x, w = leaf(4, 3), leaf(5, 3, seed=1)
    loss = ops.silu(ops.linear(x, w)).sum()
    loss.backward(retain_graph=True)
    once = x.grad.copy(), w.grad.copy()
    loss.backward(retain_graph=True)
    assert np.array_equal(x.grad, 2 * once[0])
    assert np.array_equal(w.grad, 2 * once[1])


def test_a_leaf_is_its_own_gradient():
    x = Tensor(np.array([4.0]), requires_grad=True)
    x.backward()
    assert x.grad.tolist() == [1]


def test_grad_is_an_array_with_the_shape_and_dtype_of_the_data_even_for_a_single_number():
    x = Tensor(np.array(2.0, dtype=np.float32), requires_grad=True)
    for _ in range(2):  # alone, and accumulated
        (x * x).backward()
        assert isinstance(x.grad, np.ndarray)
        assert (x.grad.shape, x.grad.dtype) == ((), np.float32)


def test_a_float64_gradient_from_the_user_does_not_turn_a_float32_graph_into_float64():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    (x * 2.0).backward(np.array([1.0, 2.0, 3.0]))
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [2, 4, 6]


# ---- freeing


def test_the_graph_is_freed_unless_it_is_retained():
    x = leaf(3)
    middle = x * 2.0
    loss = middle.sum()
    loss.backward(retain_graph=True)
    assert not middle.node.freed
    loss.backward()
    assert middle.node.freed
    assert loss.node.freed


def test_a_second_backward_raises_one_clear_line():
    loss = leaf(3).sum()
    loss.backward()
    with pytest.raises(GraphError, match="retain_graph=True") as error:
        loss.backward()
    assert "\n" not in str(error.value)
    assert isinstance(error.value, MiniloraError)


def test_a_backward_through_a_part_that_another_loss_freed_raises_before_it_adds_anything():
    x, other = leaf(3), leaf(3, seed=1)
    shared = x * 2.0
    first, second = shared.sum(), (shared * other).sum()
    first.backward()
    before = x.grad.copy()
    with pytest.raises(GraphError, match="a second time through a freed graph"):
        second.backward()
    assert np.array_equal(x.grad, before)
    assert other.grad is None


def test_memory_falls_during_backward():
    # every step keeps its input and σ, 1 MB each; freed as it goes, a backward needs little more than the graph
    steps, n = 30, 2**17
    x = leaf(n)
    y = x
    tracemalloc.start()
    for _ in range(steps):
        y = ops.silu(y)
    loss = y.sum()
    del y
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    seen = []
    original = loss.node.backward
    loss.node.backward = lambda g: seen.append(1) or original(g)
    loss.backward()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen
    assert before > 2 * (steps - 1) * n * 8
    assert peak < before + 6 * n * 8
    assert after < 3 * n * 8


def test_an_activation_is_gone_as_soon_as_backward_has_passed_it():
    alive = []

    def probe(t, watched):  # notes, when the gradient passes here, whether the later activation still exists
        return record(t.data * 1.0, (t,), lambda g: alive.append(watched() is not None) or (g,))

    later = []
    x = leaf(3)
    early = probe(x, lambda: later[0]())
    late = ops.silu(early)
    later.append(weakref.ref(late))
    loss = (late * 2.0).sum()
    del late
    loss.backward()
    assert alive == [False]


# ---- frozen tensors and no_grad


def test_no_grad_leaves_no_node():
    x = leaf(3)
    with no_grad():
        assert not is_recording()
        y = x * 2.0
    assert is_recording()
    assert y.node is None
    assert not y.requires_grad


def test_no_grad_ends_with_its_block_even_after_an_error():
    with pytest.raises(KeyError, match="here"), no_grad():
        raise KeyError("here")
    assert is_recording()


def test_no_grad_in_one_thread_does_not_stop_another_from_recording():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_recording()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_frozen_input_gets_no_gradient_and_its_product_is_never_formed():
    a, b = Tensor(counted(np.ones((2, 3)))), Tensor(counted(np.ones((3, 4))), requires_grad=True)
    y = a @ b
    with count_products() as products:
        y.backward(counted(np.ones((2, 4))))
    assert products == [((3, 2), (2, 4))]  # aᵀ g for b; g bᵀ, for a, was not formed
    assert a.grad is None


def test_what_depends_on_frozen_tensors_alone_keeps_nothing():
    y = Tensor(np.ones(3)) * Tensor(np.ones(3))
    assert y.node is None
    with pytest.raises(GraphError, match="requires_grad"):
        y.sum().backward()


def test_the_length_of_a_tensor_is_its_first_axis_and_a_single_number_has_none():
    assert len(leaf(4, 3)) == 4
    with pytest.raises(TypeError, match="len"):
        len(leaf())


def test_detach_cuts_the_history():
    x = leaf(3)
    y = (x * 2.0).detach()
    assert y.node is None
    assert np.array_equal(y.data, x.data * 2)


def test_backward_of_several_numbers_needs_a_gradient_of_that_shape():
    y = leaf(3) * 2.0
    with pytest.raises(GraphError, match="single number"):
        y.backward()
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        y.backward(np.ones(2))


# ---- nothing that a user sees shares memory with anything else


def gradients_of(build, *shapes):
    leaves = [leaf(*shape, seed=i) for i, shape in enumerate(shapes)]
    y = build(*leaves)
    upstream = np.random.default_rng(9).standard_normal(y.shape)
    y.backward(upstream)
    return leaves, upstream


ALIASING = {
    "sum of two": (lambda a, b: a + b, (2, 3), (2, 3)),
    "sum with itself": (lambda a: a + a, (2, 3)),
    "difference": (lambda a, b: a - b, (2, 3), (2, 3)),
    "reshape": (lambda a, b: a.reshape(3, 2) + b, (2, 3), (3, 2)),
    "transpose": (lambda a, b: a.T + b, (2, 3), (3, 2)),
    "reshape of a transpose": (lambda a: a.T.reshape(6), (2, 3)),
    "slices": (lambda a: a[0] + a[1], (2, 3)),
    "concat": (lambda a, b: ops.concat([a, b, a]), (2, 3), (1, 3)),
    "sum": (lambda a: a.sum(axis=0), (2, 3)),
    "sum over nothing": (lambda a: a.sum(axis=0), (1, 3)),
    "mean over nothing": (lambda a: a.mean(axis=-1, keepdims=True), (3, 1)),
    "bias": (lambda x, w, b: ops.linear(x, w, b), (1, 3), (2, 3), (2,)),
    "layer norm": (lambda x, w, b: ops.layer_norm(x, w, b), (1, 3), (3,), (3,)),
    "residual": (lambda a, b: a + (a + b).reshape(2, 3), (2, 3), (2, 3)),
}


@pytest.mark.parametrize("name", ALIASING)
def test_no_gradient_shares_memory_with_another_or_with_the_upstream_gradient(name):
    leaves, upstream = gradients_of(*ALIASING[name])
    arrays = [upstream] + [a for t in leaves for a in (t.data, t.grad)]
    for i, a in enumerate(arrays):
        for b in arrays[:i]:
            assert not np.shares_memory(a, b)


@pytest.mark.parametrize("name", ALIASING)
def test_writing_into_one_gradient_changes_nothing_else(name):
    build, *shapes = ALIASING[name]
    expected, _ = gradients_of(build, *shapes)
    leaves, upstream = gradients_of(build, *shapes)
    before = upstream.copy()
    for i, t in enumerate(leaves):
        t.grad[...] = 77  # every gradient can be written to: clipping does
        for later, wanted in list(zip(leaves, expected, strict=True))[i + 1 :]:
            assert np.array_equal(later.grad, wanted.grad)
    assert np.array_equal(upstream, before)


def test_backward_leaves_the_users_upstream_gradient_untouched_when_gradients_are_added_up():
    x = leaf(3)
    upstream = np.ones(3)
    (x + x * 2.0 + x).backward(upstream)
    assert upstream.tolist() == [1, 1, 1]
    assert x.grad.tolist() == [4, 4, 4]


def test_retained_graphs_give_gradients_that_do_not_share_memory_between_the_two_passes():
    x = leaf(2, 3)
    y = (x.reshape(3, 2) + x.reshape(3, 2)).sum()
    y.backward(retain_graph=True)
    first, x.grad = x.grad, None
    y.backward()
    assert not np.shares_memory(first, x.grad)
    assert np.array_equal(first, x.grad)


# ---- numbers beside tensors


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), True])
def test_a_number_takes_the_dtype_of_the_float32_tensor_beside_it(number):
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    for y in (x * number, number * x, x + number, number - x, x / number, number / x):
        assert y.dtype == np.float32
        assert type(y) is Tensor


def test_a_fraction_beside_a_tensor_of_integers_is_not_rounded_to_zero():
    assert (Tensor([1, 2, 3]) * 0.5).data.tolist() == [0.5, 1, 1.5]


def test_a_numpy_array_on_the_left_calls_the_tensors_operator():
    x = leaf(3)
    for y in (np.ones(3) + x, np.ones(3) * x, np.ones(3) - x, np.ones((2, 3)) @ x.reshape(3, 1)):
        assert type(y) is Tensor
        assert y.requires_grad


def test_item_is_a_python_number_and_refuses_several():
    assert Tensor(np.array([[3.5]], np.float32)).item() == 3.5
    assert type(Tensor(np.array(3)).item()) is float
    with pytest.raises(ValueError, match="array of size 1"):
        leaf(2).item()


def test_repr_shows_values_shape_dtype_device_and_whether_it_is_trained():
    text = repr(Tensor(np.array([1.0, 2.5], np.float32), requires_grad=True))
    assert text == "Tensor([1.  2.5], shape=(2,), float32, cpu, requires_grad)"


def test_size_does_not_overflow_32_bits():
    from minilora.nn import Parameter

    assert Parameter((128_256, 16_384 * 4)).size == 128_256 * 16_384 * 4
