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
# # 16 · AdaLoRA: rank where it matters
#
# *20 minutes to read · needs lessons 6 and 9 · reads `minilora/methods/adalora.py` · exercises 16.1
# and 16.2*
#
# **You will be able to** say how AdaLoRA finds out which directions of an adapter matter, prune an
# adapter to a budget while it trains, and read from a picture where a model wanted its rank.

# %%
import numpy as np

from minilora import AdaLoraConfig, get_peft_model, no_grad
from minilora.course.lesson import BLUE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.measured import mean_and_spread, measured
from minilora.course.lab.own_adalora import scored_by
from minilora.course.lab.tune import load_base, test_loss, test_score, tune
from minilora.tasks.shipped import get_task
from minilora.text.batches import PairBatches

# %% [markdown]
# ## Triplets
#
# In lesson 9 you chose which matrices get an adapter and of which rank, and every matrix had the same.
# AdaLoRA (Zhang et al. 2023) starts with more rank than it may keep, looks which parts matter, and lets
# the others fall. For that the update is written like a singular value decomposition:
#
# $$\Delta W = s\, B\, \mathrm{diag}(E)\, A = s \sum_k E_k \; B_{:,k}\, A_{k,:}$$
#
# A **triplet** is a number $E_k$ with its column of $B$ and its row of $A$. A layer of rank $r$ has $r$
# of them. Setting $E_k$ to zero takes one out, and the others stay as they are.

# %% tags=["fold"]
with show_axes(width=9.0, height=3.8) as axes:
    axes.set(xlim=(0, 10), ylim=(0, 4.2))
    axes.axis("off")
    left = np.array([True, True, False, True])
    for k, stays in enumerate(left):
        colour = BLUE if stays else "lightgrey"
        axes.bar(0.8 + 0.55 * k, 3.0, 0.42, 0.4, color=colour)
        axes.text(
            4.05,
            3.0 - 0.75 * k,
            f"E{k + 1}" if stays else "0",
            color=colour,
            ha="center",
            va="center",
        )
        axes.barh(3.0 - 0.75 * k, 4.0, 0.42, 5.4, color=colour)
    axes.text(1.65, 3.75, "columns of B", ha="center")
    axes.text(4.05, 3.75, "E", ha="center")
    axes.text(7.4, 3.75, "rows of A", ha="center")
    axes.text(3.3, 1.9, "·", fontsize=30, ha="center", va="center")
    axes.text(4.9, 1.9, "·", fontsize=30, ha="center", va="center")

# %% [markdown]
# At the start $A$ and $B$ are random and all $E_k$ are zero. So $\Delta W = 0$, as in LoRA.
#
# **Predict.** At the first backward: which of $A$, $B$ and $E$ have a gradient that is not zero?
# (Think of lesson 6: each gradient is a product in which the other factors occur.)

# %%
first = predict("first gradients: which of A, B, E? (A, B, E, AB, AE, BE or ABE)", None)

# %%
settings = {"init_r": 6, "target_r": 4, "lora_alpha": 16, "target_modules": "all-linear"}
base, tokenizer = load_base()
model = get_peft_model(base, AdaLoraConfig(**settings, total_step=1000, tinit=100), seed=0)
examples = get_task("sql").examples("train")
ids, labels = next(PairBatches(examples, tokenizer, 16, 512, np.random.default_rng(1)))


def forget_gradients(model):
    for p in model.parameters():
        p.grad = None


model.loss(ids, labels).backward()
sizes = {
    letter: float(
        sum((p.grad**2).sum() for name, p in model.named_parameters() if f".lora_{letter}" in name)
    )
    for letter in "ABE"
}
forget_gradients(model)
first.compare(
    "".join(letter for letter, size in sizes.items() if size > 0),
    wrong={
        "B": "So in LoRA, where B is the zero one. Here it is E.",
        "ABE": "dA and dB have the factor E, which is zero.",
    },
)

# %% tags=["fold"]
expect("A and B have no gradient at first", (sizes["A"], sizes["B"]), (0.0, 0.0))
expect("E has one", sizes["E"] > 0, True)

