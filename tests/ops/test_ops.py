"""What holds for every operation alike, on every case of the table: right gradients, skipped ones, float32, memory."""

import itertools

import numpy as np
import pytest
import strict_cupy
from engine_cases import CASES
from strict_cupy import count_syncs

from minilora import ops
from minilora.autograd import Node, Tensor, _post_order
from minilora.backend import to_host
from minilora.errors import MiniloraError
from minilora.gradcheck import gradcheck

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def tensors(case, dtype=np.float64, frozen=()):
    return [Tensor(a.astype(dtype), requires_grad=i not in frozen) for i, a in enumerate(case.arrays)]


def strided(a):
    """The same values as a view with gaps along every axis, and its axes in the other order in memory."""
    view = np.zeros([2 * n + 1 for n in reversed(a.shape)]).T[(..., *(slice(1, 2 * n + 1, 2) for n in a.shape))]
    view[...] = a
    return view


def test_every_operation_has_a_case():
    helpers = {"causal_bias", "rotary_angles", "unbroadcast"}
    named = {case.name.split()[0] for case in CASES}
    assert helpers < set(ops.__all__)
    assert set(ops.__all__) - helpers <= named


@each_case
def test_the_gradient_equals_central_differences_in_float64(case):
    gradcheck(case.f, tensors(case))


@each_case
def test_the_gradient_is_right_for_inputs_and_upstream_that_are_not_contiguous(case):
    views = [Tensor(strided(a), requires_grad=True) for a in case.arrays]
    assert all(v.data.flags.c_contiguous is False for v in views if v.size > 1)
    gradcheck(lambda *inputs: ops.transpose(case.f(*inputs)), views)


@each_case
def test_freezing_inputs_changes_no_other_gradient(case):
    everything = tensors(case)
    y = case.f(*everything)
    g = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(g)
    n = len(everything)
    for frozen in itertools.chain.from_iterable(itertools.combinations(range(n), k) for k in range(1, n)):
        some = tensors(case, frozen=frozen)
        case.f(*some).backward(g)
        for i, (t, whole) in enumerate(zip(some, everything, strict=True)):
            assert t.grad is None if i in frozen else np.array_equal(t.grad, whole.grad)


@each_case
def test_a_backward_forms_nothing_for_a_frozen_input(case):
    def checked(node):
        backward, parents = node.backward, node.parents

        def check(g):
            gradients = backward(g)
            assert [pg is not None for pg in gradients] == [p is not None for p in parents]
            return gradients

        node.backward = check

    n = len(case.arrays)
    for frozen in itertools.chain.from_iterable(itertools.combinations(range(n), k) for k in range(n)):
        y = case.f(*tensors(case, frozen=frozen))
        nodes = [place for place in _post_order(y.node) if isinstance(place, Node)]
        assert nodes
        for node in nodes:
            checked(node)
        y.backward(np.ones(y.shape))
        assert all(node.freed for node in nodes)


@each_case
def test_with_all_inputs_frozen_nothing_is_recorded(case):
    assert case.f(*tensors(case, frozen=range(9))).node is None


@each_case
def test_float32_stays_float32(case):
    inputs = tensors(case, np.float32)
    y = case.f(*inputs)
    assert y.dtype == np.float32
    assert isinstance(y.data, np.ndarray)
    y.backward(np.ones(y.shape, np.float32))
    for t in inputs:
        assert t.grad.dtype == np.float32
        assert t.grad.shape == t.shape


@each_case
def test_a_second_backward_through_the_retained_graph_gives_exactly_the_same(case):
    inputs = tensors(case)
    y = case.f(*inputs)
    value, g = y.data.copy(), np.random.default_rng(1).standard_normal(y.shape)
    y.backward(g, retain_graph=True)
    first = [t.grad.copy() for t in inputs]
    for t in inputs:
        t.grad[...] = 77  # the user's own now: what is written there reaches no later gradient
        t.grad = None
    y.backward(g)
    assert all(np.array_equal(t.grad, once) for t, once in zip(inputs, first, strict=True))
    assert np.array_equal(y.data, value)


@each_case
def test_used_twice_an_operation_gives_twice_the_gradient(case):
    once, twice = tensors(case), tensors(case)
    y = case.f(*once)
    g = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(g)
    (case.f(*twice) + case.f(*twice)).backward(g)
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_allclose(b.grad, 2 * a.grad, rtol=1e-12, atol=1e-12)


# ---- errors: one line that names both sides


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: x @ Tensor(np.ones((4, 2))), r"matmul of \(2, 3\) and \(4, 2\)"),
        (lambda x: x @ Tensor(np.ones(3)), "matmul"),
        (lambda x: ops.linear(x, Tensor(np.ones((5, 4)))), r"3 features.*\(5, 4\)"),
        (lambda x: x[np.array([0, 1])], "ndarray"),
        (lambda x: x[True], "bool"),
        (lambda x: x["a"], "str"),
        (lambda x: ops.embedding(x, np.array([0, 2])), "id 2 is outside 0..1"),
        (lambda x: ops.embedding(x, np.array([-1])), "id -1 is outside 0..1"),
        (lambda x: ops.embedding(x, np.array([2**63 + 5], np.uint64)), "id 9223372036854775813 is outside 0..1"),
        (lambda x: ops.embedding(x, np.array([0.5])), "integers, got float64"),
        (lambda x: ops.cross_entropy(x, np.array([0, 3])), "target 3 is outside 0..2"),
        (lambda x: ops.cross_entropy(x, np.array([0])), r"\(1,\).*\(2, 3\)"),
        (lambda x: ops.dropout(x, 1.0, np.random.default_rng(0)), "0 <= p < 1"),
        (lambda x: ops.dropout(x, 0.5, None), "generator"),
        (lambda x: ops.attention(x[None, None], x[None, None], x[None, None, :1]), r"attention: q \(1, 1, 2, 3\)"),
        (lambda x: ops.causal_bias(2, 3, np.ones((1, 4), bool)), r"mask of shape \(1, 4\).*3"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(call, said):
    with pytest.raises(MiniloraError, match=said) as error:
        call(Tensor(np.ones((2, 3)), requires_grad=True))
    assert "\n" not in str(error.value)


@each_case
def test_an_operation_gives_the_numbers_of_numpy_without_a_wait(case):
    results = []
    for place in (np.asarray, strict_cupy.asarray):
        inputs = [Tensor(place(a), requires_grad=True) for a in case.arrays]
        with count_syncs() as syncs:
            y = case.f(*inputs)
            y.backward(place(np.random.default_rng(1).standard_normal(y.shape)))
        assert not syncs
        results.append([to_host(a) for a in (y.data, *(t.grad for t in inputs))])
    for ours, expected in zip(results[1], results[0], strict=True):
        assert ours.dtype == expected.dtype
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
