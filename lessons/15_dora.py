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
# # 15 · DoRA: length and direction
#
# *25 minutes to read · needs lesson 6 · reads `minilora/methods/dora.py` · exercises 15.1 to 15.3*
#
# **You will be able to** write DoRA's forward, the gradient that it adds and its merge; say what it
# means that "the norm is detached"; and say what DoRA gained here, which is less than its paper
# found.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.course.compare import numeric_gradient
from minilora.course.lesson import BLUE, GREEN, ORANGE, answer, cards, check, replay
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.low_rank import matrices
from minilora.course.lab.measured import mean_and_spread, measured
from minilora.course.lab.own_dora import dora_from
from minilora.course.lab.tune import affordable_steps, load_base, test_loss, test_score, tune

# %% [markdown]
# ## A row has a length and a direction
#
# Each output of a layer is the product of $x$ with one row of $W$. A row is a vector. Of two rows of
# the same direction, the longer one gives larger outputs, for every $x$ by the same factor.
#
# LoRA adds a row of $s BA$ to it. That changes direction and length together, and one cannot be had
# without the other. DoRA (Liu et al. 2024, "weight-decomposed") learns the two apart:
#
# - the **direction** is that of LoRA's row, $V = W + s BA$;
# - the **length** is a number $m$ of its own, one for each row, which is trained too.

# %% tags=["fold"]
with show_axes(2, width=8.0, height=4.4) as (left, right):
    w, u = np.array([3.0, 1.0]), np.array([-0.4, 1.9])
    v = w + u
    angle = np.linspace(0.1, 1.2, 50)

    def arrow(axes, start, end, colour, **style):
        look = {"arrowstyle": "-|>", "color": colour, "linewidth": 3, "mutation_scale": 22} | style
        axes.annotate("", end, start, arrowprops=look)

    for axes in (left, right):
        arrow(axes, (0, 0), w, "black")
        axes.text(2.0, 0.1, "row of W", ha="center")
        axes.set(xlim=(-0.3, 4.6), ylim=(-0.4, 3.6), aspect="equal", xticks=[], yticks=[])
    arrow(left, w, v, ORANGE)
    arrow(left, (0, 0), v, BLUE)
    left.text(3.1, 2.0, "+ row of s BA", color=ORANGE)
    left.text(1.1, 2.1, "longer,\nand turned", color=BLUE, ha="center")
    left.set_title("LoRA")
    m = 3.0
    right.plot(m * np.cos(angle), m * np.sin(angle), ":", color=GREEN)
    arrow(right, (0, 0), v, BLUE, linewidth=1.5, linestyle="--")
    arrow(right, (0, 0), m * v / np.linalg.norm(v), GREEN)
    right.text(2.75, 2.85, "V: only its\ndirection counts", color=BLUE)
    right.text(0.75, 2.0, "length m", color=GREEN, ha="center")
    right.set_title("DoRA")

# %% [markdown]
# At the start $B = 0$ and $m$ is set to the lengths of $W$'s rows. So the layer starts as the frozen
# one, as in LoRA.
#
# **Predict.** The base has 4 blocks with 7 matrices: outputs 128, 64, 64, 128, 352, 352 and 128. How
# many more trained numbers does DoRA have than LoRA?

# %%
more = predict("trained numbers of DoRA minus those of LoRA, on all 28 matrices?", None)

# %%
settings = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
lora = get_peft_model(load_base()[0], LoraConfig(**settings), seed=0)
dora = get_peft_model(load_base()[0], LoraConfig(**settings, use_dora=True), seed=0)
counts = [model.get_nb_trainable_parameters()[0] for model in (lora, dora)]
table([("LoRA", counts[0]), ("DoRA", counts[1])], ("rank 8", "trained numbers"))
more.compare(counts[1] - counts[0])

# %% tags=["fold"]
expect("DoRA minus LoRA", counts[1] - counts[0], 4 * (128 + 64 + 64 + 128 + 352 + 352 + 128))