# %% [markdown]
# $dA$ and $dB$ both have the factor $E$. Only $E$ learns in the first step, and decides by its sign and
# size which random directions are of use.
#
# ## How much does a number matter?
#
# Take one trained number $p$, with the gradient $g$. What happens to the loss when $p$ is set to zero?
# For a small $p$ the slope says it: the loss changes by about $-p\,g$. So $|p\,g|$ is a guess of how
# much $p$ matters, and it costs nothing: both are there after every backward.
#
# We train 20 steps without pruning, and compare the guess with the truth for 56 of the $E_k$: set one
# to zero, and measure the loss.

# %%
tune(model, tokenizer, "sql", steps=20, lr=2e-2, seed=0)
model.loss(ids, labels).backward()
guess, truth = [], []
with no_grad():
    whole = model.loss(ids, labels).item()
    for layer in model.base_model.layers:
        E = layer.adapters["default"].E
        for k in (0, 1):
            guess.append(float(-E.data[k, 0] * E.grad[k, 0]))
            kept = E.data.copy()
            E.data[k, 0] = 0
            truth.append(model.loss(ids, labels).item() - whole)
            E.data[...] = kept
forget_gradients(model)
agreement = float(np.corrcoef(guess, truth)[0, 1])
print(f"correlation of guess and truth: {agreement:.2f}")

# %% tags=["fold"]
expect_between("correlation", agreement, 0.4, 1.0)

# %% tags=["fold"]
with show_axes(height=5.0) as axes:
    ends = [min(guess + truth), max(guess + truth)]
    axes.plot(ends, ends, ":", color="black")
    axes.plot(guess, truth, "o", color=BLUE)
    axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel="guess, -p g", ylabel="change of the loss\nwithout this triplet")

# %% [markdown]
# The guess is from one batch, and the next batch says something else. So AdaLoRA smooths it from step
# to step, as Adam smooths gradients, and keeps a second number: how *uncertain* the importance is,
# which is the smoothed distance between the importance of now and the smoothed one. The score of a number
# is the product of the two: what matters much or is much in doubt should stay for now.
#
# ## Do: importance

# %%
cards("16.1")


# %% tags=["exercise"]
def smooth_importance(p, g, importance, uncertainty, beta1, beta2):
    """Follow, from step to step, how much each number of p matters.

    The importance of a number, now, is the size of p · g. It jumps from batch to batch, so it is
    smoothed: a share beta1 of the old importance stays, the rest is the one of now. Its uncertainty
    is smoothed the same way, with beta2: what is new is the distance of the importance of now from
    the smoothed importance, the new one.

    p, g, importance, uncertainty: arrays of one shape; beta1, beta2: numbers from 0 to 1.
    Returns (importance, uncertainty), both new.
    """
    raise NotImplementedError


check("16.1", smooth_importance)

# %% [markdown]
# ## A budget that falls
#
# The score of a triplet is that of its $E_k$, plus the mean score of its row of $A$, plus the mean score
# of its column of $B$. All triplets of the model compete. At first all may stay; the *budget* falls
# along a cube, fast at first, to `target_r` per layer on average. Here 28 layers start with 6 each.
#
# **Predict.** The budget falls from 168 to 112 over 60 steps, as $112 + 56\,(1 - t / 60)^3$. How many of
# the 56 have fallen at step 20, after a third of the time?

# %%
fallen = predict("how many of 56 triplets have fallen at step 20 of 60?", None)

# %%
model = get_peft_model(load_base()[0], AdaLoraConfig(**settings, total_step=60), seed=0)
adapter = model.base_model.adapters["default"]
budgets = [adapter.budget(step) for step in range(61)]
fallen.compare(168 - budgets[20])
table(
    [(step, budgets[step]) for step in (0, 1, 10, 20, 30, 40, 60)],
    ("step", "triplets that may stay"),
)

# %% tags=["fold"]
expect("at the end", budgets[60], 112)
expect("fallen at step 20", 168 - budgets[20], 40)

