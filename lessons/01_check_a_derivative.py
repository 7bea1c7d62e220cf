# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · Check a derivative with two evaluations
#
# *20 minutes to read · needs high-school calculus · reads `minilora/gradcheck.py` · exercises 1.1
# to 1.3*
#
# **You will be able to** say whether a derivative that somebody worked out by hand is right,
# without working it out again: evaluate the function twice, and compare. Every gradient in this
# project is written by hand, and every one is checked in this way.

# %%
import numpy as np

from minilora import Tensor, gradcheck
from minilora.autograd import record
from minilora.course.lesson import BLUE, ORANGE, cards, show_axes, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import expect, expect_between

# %% [markdown]
# ## Two evaluations
#
# The derivative $f'(x)$ of a function $f$ of one number $x$ is the slope of its curve. Step a small
# distance $\varepsilon$ to the right, and divide the rise by the run:
#
# $$\text{forward: } \frac{f(x + \varepsilon) - f(x)}{\varepsilon}$$
#
# The *central* difference steps to both sides instead: from $\varepsilon$ below $x$ to $\varepsilon$
# above it. What is its rise, and what its run?
#
# ## Do: the slope
#
# Write the function in the cell below the card, in place of `raise NotImplementedError`, and run
# the cell: it says at once whether the function is right. (You can also go on without an answer.)

# %%
cards("1.1")


# %% tags=["exercise"]
def central_difference(f, x, eps):
    """The slope of `f` at `x`, from one evaluation a little above and one a little below.

    f: function of one number; x: a number; eps: how far above and below. Returns one number.
    """
    raise NotImplementedError


check("1.1", central_difference)

# %% [markdown]
# From here on the lesson computes with your function, if it is right:
#
# $$\text{central: } \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2\,\varepsilon}$$
#
# We try both where we know the answer: $f = \sin$, whose derivative is $\cos$, at $x = 1$.

# %%
central = answer("1.1")


def forward(f, x, eps):
    return (f(x + eps) - f(x)) / eps


x = np.float64(1.0)
errors = []
for eps in (1e-1, 1e-2, 1e-3):
    slopes = forward(np.sin, x, eps), central(np.sin, x, eps)
    errors.append((eps, *(abs(slope - np.cos(x)) for slope in slopes)))
table(errors, ("step", "error, forward", "error, central"))

# %% [markdown]
# A step ten times smaller makes the forward error ten times smaller, and the central error a
# hundred times. The forward error shrinks like $\varepsilon$; the central one like $\varepsilon^2$,
# because the bend of the curve moves both end points by the same amount, and the difference cancels
# it.

# %% tags=["fold"]
expect_between("forward error, step 1e-2 against 1e-3", errors[1][1] / errors[2][1], 9, 11)
expect_between("central error, step 1e-2 against 1e-3", errors[1][2] / errors[2][2], 99, 101)

# %% [markdown]
# ## Predict
#
# So the smaller the step, the better? We will go down to $\varepsilon = 10^{-15}$. With numbers of
# 64 bits, which step gives the smallest error of the central difference? Put a number such as
# `1e-12` in place of `None`.

# %%
best_step = predict("the best step in float64", None)

# %% [markdown]
# ## Run
#
# We do the same with 64-bit and with 32-bit numbers, and average the error over twenty places $x$,
# so that no single lucky place decides.

# %%
steps = 10.0 ** -np.arange(0, 15.5, 0.5)


def central_errors(dtype):  # -> (31,) mean error of the central difference, for each step
    x = np.linspace(0.5, 1.5, 20).astype(dtype)
    exact = np.cos(x.astype(np.float64))
    return np.array([np.abs(central(np.sin, x, dtype(eps)) - exact).mean() for eps in steps])


error64, error32 = central_errors(np.float64), central_errors(np.float32)
best64, best32 = error64.argmin(), error32.argmin()
best_step.compare(
    float(steps[best64]),
    wrong={
        1e-15: "There f(x + ε) and f(x - ε) agree in all their digits: only rounding is left.",
        1e-8: "That is the best step of the forward difference, √u. The central one does better "
        "with a larger step.",
    },
)

# %% tags=["fold"]
expect_between("best step in float64", float(steps[best64]), 1e-7, 1e-4)
expect_between("smallest error in float64", float(error64[best64]), 1e-13, 1e-9)
expect_between("best step in float32", float(steps[best32]), 1e-3, 1e-1)
expect_between("smallest error in float32", float(error32[best32]), 1e-6, 1e-3)

# %% [markdown]
# ## See

# %% tags=["fold"]
with show_axes() as axes:
    axes.loglog(steps, error32, "s-", color=ORANGE)
    axes.loglog(steps, error64, "o-", color=BLUE)
    axes.text(1e-10, 2, "float32: 7 digits", color=ORANGE)
    axes.text(1e-7, 2e-12, "float64: 16 digits", color=BLUE)
    axes.text(2, 3e-11, "too large a step:\nthe curve bends,\nerror ~ ε²", va="center")
    axes.text(3e-9, 0.12, "float32: x + ε = x", color=ORANGE, va="top")
    axes.text(3e-8, 6e-4, "too small a step:\nonly rounding is left,\nerror ~ u / ε", va="center")
    axes.invert_xaxis()
    axes.set(
        xlabel="step ε  (smaller to the right)",
        ylabel="error of the slope",
        ylim=(1e-13, 30),
        xlim=(4, 2e-16),
    )

