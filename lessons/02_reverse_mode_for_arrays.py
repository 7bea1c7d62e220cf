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
# # 2 · Reverse mode for arrays
#
# *30 minutes to read, in two parts · needs the chain rule and matrix products · reads
# `minilora/autograd.py`, `minilora/ops/` · exercises 2.1 to 2.3*
#
# **You will be able to** say what `loss.backward()` does: build the tape for a small computation,
# walk it backwards, and write the backward of an array operation in one line.
#
# *Two parts with a break between them: (a) the tape, and the backward of broadcasting; (b) the
# backwards of a matrix product and of softmax.*

# %%
import numpy as np

from minilora import Tensor, gradcheck, ops
from minilora.course import drawings
from minilora.course.lesson import BLUE, ORANGE, SKY, cards, show_axes, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import expect, expect_between

rng = np.random.default_rng(2)

# %% [markdown]
# # Part a: the tape
#
# *15 minutes to read, 15 for exercise 2.1. New symbols: $x$, $L$, $g$.*
#
# ## A loss is a chain of small steps
#
# Take four numbers $x$ (shape `(4,)`) and compute $L = \sum (x \cdot x + x)$, one number, in three
# small steps:

# %% tags=["fold"]
with show_axes(width=10, height=4) as axes:
    drawings.tape(
        axes,
        {
            "L": (10.4, 1, "L = Σ both"),
            "both": (5.6, 1, "both = square + x"),
            "square": (2.2, 2.2, "square = x · x"),
            ".x": (0, 0, "x"),
        },
        [
            ("L", "both", "g = 1", 0),
            ("both", "square", "g", 0),
            ("square", ".x", "g · x", 0.4),
            ("square", ".x", "g · x", -0.4),
            ("both", ".x", "g", 0),
        ],
        "the tape: gradients flow from L down to x",
    )

# %% [markdown]
# Each box is a *node* of the *tape*: an operation that was computed. An arrow leads from a node to
# a *parent*, something that the operation read: the result of another node, or a tensor such as $x$
# that was given. The forward follows the arrows backwards, from $x$ up to $L$; the backward follows
# them, from $L$ down to $x$.
#
# When a function has several inputs, its slope for one of them, with the others held still, is
# written $\partial L / \partial x$: as $dL/dx$ at school. We write $g$ for the gradient that a node
# receives, $g = \partial L / \partial (\text{its result})$: it always has the shape of the result.
# The node turns $g$ into a gradient for each of its parents, which is written on the arrow. And
# $dX$ is short for $\partial L / \partial X$, of the shape of $X$, here and in all lessons.

# %%
x = Tensor(np.array([1.0, 2.0, 3.0, 4.0]), requires_grad=True)
square = x * x  # (4,)  its node reads x twice
both = square + x  # (4,)  its node reads square and x
L = ops.sum(both)  # ()    its node reads both

for name, tensor in (("L", L), ("both", both), ("square", square)):
    grads = tensor.node.backward(np.ones(tensor.shape))
    print(
        f"{name:7} read {len(tensor.node.parents)} tensor(s); "
        f"for g = 1 it passes down {[g.tolist() for g in grads]}"
    )

# %% [markdown]
# The node of `square` passes $x$ down to its first factor and $x$ to its second: with $y = a \cdot
# b$, $da = g \cdot b$ and $db = g \cdot a$, where $da$ is short for $\partial L / \partial a$.
#
# **Predict** `x.grad[3]`, where $x$ is 4. Three contributions arrive at $x$: two through `square`,
# one through `both`.

# %%
slope = predict("the gradient of L at x = 4", None)

# %%
L.backward()
slope.compare(
    float(x.grad[3]),
    wrong={
        8: "8 is what arrives through `square`; `both` reads x too, and passes down 1 more.",
        5: "`square` reads x twice: each of its two arrows brings 4.",
        2: "2 is the second derivative. The slope of x² + x is 2x + 1.",
    },
)

# %% tags=["fold"]
expect("x.grad against school calculus, 2x + 1", x.grad, 2 * x.data + 1)

# %% [markdown]
# A tensor that is used several times receives the **sum** of all contributions. And a node must not
# pass its gradient on before every contribution has arrived.
#
# ## Why the order matters
#
# Let $y_1 = x + x$, $y_2 = y_1 + y_1$, and so on: a chain of $n$ steps, each using the previous one
# twice. A backward that simply follows every arrow down walks every *path* from the loss to $x$.
# How many paths are there? The tape visits each *node* once, after all nodes that use its result.


# %%
def chain(n):
    y = Tensor(np.ones(1), requires_grad=True)
    for _ in range(n):
        y = y + y
    return y


def visits_along_every_path(place):
    if isinstance(place, Tensor):  # x itself: nothing is below it
        return 0
    return 1 + sum(visits_along_every_path(p) for p in place.parents)