# %% [markdown]
# ## Do: who may stay

# %%
cards("16.2")


# %% tags=["exercise"]
def keep(scores, budget):
    """Which triplets stay when only `budget` of them may, in the whole model.

    scores: (layers, r), the score of each triplet. Those with the highest scores stay, wherever
    they are: a layer may keep all or none. Where equal scores would exceed the budget, all of these
    equal ones fall: there are never more than `budget`.

    Returns an array of True and False, (layers, r).
    """
    raise NotImplementedError


check("16.2", keep)

# %% [markdown]
# ## Train with your functions
#
# After each of 60 steps your first function scores every trained number of the 28 layers, and your
# second one says which triplets stay. A triplet that fell is not lost at once: its $E_k$ still
# gets a gradient, so its score may rise, and it may return.
#
# **Predict.** Which kind of matrix keeps the most of its 6 triplets, over the 4 blocks: `q`, `k`, `v`, `o`,
# `gate`, `up` or `down`?

# %%
most = predict("which kind of matrix keeps most: q, k, v, o, gate, up or down?", None)

# %%
smooth, stay = answer("16.1"), answer("16.2")
adapter = scored_by(model, smooth, stay)
tune(model, tokenizer, "sql", steps=60, lr=5e-2, seed=0)
ranks = adapter.ranks()
score, loss = test_score(model, tokenizer, "sql"), test_loss(model, tokenizer, "sql")
print(f"{sum(ranks.values())} triplets are left; score {score:.2f}, test loss {loss:.4f}")

# %% tags=["fold"]
expect_between("triplets left", sum(ranks.values()), 100, 112)
expect_between("score", score, 0.4, 0.9)

# %%
KINDS = ("q", "k", "v", "o", "gate", "up", "down")


def as_grid(ranks):  # {path: int} -> (7 kinds, 4 blocks)
    grid = np.zeros((7, 4))
    for path, left in ranks.items():
        block, name = path.removeprefix("model.layers.").split(".", 1)
        grid[KINDS.index(name.split(".")[1].removesuffix("_proj")), int(block)] = left
    return grid


runs = [row for row in measured("adalora") if row["init_r"] == 6 and row["orthogonality"] > 0]
mean = np.mean([as_grid(row["ranks"]) for row in runs], axis=0)
mine = as_grid(ranks)
by_kind = dict(zip(KINDS, mean.sum(axis=1), strict=True))
most.compare(max(by_kind, key=by_kind.get))

# %% tags=["fold"]
expect("over five seeds, the down projections keep most", max(by_kind, key=by_kind.get), "down")
expect_between("query of the first block, mean of five seeds", mean[0, 0], 0, 3)

# %% tags=["fold"]
with show_axes(2, width=8.0, height=5.4) as pair:
    for axes, grid, title in zip(
        pair, (mine, mean), ("your run", "mean of five seeds, replayed"), strict=True
    ):
        axes.imshow(grid, cmap="Blues", vmin=0, vmax=7.5, aspect="auto")
        for row in range(7):
            for block in range(4):
                value = grid[row, block]
                axes.text(
                    block,
                    row,
                    f"{value:.0f}" if axes is pair[0] else f"{value:.1f}",
                    ha="center",
                    va="center",
                    color="white" if value > 4.5 else "black",
                )
        axes.set_yticks(range(7), KINDS)
        axes.set_xticks(range(4), [f"block {b}" for b in range(4)])
        axes.set_title(title)

# %% [markdown]
# The first block hardly needs its queries and keys and holds on to its down projection; the last block
# keeps more than its share. Single runs differ by two or three triplets, the pattern stays.
#
# ## Why a penalty
#
# Is $E_k$ comparable between triplets? Only if the columns of $B$ and rows of $A$ have one length and do
# not overlap: else a triplet could hide its size in $A$. So training adds a penalty on $\lVert A A^T - I
# \rVert$ and $\lVert B^T B - I \rVert$, which pulls them toward length 1 and right angles, as in a
# singular value decomposition.

