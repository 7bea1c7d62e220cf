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
# *30 minutes to read, in two parts · needs matrix products and the chain rule · reads
# `minilora/methods/lora.py` · exercises 6.1 to 6.3*
#
# **You will be able to** derive the two gradients that LoRA needs, say which products of a training
# step disappear, and compare LoRA with full fine-tuning without fooling yourself.
#
# *Two parts with a break between them: (a) one layer: forward, gradients, the first step; (b) a
# whole model: train it, and compare with full fine-tuning.*

# %%
import hashlib
import tracemalloc

import numpy as np

from minilora import LoraConfig, Tensor, get_peft_model, gradcheck, ops
from minilora.course.lesson import BLUE, GREEN, ORANGE, cards, show_axes, replay, table
from minilora.course.lesson import expect, expect_between, predict
from minilora.course.lab.products import count_products, counted, multiplications
from minilora.course.lab.tune import corpus_loss, load_base, test_score, tune
from minilora.methods.lora import low_rank_update
from minilora.training.optim import AdamW

rng = np.random.default_rng(5)

# %% [markdown]
# # Part a: one layer
#
# *15 minutes to read, 25 for exercises 6.1 and 6.2. New symbols: $\Delta W$, $\alpha$, $g$.*
#
# ## The idea
#
# A trained layer has a weight matrix $W$, shape `(out, in)`. Fine-tuning adds an update $\Delta W$
# of the same shape to it. LoRA (Hu et al. 2021) does not learn $\Delta W$ itself: it **freezes**
# $W$ and learns two narrow matrices whose product has the right shape,
#
# $$\Delta W = s\, B A, \qquad A: (r, in), \quad B: (out, r), \quad s = \alpha / r$$
#
# with a small *rank* $r$. (The *scale* $s$ is the subject of lesson 7.) For a batch $x$ of shape
# `(N, in)`:
#
# $$y = x W^T + s\,(x A^T)\, B^T$$
#
# The parentheses are the point: $x A^T$ is narrow, `(N, r)`, and $\Delta W$ is never formed.

# %%
N, n_in, n_out, r, alpha = 6, 5, 4, 2, 6.0
s = alpha / r
x = rng.standard_normal((N, n_in))
W = rng.standard_normal((n_out, n_in))
A = rng.standard_normal((r, n_in))
B = rng.standard_normal((n_out, r))

y = x @ W.T + s * (x @ A.T) @ B.T
expect("two narrow products against one wide matrix", y, x @ (W + s * B @ A).T, within=1e-12)

# %% [markdown]
# ## Two gradients
#
# We write $dB$ for $\partial L / \partial B$, the gradient of the loss $L$ for every element of
# $B$, in $B$'s shape; likewise $dA$, $dx$. The layer above passes down $g = \partial L / \partial
# y$, shape `(N, out)`. Call the narrow result $u = x A^T$, shape `(N, r)`; then $y = x W^T + s\, u
# B^T$.
#
# - $B$ is multiplied with $u$, so (lesson 2, or: the shapes leave one way) $dB = s\, g^T u$, shape
#   `(out, r)`.
# - The gradient of $u$ is $v = s\, g B$, shape `(N, r)`.
# - $u = x A^T$ is a product too: $dA = v^T x$, shape `(r, in)`.
# - $x$ is used twice: $dx = g W + v A$, shape `(N, in)`.
#
# And $dW = g^T x$? **Nobody asks for it.** Full fine-tuning makes three wide products for every
# matrix: the forward, $dx$ and $dW$. LoRA skips the third.

# %%
g = rng.standard_normal((N, n_out))
u, v = x @ A.T, s * g @ B  # (N, r) both
dA, dB, dx = v.T @ x, s * g.T @ u, g @ W + v @ A


x_t, A_t, B_t = (Tensor(t, requires_grad=True) for t in (x, A, B))
W_t = Tensor(W)  # frozen: no gradient is asked for
low_rank_update(ops.linear(x_t, W_t), x_t, A_t, B_t, s).backward(g)
expect("dA of the library", A_t.grad, dA, within=1e-12)
expect("dB of the library", B_t.grad, dB, within=1e-12)
expect("dx of the library", x_t.grad, dx, within=1e-12)
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
# A small problem to watch: plain gradient descent moves $A$ and $B$ until $s\,BA$ is a given matrix
# of rank 2.

