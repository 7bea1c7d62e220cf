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
# # 6 · Freeze W, train B and A
#
# *35 minutes to read, in two parts · needs matrix products and the chain rule · reads
# `minilora/methods/lora.py` · exercises 6.1 to 6.3*
#
# **You will be able to** derive the gradients that LoRA needs, say which products of a training
# step disappear, train a model with functions that you wrote, and compare LoRA with full
# fine-tuning without fooling yourself.
#
# *Two parts with a break between them: (a) one layer: forward, gradients, the first step; (b) a
# whole model: train it by your code, and compare with full fine-tuning.*

# %%
import hashlib
import tracemalloc

import numpy as np

from minilora import LoraConfig, Tensor, get_peft_model, gradcheck, ops
from minilora.course import drawings
from minilora.course.lesson import BLUE, ORANGE, GREEN, PINK, cards, show_axes, replay, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import budget, expect, expect_between
from minilora.course.lab.own_lora import lora_from
from minilora.course.lab.products import count_products, counted, multiplications
from minilora.course.lab.tune import affordable_steps, corpus_loss, load_base, test_score, tune
from minilora.methods.lora import low_rank_update
from minilora.training.optim import AdamW

rng = np.random.default_rng(5)

# %% [markdown]
# # Part a: one layer
#
# *15 minutes to read, 25 for exercises 6.1 and 6.2. New symbols: $\Delta W$, $\alpha$, $u$; and from
# lesson 2: $g$, and $dX$ for the gradient of any array $X$.*
#
# ## The idea
#
# A trained layer has a weight matrix $W$, shape `(out, in)`. Fine-tuning adds an update $\Delta W$
# of the same shape to it. LoRA (Hu et al. 2021) does not learn $\Delta W$ itself: it **freezes**
# $W$ and learns two narrow matrices whose product has the right shape,
#
# $$\Delta W = s\, B A, \qquad A: (r, in), \quad B: (out, r), \quad s = \alpha / r$$
#
# with a small *rank* $r$. (The *scale* $s$ is the subject of lesson 7.)

# %% tags=["fold"]
with show_axes(width=9, height=3) as axes:
    drawings.merging(axes, n_out=128, n_in=128, r=8)

# %% [markdown]
# The drawing shows the matrices to scale. A layer that trains does **not** form their product. For a
# batch $x$ of shape `(N, in)` it computes the narrow result $u = x A^T$, shape `(N, r)`, first.
#
# ## Do: the forward
#
# | array | $x$ | $W$ | $A$ | $B$ | $u$ | $y$ |
# | --- | --- | --- | --- | --- | --- | --- |
# | shape | `(N, in)` | `(out, in)` | `(r, in)` | `(out, r)` | `(N, r)` | `(N, out)` |
#
# Write $y$ in code, so that no array of the shape of $W$ is made. Where a shape does not fit, a
# transpose is missing.

# %%
cards("6.1")


# %% tags=["exercise"]
def lora_forward(x, W, A, B, alpha, r):
    """y for a layer with the frozen W and the adapter A, B beside it; the adapter's part is scaled by alpha / r.

    x: (N, in), W: (out, in), A: (r, in), B: (out, r); alpha, r: numbers. Returns y: (N, out).
    """
    raise NotImplementedError


check("6.1", lora_forward)

# %% [markdown]
# Is it the same as one wide matrix? From here on `forward` is your function, if it is right.

# %%
forward = answer("6.1")

N, n_in, n_out, r, alpha = 6, 5, 4, 2, 6.0
s = alpha / r
x = rng.standard_normal((N, n_in))
W = rng.standard_normal((n_out, n_in))
A = rng.standard_normal((r, n_in))
B = rng.standard_normal((n_out, r))
y = forward(x, W, A, B, alpha, r)

# %% tags=["fold"]
expect("two narrow products against one wide matrix", y, x @ (W + s * B @ A).T, within=1e-12)

