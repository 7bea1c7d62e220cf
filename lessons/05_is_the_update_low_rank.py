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
# # 5 · Is the update low rank?
#
# *25 minutes to read · needs singular values (explained here) and lesson 0 · reads
# `minilora/course/lab/low_rank.py` · exercises 5.1 and 5.2*
#
# **You will be able to** take the update of a full fine-tuning apart, count the directions that it
# really needs, and say what that does and does not prove about LoRA.
#
# LoRA rests on a guess: fine-tuning changes a matrix mostly along a few directions. Here we look.

# %%
import numpy as np

from minilora.course import drawings
from minilora.course.lesson import COLOURS, MARKERS, ORANGE
from minilora.course.lesson import answer, cards, check, hint, show_axes, replay, table
from minilora.course.lesson import budget, expect, expect_between, predict, predictions
from minilora.course.lab.low_rank import matrices, random_part, set_weights, train_only
from minilora.course.lab.tune import load_base, test_score, tune
from minilora.display.plots import FROZEN

# %% [markdown]
# ## Fine-tune in full, keep the difference
#
# We train all 28 matrices $W$ of the base in full on the SQL task; embedding and norms stay frozen.
# The *update* is $\Delta W = W_{after} - W_{before}$, one for each matrix, of shape `(out, in)`.

# %%
model, tokenizer = load_base()
weights = matrices(model)
train_only(model, weights)
before = {name: p.data.copy() for name, p in weights.items()}
steps = budget(150, in_browser=100)
batch_size = budget(16, in_browser=8, of="examples in a batch")
tune(model, tokenizer, "sql", steps=steps, lr=1e-3, seed=3, batch_size=batch_size)
update = {name: p.data - before[name] for name, p in weights.items()}
full_score = test_score(model, tokenizer, "sql")
print(f"score after full fine-tuning: {full_score:.2f}")

# %% tags=["fold"]
expect_between("score after full fine-tuning", full_score, 0.85 if steps == 150 else 0.6, 1.0)

# %% [markdown]
# ## Directions
#
# A column $u$ (length `out`) times a row $v^T$ (length `in`) is a whole matrix, with $u_i v_j$ in row
# $i$ and column $j$; but it holds only `out + in` numbers. A matrix of *rank* $r$ is a sum of $r$ such
# products. Below: the update of one matrix of the base, and the sum of its best 1, 2, 4 and 8
# columns times rows (the columns are drawn at the left, the rows on top).

# %% tags=["fold"]
with show_axes(4, width=10, height=4.4) as panels:
    drawings.columns_times_rows(panels, update["model.layers.1.self_attn.v_proj.weight"])

# %% [markdown]
# Any matrix $D$ of shape `(out, in)` can be taken apart in this way: $D = \sum_k \sigma_k\, u_k v_k^T$.
# The columns $u_k$ have length 1 and are at right angles to each other, and so are the $v_k$. The
# numbers $\sigma_1 \ge \sigma_2 \ge \ldots$ are the *singular values*, and one term is a *direction*.
# There are as many as the smaller side is long. The *energy* $\sum_{ij} D_{ij}^2$ is $\sum_k
# \sigma_k^2$, so $\sigma_k^2$ says how much of the matrix lies in direction $k$.
#
# ## Do: how many directions hold the energy
#
# (The second exercise is asked first: you need it now.)

# %%
cards("5.2")


# %% tags=["exercise"]
def directions_for(singular_values, share):
    """The smallest k for which the first k directions hold at least that share of the energy Σ σ².

    singular_values: array, the largest first; share: a number between 0 and 1, such as 0.9. Returns a whole number.
    """
    raise NotImplementedError


check("5.2", directions_for)

# %% [markdown]
# **Predict.** Take a $\Delta W$ of 128 by 128. How many of its 128 directions hold 90% of its
# energy? And how many, for comparison, in a random matrix?

# %%
name = "model.layers.0.self_attn.q_proj.weight"
of_update = predict("directions (of 128) for 90% of ΔW", None)
of_random = predict("directions (of 128) for 90% of a random matrix", None)


# %%
def singular_values(D):
    return np.linalg.svd(D, compute_uv=False)


count_directions = answer("5.2")
rng = np.random.default_rng(0)
noise = {n: rng.standard_normal(D.shape) for n, D in update.items()}
needed = {
    kind: {n: int(count_directions(singular_values(D), 0.9)) for n, D in group.items()}
    for kind, group in (("ΔW", update), ("W", before), ("random", noise))
}
of_update.compare(needed["ΔW"][name])
of_random.compare(needed["random"][name])