# %% [markdown]
# The curve is a U. On the left the step is too large and the curve bends away: error $\sim
# \varepsilon^2$. On the right the step is so small that $f(x + \varepsilon)$ and $f(x -
# \varepsilon)$ agree in nearly all their digits; the rest of the difference is rounding error.
# Rounding changes a number by up to a share $u$ of it ($u \approx 10^{-16}$ in float64, $6 \cdot
# 10^{-8}$ in float32), and the division by $\varepsilon$ magnifies that: error $\sim u /
# \varepsilon$.
#
# **The bottom of the U is where the two are equal:** $\varepsilon^2 = u / \varepsilon$, that is
# $\varepsilon = u^{1/3}$, the third root of $u$. The error there is $u^{2/3}$.

# %%
for name, u in (("float64", 2.0**-53), ("float32", 2.0**-24)):
    print(f"{name}: u = {u:.1e}, best step near {u ** (1 / 3):.1e}, error near {u ** (2 / 3):.1e}")

# %% tags=["fold"]
for u, best in ((2.0**-53, steps[best64]), (2.0**-24, steps[best32])):
    expect_between("best step / third root of u", float(best / u ** (1 / 3)), 0.1, 10)

# %% [markdown]
# And the flat part of float32? From $\varepsilon = 10^{-8}$ on, $x + \varepsilon$ is rounded to $x$
# itself. Both evaluations are the same, the slope is 0, and the error is the whole slope,
# $\cos x$, about 0.5 on average.
#
# Two rules follow, and this project keeps both: **check in float64**, and **use a step near
# $10^{-5}$**. In float32 even the best step leaves three to six digits. That cannot tell a right
# gradient from one with a small mistake in it.

# %% [markdown]
# ## From slopes to gradients
#
# A function of an array $x$ with $n$ elements has $n$ slopes: its *gradient*, an array of the shape
# of $x$. Move one element at a time, and each slope costs two evaluations.
#
# ## Do: a slope for each element

# %%
cards("1.2")


# %% tags=["exercise"]
def numeric_gradient(f, x, eps):
    """The derivatives of `f` at the array `x`, one for each element, by central differences.

    f: function of an array, returns one number; x: float64 array of any shape. Returns an array of the shape of x.
    """
    raise NotImplementedError


check("1.2", numeric_gradient)

# %% [markdown]
# ## A backward, and how it is checked
#
# Our functions also return arrays, $y = f(x)$. A derivative needs one number, so take the sum $L =
# \sum_i g_i\, y_i$ with fixed random weights $g$ (same shape as $y$). The job of a *backward* is:
# given $g$, return $dx$, the gradient of $L$ with respect to $x$. With random weights no two
# mistakes can cancel in the sum.
#
# `gradcheck(f, [x])` does this for a function whose backward is written by hand. In the next cell
# `Tensor(..., requires_grad=True)` is an array that wants a gradient, and `record` keeps a result
# together with its backward; lesson 2 takes both apart.


# %%
def square(x):
    # y = x²        dx = g · 2x
    return record(x.data**2, (x,), lambda g: (g * 2 * x.data,))


x = Tensor(np.random.default_rng(0).standard_normal((2, 3)), requires_grad=True)
print("worst element:\n   ", gradcheck(square, [x]))

# %% [markdown]
# The check allows a difference of $10^{-7}$ of the largest slope. Your exercise 1.2 finds the same
# slopes:

# %%
slopes = answer("1.2")
g = np.random.default_rng(1).standard_normal((2, 3))
by_differences = slopes(lambda values: (g * values**2).sum(), x.data, 1e-5)

# %% tags=["fold"]
expect("your slopes against g · 2x", by_differences, g * 2 * x.data, within=1e-7)

# %% [markdown]
# ## Find the planted bug
#
# Three functions, each with its backward. One backward is wrong. **Predict** which one, by
# thinking: which rule of calculus does each need?


# %%
def tanh(x):
    # y = tanh(x)
    y = np.tanh(x.data)
    return record(y, (x,), lambda g: (g * (1 - y**2),))


def softplus(x):
    # y = log(1 + e^x)
    share = 1 / (1 + np.exp(-x.data))
    return record(np.log1p(np.exp(x.data)), (x,), lambda g: (g * share,))


def wave(x):
    # y = x · sin(x)
    return record(x.data * np.sin(x.data), (x,), lambda g: (g * x.data * np.cos(x.data),))


wrong_one = predict("tanh, softplus or wave: whose backward is wrong?", None)