# %% [markdown]
# ## Do: forward and gradient

# %%
cards("15.1", "15.2")


# %% tags=["exercise"]
def dora_forward(x, W, A, B, m, alpha, r):
    """The output of the layer: each row of V = W + (alpha / r) B A gets the length m.

    x: (N, in), W: (out, in), A: (r, in), B: (out, r), m: (out,); alpha, r: numbers.
    Returns y: (N, out).
    """
    raise NotImplementedError


check("15.1", dora_forward)


# %% tags=["exercise"]
def magnitude_gradient(x, g, W, A, B, m, alpha, r):
    """dm, given g = dL/dy for the y of exercise 15.1: which lengths should grow?

    x: (N, in), g: (N, out), W: (out, in), A: (r, in), B: (out, r), m: (out,); alpha, r: numbers.
    Returns dm: (out,).
    """
    raise NotImplementedError


check("15.2", magnitude_gradient)

# %% [markdown]
# ## The norm, detached
#
# As a formula, with $n$ for the lengths of the rows of $V$, shape `(out,)`:
#
# $$V = W + s\,BA, \qquad n_o = \lVert V_o \rVert, \qquad y_o = m_o \,\frac{V_o \cdot x}{n_o}$$
#
# What are $dA$ and $dB$? With $\odot$ for "element by element", the output is $\frac{m}{n} \odot (x
# V^T)$. If the factor $m / n$ were a constant, all would be as in lesson 6: the layer above passes
# down $g$, the factor makes $h = \frac{m}{n} \odot g$ of it, and LoRA's backward goes on with $h$ in
# the place of $g$.
#
# But $n$ is no constant: it depends on $A$ and $B$. The paper treats it as one all the same ("the norm
# is detached from the gradient graph", section 4.3), to save memory.
#
# **Predict.** Is $dB$ with the norm detached the true derivative of the loss?

# %%
true_derivative = predict("norm detached: is dB the true derivative? (yes / no)", None)

# %%
forward, dm_of = answer("15.1"), answer("15.2")
gradients = answer("6.2")  # LoRA's, of lesson 6

rng = np.random.default_rng(15)
N, n_in, n_out, r, alpha = 6, 5, 4, 2, 6.0
x, g = rng.standard_normal((N, n_in)), rng.standard_normal((N, n_out))
W = rng.standard_normal((n_out, n_in))
A, B = rng.standard_normal((r, n_in)), rng.standard_normal((n_out, r))
m = rng.uniform(1, 3, n_out)
V = W + alpha / r * B @ A
n = np.linalg.norm(V, axis=1)


def loss(B):  # the number whose gradient for y is g
    return float((g * np.asarray(forward(x, W, A, B, m, alpha, r))).sum())


h = m / n * g
detached = np.asarray(gradients(x, h, A, B, alpha, r)[1])
true = numeric_gradient(loss, B)
gap = float(np.abs(detached - true).max())
print(f"largest difference of an element of dB: {gap:.3f}")
true_derivative.compare(
    "yes" if gap < 1e-6 else "no",
    wrong={"yes": "n depends on A and B; a true derivative would know that."},
)

# %% tags=["fold"]
expect_between("largest difference", gap, 0.01, 100)

# %% [markdown]
# Which part is missing? Let $G = h^T x$ be the gradient for $V$ with the norm detached. Lengthening
# row $o$ of $V$ changes no output at all: $n_o$ grows as much, and divides it away. So the true
# gradient has **no part along the row**; $G$ has one. The part of $G_o$ along $V_o$ has the size $G_o
# \cdot V_o / n_o$, and that is $m_o\, dm_o / n_o$: your exercise 15.2 has computed it already. Taking
# it out gives
#
# $$dV = h^T x - \frac{m \odot dm}{n^2} \odot V$$

# %%
dm = np.asarray(dm_of(x, g, W, A, B, m, alpha, r))
G = h.T @ x
along = (m * dm / n**2)[:, None] * V