# %%
layer = next(iter(model.base_model.layers)).adapters["default"]
A = layer.A.data
lengths = np.linalg.norm(A, axis=1)
angles = (A @ A.T / np.outer(lengths, lengths))[~np.eye(len(A), dtype=bool)]
print(
    f"rows of one A: lengths {lengths.min():.2f} to {lengths.max():.2f}; "
    f"largest cosine {np.abs(angles).max():.2f}"
)

# %% tags=["fold"]
expect_between("shortest row", float(lengths.min()), 0.7, 1.3)
expect_between("largest cosine of two rows", float(np.abs(angles).max()), 0, 0.3)

# %% [markdown]
# ## Is it better?
#
# Four variants, and LoRA of rank 4 on all layers, which has about as many numbers at the end. Five seeds each,
# each with its own learning rate.
#
# **Predict.** Which has the lowest test loss: "AdaLoRA" or "LoRA"?

# %%
lowest = predict("lowest test loss: AdaLoRA or LoRA?", None)

# %%
rows = measured("adalora")
plain = measured("dora")  # it has LoRA of rank 4 too
variants = {
    "AdaLoRA, 6 to 4, penalty": {"init_r": 6, "orthogonality": 0.5},
    "AdaLoRA, 6 to 4, no penalty": {"init_r": 6, "orthogonality": 0.0},
    "AdaLoRA, 4 from the start, penalty": {"init_r": 4, "orthogonality": 0.5},
    "AdaLoRA, 4 from the start, no penalty": {"init_r": 4, "orthogonality": 0.0},
}
results = [
    (name, *mean_and_spread(rows, "test_loss", **variant)) for name, variant in variants.items()
]
results.append(("LoRA, rank 4", *mean_and_spread(plain, "test_loss", method="lora", r=4)))
table(results, ("", "test loss", "± spread"))
best = min(results, key=lambda row: row[1])[0]
lowest.compare(
    best.split(",")[0],
    wrong={"AdaLoRA": "So its paper. Here plain LoRA of the same size is better after 60 steps."},
)

# %% tags=["fold"]
expect("lowest", best, "LoRA, rank 4")
expect(
    "of the four variants the whole method is the lowest",
    min(results[:4], key=lambda row: row[1]) is results[0],
    True,
)

# %% [markdown]
# The ranks that are found are better than four everywhere, and the penalty helps where ranks fall: the
# method's own claims hold. And yet plain LoRA of rank 4 is better than all of them here, after 60 steps.
# AdaLoRA spends its first steps on finding out where to learn, and here the run is short.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/adalora.py`: `adalora_update` is the equation and its backward, `AdaLoraAdapter._score`
# is your exercise 16.1, `AdaLoraAdapter._prune` your 16.2, `budget` the cube, `orthogonality` the penalty.
# `AdaLoraAdapter.exported` writes only the triplets that are left. `minilora/course/lab/own_adalora.py`
# puts your functions in their place.
#
# ## What this does not show
#
# Long trainings of large models, for which AdaLoRA was made, and tasks for which few matrices matter. The
# cost: a score for each trained number, two arrays more than Adam's two. And the picture of ranks says
# where *this* method kept rank, at this learning rate; that is not the same as where rank is needed
# (lesson 9 measured that differently).
#
# ## Questions
#
# <details><summary>Why is importance |p g| and not |p|?</summary>A large number on which the loss does not
# depend does not matter. The product is the first-order change of the loss when p becomes 0.</details>
#
# <details><summary>The scale stays alpha / init_r when ranks fall. Why not alpha / r?</summary>A change of the
# scale would change the function of every triplet that stays, at every pruning.</details>
#
# <details><summary>How many numbers are trained at the start, with 6 triplets on all 28 matrices, and how many
# are left?</summary>168 triplets at first, 112 at the end: two thirds of A, B and E. While training runs, all
# of A and B are in memory.</details>
#
# <details><summary>E starts at zero and A and B are random. Why not E = 1 and B = 0, as in LoRA?</summary>It
# would start unchanged too. But then columns of B would be zero, far from length 1, and the penalty would
# pull at once.</details>