# %%
goal = rng.standard_normal((n_out, 2)) @ rng.standard_normal((2, n_in)) / 2
X = rng.standard_normal((64, n_in))
A = rng.uniform(-1, 1, (r, n_in)) / np.sqrt(n_in)  # PEFT's start: uniform in ±1/√in
B = np.zeros((n_out, r))
sizes = []
for _ in range(30):
    g = (s * (X @ A.T) @ B.T - X @ goal.T) / len(X)  # gradient of half the mean square error
    u, v = X @ A.T, s * g @ B
    dA, dB = v.T @ X, s * g.T @ u
    sizes.append((np.linalg.norm(dA), np.linalg.norm(dB)))
    A, B = A - 0.05 * dA, B - 0.05 * dB

first.compare("B" if sizes[0][0] == 0 and sizes[0][1] > 0 else "both")
expect("size of dA at the first step", float(sizes[0][0]), 0.0)
expect_between("size of dA at the second step", float(sizes[1][0]), 1e-3, 10)

# %%
with show_axes() as axes:
    axes.plot([a for a, _ in sizes], "s-", color=ORANGE)
    axes.plot([b for _, b in sizes], "o-", color=BLUE)
    axes.text(0.6, -0.2, "dA: zero at the first step, since B is zero", color=ORANGE, va="center")
    axes.text(0.6, sizes[0][1], "dB", color=BLUE)
    axes.set(xlabel="step", ylabel="size of the gradient", ylim=(-0.4, None))

# %% [markdown]
# $dA$ goes through $B$ (it is $v^T x$ with $v = s\,gB$): while $B = 0$ it is exactly zero. $dB$
# goes through $A$, which is random. So $B$ moves first, and from the second step on both learn. If
# both were zero, nothing would ever move; if both were random, training would start from a damaged
# model.
#
# ## Do (a)

# %%
cards("6.1", "6.2")

# %% [markdown]
# # Part b: a whole model
#
# *15 minutes to read, 10 for exercise 6.3. New symbols: Adam's $m_t$ and $v_t$.*
#
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
expect_between("LoRA / full, multiplications", lora[1] / full[1], 0.70, 0.85)

# %% [markdown]
# LoRA makes *more* products, but the added ones are narrow; the wide $dW$ are gone. A full step
# costs three wide products per matrix (forward, $dx$, $dW$), LoRA two: with an adapter in the
# lowest layer, never less than 2/3. (Below the lowest adapter $dx$ is not needed either, so
# adapting the top layer alone costs even less.) The larger the model, the less the narrow products
# cost; at this width of 128 they do count.
#
# ## Train
#
# The task: a question about boats or cafes becomes a query in SQL. We take a fingerprint of all
# frozen numbers first.


# %%
def fingerprint(model):
    digest = hashlib.sha256()
    for name, p in model.named_parameters():
        if ".lora_" not in name:
            digest.update(p.numpy().tobytes())
    return digest.hexdigest()


model = get_peft_model(load_base()[0], config, seed=0)
model.print_trainable_parameters()
before, score_before = fingerprint(model), test_score(model, tokenizer, "sql")

# %%
losses = tune(model, tokenizer, "sql", steps=150, lr=1e-2, seed=0)
live = {"score": test_score(model, tokenizer, "sql"), "corpus_loss": corpus_loss(model, tokenizer)}
print(f"right answers on the test split: {score_before:.2f} before, {live['score']:.2f} after")
expect("every frozen number, to the bit", fingerprint(model) == before, True)
expect_between("score before", score_before, 0.0, 0.2)
expect_between("score after", live["score"], 0.8, 1.0)

# %% [markdown]
# ## Compare with full fine-tuning, fairly
#
# Both methods at five learning rates, three seeds each: 30 runs, replayed here. We ask two
# questions about each run: how many test questions does it get right, and how much did it *forget*?
# We measure forgetting by the loss on held-out base text, which no fine-tuning saw.
#
# **Predict.** Somebody compares both methods at the same learning rate, 0.01, and finds that full
# fine-tuning forgets far more. Is that still true when each method has its own best rate? (yes /
# no)

# %%
forgets = predict("does full fine-tuning forget more, each at its best rate?", None)

# %%
sweep = replay("lora_and_full")