# %% tags=["fold"]
expect("dB = s dV Aᵀ with the part taken out", alpha / r * (G - along) @ A.T, true, within=1e-6)
expect(
    "what is left has no part along the rows",
    ((G - along) * V).sum(axis=1),
    np.zeros(n_out),
    within=1e-9,
)

# %% [markdown]
# So detaching adds a pull that makes rows of $V$ longer or shorter, which the next forward divides
# away. Is it harmless, then? We try both on one layer, far from its goal: its rows should get another
# direction and another length.
#
# **Predict.** Which gradient has the lower loss after 300 steps, "detached" or "true", or are they
# "equal" within a factor of 2?

# %%
lower = predict("lower loss after 300 steps: detached, true or equal?", None)

# %%
X = rng.standard_normal((128, 24))
W1 = rng.standard_normal((16, 24))
goal = W1 + rng.standard_normal((16, 4)) @ rng.standard_normal((4, 24))
Y = X @ (goal * rng.uniform(0.5, 2, (16, 1))).T


def losses_of(
    take_out, steps=300, lr=0.01
):  # -> the loss of each step, by plain descent; lengths of V
    A, B = np.random.default_rng(0).uniform(-1, 1, (4, 24)) / np.sqrt(24), np.zeros((16, 4))
    m, losses = np.linalg.norm(W1, axis=1), []
    for _ in range(steps):
        error = np.asarray(forward(X, W1, A, B, m, 4.0, 4)) - Y
        losses.append(float((error**2).sum() / 2 / len(X)))
        g, V = error / len(X), W1 + B @ A
        n = np.linalg.norm(V, axis=1)
        dm = np.asarray(dm_of(X, g, W1, A, B, m, 4.0, 4))
        dV = (m / n * g).T @ X - take_out * (m * dm / n**2)[:, None] * V
        A, B, m = A - lr * B.T @ dV, B - lr * dV @ A.T, m - lr * dm
    return losses, float(n.mean())


(detached_losses, detached_n), (true_losses, true_n) = losses_of(0), losses_of(1)
table(
    [
        (
            "norm detached",
            detached_losses[0],
            detached_losses[100],
            detached_losses[-1],
            detached_n,
        ),
        ("true", true_losses[0], true_losses[100], true_losses[-1], true_n),
    ],
    ("gradient", "loss at first", "step 100", "step 300", "mean length of V's rows"),
)
factor = detached_losses[-1] / true_losses[-1]
lower.compare(
    "true" if factor > 2 else "detached" if factor < 0.5 else "equal",
    wrong={"equal": "So the paper found, and so will our base. Here rows are far away."},
)

# %% tags=["fold"]
expect_between("loss after 300 steps, detached / true", factor, 5, 1000)
expect_between("length of V's rows, detached / true", detached_n / true_n, 5, 100)

# %% tags=["fold"]
with show_axes() as axes:
    axes.semilogy(detached_losses, "--", color=ORANGE)
    axes.semilogy(true_losses, "-", color=GREEN)
    axes.text(
        290, detached_losses[-1] * 1.25, "norm detached", color=ORANGE, ha="right", va="bottom"
    )
    axes.text(150, true_losses[150] * 0.7, "true gradient", color=GREEN, ha="right", va="top")
    axes.set(xlabel="step", ylabel="loss")

# %% [markdown]
# On this layer it is far from harmless. While $m$ is too small, the pull lengthens the rows of $V$; and
# the longer a row is, the less a step of the same size turns it. Here they become thirty times as long,
# and the direction hardly moves any more. So is the paper wrong? Its layers are those of a trained
# model, which moves little. We ask our base, five seeds each:

# %%
sweep = replay("dora_norm")["rows"]
by_norm = {
    name: mean_and_spread(sweep, "test_loss", detached=name == "detached")
    for name in ("detached", "true")
}
table([(name, *pair) for name, pair in by_norm.items()], ("gradient", "test loss", "± spread"))
gap = abs(by_norm["detached"][0] - by_norm["true"][0])

