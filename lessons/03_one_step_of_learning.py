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
# # 3 · One step of learning
#
# *25 minutes to read · needs lesson 1; lesson 2's matrix product for exercise 3.1 · reads
# `minilora/training/optim.py` · exercises 3.1 and 3.2*
#
# **You will be able to** write one step of gradient descent and one step of Adam, say how far each
# moves a number, and explain why Adam's first step is the learning rate, whatever the gradient.

# %%
import numpy as np

from minilora import Tensor
from minilora.course.lesson import BLUE, GREEN, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.nn import Parameter
from minilora.training.optim import SGD, AdamW

# %% [markdown]
# ## Downhill on one number
#
# Learning means: change numbers so that a *loss* falls. Take one number $w$ and the loss
#
# $$L(w) = \tfrac12 (w - 3)^2, \qquad L'(w) = w - 3$$
#
# The lowest place is $w = 3$. A program does not see that. It knows the slope $L'(w)$ where it is,
# and takes a step against it. The *learning rate* $\eta$ (`lr` in code) says how long:
#
# $$w \leftarrow w - \eta\, L'(w)$$
#
# **Predict.** Of the rates 0.5, 1, 1.5, 2 and 2.5: which is the largest with which $w$ is nearer
# to 3 after every step?

# %%
largest = predict("the largest rate of 0.5, 1, 1.5, 2, 2.5 that gets nearer at every step?", None)


# %%
def descend(lr, w=0.0, steps=8):  # -> every w on the way
    way = [w]
    for _ in range(steps):
        w = w - lr * (w - 3)
        way.append(w)
    return np.array(way)


rates = (0.5, 1, 1.5, 2, 2.5)
far = {lr: np.abs(descend(lr) - 3) for lr in rates}  # distance to the lowest place
table(
    [(lr, *far[lr][:4]) for lr in rates], ("rate", "at the start", "1 step", "2 steps", "3 steps")
)
nearer = [lr for lr in rates if far[lr][1] < far[lr][0]]
largest.compare(
    max(nearer),
    wrong={
        2: "At 2 it jumps from 0 to 6 and back: never nearer.",
        1: "1 arrives at once; 1.5 jumps across and still gets nearer.",
    },
)

# %% tags=["fold"]
expect("the largest that gets nearer", max(nearer), 1.5)

# %% tags=["fold"]
with show_axes(3, height=4.0, sharey=True) as panels:
    w = np.linspace(-3.2, 9.2, 200)
    for axes, lr, colour in zip(panels, (0.5, 1.5, 2.5), (BLUE, GREEN, ORANGE), strict=True):
        way = descend(lr, steps=4 if lr < 2 else 1)
        axes.plot(w, (w - 3) ** 2 / 2, color="black", linewidth=1)
        axes.plot(way, (way - 3) ** 2 / 2, "o-", color=colour)
        axes.set(title=f"rate {lr}", xlabel="w", ylim=(-0.5, 12.5))
    panels[0].set_ylabel("loss")

# %% [markdown]
# Here one step multiplies the distance to 3 by $1 - \eta$. A rate of 1 arrives at once; between 1
# and 2 the number jumps to the other side, and still gets nearer; at 2 it jumps for ever between 0
# and 6; above 2 every step leads further away. If the curve is bent $c$ times as much, $L = \frac
# c2 (w - 3)^2$, the factor is $1 - \eta c$: the largest useful rate is $2 / c$.

# %% [markdown]
# ## Downhill on a matrix
#
# A layer has a matrix $W$, shape `(out, in)`. For $N$ rows of input, $x$ of shape `(N, in)`, it
# predicts $x W^T$; the right answers are $y$, shape `(N, out)`. The loss is the mean over the rows
# of half the squared distance,
#
# $$L = \frac1N \sum_i \tfrac12 \lVert x_i W^T - y_i \rVert^2$$
#
# The step is the same, for all numbers of $W$ at once: $W \leftarrow W - \eta\, dW$, where $dW$
# holds the slope of $L$ for each number, in the shape of $W$. Which product gives $dW$? Write it
# yourself: the shapes leave one way.
#
# ## Do: a matrix
#
# Here and in every lesson: write the function in the cell below the card, and run the cell. It says
# at once whether the function is right.