def visits_of_the_tape(node):
    seen, todo = set(), [node]
    while todo:
        place = todo.pop()
        if not isinstance(place, Tensor) and place not in seen:
            seen.add(place)
            todo.extend(place.parents)
    return len(seen)


depths = range(1, 15)
naive = [visits_along_every_path(chain(n).node) for n in depths]
tape = [visits_of_the_tape(chain(n).node) for n in depths]

# %% tags=["fold"]
expect("visits along every path, 14 steps", naive[-1], 2**14 - 1)
expect("visits of the tape, 14 steps", tape[-1], 14)

# %% tags=["fold"]
with show_axes() as axes:
    axes.semilogy(depths, naive, "s-", color=ORANGE)
    axes.semilogy(depths, tape, "o-", color=BLUE)
    axes.text(8.2, 3000, "every path: $2^n - 1$", color=ORANGE, ha="right")
    axes.text(9, 3, "every node once: $n$", color=BLUE)
    axes.set(xlabel="steps n, each using the previous one twice", ylabel="backward calls")

# %% [markdown]
# In a transformer every residual connection ($x + f(x)$) doubles the number of paths.
# `Tensor.backward` sorts the nodes first (with a stack, not by recursion: a chain of 50,000 steps
# would exceed Python's limit), then walks them from the loss down.

# %%
start = Tensor(np.ones(1), requires_grad=True)
deep = start
for _ in range(50_000):
    deep = deep * 1.0
deep.backward()

# %% tags=["fold"]
expect("the gradient after 50,000 steps of y = 1.0 x", start.grad[0], 1.0)

# %% [markdown]
# ## Broadcasting, undone
#
# A bias $b$ of shape `(3,)` added to an array of shape `(2, 3)` is used in both rows. NumPy repeats
# it silently; the backward must undo that. The gradient that arrives has shape `(2, 3)`, the
# gradient of $b$ has shape `(3,)`: $b$ is used twice, so its gradient is the sum over the rows.

# %%
b = Tensor(np.array([10.0, 20.0, 30.0]), requires_grad=True)
g = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
(Tensor(np.zeros((2, 3))) + b).backward(g)
print("g arrives:\n", g, "\nb receives:\n", b.grad, sep="")

# %% [markdown]
# Broadcasting does two things: it puts new axes in front, and it stretches axes of size 1. Both are
# a repetition, and what is used several times collects the sum.
#
# ## Do (a)

# %%
cards("2.1")


# %% tags=["exercise"]
def unbroadcast(g, shape):
    """The gradient of an array of `shape` that NumPy broadcast to the shape of `g` before it was used.

    g: array, the incoming gradient; shape: tuple, the shape that the result must have. Returns an array of `shape`.
    Broadcasting repeats: it puts new axes in front, and stretches axes of size 1.
    """
    raise NotImplementedError


check("2.1", unbroadcast)

# %%
undo = answer("2.1")

# %% tags=["fold"]
expect("b.grad by your function", undo(g, (3,)), b.grad)
expect("stretched, not put in front", undo(g, (2, 1)), g.sum(axis=1, keepdims=True))
expect("the same by the library", ops.unbroadcast(g, (2, 1)), undo(g, (2, 1)))

# %% [markdown]
# # Part b: two backwards that carry a transformer
#
# *15 minutes to read, 30 for exercises 2.2 and 2.3. New symbols: $G$, $p$, $\delta_{ij}$.*
#
# ## The matrix product
#
# Take any two matrices (here $A$ and $B$ are not yet those of LoRA): $Y = A B$ with $A$ of shape
# `(m, k)`, $B$ of shape `(k, n)`. Then $Y$ and its gradient $G$ have shape `(m, n)`. One element is
# $Y_{ij} = \sum_l A_{il} B_{lj}$: so $A_{il}$ is used in the whole row $i$ of $Y$, each time with the
# factor $B_{lj}$, and must collect a sum over $j$.
#
# ## Do: the two gradients of a product
#
# Which two products give $dA$, `(m, k)`, and $dB$, `(k, n)`? With $m$, $k$, $n$ all different **the
# shapes leave only one way** to write each.

# %%
cards("2.2")


# %% tags=["exercise"]
def matmul_backward(A, B, G):
    """dA and dB for Y = A B, given G = dL/dY.

    A: (m, k), B: (k, n), G: (m, n). Returns (dA, dB), shaped as A and B.
    """
    raise NotImplementedError


check("2.2", matmul_backward)

# %% [markdown]
# The sum over $j$, written as a product:
#
# $$dA_{il} = \sum_j G_{ij}\, B_{lj} \quad\Rightarrow\quad dA = G\, B^T
# \qquad\text{and in the same way}\qquad dB = A^T G$$
#
# We compare your function with the tape, and the tape with differences (lesson 1).