# %% tags=["fold"]
expect(
    "the base: they differ by more than the larger spread",
    gap > max(s for _, s in by_norm.values()),
    False,
)

# %% [markdown]
# There the two differ by less than the seeds do. Detaching is good enough where it is used, and it is
# an approximation: both can be true.

# %% [markdown]
# ## The whole base by your functions
#
# Your forward and your $dm$ go into all 28 layers; $dA$, $dB$ and $dx$ are those of lesson 6 (yours,
# if you have checked them in this kernel), with $h$ in the place of $g$.

# %%
lora_gradients, input_gradient = answer("6.2"), answer("6.3")
model, tokenizer = dora_from(forward, dm_of, lora_gradients, input_gradient)
ids = np.random.default_rng(0).integers(2, 1024, (16, 48))

# %% tags=["fold"]
expect(
    "before the first step: logits as the base's",
    model(ids[:1]).numpy(),
    load_base()[0](ids[:1]).numpy(),
    within=1e-3,
)

# %%
steps = affordable_steps(lambda: model.loss(ids, ids).backward(), 60)
tune(model, tokenizer, "sql", steps=steps, lr=1e-2, seed=0)
score, loss_apart = test_score(model, tokenizer, "sql"), test_loss(model, tokenizer, "sql")
print(f"right answers {score:.2f}, test loss {loss_apart:.4f}")
if steps == 60:
    expect_between("score of your DoRA", score, 0.45, 0.9)

# %% [markdown]
# ## Do: merge
#
# DoRA costs more than LoRA at every use: it needs $n$, and so $BA$. Merged it costs nothing, as LoRA
# does.

# %%
cards("15.3")


# %% tags=["exercise"]
def dora_merge(W, A, B, m, alpha, r):
    """One matrix that does the work of W, A, B and m: its layer gives the y of exercise 15.1.

    W: (out, in), A: (r, in), B: (out, r), m: (out,); alpha, r: numbers. Returns (out, in).
    """
    raise NotImplementedError


check("15.3", dora_merge)

# %%
merge = answer("15.3")
W0 = {name: p.data.copy() for name, p in matrices(load_base()[0]).items()}
plain, _ = load_base()
merged = {}
for layer in model.base_model.layers:
    A, B, m = (p.data for p in layer.adapters["default"].parameters.values())
    name = f"{layer.path}.weight"
    merged[name] = np.asarray(merge(W0[name], A, B, m, 16, 8), np.float32)
    matrices(plain)[name].data = merged[name]

# %% tags=["fold"]
expect(
    "test loss, merged by your function",
    test_loss(plain, tokenizer, "sql"),
    loss_apart,
    within=1e-3,
)

# %% [markdown]
# ## Length against direction, in what was trained
#
# The paper looks at a trained LoRA and finds that matrices whose rows change their length more also
# change their direction more, as a rule; in full fine-tuning it is rather the other way round, and
# DoRA resembles that. Here is the same for ours: one point for each of the 28 matrices.
#
# **Predict.** For LoRA: is the correlation of the two changes above 0.5? And for DoRA?

# %%
tied = predict("correlation of the two changes above 0.5: LoRA, DoRA, both or neither?", None)

# %%
other = get_peft_model(load_base()[0], LoraConfig(**settings), seed=0)
tune(other, tokenizer, "sql", steps=steps, lr=1e-2, seed=0)


def changes(new):  # -> (28,) mean change of a row's length, (28,) of its direction, 1 - cos
    lengths, directions = [], []
    for name, W in W0.items():
        before, after = np.linalg.norm(W, axis=1), np.linalg.norm(new[name], axis=1)
        lengths.append(np.abs(after / before - 1).mean())
        directions.append((1 - (W * new[name]).sum(axis=1) / before / after).mean())
    return np.array(lengths), np.array(directions)


