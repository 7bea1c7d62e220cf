"""Lesson 1: derivatives by differences."""

import numpy as np

from ..compare import Wrong, as_array, numeric_gradient, same, small
from ..judge import Exercise, Formula
from .mistakes import OTHER

# ---- 1.1


def slope_cases():
    return [
        (Formula("3 * x + 1"), 2.0, 0.5),
        (Formula("x * x"), 3.0, 0.5),
        (Formula("x ** 3"), 1.0, 0.1),
        (Formula("np.sin(x)"), 0.7, 0.01),
        (Formula("np.cos(x)"), 0.7, 0.01),  # a function that falls
        (Formula("x * x"), -1.5, 0.25),
    ]


# the derivatives at those places, by the rules of calculus
SLOPES = (3.0, 6.0, 3.0, float(np.cos(0.7)), -float(np.sin(0.7)), -3.0)


def one_number(f, cases):
    value = as_array(f(*cases[0]), "the result", cases[0])
    if value.size != 1:
        said = f"the result has the shape {value.shape}, expected one number"
        raise Wrong(said, cases[0], "several numbers in place of one")


def slope_is_right(which):
    def check(f, cases):
        for arguments, slope in list(zip(cases, SLOPES, strict=True))[which]:
            eps = arguments[2]
            got = float(as_array(f(*arguments), "the result", arguments).reshape(()))
            if not abs(got - slope) <= 1.5 * eps**2:  # the curvature's share of the error is f''' ε² / 6
                raise Wrong(
                    f"the slope of {arguments[0].text} at {arguments[1]} is {slope:.6g}; yours is {got:.6g}, "
                    f"which is off by {abs(got - slope):.2g}; a central difference with eps = {eps} is off by at most "
                    f"{1.5 * eps**2:.2g}",
                    arguments,
                )

    return check


def uses_the_step(f, cases):
    arguments = (Formula("abs(x)"), 0.25, 0.5)
    got = as_array(f(*arguments), "the result", arguments).reshape(())
    same(got, 0.5, "the slope of abs(x) from 0.25 - 0.5 to 0.25 + 0.5", arguments)


# ---- 1.2


def gradient_cases():
    rng = np.random.default_rng(12)
    return [
        (Formula("(x * x).sum()"), np.array([1.5]), 1e-4),
        (Formula("x[0] * x[1]"), np.array([2.0, -3.0]), 1e-4),
        (Formula("(x * [[1, 2, 3], [4, 5, 6]]).sum()"), small(rng, 2, 3), 1e-3),
        (Formula("np.sin(x).sum() * x[0, 0]"), small(rng, 3, 2), 1e-4),
        (Formula("(x * x * [[[1, 2]], [[3, 4]]]).sum()"), small(rng, 2, 1, 2), 1e-4),
        (Formula("(x * [[1, 2], [3, 4]] * x[1, 0]).sum()"), small(rng, 2, 2), 1e-4),
        (Formula("5 - x ** 3"), np.array(1.5), 1e-4),
    ]


def gradient_shape(f, cases):
    for arguments in cases:
        got = as_array(f(*arguments), "the gradient", arguments)
        if got.shape != arguments[1].shape:
            raise Wrong(
                f"the gradient has the shape {got.shape}, expected the shape of x, {arguments[1].shape}: one "
                "derivative for each element",
                arguments,
            )


def gradient_is_right(f, cases):
    for arguments in cases:
        function, x, eps = arguments
        same(
            f(*arguments),
            numeric_gradient(function, x),
            "the gradient",
            arguments,
            atol=10 * eps**2,
            factors={"two": 2.0, "1/eps": 1 / eps, "the number of elements": float(x.size)},
        )


# ---- 1.3


def silu_cases():
    rng = np.random.default_rng(13)
    return [
        (np.array([1.0]), np.array([1.0])),
        (np.array([0.0, -2.0]), np.array([1.0, 3.0])),
        (small(rng, 2, 3), small(rng, 2, 3)),
        (small(rng, 2, 2), small(rng, 2, 2)),
        (small(rng, 2, 1, 3), small(rng, 2, 1, 3)),
        (np.array(0.5), np.array(-2.0)),
    ]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu_shape(f, cases):
    for arguments in cases:
        got = as_array(f(*arguments), "dx", arguments)
        if got.shape != arguments[0].shape:
            raise Wrong(f"dx has the shape {got.shape}, expected the shape of x, {arguments[0].shape}", arguments)


def silu_at_zero(f, cases):
    arguments = (np.array([0.0]), np.array([2.0]))
    same(f(*arguments), [1.0], "dx at x = 0, where the slope is 1/2 and g is 2,", arguments)


def silu_is_right(f, cases):
    for x, g in cases:
        numeric = numeric_gradient(lambda x, g=g: float((g * x * sigmoid(x)).sum()), x)
        same(f(x, g), numeric, "dx", (x, g))


