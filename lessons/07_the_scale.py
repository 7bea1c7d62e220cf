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
# # 7 · The scale
#
# *20 minutes to read · needs lesson 6, or the equation y = x Wᵀ + s (x Aᵀ) Bᵀ · reads
# `minilora/methods/lora.py` · exercises 7.1 and 7.2*
#
# **You will be able to** say what $\alpha$ does, why it is divided by $r$, what changes when it is
# divided by $\sqrt r$, and write a test that a forgotten scale cannot pass.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model, no_grad
from minilora.course.lesson import BLUE, COLOURS, MARKERS, ORANGE, cards, show_axes, replay, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import expect, expect_between
from minilora.course.lab.tune import load_base, tune
from minilora.text.batches import PairBatches
from minilora.methods.lora import scaling as library_scaling
from minilora.training.optim import AdamW
from minilora.tasks.shipped import get_task

# %% [markdown]
# ## One number
#
# The adapter's part of the output is multiplied by a fixed number, the *scale* $s$: $y = x W^T + s\,(x
# A^T) B^T$. Two settings give it, $\alpha$ and the rank $r$. LoRA divides $\alpha$ by the rank; rsLoRA
# (*rank-stabilised*) divides it by the square root of the rank.
#
# ## Do: the scale

# %%
cards("7.1")


# %% tags=["exercise"]
def scaling(alpha, r, rank_stabilised):
    """The scale s: LoRA divides alpha by the rank, rsLoRA (rank_stabilised is True) by the square root of the rank."""
    raise NotImplementedError


check("7.1", scaling)

# %% [markdown]
# $$s = \frac{\alpha}{r} \quad\text{(LoRA)} \qquad\qquad
# s = \frac{\alpha}{\sqrt r} \quad\text{(rsLoRA)}$$
#
# The library computes the scale in one place, and nowhere else.

# %%
scale_of = answer("7.1")
table(
    [(r, scale_of(16, r, False), scale_of(16, r, True)) for r in (1, 4, 16, 64)],
    ("rank, alpha = 16", "alpha / r", "alpha / √r"),
)

# %% tags=["fold"]
expect("alpha 16, rank 8", scale_of(16, 8, False), library_scaling(16, 8))
expect("alpha 16, rank 16, √r", scale_of(16, 16, True), library_scaling(16, 16, use_rslora=True))

# %% [markdown]
# ## What it is for
#
# Why divide by $r$ at all? Take one step of training, with the same learning rate, at ranks 1 to
# 64, and see how far the model's outputs move. Adam moves every element of $B$ by about the
# learning rate, whatever its gradient (lesson 3). Each of the $r$ columns of $B$ moves in the direction that
# helps, so their effects add up: $r$ times as many columns, $r$ times the effect.
#
# **Predict.** From rank 1 to rank 64, with $s = \alpha / r$: by what factor does the first move of
# the outputs grow?

# %%
growth = predict("first move of the outputs, rank 64 / rank 1, with alpha / r", None)

# %%
model, tokenizer = load_base()
batches = PairBatches(
    get_task("sql").examples("train"), tokenizer, 16, 512, np.random.default_rng(0)
)
ids, labels = next(batches)
with no_grad():
    start = model(ids).numpy().copy()


def first_move(r, rank_stabilised):  # -> mean change of the outputs after one step
    config = LoraConfig(r=r, lora_alpha=16, target_modules="all-linear", use_rslora=rank_stabilised)
    adapted = get_peft_model(load_base()[0], config, seed=0)
    adapted.loss(ids, labels).backward()
    AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-4).step()
    with no_grad():
        return float(np.abs(adapted(ids).numpy() - start).mean())


ranks = (1, 2, 4, 8, 16, 32, 64)
moves = {rs: [first_move(r, rs) for r in ranks] for rs in (False, True)}
by_r, by_root = moves[False][-1] / moves[False][0], moves[True][-1] / moves[True][0]
growth.compare(by_r)

# %% tags=["fold"]
expect_between("rank 64 / rank 1 with alpha / r", by_r, 0.5, 2.0)
expect_between("rank 64 / rank 1 with alpha / √r (√64 = 8)", by_root, 4, 16)

# %% tags=["fold"]
with show_axes() as axes:
    axes.semilogx(ranks, moves[True], "s-", color=ORANGE, base=2)
    axes.semilogx(ranks, moves[False], "o-", color=BLUE, base=2)
    axes.set_yscale("log")
    axes.text(6, moves[True][-1], "α / √r: grows like √r", color=ORANGE, ha="right", va="top")
    axes.text(
        64, moves[False][-1] * 0.75, "α / r: stays within a third", color=BLUE, ha="right", va="top"
    )
    axes.set_xticks(ranks, [str(r) for r in ranks])
    axes.set(
        xlabel="rank r",
        ylabel="how far the first step\nmoves the outputs",
        ylim=(min(moves[False]) / 2, max(moves[True]) * 1.5),
    )

