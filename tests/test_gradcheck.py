"""The checker is checked: it passes right backwards, and names the element and both numbers of wrong ones."""

import numpy as np
import pytest

from minilora import ops
from minilora.autograd import Tensor, record
from minilora.gradcheck import Worst, gradcheck, numeric_gradient


def inputs(*shapes):
    rng = np.random.default_rng(3)
    return [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


def product(a, b, backward):  # (n, m), (m, k) -> (n, k), with a backward that the test chooses
    return record(a.data @ b.data, (a, b), backward)


def test_a_right_backward_passes_and_the_worst_element_is_within_what_is_allowed():
    worst = gradcheck(lambda a, b: a @ b, inputs((2, 3), (3, 4)))
    assert isinstance(worst, Worst)
    assert worst.error <= worst.allowed


def test_the_numeric_gradient_is_that_of_the_weighted_sum():
    x = Tensor(np.array([1.0, 2.0, 3.0]))
    weights = np.array([1.0, 10.0, 100.0])
    numeric = numeric_gradient(lambda t: t * t, [x], 0, weights)
    np.testing.assert_allclose(numeric, 2 * x.data * weights, rtol=1e-9)


def test_the_inputs_have_their_values_again_afterwards():
    x, y = inputs((2, 3), (3,))
    before = x.data.copy(), y.data.copy()
    gradcheck(lambda a, b: a * b, [x, y])
    assert np.array_equal(x.data, before[0])
    assert np.array_equal(y.data, before[1])


PLANTED = {
    "a missing factor": lambda a, b: product(a, b, lambda g: (g @ b.data.T * 0.5, a.data.T @ g)),
    "a wrong sign": lambda a, b: product(a, b, lambda g: (g @ b.data.T, -(a.data.T @ g))),
    "a transposed gradient": lambda a, b: product(a, b, lambda g: ((g @ b.data.T).T.copy(), a.data.T @ g)),
    "exchanged gradients": lambda a, b: product(a, b, lambda g: (a.data.T @ g, g @ b.data.T)),
    "a gradient left out": lambda a, b: product(a, b, lambda g: (g @ b.data.T, None)),
    "nan": lambda a, b: product(a, b, lambda g: (g @ b.data.T * np.nan, a.data.T @ g)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_caught(name):
    with pytest.raises(AssertionError, match="gradient"):
        gradcheck(PLANTED[name], inputs((3, 3), (3, 3)))


def test_a_mistake_in_one_element_is_named_with_both_numbers():
    def cube(x):  # right but for element [1, 2]
        def backward(g):
            dx = 3 * x.data**2 * g
            dx[1, 2] *= 1.001
            return (dx,)

        return record(x.data**3, (x,), backward)

    (x,) = inputs((2, 3))
    with pytest.raises(AssertionError, match=r"input 0 at \[1, 2\]: analytic -?\d.*, numeric -?\d") as error:
        gradcheck(cube, [x])
    assert "\n" not in str(error.value)


def test_a_relative_error_of_one_in_a_million_is_caught():
    with pytest.raises(AssertionError, match="gradient wrong: input 0"):
        gradcheck(lambda a: record(a.data * 2, (a,), lambda g: (g * (2 + 2e-6),)), inputs((3,)))


def off_by(tolerances, slope):
    """x -> slope · x, whose backward is wrong in one element by a number of tolerances: 1e-7 max|gradient| + 1e-9."""

    def f(x):
        def backward(g):
            dx = slope * g
            dx[1, 2] += tolerances * (1e-7 * abs(dx).max() + 1e-9)
            return (dx,)

        return record(slope * x.data, (x,), backward)

    return f


@pytest.mark.parametrize("slope", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("tolerances", [2, -2, 1.1])
def test_a_derivative_that_is_wrong_by_more_than_the_tolerance_is_caught(slope, tolerances):
    with pytest.raises(AssertionError, match=r"gradient wrong: input 0 at \[1, 2\]"):
        gradcheck(off_by(tolerances, slope), inputs((2, 3)))


@pytest.mark.parametrize("slope", [0.0, 1.0, 1000.0])
def test_a_derivative_that_is_wrong_by_less_than_the_tolerance_passes(slope):
    worst = gradcheck(off_by(0.9, slope), inputs((2, 3)))
    assert worst.index == (1, 2) and 0.8 < worst.error / worst.allowed < 1


def test_a_large_gradient_of_another_input_allows_this_one_no_more():
    def f(x, y):
        def backward(g):
            dx = g * 1.0
            dx[0] += 2 * (1e-7 * abs(dx).max() + 1e-9)
            return dx, 1000 * g

        return record(x.data + 1000 * y.data, (x, y), backward)

    with pytest.raises(AssertionError, match=r"gradient wrong: input 0 at \[0\]"):
        gradcheck(f, inputs((3,), (3,)))


def test_a_backward_that_writes_into_the_gradient_it_was_given_is_caught():
    def double(x):
        def backward(g):
            g *= 2
            return (g,)

        return record(x.data, (x,), backward)  # y = x, so the factor 2 is wrong

    with pytest.raises(AssertionError, match="analytic"):
        gradcheck(double, inputs((3,)))


def test_an_operation_that_writes_into_its_input_is_caught():
    def careless(x):
        x.data *= 2
        return record(x.data * x.data, (x,), lambda g: (2 * x.data * g,))

    with pytest.raises(AssertionError, match="writes into input 0"):
        gradcheck(careless, inputs((3, 3)))


def test_gradients_that_share_memory_are_caught():
    def add(a, b):
        def backward(g):
            d = g * 1.0
            return d, d

        return record(a.data + b.data, (a, b), backward)

    with pytest.raises(AssertionError, match="input 1 shares memory with .* input 0"):
        gradcheck(add, inputs((3,), (3,)))


def test_a_gradient_that_is_an_array_which_the_operation_keeps_is_caught():
    with pytest.raises(AssertionError, match="shares memory"):
        gradcheck(lambda a, b: record(a.data * b.data, (a, b), lambda g: (g * b.data, a.data)), inputs((1,), (1,)))


def test_a_function_whose_value_is_nan_does_not_pass():
    with pytest.raises(AssertionError, match="nan"):
        gradcheck(lambda x: ops.cross_entropy(x, np.full(2, -100)), inputs((2, 3)))


def test_a_wrong_gradient_where_the_function_overflows_does_not_pass():
    with pytest.raises(AssertionError, match="gradient wrong: input 0 .* numeric nan"), np.errstate(all="ignore"):
        gradcheck(lambda x: record(x.data * 1e308 * 1e10, (x,), lambda g: (g,)), inputs((2,)))


def test_float32_is_refused():
    with pytest.raises(TypeError, match="input 1 is float32"):
        gradcheck(lambda a, b: a * b, [inputs((2,))[0], Tensor(np.ones(2, np.float32), requires_grad=True)])


def test_a_frozen_input_that_receives_a_gradient_is_caught():
    frozen, x = inputs((2,), (2,))
    frozen.requires_grad = False

    def careless(a, b):
        def backward(g):
            a.grad = g * b.data
            return None, g * a.data

        return record(a.data * b.data, (a, b), backward)

    with pytest.raises(AssertionError, match="input 0 is frozen"):
        gradcheck(careless, [frozen, x])


def test_inputs_without_elements_and_single_numbers_can_be_checked():
    empty, number = inputs((0, 3), ())
    assert gradcheck(lambda a: a * 2.0, [empty]) is None
    assert gradcheck(lambda a, b: a * b, [empty, number]).index == ()


def test_the_same_tensor_may_stand_twice_in_the_function():
    gradcheck(lambda a: a * a + a.T @ a, inputs((3, 3)))


def test_an_error_that_cancels_in_a_plain_sum_is_caught():
    # softmax adds up to 1, so d(sum)/dx = 0 whatever the backward says; random weights do not let it cancel
    with pytest.raises(AssertionError, match="gradient wrong: input 0 .* analytic 0,"):
        gradcheck(lambda x: record(ops.softmax(x).data, (x,), lambda g: (np.zeros_like(g),)), inputs((2, 3)))