def mean_of(method, what):  # -> rates, mean over the seeds for each rate
    rates = sorted({row["lr"] for row in sweep["rows"] if row["method"] == method})
    return rates, [
        float(
            np.mean(
                [row[what] for row in sweep["rows"] if row["method"] == method and row["lr"] == lr]
            )
        )
        for lr in rates
    ]


summary = {}
for method in ("full", "lora"):
    rates, at_the_end = mean_of(method, "loss")
    columns = at_the_end, mean_of(method, "score")[1], mean_of(method, "corpus_loss")[1]
    summary[method] = dict(zip(rates, zip(*columns, strict=True), strict=True))
table(
    [(method, lr, *summary[method][lr]) for method in summary for lr in summary[method]],
    ("method", "learning rate", "training loss", "score", "loss on base text"),
)

# %%
best = {method: max(runs, key=lambda lr: runs[lr][1]) for method, runs in summary.items()}
same_rate = {method: summary[method][0.01][2] for method in summary}
tuned = {method: summary[method][best[method]][2] for method in summary}
print("best rates:", best)
expect_between("best rate of LoRA / of full fine-tuning", best["lora"] / best["full"], 3, 30)
expect("same rate 0.01: full forgets more", same_rate["full"] > same_rate["lora"], True)
expect("each at its best: full forgets more", tuned["full"] > tuned["lora"], False)
expect_between(
    "score of full / of LoRA, each at its best",
    summary["full"][best["full"]][1] / summary["lora"][best["lora"]][1],
    0.9,
    1.1,
)
forgets.compare("yes" if tuned["full"] > tuned["lora"] else "no")

# %%
start = sweep["base_text_loss"]
with show_axes(2) as (left, right):
    for method, colour, marker in (("full", ORANGE, "s"), ("lora", BLUE, "o")):
        for axes, what in ((left, "score"), (right, "corpus_loss")):
            rates, values = mean_of(method, what)
            axes.semilogx(rates, values, marker + "-", color=colour)
    left.semilogx([1e-2], [live["score"]], "*", color=GREEN, markersize=22)
    right.semilogx([1e-2], [live["corpus_loss"]], "*", color=GREEN, markersize=22)
    right.axhline(start, color="black", linestyle=":")
    right.text(3e-2, start * 1.04, "base", ha="right", va="bottom")
    right.set_yscale("log")
    right.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    right.minorticks_off()
    left.text(1.1e-4, 0.78, "full", color=ORANGE)
    left.text(1.5e-3, 0.35, "LoRA", color=BLUE)
    left.text(1.1e-2, live["score"] + 0.04, "run above", color=GREEN, fontsize=13)
    left.set(xlabel="learning rate", ylabel="score on the test split", ylim=(-0.02, 1.1))
    right.set(xlabel="learning rate", ylabel="loss on base text  (forgetting)")

# %% [markdown]
# Each method has its own best rate; LoRA's is about ten times higher. At the same high rate full
# fine-tuning forgets what it knew: that rate is ten times too high for it. At their own best rates
# LoRA forgets more on this task (loss on base text 1.68 against 0.74), and the scores are close
# (0.95 and 0.99). If you compare two methods, tune both.
#
# ## Memory and time
#
# Training keeps the weights, a gradient for each trained number, Adam's two means $m_t$ and $v_t$
# for each trained number, and the activations that the backward needs. We count the first three,
# and measure how much one step takes on top of the weights.


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
    m: float(np.mean([r["seconds"] for r in sweep["rows"] if r["method"] == m])) for m in summary
}
peak = {"full": peak_of_a_step(load_base()[0]), "lora": peak_of_a_step(model)}
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
#
# ## Do (b)
#
# Exercise 6.3 belongs here: a frozen layer still computes $dx$, because the layer below needs it.

# %%
cards("6.3")

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/lora.py`: `low_rank_update` is the equation and the four lines of its backward;
# `AdaptedLayer` (`minilora/adapters/layer.py`) adds the active adapters to a frozen layer.
# `minilora/course/lab/tune.py` is the training run above. The sweep: `lessons/sweeps/lora_and_full.py`.
#
# ## What this does not show
#
# One task, one small base. Others have found the same ratio of best rates (about ten); the order of
# forgetting depends on the task. On a large model with a short batch, the weights take most of the
# memory and, in full fine-tuning, the gradients and Adam (lesson 8).