# %%
wrong = []
for f in (tanh, softplus, wave):
    try:
        gradcheck(f, [x])
        print(f"{f.__name__}: right")
    except AssertionError as error:
        wrong.append(f.__name__)
        print(f"{f.__name__}:\n    {error}")

wrong_one.compare(
    set(wrong),
    wrong={
        "tanh": "tanh' = 1 - tanh²: right. Look for a product.",
        "softplus": "By the chain rule e^x / (1 + e^x), which is 1 / (1 + e^-x): right.",
    },
)

# %% tags=["fold"]
expect("functions with a wrong backward", wrong, ["wave"])

# %% [markdown]
# `wave` is a product, so its slope has two terms: $\sin x + x \cos x$. The first is missing.
#
# ## A mistake that nobody sees
#
# Some mistakes cannot be found by reading. GELU is an *activation*: a function that a model applies
# to each intermediate result. Its backward below has 0.04471 where the forward has 0.044715, a
# mistake in the fifth digit.


# %%
def gelu(x):
    # y = x (1 + t) / 2,  t = tanh(c (x + k x³)),  k = 0.044715
    c, k = np.sqrt(2 / np.pi), 0.044715
    t = np.tanh(c * (x.data + k * x.data**3))
    slope = (1 + t) / 2 + x.data * (1 - t**2) * c * (1 + 3 * 0.04471 * x.data**2) / 2
    return record(x.data * (1 + t) / 2, (x,), lambda g: (g * slope,))


try:
    gradcheck(gelu, [x])
    found = False
except AssertionError as error:
    found = True
    print(f"gelu:\n    {error}")

# %% [markdown]
# The check finds it, and names the element where it matters most. Would a check in float32 have
# found it? We compare the mistake with the rounding error of float32 at its best step:

# %%
c, points = np.sqrt(2 / np.pi), np.linspace(-3, 3, 13)


def gelu_forward(x):
    return x * (1 + np.tanh(c * (x + 0.044715 * x**3))) / 2


planted = Tensor(points, requires_grad=True)
gelu(planted).backward(np.ones(13))
exact = central(gelu_forward, points, 1e-5)
mistake = np.abs(planted.grad - exact).max()
in_float32 = central(gelu_forward, points.astype(np.float32), np.float32(1e-2))
noise = np.abs(in_float32 - exact).max()
print(f"the mistake changes the slope by at most {mistake:.1e}")
print(f"float32 differences are wrong by up to   {noise:.1e}")

# %% tags=["fold"]
expect("the check in float64 finds it", found, True)
expect("the mistake is smaller than the noise of float32", bool(mistake < noise), True)

# %% [markdown]
# ## Do: derive one yourself
#
# SiLU is the activation of the model that ships with this project: $y = x\,\sigma(x)$ with $\sigma(x)
# = 1 / (1 + e^{-x})$. Which rule does it need, and what is $\sigma'$, written with $\sigma$ itself?

# %%
cards("1.3")


# %% tags=["exercise"]
def silu_backward(x, g):
    """dx for y = x · σ(x), where σ(x) = 1 / (1 + e^-x), given g = dL/dy, the gradient from the layer above.

    x, g: arrays of one shape; everything happens element by element. Returns an array of that shape.
    """
    raise NotImplementedError


check("1.3", silu_backward)

# %% [markdown]
# It is a product, like `wave`: $y' = \sigma + x\,\sigma'$. By the chain rule $\sigma' = e^{-x} / (1 +
# e^{-x})^2$, which is $\sigma\,(1 - \sigma)$. So $dx = g\,(\sigma + x\,\sigma\,(1 - \sigma))$. The
# differences of exercise 1.2 are the judge:

# %%
by_hand = answer("1.3")


def weighted_silu(values):
    return (g * values / (1 + np.exp(-values))).sum()


dx, differences = by_hand(x.data, g), slopes(weighted_silu, x.data, 1e-5)
print("largest difference:", f"{np.abs(dx - differences).max():.1e}")

# %% tags=["fold"]
expect("by hand against differences", dx, differences, within=1e-7)

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/gradcheck.py`: `numeric_gradient` is your exercise 1.2, `gradcheck` compares.
# `tests/ops/test_ops.py` runs it on every operation of the library.
#
# ## What this does not show
#
# A check at random places sees only those places. At a kink (the corner of $|x|$ or of ReLU) the
# two sides have different slopes, and a central difference gives their mean: the check must stay
# away from kinks. And a gradient that is right can still be the gradient of the wrong function.
#
# ## Questions
#
# <details><summary>Why is the best step near the third root of u?</summary>The bend costs ε², rounding
# costs u / ε; their sum is smallest where both are about equal, and then ε³ = u.</details>
#
# <details><summary>Why does a float32 check not catch a mistake in the fifth digit?</summary>Its
# differences are wrong by up to a thousandth themselves.</details>
#
# <details><summary>A function of 1,000 numbers is checked by central differences. How many evaluations
# does that take?</summary>2,000: two for each element.</details>
#
# <details><summary>Why are the weights g random, and not all 1?</summary>With equal weights two mistakes
# of opposite sign can cancel in the sum.</details>
