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
# *15 minutes to read · needs high-school calculus · reads `minilora/gradcheck.py` · exercises 1.1
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
from minilora.course.lesson import expect, expect_between, predict

# %% [markdown]
# ## Two evaluations
#
# The derivative $f'(x)$ of a function $f$ of one number $x$ is the slope of its curve. Step a small
# distance $\varepsilon$ to the right, or to both sides, and divide the rise by the run:
#
# $$\text{forward: } \frac{f(x + \varepsilon) - f(x)}{\varepsilon}
# \qquad \text{central: } \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2\,\varepsilon}$$
#
# We try both where we know the answer: $f = \sin$, whose derivative is $\cos$, at $x = 1$.


# %%
def forward(f, x, eps):
    return (f(x + eps) - f(x)) / eps


def central(f, x, eps):
    return (f(x + eps) - f(x - eps)) / (2 * eps)


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

# %%
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

best_step.compare(float(steps[best64]))
expect_between("best step in float64", float(steps[best64]), 1e-7, 1e-4)
expect_between("smallest error in float64", float(error64[best64]), 1e-13, 1e-9)
expect_between("best step in float32", float(steps[best32]), 1e-3, 1e-1)
expect_between("smallest error in float32", float(error32[best32]), 1e-6, 1e-3)

# %% [markdown]
# ## See

# %%
with show_axes() as axes:
    axes.loglog(steps, error32, "s-", color=ORANGE)
    axes.loglog(steps, error64, "o-", color=BLUE)
    axes.text(1e-10, 2, "float32: 7 digits", color=ORANGE)
    axes.text(1e-7, 2e-12, "float64: 16 digits", color=BLUE)
    axes.text(2, 3e-11, "too large a step:\nthe curve bends,\nerror ~ ε²", va="center")
    axes.text(3e-8, 2e-3, "too small a step:\nonly rounding is left,\nerror ~ u / ε", va="center")
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
# Two rules follow, and this project keeps both: **check in float64**, and **use a step near
# $10^{-5}$**. In float32 even the best step leaves three to six digits. That cannot tell a right
# gradient from one with a small mistake in it.

# %% [markdown]
# ## From slopes to gradients
#
# A function of an array $x$ with $n$ elements has $n$ slopes: its *gradient*, an array of the shape
# of $x$. Move one element at a time, and each slope costs two evaluations.
#
# Our functions also return arrays, $y = f(x)$. A derivative needs one number, so take the sum $L =
# \sum_i g_i\, y_i$ with fixed random weights $g$ (same shape as $y$). The job of a *backward* is:
# given $g$, return $dx$, the gradient of $L$ with respect to $x$. With random weights no two
# mistakes can cancel in the sum.
#
# `gradcheck(f, [x])` does this for a function whose backward is written by hand.


# %%
def square(x):
    # y = x²        dx = g · 2x
    return record(x.data**2, (x,), lambda g: (g * 2 * x.data,))


x = Tensor(np.random.default_rng(0).standard_normal((2, 3)), requires_grad=True)
print("worst element:\n   ", gradcheck(square, [x]))

# %% [markdown]
# `record` keeps the result together with the backward; lesson 2 takes it apart. The check allows a
# difference of $10^{-7}$ of the largest slope.
#
# ## Find the planted bug
#
# Three activations of real models, each with its backward. One backward is wrong. **Predict** which
# one, by reading.


# %%
def tanh(x):
    # y = tanh(x)        dx = g (1 - y²)
    y = np.tanh(x.data)
    return record(y, (x,), lambda g: (g * (1 - y**2),))


def silu(x):
    # y = x σ(x)        dx = g σ (1 + x (1 - σ))
    s = 1 / (1 + np.exp(-x.data))
    return record(x.data * s, (x,), lambda g: (g * s * (1 + x.data * (1 - s)),))


def gelu(x):
    # y = x (1 + t) / 2,  t = tanh(c (x + k x³))
    # dx = g ((1 + t) / 2 + x (1 - t²) c (1 + 3 k x²) / 2)
    c, k = np.sqrt(2 / np.pi), 0.044715
    t = np.tanh(c * (x.data + k * x.data**3))
    slope = (1 + t) / 2 + x.data * (1 - t**2) * c * (1 + 3 * 0.04471 * x.data**2) / 2
    return record(x.data * (1 + t) / 2, (x,), lambda g: (g * slope,))


wrong_one = predict("tanh, silu or gelu: whose backward is wrong?", None)

# %%
wrong = []
for f in (tanh, silu, gelu):
    try:
        gradcheck(f, [x])
        print(f"{f.__name__}: right")
    except AssertionError as error:
        wrong.append(f.__name__)
        print(f"{f.__name__}:\n    {error}")

wrong_one.compare(wrong[0])
expect("functions with a wrong backward", wrong, ["gelu"])

# %% [markdown]
# The backward of `gelu` has 0.04471 where the forward has 0.044715: a mistake in the fifth digit.
# The check names the element where it matters most. Would a check in float32 have found it? We
# compare the mistake with the rounding error of float32 at its best step:

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
expect("the mistake is smaller than the noise of float32", bool(mistake < noise), True)

# %% [markdown]
# ## Do

# %%
cards("1.1", "1.2", "1.3")

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