# %%
cards("3.1")


# %% tags=["exercise"]
def matrix_step(W, x, y, lr):
    """W after one step of gradient descent. The layer predicts x Wᵀ; it should predict y.

    The loss is the mean over the N rows of half the squared distance: 1/N Σ ½ ‖x_i Wᵀ - y_i‖².
    W: (out, in), x: (N, in), y: (N, out); lr: a number. Returns the new W: (out, in).
    """
    raise NotImplementedError


check("3.1", matrix_step)

# %% [markdown]
# From here on the lesson steps with your function, if it is right. We compare it with the library:
# its tape finds $dW$, and its optimizer `SGD` takes the step.

# %%
step = answer("3.1")

rng = np.random.default_rng(3)
x = rng.standard_normal((64, 3))
y = x @ rng.standard_normal((2, 3)).T
W = Parameter((2, 3), data=np.zeros((2, 3)))

error = Tensor(x) @ W.transpose(1, 0) - Tensor(y)
((error * error).sum() * (0.5 / len(x))).backward()
mine = step(W.data.copy(), x, y, 0.1)
SGD([W], lr=0.1).step()

# %% tags=["fold"]
expect("one step of the library", np.asarray(mine), W.numpy(), within=1e-12)

# %% [markdown]
# Why does this find the answer? It begins with the error $x W^T - y$, `(N, out)`, with a sign for each
# answer. A weight's slope is the error times the input that the weight saw, summed over
# the rows: $dW = \frac1N (x W^T - y)^T x$. Where the predictions are right nothing moves.

# %% [markdown]
# ## One rate for all
#
# Now two weights that see inputs of different size. Column 1 is in metres, column 2 in decimetres:
# its numbers are ten times as large.
#
# **Predict.** Without the second column the rate could be much larger. By what factor?

# %%
factor = predict("the largest useful rate, without column 2 / with it?", None)

# %%
x = rng.standard_normal((200, 2))
x = x - x.mean(axis=0)
x = np.linalg.qr(x)[0] * np.sqrt(len(x))  # exactly independent columns, to keep the picture simple
x = x * [1, 10]
goal = np.array([[8.0, 1.0]])  # the weights that are right
y = x @ goal.T


def loss_of(W):
    return float(((x @ W.T - y) ** 2).sum() / 2 / len(x))


def way_of(lr, steps):  # -> (steps + 1, 2), W on its way from zero
    way = [np.zeros((1, 2))]
    for _ in range(steps):
        way.append(np.asarray(step(way[-1], x, y, lr)))
    return np.concatenate(way)


curvature = (x**2).mean(axis=0)  # how much L is bent along each weight
limits = 2 / curvature
factor.compare(
    limits[0] / limits[1],
    wrong={10: "The input counts twice: in the prediction, and again in the slope. 10 times 10."},
)
table(
    list(zip(("weight 1", "weight 2"), curvature, limits, strict=True)),
    ("", "bent by", "largest useful rate"),
)
expect("rate without column 2 / with it", limits[0] / limits[1], 100.0, within=1e-6)
slow = way_of(0.018, 60)

# %% tags=["fold"]
expect_between("after 60 steps: distance of weight 1 to its goal", abs(slow[-1, 0] - 8), 1.5, 4)
expect_between("after 60 steps: distance of weight 2 to its goal", abs(slow[-1, 1] - 1), 0, 0.01)

# %% [markdown]
# The slope of weight 2 is multiplied by its input twice: once in the prediction, once in $dW$. So
# it is bent $10^2 = 100$ times as much. One rate must serve both: weight 2 allows no more than
# 0.02, and at that rate weight 1 creeps.

# %% [markdown]
# ## A rate for each number: Adam
#
# *Adam* (Kingma and Ba 2015) keeps two running means beside every trained number: $m$ of its
# gradient, and $v$ of the gradient's square. With the new gradient $g$:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2$$
#
# (Usually $\beta_1 = 0.9$ and $\beta_2 = 0.999$.) The step is $m$ in units of $\sqrt v$, which is
# the gradient's own usual size. So a number with large gradients and one with small gradients
# move equally far. A small $\varepsilon$ beside $\sqrt v$ keeps the quotient finite.
#
# Both means start at zero, so at first they are far too small: after the first step $m$ is a tenth
# of $g$ and $v$ a thousandth of $g^2$. After $t$ steps with one and the same gradient, $m$ is $(1 -
# \beta_1^t)\, g$. Adam divides by that share: $\hat m$ and $\hat v$ are $m$ and $v$, corrected.
#
# One thing more: *AdamW* (Loshchilov and Hutter 2019) also pulls every number a little toward zero
# in each step, by the share $\eta \lambda$ of itself. That is *weight decay*.
#
# ## Do: Adam

