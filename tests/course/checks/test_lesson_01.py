import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("1.1", says="forward difference")
def forward_difference(f, x, eps):
    return (f(x + eps) - f(x)) / eps


@answers.wrong("1.1", says="divided by eps")
def half_the_distance(f, x, eps):
    return (f(x + eps) - f(x - eps)) / eps


@answers.wrong("1.1", says="is the `return` missing?")
def forgets_to_return(f, x, eps):
    (f(x + eps) - f(x - eps)) / (2 * eps)


@answers.wrong("1.1", says="the wrong way round")
def other_way_round(f, x, eps):
    return (f(x - eps) - f(x + eps)) / (2 * eps)


@answers.wrong("1.1", says="the slope of x ** 3")
def a_fixed_large_step(f, x, eps):
    return (f(x + 1) - f(x - 1)) / 2


@answers.wrong("1.1", says="expected one number")
def two_numbers(f, x, eps):
    return np.array([f(x + eps), f(x - eps)])


@answers.right("1.1")
def in_two_halves(f, x, eps):
    right, left = (f(x + eps) - f(x)) / eps, (f(x) - f(x - eps)) / eps
    return (right + left) / 2


@answers.right("1.1")
def as_an_array_of_one(f, x, eps):
    return np.array([0.5 / eps * (f(x + eps) - f(x - eps))])


@answers.wrong("1.2", says="all elements are moved at once")
def all_at_once(f, x, eps):
    return np.ones_like(x) * (f(x + eps) - f(x - eps)) / (2 * eps)


@answers.wrong("1.2", says="not put back")
def never_puts_back(f, x, eps):
    gradient, x = np.zeros_like(x), x.copy()
    for i in np.ndindex(*x.shape):
        centre = x[i]
        x[i] = centre + eps
        high = f(x)
        x[i] = centre - eps
        gradient[i] = (high - f(x)) / (2 * eps)
    return gradient


def with_the_array_itself(f, x, eps, slip):  # moved, and put back by adding what was taken
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        x[i] += eps
        high = f(x)
        x[i] -= 2 * eps
        gradient[i] = (high - f(x)) / (2 * eps)
        x[i] += eps + slip
    return gradient


@answers.wrong("1.2", says="changes its second argument")
def puts_back_by_adding(f, x, eps):
    return with_the_array_itself(f, x, eps, slip=1e-9)


@answers.wrong("1.2", says="expected the shape of x")
def flat(f, x, eps):
    steps = eps * np.eye(x.size)
    return np.array([(f(x + d.reshape(x.shape)) - f(x - d.reshape(x.shape))) / (2 * eps) for d in steps])


@answers.wrong("1.2", says="IndexError")
def only_vectors(f, x, eps):
    z, gradient = x.copy(), np.zeros_like(x)
    for i in range(x.size):
        z[i] += eps
        gradient[i] = f(z)
        z[i] -= eps
    return gradient


@answers.right("1.2")
def in_place_and_put_back(f, x, eps):
    gradient = np.empty(x.shape)
    for i in np.ndindex(*x.shape):
        centre = x[i]
        x[i] = centre + eps
        gradient[i] = f(x)
        x[i] = centre - eps
        gradient[i] -= f(x)
        x[i] = centre
    return gradient / (2 * eps)


@answers.right("1.2")
def with_unit_vectors(f, x, eps):
    units = np.eye(x.size).reshape(x.size, *x.shape)
    return np.reshape([(f(x + eps * u) - f(x - eps * u)) / (2 * eps) for u in units], x.shape).tolist()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@answers.wrong("1.3", says="product rule is left out")
def no_product_rule(x, g):
    return g * sigmoid(x)


@answers.wrong("1.3", says="upstream gradient g is left out")
def no_upstream(x, g):
    s = sigmoid(x)
    return s + x * s * (1 - s)


@answers.wrong("1.3", says="wrong values")
def derivative_of_sigmoid_wrong(x, g):
    s = sigmoid(x)
    return g * (s + x * s * (1 + s))


@answers.wrong("1.3", says="changes its first argument")
def overwrites_x(x, g):
    s = sigmoid(x)
    x *= 1 - s
    x += 1
    return g * s * x


@answers.right("1.3")
def with_tanh(x, g):
    s = 0.5 * (1 + np.tanh(x / 2))
    return g * s * (1 + x * (1 - s))


@answers.right("1.3")
def one_element_at_a_time(x, g):
    dx = np.zeros(x.shape, dtype=np.float32)
    for i, v in np.ndenumerate(x):
        e = np.exp(-v)
        dx[i] = g[i] * (1 + e + v * e) / (1 + e) ** 2
    return dx


@answers.wrong("1.1", says="it needs / (2 * eps)")
def divides_and_multiplies(f, x, eps):
    return (f(x + eps) - f(x - eps)) / 2 * eps


@answers.wrong("1.1", says="the difference needs parentheses")
def divides_half(f, x, eps):
    return f(x + eps) - f(x - eps) / (2 * eps)


@answers.wrong("1.1", says="the slope of abs(x) from 0.25 - 0.5 to 0.25 + 0.5 is 1, expected 0.5")
def takes_a_step_of_its_own(f, x, eps):
    return (f(x + 1e-5) - f(x - 1e-5)) / 2e-5


@answers.wrong("1.2", says="changes its second argument")
def moves_the_array_itself_and_back(f, x, eps):  # only rounding stays behind
    return with_the_array_itself(f, x, eps, slip=0.0)


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