# %% [markdown]
# ## Do: the two gradients
#
# The layer above passes down $g = \partial L / \partial y$, shape `(N, out)`. $A$ and $B$ need
# $dA$ and $dB$, in their own shapes. Two facts are enough:
#
# - A product's backward is two products (lesson 2), and **the shapes leave one way** to write each.
# - The gradient flows through $u$: first find $du$, shape `(N, r)`, then go on to $A$.
#
# Do not forget the scale: it multiplies the adapter's part, so it multiplies both gradients, once.

# %%
cards("6.2")


# %% tags=["exercise"]
def lora_gradients(x, g, A, B, alpha, r):
    """dA and dB, given g = dL/dy for the y of exercise 6.1.

    x: (N, in), g: (N, out), A: (r, in), B: (out, r); alpha, r: numbers. Returns (dA, dB), shaped as A and B.
    There is no W here: it is frozen, nobody asks for its gradient.
    """
    raise NotImplementedError


check("6.2", lora_gradients)

# %% [markdown]
# ## Where they come from
#
# With $u = x A^T$ the layer is $y = x W^T + s\, u B^T$.
#
# - $B$ is multiplied with $u$: $dB = s\, g^T u$, shape `(out, r)`.
# - $u$ is multiplied with $B$: $du = s\, g B$, shape `(N, r)`.
# - $u = x A^T$ is a product too: $dA = du^T x$, shape `(r, in)`.
#
# And $dW = g^T x$? **Nobody asks for it.** Full fine-tuning makes three wide products for every
# matrix: the forward, the gradient for the layer below, and $dW$. LoRA skips the third. The
# library's tape must agree with your function:

# %%
gradients = answer("6.2")

g = rng.standard_normal((N, n_out))
dA, dB = gradients(x, g, A, B, alpha, r)
x_t, A_t, B_t = (Tensor(t, requires_grad=True) for t in (x, A, B))
W_t = Tensor(W)  # frozen: no gradient is asked for
low_rank_update(ops.linear(x_t, W_t), x_t, A_t, B_t, s).backward(g)

# %% tags=["fold"]
expect("dA of the library", A_t.grad, dA, within=1e-12)
expect("dB of the library", B_t.grad, dB, within=1e-12)
expect("dW of the library", W_t.grad, None)


def through_A_and_B(A, B):
    return low_rank_update(Tensor(x @ W.T), Tensor(x), A, B, s)


print("worst element of the check:\n   ", gradcheck(through_A_and_B, [A_t, B_t]))

# %% [markdown]
# ## The first step
#
# $A$ starts random, $B$ starts at **zero**. So $\Delta W = 0$: before the first step the adapted
# layer computes exactly the same as the frozen one.
#
# **Predict.** At the first step, which of the two receives a gradient that is not zero: `A`, `B`,
# or both?

# %%
first = predict("A, B or both receive a gradient at the first step?", None)

# %% [markdown]
# A small problem to watch: plain gradient descent (lesson 3) moves $A$ and $B$ until $s\,BA$ is a
# given matrix of rank 2.

# %%
goal = rng.standard_normal((n_out, 2)) @ rng.standard_normal((2, n_in)) / 2
X = rng.standard_normal((64, n_in))
A = rng.uniform(-1, 1, (r, n_in)) / np.sqrt(n_in)  # PEFT's start: uniform in ±1/√in
B = np.zeros((n_out, r))
nothing = np.zeros((n_out, n_in))
sizes = []
for _ in range(30):
    g = (forward(X, nothing, A, B, alpha, r) - X @ goal.T) / len(X)  # of half the mean square error
    dA, dB = gradients(X, g, A, B, alpha, r)
    sizes.append((np.linalg.norm(dA), np.linalg.norm(dB)))
    A, B = A - 0.05 * dA, B - 0.05 * dB

first.compare(
    {name for name, size in zip("AB", sizes[0], strict=True) if size > 0},
    of=("A", "B"),
    wrong={
        "A": "dA passes through B, and B is zero. Look at du in the derivation.",
        "both": "dB does not pass through B, but dA does, and B is zero.",
        "none": "Then it would never learn. dB passes through A, which is random.",
    },
)