# %% [markdown]
# With $\alpha / r$ the first step moves the model nearly equally far at every rank: from rank 1 to
# rank 64 the move falls by about a third. **The learning rate keeps its meaning when the rank
# changes.** With $\alpha / \sqrt r$ the same rate takes larger
# steps at higher rank. That is not a mistake (its authors want high ranks to learn faster), but it
# is a different setting.

# %% [markdown]
# ## The bug that r = alpha hides
#
# The scale is one number, so it is easy to forget or to invert, and training still works a little.
# Here are five wrong scales. A careless test compares a layer with its equation at $r = \alpha =
# 8$.
#
# **Predict.** How many of the five wrong scales pass that test?

# %%
passing = predict("of five wrong scales, how many pass a test with r = alpha = 8?", None)

# %%
wrong_scales = {
    "forgotten": lambda alpha, r: 1.0,
    "inverted, r / α": lambda alpha, r: r / alpha,
    "squared": lambda alpha, r: (alpha / r) ** 2,
    "its square root": lambda alpha, r: (alpha / r) ** 0.5,
    "not divided by r": lambda alpha, r: alpha,
}
rng = np.random.default_rng(6)


def passes(scale, alpha, r, B_is_zero=False):  # does a layer with this scale pass the test?
    x, W = rng.standard_normal((3, 12)), rng.standard_normal((10, 12))
    A, B = rng.standard_normal((r, 12)), rng.standard_normal((10, r)) * (not B_is_zero)
    right = x @ W.T + library_scaling(alpha, r) * (x @ A.T) @ B.T
    return np.allclose(x @ W.T + scale(alpha, r) * (x @ A.T) @ B.T, right)


tests = {"r = α = 8": (8, 8), "α 16, r 8, but B = 0": (16, 8, True), "α 16, r 8": (16, 8)}
table(
    [
        (name, *("passes" if passes(s, *t) else "caught" for t in tests.values()))
        for name, s in wrong_scales.items()
    ],
    ("wrong scale", *tests),
)
hidden = [sum(passes(s, *t) for s in wrong_scales.values()) for t in tests.values()]
passing.compare(
    hidden[0],
    wrong={
        5: "One is caught: where s = 1, leaving out the division by r gives 8.",
        1: "With r = α the scale is 1, and 1 inverted, squared or forgotten is still 1.",
        0: "With r = α the scale is 1, and 1 inverted, squared or forgotten is still 1.",
    },
)

# %% tags=["fold"]
expect("wrong scales that pass with r = α, with B = 0, and with neither", hidden, [4, 5, 0])

# %% [markdown]
# So every test in this project uses $\alpha \ne r$, $B \ne 0$ and matrices that are not square.
#
# ## Do: another rank, the same scale
#
# Somebody trained with rank 8 and $\alpha$ = 16, and wants rank 32 with the same scale. Which $\alpha$?
# And in rsLoRA?

# %%
cards("7.2")


# %% tags=["exercise"]
def alpha_for_rank(alpha, r, new_r, rank_stabilised):
    """The alpha that gives an adapter of rank new_r the scale that `alpha` gives to one of rank r."""
    raise NotImplementedError


check("7.2", alpha_for_rank)

# %%
new_alpha = answer("7.2")
for rank_stabilised in (False, True):
    alpha = new_alpha(16, 8, 32, rank_stabilised)
    scales = scale_of(16, 8, rank_stabilised), scale_of(alpha, 32, rank_stabilised)
    print(f"rank 32 needs alpha {alpha:g}; scales {scales[0]:.4g} and {scales[1]:.4g}")

# %% tags=["fold"]
expect("rank 8 to 32, alpha / r", float(new_alpha(16, 8, 32, False)), 64.0, within=1e-9)
expect("rank 8 to 32, alpha / √r", float(new_alpha(16, 8, 32, True)), 32.0, within=1e-9)

# %% [markdown]
# ## Learning rate and rank
#
# 96 training runs on the SQL task, replayed: four ranks, six rates, both scales, two seeds, $\alpha
# = 16$ throughout. Each point is the training loss at the end.
#
# **Predict.** With $\alpha / r$: is the best learning rate for rank 64 lower than that for rank 1,
# the same within a factor of three, or higher?

# %%
best_rate = predict("best rate at rank 64 against rank 1 (lower, same, higher)", None)

# %%
sweep = replay("scale")


def curve(r, rank_stabilised):  # -> rates, mean final loss over the seeds; inf after an overflow
    rows = [
        row for row in sweep["rows"] if row["r"] == r and row["rank_stabilised"] == rank_stabilised
    ]
    rates = sorted({row["lr"] for row in rows})
    losses = [
        [np.inf if row["loss"] is None else row["loss"] for row in rows if row["lr"] == lr]
        for lr in rates
    ]
    return np.array(rates), np.array([np.mean(values) for values in losses])