# %%
product_gradients = answer("2.2")

m, k, n = 4, 3, 2
A = Tensor(rng.standard_normal((m, k)), requires_grad=True)
B = Tensor(rng.standard_normal((k, n)), requires_grad=True)
G = rng.standard_normal((m, n))
(A @ B).backward(G)
dA, dB = product_gradients(A.data, B.data, G)

# %% tags=["fold"]
expect("dA of the tape", A.grad, dA, within=1e-15)
expect("dB of the tape", B.grad, dB, within=1e-15)
print("worst element of the check:\n   ", gradcheck(ops.matmul, [A, B]))

# %% [markdown]
# ## A frozen matrix
#
# A layer of a model has a matrix $W$ of shape `(out, in)` and computes $y = x W^T$ for $N$ rows $x$,
# shape `(N, in)`. From here on $W$ is always the matrix that may be *frozen*: it is used and does
# not learn.
#
# **Predict.** Forward and backward of one such product make three products in all, each of $N \cdot
# in \cdot out$ multiplications. Now $W$ is frozen (`requires_grad=False`). How many of the three are
# left?

# %%
left = predict("products of forward and backward when W is frozen", None)

# %%
x = Tensor(rng.standard_normal((5, 3)), requires_grad=True)
W = Tensor(rng.standard_normal((2, 3)))  # frozen
y = ops.linear(x, W)
grads = y.node.backward(rng.standard_normal((5, 2)))
left.compare(
    1 + sum(g is not None for g in grads),
    wrong={
        3: "dW is of no use when W does not learn, and nobody computes it.",
        1: "The layer below still needs dx, which is a product with W.",
    },
)

# %% tags=["fold"]
expect("the gradient of a frozen W", grads[1], None)

# %% [markdown]
# The product for a frozen matrix is **never computed**. (Computing it and throwing it away would
# take as long as keeping it.) Lesson 6 depends on this.
#
# ## Softmax
#
# Softmax turns a row $x$ of $n$ numbers into $n$ shares $p$ that add up to 1: $p_i = e^{x_i} / S$ with
# $S = \sum_j e^{x_j}$. Raise one $x_j$ and its share grows, while all the others shrink. By the rule
# for quotients (the slope of $e^x$ is $e^x$, and the slope of $S$ for $x_j$ is $e^{x_j}$):
#
# $$\frac{\partial p_j}{\partial x_j} = \frac{e^{x_j}}{S} - \frac{e^{x_j} e^{x_j}}{S^2} = p_j - p_j\,p_j
# \qquad \frac{\partial p_i}{\partial x_j} = -\frac{e^{x_i} e^{x_j}}{S^2} = -p_i\,p_j \quad (i \ne j)$$
#
# Both in one: $\partial p_i / \partial x_j = p_i\,(\delta_{ij} - p_j)$, where $\delta_{ij}$ is 1 for $i = j$
# and else 0. That is a matrix of $n \times n$ numbers for every row. The picture shows it for $n = 6$.

# %%
p = ops.softmax(Tensor(np.array([0.2, 1.4, 0.5, 2.0, 1.2, 0.8]))).data  # (6,)
jacobian = np.diag(p) - np.outer(p, p)  # (6, 6)

# %% tags=["fold"]
with show_axes(2, height=5, width=8.5) as (left_axes, right_axes):
    left_axes.bar(range(6), p, color=SKY, edgecolor="black")
    left_axes.set(xlabel="i", ylabel="share $p_i$", title="softmax of 6 numbers")
    bound = np.abs(jacobian).max()
    image = right_axes.imshow(jacobian, cmap="RdBu_r", vmin=-bound, vmax=bound)
    right_axes.grid(False)
    right_axes.set(
        xlabel="raise $x_j$",
        ylabel="change of $p_i$",
        title="own share up (red), the others down (blue)",
    )
    right_axes.figure.colorbar(image, shrink=0.8)

# %% [markdown]
# ## Do: the backward of softmax
#
# The backward needs this matrix times $g$: $dx_j = \sum_i g_i\, \partial p_i / \partial x_j$. Put the
# slopes in, and take out what does not depend on $i$. Your function need not build the matrix,
# which has as many numbers as the square of a row's length.

# %%
cards("2.3")


# %% tags=["exercise"]
def softmax_backward(p, g):
    """dx for p = softmax(x) along the last axis, given g = dL/dp. The result p is all you need; x is not given.

    p, g: (rows, n); every row of p adds up to 1. Returns an array of that shape.
    """
    raise NotImplementedError


check("2.3", softmax_backward)