# %% tags=["fold"]
expect("size of dA at the first step", float(sizes[0][0]), 0.0)
expect_between("size of dA at the second step", float(sizes[1][0]), 1e-3, 10)

# %% tags=["fold"]
with show_axes() as axes:
    axes.plot([a for a, _ in sizes], "s-", color=GREEN)
    axes.plot([b for _, b in sizes], "o-", color=PINK)
    axes.text(0.6, -0.2, "dA: zero at the first step, since B is zero", color=GREEN, va="center")
    axes.text(0.6, sizes[0][1], "dB", color=PINK)
    axes.set(xlabel="step", ylabel="size of the gradient", ylim=(-0.4, None))

# %% [markdown]
# $dA$ goes through $B$ (it is $du^T x$ with $du = s\,gB$): while $B = 0$ it is exactly zero. $dB$
# goes through $A$, which is random. So $B$ moves first, and from the second step on both learn. If
# both were zero, nothing would ever move; if both were random, training would start from a damaged
# model.

# %% [markdown]
# # Part b: a whole model
#
# *20 minutes to read, 10 for exercise 6.3. New symbols: Adam's $m$ and $v$ (lesson 3).*
#
# ## Do: what flows on
#
# A model has many layers, and the layer below needs $dx$, shape `(N, in)`. In the drawing of lesson
# 0 two ways lead from $x$ to $y$: what does lesson 2 say of a tensor that is used twice?

# %%
cards("6.3")


# %% tags=["exercise"]
def input_gradient(g, W, A, B, alpha, r):
    """dx, given g = dL/dy for the y of exercise 6.1: what the layer below receives.

    g: (N, out), W: (out, in), A: (r, in), B: (out, r); alpha, r: numbers. Returns dx: (N, in).
    """
    raise NotImplementedError


check("6.3", input_gradient)

# %% [markdown]
# $x$ is used twice, so it collects a sum: $dx = g W + du\, A$, with $du = s\, g B$ as before. $W$ is
# frozen, and yet it is needed for the backward.

# %%
to_below = answer("6.3")
g = rng.standard_normal((N, n_out))
for t in (x_t, A_t, B_t):
    t.grad = None
low_rank_update(ops.linear(x_t, W_t), x_t, A_t, B_t, s).backward(g)
dx = to_below(g, W, A_t.data, B_t.data, alpha, r)

# %% tags=["fold"]
expect("dx of the library", x_t.grad, dx, within=1e-12)

# %% [markdown]
# ## Which products never happen
#
# The shipped base is the model of lesson 4: 28 matrices in 4 blocks. We count every matrix product
# of one training step and its multiplications, once for full fine-tuning and once for LoRA of rank
# 8 on all 28. **Predict** the ratio of multiplications, LoRA / full.

# %%
ratio = predict("multiplications of a LoRA step / of a full step", None)


# %%
def products_of_a_step(model):  # -> products and multiplications of forward and backward
    for p in model.parameters():
        p.data = counted(p.data)  # arrays that record every product they take part in
    ids = np.random.default_rng(0).integers(2, 1024, (16, 64))
    with count_products() as products:
        model.loss(ids, ids).backward()
    return len(products), multiplications(products)


base, tokenizer = load_base()
full = products_of_a_step(base)
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
lora = products_of_a_step(get_peft_model(load_base()[0], config, seed=0))
table(
    [("full fine-tuning", *full), ("LoRA, rank 8", *lora)], ("step", "products", "multiplications")
)
ratio.compare(lora[1] / full[1])

# %% tags=["fold"]
expect_between("LoRA / full, multiplications", lora[1] / full[1], 0.70, 0.85)

# %% [markdown]
# LoRA makes *more* products, but the added ones are narrow; the wide $dW$ are gone. A full step
# costs three wide products per matrix (forward, $dx$, $dW$), LoRA two: with an adapter in the
# lowest layer, never less than 2/3. (Below the lowest adapter $dx$ is not needed either, so
# adapting the top layer alone costs even less.) The larger the model, the less the narrow products
# cost; at this width of 128 they do count.
#
# ## Train, by your code
#
# `lora_from` puts your three functions into all 28 layers of the base: every forward and every
# backward of the adapters is yours. The task is that of lesson 0, answers in JSON. We take a
# fingerprint of all frozen numbers first.