EXERCISES = (
    Exercise(
        "1.1",
        "central_difference",
        "The slope from two evaluations",
        "easy",
        5,
        slope_cases,
        (
            ("returns one number", one_number),
            ("a straight line has its slope", slope_is_right(slice(0, 1))),
            ("a parabola has its slope, however large the step", slope_is_right(slice(1, 2))),
            ("a cubic and a sine: the error is of order eps²", slope_is_right(slice(2, None))),
            ("the two points are eps away from x", uses_the_step),
        ),
        (
            (
                "only one side is used, (f(x + eps) - f(x)) / eps: a forward difference",
                lambda f, x, eps: (f(x + eps) - f(x)) / eps,
            ),
            (
                "only one side is used, (f(x) - f(x - eps)) / eps: a backward difference",
                lambda f, x, eps: (f(x) - f(x - eps)) / eps,
            ),
            (
                "the two points are 2 eps apart but the difference is divided by eps",
                lambda f, x, eps: (f(x + eps) - f(x - eps)) / eps,
            ),
            (
                "the points are eps apart (x ± eps/2) but the difference is divided by 2 eps",
                lambda f, x, eps: (f(x + eps / 2) - f(x - eps / 2)) / (2 * eps),
            ),
            (
                "/ 2 * eps divides by 2 and then multiplies by eps: it needs / (2 * eps)",
                lambda f, x, eps: (f(x + eps) - f(x - eps)) / 2 * eps,
            ),
            (
                "only f(x - eps) is divided: the difference needs parentheses",
                lambda f, x, eps: f(x + eps) - f(x - eps) / (2 * eps),
            ),
            ("the difference is not divided by the distance of the points", lambda f, x, eps: f(x + eps) - f(x - eps)),
            ("the difference is taken the wrong way round", lambda f, x, eps: (f(x - eps) - f(x + eps)) / (2 * eps)),
            (
                "only f(x - eps) is divided, and by 2 alone: it needs parentheses, (f(x + eps) - f(x - eps)) / (2 * eps)",
                lambda f, x, eps: f(x + eps) - f(x - eps) / 2 * eps,
            ),
            (
                "the difference is divided by eps², but the distance of the points is 2 eps",
                lambda f, x, eps: (f(x + eps) - f(x - eps)) / eps**2,
            ),
            (
                "the points are 2 eps away from x, but the difference is divided by 2 eps",
                lambda f, x, eps: (f(x + 2 * eps) - f(x - 2 * eps)) / (2 * eps),
            ),
            (
                "the step is a share of x, eps * x, instead of eps",
                lambda f, x, eps: (f(x * (1 + eps)) - f(x * (1 - eps))) / (2 * eps),
            ),
            (
                "the difference is taken inside f: f must be called twice",
                lambda f, x, eps: f((x + eps) - (x - eps)) / (2 * eps),
            ),
            ("the points are eps away from 0 instead of x", lambda f, x, eps: (f(eps) - f(-eps)) / (2 * eps)),
            (
                "the second derivative is computed, f(x + eps) - 2 f(x) + f(x - eps)",
                lambda f, x, eps: (f(x + eps) - 2 * f(x) + f(x - eps)) / eps**2,
            ),
            ("the value f(x) is returned, not its slope", lambda f, x, eps: f(x)),
            (
                "one point is eps away from x and the other is x, but the difference is divided by 2 eps",
                lambda f, x, eps: (f(x + eps) - f(x)) / (2 * eps),
            ),
            (
                "the points are eps apart, and the difference is divided by eps / 2",
                lambda f, x, eps: (f(x + eps / 2) - f(x - eps / 2)) / eps * 2,
            ),
            (
                "three points on one side are used: the error is larger than that of a point on each side",
                lambda f, x, eps: (-3 * f(x) + 4 * f(x + eps) - f(x + 2 * eps)) / (2 * eps),
            ),
            (
                "the steeper of the two sides is taken: both sides belong to one difference",
                lambda f, x, eps: max((f(x + eps) - f(x)) / eps, (f(x) - f(x - eps)) / eps),
            ),
        ),
        (
            "Evaluate f a little to the right of x, and a little to the left. How far apart are the two places?",
            "Rise over run: the rise is f(x + eps) - f(x - eps).",
            "return (f(x + eps) - f(x - eps)) / (the distance between x - eps and x + eps)",
        ),
    ),
    Exercise(
        "1.2",
        "numeric_gradient",
        "A derivative for each element",
        "medium",
        10,
        gradient_cases,
        (("has the shape of x", gradient_shape), ("each element is the derivative along it", gradient_is_right)),
        (
            (
                "all elements are moved at once: that gives the sum of all derivatives",
                lambda f, x, eps: np.full(x.shape, (f(x + eps) - f(x - eps)) / (2 * eps)),
            ),
            (
                "an element is moved and not put back before the next one is moved",
                lambda f, x, eps: _without_putting_back(f, x, eps),
            ),
            (
                "only one side is used: a forward difference",
                lambda f, x, eps: np.reshape([(f(x + d) - f(x)) / eps for d in _steps(x, eps)], x.shape),
            ),
            (
                "the difference is divided by eps, but the two places are 2 eps apart",
                lambda f, x, eps: np.reshape([(f(x + d) - f(x - d)) / eps for d in _steps(x, eps)], x.shape),
            ),
            (
                "np.gradient gives the differences between the elements of x: f is never called",
                lambda f, x, eps: np.gradient(x, eps),
            ),
            (
                "the two values of f are added instead of subtracted",
                lambda f, x, eps: np.reshape([(f(x + d) + f(x - d)) / (2 * eps) for d in _steps(x, eps)], x.shape),
            ),
            (
                "/ 2 * eps divides by 2 and then multiplies by eps: it needs / (2 * eps)",
                lambda f, x, eps: np.reshape([(f(x + d) - f(x - d)) / 2 * eps for d in _steps(x, eps)], x.shape),
            ),
            (
                "one number is returned: all elements are moved at once, or their derivatives are added up",
                lambda f, x, eps: sum((f(x + d) - f(x - d)) / (2 * eps) for d in _steps(x, eps)),
            ),
            (
                "the derivatives are returned flat, without the shape of x",
                lambda f, x, eps: np.array([(f(x + d) - f(x - d)) / (2 * eps) for d in _steps(x, eps)]),
            ),
            *OTHER["1.2"],
        ),
        (
            "One element at a time: move it up, evaluate, move it down, evaluate. What must happen before the next one?",
            "np.ndindex(*x.shape) gives the index of every element. Work on a copy of x, and put each element back.",
            "z = x.copy(); for i in np.ndindex(*x.shape): z[i] = x[i] + eps; high = f(z); z[i] = x[i] - eps; low = f(z); "
            "z[i] = x[i]; then gradient[i] = (high - low) / (2 * eps)",
        ),
    ),
    Exercise(
        "1.3",
        "silu_backward",
        "Derive one yourself, then let the differences check it",
        "medium",
        15,
        silu_cases,
        (
            ("has the shape of x", silu_shape),
            ("at x = 0 the slope is one half", silu_at_zero),
            ("equals central differences of x · sigmoid(x)", silu_is_right),
        ),
        (
            ("the product rule is left out: the derivative of x · σ(x) is not σ(x) alone", lambda x, g: g * sigmoid(x)),
            (
                "only σ(x) is differentiated, and the factor x is forgotten",
                lambda x, g: g * (sigmoid(x) + sigmoid(x) * (1 - sigmoid(x))),
            ),
            ("the upstream gradient g is left out", lambda x, g: sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x))),
            ("the forward is computed instead of the backward", lambda x, g: g * x * sigmoid(x)),
            ("the first half of the product rule is missing", lambda x, g: g * x * sigmoid(x) * (1 - sigmoid(x))),
            (
                "e^-x is used in place of the sigmoid 1 / (1 + e^-x)",
                lambda x, g: g * (np.exp(-x) + x * np.exp(-x) * (1 - np.exp(-x))),
            ),
            (
                "only the derivative of the sigmoid is computed, σ(x) (1 - σ(x))",
                lambda x, g: g * sigmoid(x) * (1 - sigmoid(x)),
            ),
            (
                "the sigmoid has the wrong sign in its exponent: e^x in place of e^-x",
                lambda x, g: g * (sigmoid(-x) + x * sigmoid(-x) * (1 - sigmoid(-x))),
            ),
            (
                "the derivative of tanh is used for that of the sigmoid, 1 - σ(x)²",
                lambda x, g: g * (sigmoid(x) + x * (1 - sigmoid(x) ** 2)),
            ),
            (
                "the derivative of the sigmoid is taken as 1 - σ(x), without its factor σ(x)",
                lambda x, g: g * (sigmoid(x) + x * (1 - sigmoid(x))),
            ),
            (
                "g multiplies only the first of the two terms",
                lambda x, g: g * sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)),
            ),
            ("the derivative of relu is used, 1 where x is positive", lambda x, g: g * (x > 0)),
        ),
        (
            "y = x · σ(x) is a product: both factors depend on x.",
            "The derivative of σ(x) is σ(x) (1 - σ(x)). The product rule gives two terms. The chain rule multiplies by g.",
            "s = 1 / (1 + np.exp(-x)); return g * (s + x * ...), where ... is the derivative of s",
        ),
    ),
)


def _steps(x, eps):  # an array for each element: eps there, 0 elsewhere
    return [eps * row.reshape(x.shape) for row in np.eye(x.size)]


def _without_putting_back(f, x, eps):
    z, gradient = x.copy(), np.zeros(x.shape)
    for i in np.ndindex(*x.shape):
        z[i] = x[i] + eps
        high = f(z)
        z[i] = x[i] - eps
        gradient[i] = (high - f(z)) / (2 * eps)
    return gradient