# %%
cards("3.2")


# %% tags=["exercise"]
def adamw_step(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    """One step of AdamW on the array p with the gradient g. It has five parts, in this order:

    1. m, the running mean of the gradients: a share beta1 of the old m stays, the rest is g.

    2. v, the same with beta2 for the squares of the gradients.

    3. m and v start at zero, so both are too small: divide each by 1 - betaᵗ (t = 1 at first).

    4. Decay: p loses the share lr · decay of itself.

    5. The step: p moves against the corrected m, over (root of the corrected v) + eps, times lr.

    p, g, m, v: arrays of one shape; t: a whole number from 1 on; the others: numbers.
    Returns (p, m, v), all new; m and v without part 3, as the next step needs them.
    """
    raise NotImplementedError


check("3.2", adamw_step)

# %% [markdown]
# Ten steps of yours against ten steps of the library's `AdamW`, on random gradients:

# %%
adam = answer("3.2")


class Adam:
    """An array with its two means, moved by adamw_step."""

    def __init__(self, p, lr, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0):
        self.p, self.m, self.v, self.t = p, np.zeros_like(p), np.zeros_like(p), 0
        self.settings = beta1, beta2, eps, decay
        self.lr = lr

    def step(self, g):
        self.t += 1
        new = adam(self.p, g, self.m, self.v, self.t, self.lr, *self.settings)
        self.p, self.m, self.v = (np.asarray(part) for part in new)


start = rng.standard_normal((2, 3))
library = Parameter((2, 3), data=start.copy())
optimizer = AdamW([library], lr=0.1, weight_decay=0.5)
own = Adam(start, lr=0.1, decay=0.5)
for _ in range(10):
    library.grad = rng.standard_normal((2, 3))
    own.step(library.grad)
    optimizer.step()

# %% tags=["fold"]
expect("ten steps of the library", own.p, library.numpy(), within=1e-12)

# %% [markdown]
# ## The first step
#
# **Predict.** One number has the gradient 1000, another 0.001. Both take their first step with
# Adam, at the same rate. How many times as far does the first one move?

# %%
ratio = predict("Adam's first move for the gradient 1000 / for the gradient 0.001?", None)

# %%
gradients = np.array([1000.0, 0.001, -0.001, 1e-8, 0.0])
first = Adam(np.zeros(5), lr=0.1)
first.step(gradients)
table(
    list(zip(gradients, 0 - 0.1 * gradients, first.p, strict=True)),
    ("gradient", "descent moves by", "Adam moves by"),
)
ratio.compare(
    float(first.p[0] / first.p[1]),
    wrong={1e6: "That is plain descent. Adam divides by the size of the gradient."},
)

# %% tags=["fold"]
expect("first move for 1000 / for 0.001", float(first.p[0] / first.p[1]), 1.0, within=1e-4)
expect("first move for a gradient of exactly zero", float(first.p[4]), 0.0)

# %% [markdown]
# In the first step $\hat m = g$ and $\hat v = g^2$, so the step is $\eta\, g / |g|$: **the rate,
# with a sign.** Only two gradients move a number less: one that is as small as $\varepsilon$, and
# exactly zero, which moves it not at all. Keep this for later: lesson 6 starts a matrix at zero, so
# that another's first gradient is exactly zero; lesson 7 asks how far a first step moves a whole
# model, and needs no gradient for the answer.
#
# ## The valley again

# %%
fast = Adam(np.zeros((1, 2)), lr=0.5)
path = [fast.p]
for _ in range(60):
    fast.step((x @ fast.p.T - y).T @ x / len(x))
    path.append(fast.p)
path = np.concatenate(path)
expect("the first step moves both weights by the rate", path[1], np.array([0.5, 0.5]), within=1e-6)
ends = {"descent, rate 0.018": slow[-1:], "Adam, rate 0.5": path[-1:]}
table(
    [(name, loss_of(W), *W[0]) for name, W in ends.items()],
    ("60 steps", "loss", "weight 1", "weight 2"),
)

# %% tags=["fold"]
expect_between("loss of descent / of Adam", loss_of(slow[-1:]) / loss_of(path[-1:]), 5, 1e6)

# %% tags=["fold"]
with show_axes(width=9.0) as axes:
    w1, w2 = np.meshgrid(np.linspace(-0.8, 10.5, 120), np.linspace(-0.6, 2.6, 120))
    height = (curvature[0] * (w1 - 8) ** 2 + curvature[1] * (w2 - 1) ** 2) / 2
    axes.contour(w1, w2, np.log10(height + 0.1), 12, colors="lightgrey")
    axes.plot(*slow.T, "o-", color=ORANGE, markersize=4)
    axes.plot(*path.T, "s-", color=BLUE, markersize=4)
    axes.plot(8, 1, "*", color=GREEN, markersize=22)
    axes.text(8, 0.5, "lowest place", color=GREEN, ha="center", va="top")
    axes.text(0.4, 2.05, "descent: jumps across, creeps along", color=ORANGE)
    axes.text(3.1, 1.5, "Adam: both weights by the rate at first", color=BLUE)
    axes.set(xlabel="weight 1", ylabel="weight 2")

# %% [markdown]
# Descent jumps across the narrow valley and creeps along it. Adam does not see that weight 2 is
# steeper: both weights set out at the same speed. It also overshoots, since $m$ remembers.

# %% [markdown]
# ## Decay
#
# Why does AdamW keep decay out of the gradient? The older way adds $\lambda p$ to $g$. Take a
# number $p = 1$ that no example uses, so that its gradient is zero, with $\eta = 0.1$ and $\lambda =
# 0.01$. AdamW moves it by $\eta \lambda = 0.001$.
#
# **Predict.** How far does the older way move it in the first step?

# %%
pulled = predict("with λ p added to the gradient, how far does p = 1 move?", None)

# %%
new, old = Adam(np.ones(1), lr=0.1, decay=0.01), Adam(np.ones(1), lr=0.1)
new.step(np.zeros(1))
old.step(0.01 * old.p)  # λ p in the place of the gradient
pulled.compare(
    float(1 - old.p[0]),
    wrong={
        0.001: "So in AdamW. Here it passes through Adam, which divides by its size.",
        0.01: "Adam divides the gradient by its size: 0.01 or 0.0001, it moves by the rate.",
    },
)

# %% tags=["fold"]
expect("AdamW moves it by", float(1 - new.p[0]), 0.001, within=1e-9)
expect("the older way moves it by", float(1 - old.p[0]), 0.1, within=1e-4)

# %% [markdown]
# By the whole rate, and it would be the same for $\lambda = 0.0001$: Adam divides by the gradient's
# size, and $\lambda p$ is all the gradient that there is. In AdamW the pull is proportional to $p$
# and to $\lambda$, as one wants.

# %% [markdown]
# ## What `zero_grad` is for
#
# A backward **adds** to the gradients that are there (lesson 2: a tensor that is used several times
# collects the sum). So between two steps they must be cleared. Somebody forgets it; the true
# gradient is 1 in every step.
#
# **Predict.** How many times as long as the first step is the third, with plain descent? And with
# Adam, does the mistake show as well?

# %%
third = predict("descent without zero_grad: third step / first step?", None)

# %%
rows = []
for name in ("descent", "Adam"):
    p, forgotten = Adam(np.zeros(1), lr=0.1), 0.0
    moves = []
    for _ in range(3):
        forgotten = forgotten + 1.0  # 1, 2, 3: nobody cleared it
        before = p.p
        if name == "Adam":
            p.step(np.full(1, forgotten))
        else:
            p.p = p.p - 0.1 * forgotten
        moves.append(float(before[0] - p.p[0]))
    rows.append((name, *moves))
table(rows, ("without zero_grad", "step 1", "step 2", "step 3"))
third.compare(rows[0][3] / rows[0][1])

# %% tags=["fold"]
expect("descent: third step / first", rows[0][3] / rows[0][1], 3.0, within=1e-9)
expect_between("Adam: third step / first", rows[1][3] / rows[1][1], 0.9, 1.1)

# %% [markdown]
# Descent takes longer and longer steps, which one sees. Adam divides by the size that has grown
# too: its steps look right, and their direction is the sum of all past gradients. **Adam hides
# mistakes of size**: gradients that are never cleared, a loss multiplied by 1000, a mean that
# should be a sum. All run, and nothing blows up.
#
# ## Why the rate falls at the end
#
# A step of about the rate is good on the way and bad at the goal: the number cannot come nearer
# than about one step. Real gradients come from a few examples at a time, so they never agree
# exactly. We let Adam look at 4 random rows a step, with answers that have some noise, ten times.

# %%
noisy = y + rng.standard_normal(y.shape) * 2


def noisy_way(rate_at, seed, steps=300):  # -> the distance of W to its goal after each step
    order = np.random.default_rng(seed)
    own, distances = Adam(np.zeros((1, 2)), lr=0.0), []
    for t in range(steps):
        rows = order.choice(len(x), 4)
        own.lr = rate_at(t / steps)
        own.step((x[rows] @ own.p.T - noisy[rows]).T @ x[rows] / 4)
        distances.append(np.linalg.norm(own.p - goal))
    return np.array(distances)


constant = np.mean([noisy_way(lambda done: 0.3, seed) for seed in range(10)], axis=0)
falling = np.mean([noisy_way(lambda done: 0.3 * (1 - done), seed) for seed in range(10)], axis=0)
ends = constant[-20:].mean(), falling[-20:].mean()
print(
    f"mean distance over the last 20 steps: {ends[0]:.2f} with a constant rate, "
    f"{ends[1]:.2f} with a falling one"
)

# %% tags=["fold"]
expect_between("constant / falling", ends[0] / ends[1], 1.5, 20)

# %% tags=["fold"]
with show_axes() as axes:
    axes.semilogy(constant, "-", color=ORANGE)
    axes.semilogy(falling, "-", color=BLUE)
    axes.text(
        298, constant[-60:].max() * 1.2, "constant rate", color=ORANGE, ha="right", va="bottom"
    )
    axes.text(298, falling[-60:].min() * 0.8, "falling rate", color=BLUE, ha="right", va="top")
    axes.set(
        xlabel="step", ylabel="distance to the right weights\n(mean of ten runs)", ylim=(0.05, 12)
    )

# %% [markdown]
# All trainings of this course let the rate fall in a straight line to zero (`linear_decay`).

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/training/optim.py`: `AdamW.update` is your function in place, with $\sqrt{\hat v}$
# rearranged so that no array is made for it; `SGD` is plain descent with momentum; `linear_decay`
# is the falling rate. `Optimizer.zero_grad` sets every gradient to None: a parameter without a
# gradient is left alone, which is not the same as a gradient of zero.
#
# ## What this does not show
#
# The losses here are bowls, with one lowest place. A model's is not; why the same two lines find
# good places there is not fully understood. Nor that Adam is always better: on a round bowl descent
# with a tuned rate is as fast, and it needs none of the memory. (Adam keeps two numbers for every
# trained one: lesson 8 counts them.) After the first step Adam's step is not the rate any more: it
# is smaller where gradients disagree.
#
# ## Questions
#
# <details><summary>A loss is multiplied by 1000. What must happen to the rate of descent, and to
# that of Adam?</summary>Descent: divide the rate by 1000. Adam: nothing, m and √v grow
# alike.</details>
#
# <details><summary>Why divide by 1 - βᵗ, and when does it stop to matter?</summary>The means start
# at zero and have seen only t gradients. With β1 = 0.9 the correction is less than 1% after 44 steps;
# with β2 = 0.999 after some 4,600.</details>
#
# <details><summary>A number had the gradient 1 for 1,000 steps, then 0. Does Adam stop at
# once?</summary>No: m falls by a tenth a step and v by a thousandth, so p moves on by about ten more
# rates.</details>
#
# <details><summary>Which of the two weights of the valley has its gradient's sign right in every
# step of descent at rate 0.018?</summary>Both: the sign is always toward the goal. Weight 2 is
# moved too far, by 1.8 times its distance, and so it changes sides.</details>