# %%
def fingerprint(model):
    digest = hashlib.sha256()
    for name, p in model.named_parameters():
        if ".lora_" not in name:
            digest.update(p.numpy().tobytes())
    return digest.hexdigest()


mine, tokenizer = lora_from(forward, gradients, to_below, r=8, alpha=16)
before = fingerprint(mine)
ids = np.random.default_rng(0).integers(2, 1024, (16, 48))
wanted = budget(150, in_browser=60)
steps = affordable_steps(lambda: mine.loss(ids, ids).backward(), wanted)
for p in mine.parameters():
    p.grad = None
tune(mine, tokenizer, "style-json", steps=steps, lr=5e-3, seed=0)
by_your_code = test_score(mine, tokenizer, "style-json")
print(f"answers in JSON, by your code: {by_your_code:.2f}")

# %% tags=["fold"]
expect("every frozen number, to the bit", fingerprint(mine) == before, True)
expect_between("answers in JSON", by_your_code, 0.9 if steps == wanted else 0.0, 1.0)

# %% [markdown]
# ## Compare with full fine-tuning, fairly
#
# Now a harder task: a question about boats or cafes becomes a query in SQL. One run here, with the
# library's LoRA:

# %%
model = get_peft_model(load_base()[0], config, seed=0)
score_before = test_score(model, tokenizer, "sql")
steps = budget(150, in_browser=80)
tune(model, tokenizer, "sql", steps=steps, lr=1e-2, seed=0)
live = {"score": test_score(model, tokenizer, "sql"), "corpus_loss": corpus_loss(model, tokenizer)}
print(f"right answers on the test split: {score_before:.2f} before, {live['score']:.2f} after")

# %% tags=["fold"]
expect_between("score before", score_before, 0.0, 0.2)
expect_between("score after", live["score"], 0.8 if steps == 150 else 0.6, 1.0)

# %% [markdown]
# And replayed: both methods, seven learning rates each, five seeds. We ask two questions about each
# run: how many test questions does it get right, and how much did it *forget*? We measure
# forgetting by the loss on held-out base text, which no fine-tuning saw.
#
# How to choose the rate of each method? Not by the score that is reported in the end: the best of
# seven is partly luck. Each task has a third split, *valid*. **The rate is chosen on valid, the
# score is reported on test.**
#
# Biderman et al. (2024) named their paper *LoRA Learns Less and Forgets Less*: on large models, on
# code and mathematics, LoRA scored less than full fine-tuning and kept more of the old abilities.
#
# **Predict.** On our task, at rates with the same score: which of the two forgets more, `full` or
# `LoRA`?

# %%
forgets = predict("full or LoRA: which forgets more at the same score?", None)

# %% tags=["fold"]
sweep = replay("lora_and_full")


def values(method, lr, what):  # -> one number for each seed
    return [row[what] for row in sweep["rows"] if (row["method"], row["lr"]) == (method, lr)]


def with_spread(numbers, digits=2):  # mean ± standard deviation over the seeds
    return f"{np.mean(numbers):.{digits}f} ± {np.std(numbers, ddof=1):.{digits}f}"


rates = {
    m: sorted({row["lr"] for row in sweep["rows"] if row["method"] == m}) for m in ("full", "lora")
}
table(
    [
        (m, lr, *(with_spread(values(m, lr, w)) for w in ("valid", "score", "corpus_loss")))
        for m in rates
        for lr in rates[m]
    ],
    ("method", "learning rate", "valid", "test", "loss on base text"),
)

# %%
best = {m: max(rates[m], key=lambda lr: np.mean(values(m, lr, "valid"))) for m in rates}
print("rates chosen on valid:", best)
for m, lr in best.items():
    print(
        f"{m:5} test {with_spread(values(m, lr, 'score'))}, "
        f"loss on base text {with_spread(values(m, lr, 'corpus_loss'))}"
    )