rows = [
    (
        n.replace("model.layers.", "layer ").replace(".weight", ""),
        str(update[n].shape),
        min(update[n].shape),
        needed["ΔW"][n],
        needed["W"][n],
        needed["random"][n],
    )
    for n in update
    if "layers.0" in n
]
table(rows, ("directions for 90%", "shape", "of", "ΔW", "W itself", "random"))
expect(
    "matrices where ΔW needs fewer directions than a random one",
    sum(needed["ΔW"][n] < needed["random"][n] for n in update),
    28,
)
widest = max(k for n, k in needed["ΔW"].items() if "self_attn" in n)

# %% tags=["fold"]
expect(
    "every ΔW of the MLP needs more than any of the attention",
    min(k for n, k in needed["ΔW"].items() if "mlp" in n) > widest,
    True,
)
expect_between(
    "matrices where W itself needs fewer",
    sum(needed["W"][n] < needed["random"][n] for n in update),
    25,
    28,
)


# %%
def energy(D):  # -> share of the energy in the first 0, 1, 2, ... directions
    s2 = singular_values(D) ** 2
    return np.concatenate([[0], np.cumsum(s2) / s2.sum()])


# %% tags=["fold"]
with show_axes(2) as (left, right):
    for group, colour, line, label in (
        (update, ORANGE, "-", "ΔW"),
        (before, FROZEN, "--", "W"),
        (noise, "black", ":", "random"),
    ):
        left.plot(energy(group[name]), line, color=colour, label=label)
    left.axhline(0.9, color="grey", linewidth=1)
    left.text(128, 0.88, "90%", color="grey", ha="right", va="top")
    left.set(
        xlabel="number of directions",
        ylabel="share of the energy",
        title="queries of the first layer",
        ylim=(0, 1.02),
    )
    left.legend(loc="lower right")
    for kind, colour, marker in (("random", "black", "v"), ("W", FROZEN, "o"), ("ΔW", ORANGE, "s")):
        right.plot(list(needed[kind].values()), marker, color=colour, label=kind)
    right.set(
        xlabel="the 28 matrices, layer by layer",
        ylabel="directions for 90%",
        xticks=[],
        ylim=(0, 125),
    )
    right.legend(loc="upper center", ncols=3)

# %% [markdown]
# The update needs fewer directions than noise of the same size: that is the usual picture in talks
# on LoRA. But look at the blue line: **$W$ itself needs fewer than noise, too**, because it was
# learned. A falling curve alone proves little. And 90% of the energy is not 90% of the effect: the
# missing part may be exactly the part that the task needs.
#
# ## The test that counts
#
# So ask the model. Add **only the best part of rank $r$** of each $\Delta W$ to the base: its first
# $r$ directions. No other matrix of rank $r$ comes closer to $\Delta W$ (Eckart and Young 1936).
#
# ## Do: the best part

# %%
cards("5.1")


# %% tags=["exercise"]
def best_part(D, r):
    """The matrix of rank r (at most) that comes closest to D: the sum of squares of the difference is smallest.

    D: (out, in); r: a whole number, at least 1. Returns an array of the shape of D.
    """
    raise NotImplementedError


check("5.1", best_part)

# %% [markdown]
# For comparison: keep what $\Delta W$ does to $r$ *random* directions of its input, and drop the rest.
# With $r$ random directions as the columns of $Q$, shape `(in, r)`, at right angles and of length 1,
# $Q^T x$ is the part of $x$ along them, and $\Delta W\, Q\, Q^T$ acts on that part alone.
#
# **Predict** the score with $r = 8$ (of 128), best and random. With all directions it is near 1.

# %%
best_guess = predict("score with the best 8 directions", None)
random_guess = predict("score with 8 random directions", None)

# %%
best = answer("5.1")
set_weights(weights, {n: (before[n] + best(D, 8)).astype(D.dtype) for n, D in update.items()})
live = test_score(model, tokenizer, "sql")
set_weights(weights, {n: before[n] + random_part(D, 8, rng) for n, D in update.items()})
live_random = test_score(model, tokenizer, "sql")
best_guess.compare(live)
random_guess.compare(live_random)

# %% tags=["fold"]
expect_between("best 8 directions", live, 0.4, 0.95)
expect_between("8 random directions", live_random, 0.0, 0.1)