by_lora = {
    f"{layer.path}.weight": W0[f"{layer.path}.weight"] + layer.adapters["default"].delta()
    for layer in other.base_model.layers
}
pairs = {"LoRA": changes(by_lora), "DoRA": changes(merged)}
correlation = {name: float(np.corrcoef(*pair)[0, 1]) for name, pair in pairs.items()}
print({name: round(value, 2) for name, value in correlation.items()})
high = [name for name, value in correlation.items() if value > 0.5]
tied.compare({0: "neither", 2: "both"}.get(len(high), "".join(high)), of=("LoRA", "DoRA"))

# %% tags=["fold"]
expect_between("correlation, LoRA", correlation["LoRA"], 0.8, 1)
expect_between("correlation, DoRA", correlation["DoRA"], -1, 0.75)

# %% tags=["fold"]
with show_axes(height=5.0) as axes:
    for (name, (lengths, directions)), colour, marker in zip(
        pairs.items(), (ORANGE, BLUE), ("s", "o"), strict=True
    ):
        axes.plot(100 * lengths, directions, marker, color=colour, markersize=9)
        at = int(np.argmax(directions))
        axes.text(
            100 * lengths[at], directions[at] + 0.008, name, color=colour, ha="center", va="bottom"
        )
    axes.set(
        xlabel="mean change of a row's length, percent",
        ylabel="mean change of direction,\n1 - cos",
        ylim=(0, 1.15 * max(d.max() for _, d in pairs.values())),
    )

# %% [markdown]
# In LoRA the two are nearly one number. In DoRA they are not: it does what it was made for. The next
# question is another one: does that make it *better*?
#
# ## Five seeds, three ranks
#
# Each method has a learning rate of its own, chosen on the validation split; the runs are replayed.

# %%
rows = measured("dora")
both = [
    (r, *(mean_and_spread(rows, "test_loss", method=method, r=r) for method in ("lora", "dora")))
    for r in (1, 4, 32)
]
table(
    [(r, *lora, *dora) for r, lora, dora in both],
    ("rank", "LoRA: test loss", "± spread", "DoRA: test loss", "± spread"),
)

# %% tags=["fold"]
expect(
    "ranks at which DoRA is better by more than a spread",
    sum(dora[0] + dora[1] < lora[0] for _, lora, dora in both),
    0,
)

# %% [markdown]
# Within the spread of the seeds they are equal here. The paper finds DoRA better, most at low ranks,
# on models thousands of times as large. Read one of its tables with what you know from lessons 6 and 9:
# are both methods tuned, how many seeds are there, and is one of the runs collapsed?

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/dora.py`: `dora_update` is the equation and its backward, with $n$ a plain array:
# nothing asks for its gradient. `Dora.norm` computes $n$ and, while text is generated, remembers it.
# `Dora.merged` is your exercise 15.3. `minilora/course/lab/own_dora.py` puts your functions into the
# layers.
#
# ## What this does not show
#
# Dropout with DoRA, which is a case of its own (the library's note says which terms see it). The cost
# in time: $BA$ is formed in every forward, so DoRA's step is slower than LoRA's. Nor that DoRA is
# useless: one small base, one task, 60 steps. What detaching saves in memory was not
# measured: the library never had to keep the products of shape (out, in) that the true gradient needs.
#
# ## Questions
#
# <details><summary>Why is m set to the lengths of W's rows at the start, and not to 1?</summary>So that
# the layer starts as the frozen one: with m = 1 every row would be cut to length 1 before the first
# step.</details>
#
# <details><summary>A row of V becomes zero. What happens?</summary>It has no direction: 0 / 0. The library
# then takes n = 1, so the output is 0; a file of PEFT computes nan.</details>
#
# <details><summary>Could DoRA with B = 0 for ever still learn something?</summary>Yes: one length for each
# output, 4,864 numbers here.</details>
#
# <details><summary>Two DoRA adapters are active at once. Are they a sum, as two LoRAs are?</summary>No: each
# divides by its own n and multiplies what is there. Their order matters.</details>