# %% tags=["fold"]
start = sweep["base_text_loss"]


def curve(method, what):  # -> mean over the seeds, and spread, for each rate
    numbers = [values(method, lr, what) for lr in rates[method]]
    return np.mean(numbers, axis=1), np.std(numbers, axis=1, ddof=1)


styles = {"full": (ORANGE, "s"), "lora": (BLUE, "o")}
with show_axes(2) as (left, right):
    for method, (colour, marker) in styles.items():
        score, spread = curve(method, "score")
        style = {"color": colour, "fmt": f"{marker}-", "capsize": 4}
        left.errorbar(rates[method], score, spread, **style)
        forgotten, more = curve(method, "corpus_loss")
        right.errorbar(score, forgotten, more, spread, **style)
    left.set_xscale("log")
    left.semilogx([1e-2], [live["score"]], "*", color=GREEN, markersize=22)
    right.plot([live["score"]], [live["corpus_loss"]], "*", color=GREEN, markersize=22)
    right.axhline(start, color="black", linestyle=":")
    right.text(0.02, start * 0.97, "base", va="top")
    right.set_yscale("log")
    right.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    right.minorticks_off()
    left.text(1.1e-4, 0.72, "full", color=ORANGE)
    left.text(1.6e-3, 0.3, "LoRA", color=BLUE)
    left.text(1.2e-2, 0.78, "run above", color=GREEN, fontsize=13)
    left.set(xlabel="learning rate", ylabel="score on the test split", ylim=(-0.02, 1.1))
    right.set(xlabel="score on the test split", ylabel="loss on base text  (forgetting)")
    right.set(xlim=(0, 1.05), ylim=(0.45, 12))

# %% [markdown]
# The right picture chooses nothing: each point is one rate, and the curve of a method runs through
# all of them, from small rates (left) to large ones. At each score that both reach, **LoRA's curve
# lies above: it has forgotten more** here, the opposite of that paper's title. Neither is a law. Our
# base is small and LoRA needs large rates on it; their tasks were larger than a low rank could hold.
#
# Each method has its own best rate, LoRA's is five times higher here. Somebody who compares both at
# LoRA's rate of 0.01 finds that full fine-tuning forgets far more, and measures only that this rate
# is too high for it. If you compare two methods, tune both.

# %% tags=["fold"]
score_full, lost_full = curve("full", "score")[0], curve("full", "corpus_loss")[0]
rising = score_full.argmax() + 1  # beyond its best rate a method only loses
same_score = [
    (float(s), float(np.interp(s, score_full[:rising], lost_full[:rising])), float(lost))
    for s, lost in zip(curve("lora", "score")[0], curve("lora", "corpus_loss")[0], strict=True)
    if score_full[0] <= s <= score_full[rising - 1]
]
table(same_score, ("score", "loss on base text: full", "LoRA"))
expect("at the same score LoRA forgets more", all(a < b for _, a, b in same_score), True)
expect_between("rate chosen for LoRA / for full", best["lora"] / best["full"], 3, 30)
expect_between(
    "score of full / of LoRA, each at its chosen rate",
    np.mean(values("full", best["full"], "score")) / np.mean(values("lora", best["lora"], "score")),
    0.95,
    1.1,
)

# %%
forgets.compare(
    "LoRA" if all(a < b for _, a, b in same_score) else "full",
    wrong={
        "full": "At one rate for both, such as 0.01, it does: that rate is far too high for full "
        "fine-tuning. At the same score it does not, on this task."
    },
)

# %% [markdown]
# ## Two controls
#
# Does the score come from what was learned? Two runs at LoRA's rate of 0.01 that ought to fail:
#
# - **A random adapter of the same size**: each trained $s\,BA$ is replaced by a random matrix of the
#   same rank and the same $\sqrt{\sum \Delta W^2}$.
# - **Random labels**: the same training, with the answers of other questions.