# %% [markdown]
# Now the same at other ranks, on three tasks with three seeds each, replayed; the stars are the two
# numbers from this run.

# %%
sweep = replay("low_rank")
tasks, ranks = ("style-json", "reviews", "sql"), (1, 2, 4, 8, 16, 32)


def mean_score(task, kind):  # -> for each rank, the mean over the seeds
    rows = [row for row in sweep["rows"] if row["task"] == task]
    return [float(np.mean([row[kind] for row in rows if row["rank"] == r])) for r in ranks]


table([(task, *mean_score(task, "best")) for task in tasks], ("best part of rank", *ranks))
table([(task, *mean_score(task, "random")) for task in tasks], ("random part", *ranks))
enough = {
    task: next(r for r, s in zip(ranks, mean_score(task, "best"), strict=True) if s > 0.9)
    for task in tasks
}
print("smallest of these ranks with a score above 0.9:", enough)

# %% tags=["fold"]
expect("JSON needs fewer directions than SQL", enough["style-json"] < enough["sql"], True)
expect_between(
    "1 to 16 random directions, best of the tasks",
    max(max(mean_score(task, "random")[:5]) for task in tasks),
    0.0,
    0.1,
)

# %% tags=["fold"]
with show_axes(height=5) as axes:
    for task, colour, marker in zip(tasks, COLOURS, MARKERS, strict=False):
        style = {"color": colour, "base": 2}
        axes.semilogx(ranks, mean_score(task, "best"), marker + "-", label=task, **style)
        axes.semilogx(ranks, mean_score(task, "random"), marker + ":", **style)
    axes.plot([8, 8], [live, live_random], "k*", markersize=18, label="this run (sql)")
    axes.plot([], [], ":", color="black", label="random directions")
    axes.set_xticks(ranks, [str(r) for r in ranks])
    axes.set(
        xlabel="rank of the part of ΔW that is added",
        ylabel="score on the test split",
        ylim=(-0.04, 1.08),
    )
    axes.legend(loc="center right", fontsize=12, bbox_to_anchor=(1, 0.57))

# %% [markdown]
# ## What this says, and what it does not
#
# - A few directions of each update carry the task, but not just any few: up to 16 random ones carry
#   nothing.
# - **How many depends on the task.** The house style needs only a handful; the SQL queries need
#   many more. It also depends on the matrix: in the first figure, the MLP's updates need more
#   directions than those of the attention. "The update is low rank" is not a law; it is a question,
#   and you answer it by measuring.
# - This cuts a part out of an update that was learned in full. LoRA does something else: it
#   *learns* at a low rank from the start, and can find a better update of that rank. On this task,
#   the LoRA of rank 8 in lesson 6 scores:

# %%
lora = replay("lora_and_full")
rank_8 = [row["score"] for row in lora["rows"] if row["method"] == "lora" and row["lr"] == 0.01]
cut_8 = mean_score("sql", "best")[3]
print(f"learned with rank 8:                 {np.mean(rank_8):.2f}")
print(f"best part of rank 8 of the full one: {cut_8:.2f}")

# %% tags=["fold"]
expect("learned beats cut out", float(np.mean(rank_8)) > cut_8, True)

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/course/lab/low_rank.py`: `best_part`, `random_part`, `directions_for`. The sweep:
# `lessons/sweeps/low_rank.py`.
#
# ## What this does not show
#
# Large models, for which the guess was made (Aghajanyan et al. 2020; Hu et al. 2021, section 7);
# tasks far from the knowledge of the base, which need more directions; and long training, during
# which an update grows.
#
# ## Questions
#
# <details><summary>The singular values of ΔW fall quickly. Why does that alone prove little?</summary>Those
# of W itself fall too, and 90% of the energy is not 90% of the effect.</details>
#
# <details><summary>How many numbers does the best part of rank 4 of a (352, 128) matrix need?</summary>4 ·
# (352 + 128) = 1,920, in place of 45,056.</details>
#
# <details><summary>Eight random directions score 0, the best eight 0.7. What follows?</summary>Few directions
# carry the task, but not any few: which ones matters.</details>
#
# <details><summary>Learned at rank 8, LoRA scores higher than the best part of rank 8 of the full update.
# How is that possible?</summary>The best part is closest to one update that was found without a limit; LoRA
# searches among all updates of rank 8 for one that solves the task.</details>