# %% [markdown]
# The sum has one term for $i = j$, and in all terms a factor $p_j$:
#
# $$dx_j = \sum_i g_i\, p_i\,(\delta_{ij} - p_j) = p_j \Big(g_j - \sum_i g_i\, p_i\Big)$$
#
# In words: $g_j$ counts only as far as it differs from the mean of $g$, weighted by the shares. A
# $g$ that is the same everywhere changes nothing, because the shares always add up to 1.

# %%
back = answer("2.3")

x = Tensor(rng.standard_normal((5, 12)), requires_grad=True)
p = ops.softmax(x)
g = rng.standard_normal((5, 12))
p.backward(g)
by_matrix = np.array(
    [(np.diag(row) - np.outer(row, row)) @ up for row, up in zip(p.data, g, strict=True)]
)

# %% tags=["fold"]
expect("your line against the tape", back(p.data, g), x.grad, within=1e-14)
expect("the tape against the full matrices", x.grad, by_matrix, within=1e-14)
expect("g = 3 everywhere gives dx = 0", back(p.data, 0 * g + 3), np.zeros((5, 12)), within=1e-14)

# %% [markdown]
# ## Every operation of the library, checked
#
# We run lesson 1's check on each operation that a transformer needs. (Lesson 4 says what most of
# them are for; here it counts that every backward agrees with differences.) The figure shows the largest
# difference as a share of the allowed one.


# %%
def random(*shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


positions = np.arange(5)[None]
cos, sin = ops.rotary_angles(positions, 10.0 ** -np.arange(2.0), np.float64)
hidden = ops.causal_bias(5, 5, dtype=np.float64)
targets = np.array([1, 0, 6])
checks = {
    "add, broadcast": (ops.add, [random(2, 3), random(3)]),
    "mul, broadcast": (ops.mul, [random(2, 3), random(2, 1)]),
    "matmul": (ops.matmul, [random(4, 3), random(3, 2)]),
    "linear": (ops.linear, [random(2, 5, 3), random(4, 3)]),
    "softmax": (ops.softmax, [random(3, 6)]),
    "rms_norm": (ops.rms_norm, [random(3, 6), random(6)]),
    "layer_norm": (ops.layer_norm, [random(3, 6), random(6), random(6)]),
    "swiglu": (ops.swiglu, [random(3, 4), random(3, 4)]),
    "gelu": (ops.gelu, [random(3, 4)]),
    "rotary": (lambda x: ops.rotary(x, cos, sin), [random(1, 5, 2, 4)]),
    "attention": (
        lambda q, k, v: ops.attention(q, k, v, hidden),
        [random(1, 5, 4, 6), random(1, 5, 2, 6), random(1, 5, 2, 6)],
    ),
    "cross_entropy": (lambda z: ops.cross_entropy(z, targets), [random(3, 7)]),
}
worst = {name: gradcheck(f, inputs) for name, (f, inputs) in checks.items()}
table(
    [(name, w.analytic, w.numeric, w.error) for name, w in worst.items()],
    ("operation", "by hand", "by differences", "difference"),
)
shares = np.array([w.error / w.allowed for w in worst.values()])

# %% tags=["fold"]
expect_between("largest difference as a share of the allowed one", float(shares.max()), 0, 1)

# %% tags=["fold"]
with show_axes(height=5.2) as axes:
    places = np.arange(len(shares))
    axes.semilogx(np.maximum(shares, 1e-7), places, "o", color=BLUE, markersize=10)
    axes.axvline(1, color=ORANGE)
    axes.text(0.8, 0.2, "allowed", color=ORANGE, ha="right")
    axes.set_yticks(places, list(worst))
    axes.invert_yaxis()
    axes.set(xlabel="largest difference / allowed difference", xlim=(1e-6, 5))

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/autograd.py`: `Tensor.backward` walks the tape, `record` adds a node.
# `minilora/ops/basic.py`: `unbroadcast` and `matmul`; `minilora/ops/activation.py`: `softmax`. Each
# operation has its equation, forward and backward on one screen.
#
# ## What this does not show
#
# Memory: the tape keeps the arrays that the backwards need, until the walk has used them. In a
# large model these activations can take more memory than the weights. And speed: one fused
# operation (attention as a whole) records one node instead of ten.
#
# ## Questions
#
# <details><summary>x is used in three places. Each passes down a gradient. What is the gradient of
# x?</summary>Their sum.</details>
#
# <details><summary>Why does the tape visit the nodes in an order, and not simply follow the
# arrows?</summary>A node may pass its gradient on only when all contributions to it have arrived; and
# along every path there would be exponentially many visits.</details>
#
# <details><summary>b has shape (1, 3) and was added to an array of shape (4, 3). What is the gradient of
# b?</summary>The sum of the incoming gradient over the rows, with the shape (1, 3) kept.</details>
#
# <details><summary>y = x Wᵀ and W is frozen. Which products does the backward make?</summary>One: dx = g W.
# The product for dW is never made.</details>