# %%
controls = ("lora", "random adapter", "random labels")
table(
    [(c, *(with_spread(values(c, 0.01, w)) for w in ("score", "corpus_loss"))) for c in controls],
    ("at rate 0.01", "test", "loss on base text"),
)

# %% tags=["fold"]
for control in controls[1:]:
    expect_between(f"score, {control}", float(np.mean(values(control, 0.01, "score"))), 0.0, 0.05)

# %% [markdown]
# Neither answers a single question. A change of that size in random directions teaches nothing, and
# forgets less than the trained one: forgetting is not only a matter of size. Training on wrong
# answers makes the model forget nearly as much, and it answers no question.
#
# ## Memory and time
#
# Training keeps the weights, a gradient for each trained number, Adam's two means $m$ and $v$ for
# each trained number, and the activations that the backward needs. We count the first three, and
# measure how much one step takes on top of the weights.


# %%
def training_arrays(frozen, trained):  # numbers -> megabytes in float32
    return [4 * n / 1e6 for n in (frozen + trained, trained, 2 * trained)]


def peak_of_a_step(model):  # -> megabytes that one step takes on top of the weights
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = np.random.default_rng(0).integers(2, 1024, (16, 64))
    tracemalloc.start()
    model.loss(ids, ids).backward()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak


trained, total = model.get_nb_trainable_parameters()
frozen = total - trained
seconds = {
    m: float(np.mean([r["seconds"] for r in sweep["rows"] if r["method"] == m])) for m in rates
}
peak = {"full": peak_of_a_step(load_base()[0]), "lora": peak_of_a_step(model)}

# %% tags=["fold"]
head = ("method", "weights MB", "gradients MB", "Adam MB", "peak of a step MB", "150 steps, s")
table(
    [
        ("full", *training_arrays(0, frozen), peak["full"], seconds["full"]),
        ("LoRA", *training_arrays(frozen, trained), peak["lora"], seconds["lora"]),
    ],
    head,
)
expect_between("gradients and Adam, full / LoRA", frozen / trained, 9, 13)
expect_between("measured peak, LoRA / full", peak["lora"] / peak["full"], 0.3, 1.1)
expect_between("time LoRA / full, as measured", seconds["lora"] / seconds["full"], 0.7, 1.3)

# %% [markdown]
# Gradients and optimizer state shrink with the number of trained parameters. The weights do not:
# all of them are needed. At this size all three are small: most of the peak is activations, which
# LoRA needs too. At this width LoRA saves little time or none: it makes fewer multiplications, but
# more products, each with its own overhead. On wide matrices the multiplications decide.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/lora.py`: `low_rank_update` is the equation and the four lines of its backward;
# `AdaptedLayer` (`minilora/adapters/layer.py`) adds the active adapters to a frozen layer.
# `minilora/course/lab/own_lora.py`: `lora_from` puts your functions in their place;
# `minilora/course/lab/tune.py` is the training run. The sweep: `lessons/sweeps/lora_and_full.py`.
#
# ## What this does not show
#
# One task, one small base. Others have found a ratio of best rates of about ten; the order of
# forgetting depends on the task. On a large model with a short batch, the weights take most of the
# memory and, in full fine-tuning, the gradients and Adam (lesson 8).
#
# ## Questions
#
# <details><summary>Why does A receive no gradient at the first step, and B does?</summary>dA passes
# through B, which is zero; dB passes through A, which is random.</details>
#
# <details><summary>Which of the three wide products of a linear layer does LoRA save?</summary>dW. The
# forward x Wᵀ and, above the lowest adapter, dx = g W are still needed.</details>
#
# <details><summary>Why is the learning rate chosen on valid and the score reported on test?</summary>The
# best of several settings is partly luck on the split that chose it; a split that chose nothing shows
# the score that a new user will see.</details>
#
# <details><summary>"LoRA forgets less than full fine-tuning." Is that true here?</summary>No: at the same
# score it has forgotten more. At the same high rate it forgets less, but that rate is five times too
# high for full fine-tuning.</details>
#
# <details><summary>What does the random adapter of the same size show?</summary>That the direction of the
# update carries the task, not its size: it answers nothing.</details>