best = {
    (r, rs): (float(curve(r, rs)[0][curve(r, rs)[1].argmin()]), float(curve(r, rs)[1].min()))
    for r in (1, 4, 16, 64)
    for rs in (False, True)
}
table(
    [(r, *best[r, False], *best[r, True]) for r in (1, 4, 16, 64)],
    ("rank", "best rate, α/r", "loss", "best rate, α/√r", "loss"),
)

# %% [markdown]
# One more run, live: rank 16 with $\alpha / r$ at 0.01. It should land on its curve.

# %%
config = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear")
live = float(
    np.mean(
        tune(
            get_peft_model(load_base()[0], config, seed=0),
            tokenizer,
            "sql",
            steps=150,
            lr=1e-2,
            seed=0,
        )[-20:]
    )
)
rates, losses = curve(16, False)
replayed = float(losses[list(rates).index(1e-2)])

# %% tags=["fold"]
expect_between("live / replayed", live / replayed, 0.4, 2.5)

# %% tags=["fold"]
with show_axes(2, sharey=True) as panels:
    for axes, rs, title in zip(panels, (False, True), ("α / r", "α / √r"), strict=True):
        for r, colour, marker in zip((1, 4, 16, 64), COLOURS, MARKERS, strict=False):
            rates, losses = curve(r, rs)
            losses = np.where(np.isfinite(losses), losses, np.nan)
            axes.loglog(rates, losses, marker + "-", color=colour, label=f"rank {r}")
        axes.set(xlabel="learning rate", title=f"scale {title}", ylim=(2e-3, 8))
    panels[0].loglog([1e-2], [live], "*", color="black", markersize=20, label="live")
    panels[0].set_ylabel("training loss at the end")
    panels[0].legend()

# %% [markdown]
# Left: with $\alpha / r$ the curves have their lowest points near one rate, whatever the rank.
# Right: with $\alpha / \sqrt r$ higher ranks take larger steps; at a small rate they learn more,
# and they diverge at a rate that a low rank still tolerates.
#
# **Neither formula wins.** Each has a rate at which it reaches a low loss. They differ in one
# point: must you choose the rate again when the rank changes? A comparison of ranks at one rate, or
# of formulas at one rate, measures the rate.

# %%
at_small_rate = {rs: [float(curve(r, rs)[1][1]) for r in (1, 4, 16, 64)] for rs in (False, True)}
table(
    [("α / r", *at_small_rate[False]), ("α / √r", *at_small_rate[True])],
    ("loss at rate 0.001", "rank 1", "rank 4", "rank 16", "rank 64"),
)
rate_of = {rs: [best[r, rs][0] for r in (1, 4, 16, 64)] for rs in (False, True)}
apart = rate_of[False][3] / rate_of[False][0]
best_rate.compare(
    "lower" if apart < 1 / 3.5 else "higher" if apart > 3.5 else "same",
    wrong={
        "lower": "That holds for α / √r, whose steps grow with the rank; α / r takes it out.",
        "higher": "More numbers do not need larger steps: α / r keeps the first move about equal.",
    },
)
expect_between(
    "α / r: highest best rate / lowest", max(rate_of[False]) / min(rate_of[False]), 1, 3.5
)
expect(
    "α / √r: the best rate does not rise with the rank",
    rate_of[True] == sorted(rate_of[True], reverse=True),
    True,
)
expect_between(
    "α / r at rate 0.001: loss of rank 1 / rank 64",
    at_small_rate[False][0] / at_small_rate[False][3],
    0.5,
    2,
)
expect_between(
    "α / √r at rate 0.001: loss of rank 1 / rank 64",
    at_small_rate[True][0] / at_small_rate[True][3],
    3,
    100,
)
at_large_rate = {r: float(curve(r, True)[1][3]) for r in (1, 64)}

# %% tags=["fold"]
expect_between(
    "α / √r at rate 0.01: loss of rank 64 / rank 1", at_large_rate[64] / at_large_rate[1], 2, 1000
)

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/lora.py`: `scaling` is the one place; `LoraConfig(use_rslora=True)` chooses the
# root. The sweep: `lessons/sweeps/scale.py`.
#
# ## What this does not show
#
# More than two seeds; longer training; other optimizers (in plain gradient descent the scale acts
# twice, in the step and in the gradient); and ranks in the hundreds, for which rsLoRA was made.
#
# ## Questions
#
# <details><summary>Why is α divided by r?</summary>So that the learning rate keeps its meaning: r columns of
# B move together, and the division takes their number out.</details>
#
# <details><summary>A test of a LoRA layer uses r = α = 8. Name two wrong scales that pass.</summary>A forgotten
# one and an inverted one: both are 1. So are the square and the root.</details>
#
# <details><summary>Why does no wrong scale fail a test with B = 0?</summary>The adapter's part is zero, whatever
# it is multiplied by.</details>
#
# <details><summary>A colleague doubles the rank and keeps α in rsLoRA. What happens to the scale?</summary>It
# falls by √2; in LoRA it halves.</details>
