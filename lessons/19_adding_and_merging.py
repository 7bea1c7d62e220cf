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
# # 19 · Adding and merging
#
# *20 minutes to read · needs lessons 10 and 11 · reads `minilora/combining/weighted.py` · exercises
# 19.1 and 19.2*
#
# **You will be able to** say what the rule "linear" really adds, which rule gives the exact sum, write
# TIES, and judge a table of merging methods by its controls.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.combining.weighted import Factors, cat, svd
from minilora.course.lesson import BLUE, GREEN, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.low_rank import matrices, set_weights
from minilora.course.lab.measured import measured
from minilora.course.lab.tune import affordable_steps, load_base, test_score, tune

# %% [markdown]
# ## Two skills, one model
#
# One adapter writes SQL, another judges reviews. You have both files and would like *one* adapter that
# does both, without training again. Libraries offer a dozen rules for it, with names such as linear,
# cat, svd, ties. First the two adapters:

# %%
TASKS = ("sql", "reviews")
base, tokenizer = load_base()
W = {name: p.data.copy() for name, p in matrices(base).items()}


def train_adapter(task, lr, seed):  # -> {name: (A, B, s)}
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    model = get_peft_model(load_base()[0], config, seed=seed)
    tune(model, tokenizer, task, steps=80, lr=lr, seed=0)
    methods = {f"{m.path}.weight": m.adapters["default"] for m in model.base_model.layers}
    return {n: (m.A.data, m.B.data, m.scaling) for n, m in methods.items()}


parts = {"sql": train_adapter("sql", 1e-2, seed=0)}

# %%
parts["reviews"] = train_adapter("reviews", 5e-3, seed=1)

# %% [markdown]
# The update of each is $s\,BA$. To score an update, we add it to the matrices of a fresh base:

# %%
delta = {task: {n: s * B @ A for n, (A, B, s) in parts[task].items()} for task in TASKS}


def scores_of(update):  # {name: (out, in)} -> score on each task of W + update
    plain, _ = load_base()
    set_weights(matrices(plain), {n: (W[n] + update[n]).astype(np.float32) for n in W})
    return [test_score(plain, tokenizer, task) for task in TASKS]


results = {f"{task} alone": scores_of(delta[task]) for task in TASKS}
table([(name, *scores) for name, scores in results.items()], ("adapter", *TASKS))

# %% tags=["fold"]
expect_between("sql alone, on sql", results["sql alone"][0], 0.65, 1)
expect_between("reviews alone, on reviews", results["reviews alone"][1], 0.9, 1)
expect(
    "each alone, on the other's task", results["sql alone"][1] + results["reviews alone"][0], 0.0
)

# %% [markdown]
# ## Two ways to add
#
# With weights $w_1$ and $w_2$ (each has its adapter's scale in it) the **sum** is $w_1 B_1A_1 + w_2
# B_2A_2$. It has rank $2r$: exercise 11.1 wrote it as one adapter, with the $A$s under each other and
# the $B$s side by side. Libraries call that `cat`.
#
# **linear** is cheaper: it adds the $A$s and the $B$s, and the rank stays $r$.
#
# ## Do: linear

# %%
cards("19.1")


# %% tags=["exercise"]
def linear_update(A1, B1, A2, B2, w1, w2):
    """The update that the rule "linear" makes of two adapters: it adds As and Bs apart.

    Each A and each B is multiplied by the root of the size of its adapter's weight. A negative
    weight gives its sign to A alone. Then the As are added, the Bs are added, and the two sums are
    multiplied.

    A1, A2: (r, in), B1, B2: (out, r); w1, w2: numbers, not zero. Returns the update: (out, in).
    """
    raise NotImplementedError


check("19.1", linear_update)

# %% [markdown]
# **Predict.** We merge half of each adapter. How far is `linear` from the sum, as a share of the size of
# the sum? (0: equal; 1: as far as zero is.)

# %%
apart = predict("‖linear - sum‖ / ‖sum‖, over all 28 matrices?", None)

# %%
linear = answer("19.1")
HALF = 0.5
the_sum, by_linear, by_cat, by_svd = {}, {}, {}, {}
for n in W:
    (A1, B1, s1), (A2, B2, s2) = (parts[task][n] for task in TASKS)
    the_sum[n] = HALF * (delta["sql"][n] + delta["reviews"][n])
    by_linear[n] = np.asarray(linear(A1, B1, A2, B2, HALF * s1, HALF * s2))
    factors = [Factors(HALF, s1, A1, B1), Factors(HALF, s2, A2, B2)]
    A, B = cat(factors)
    by_cat[n] = B @ A
    A, B = svd(factors, 8)
    by_svd[n] = B @ A


def size(update):
    return float(np.sqrt(sum((u.astype(float) ** 2).sum() for u in update.values())))


def distance(update):  # from the sum, as a share of it
    return size({n: update[n] - the_sum[n] for n in W}) / size(the_sum)


apart.compare(distance(by_linear))
table(
    [
        ("cat, rank 16", distance(by_cat)),
        ("svd, rank 8", distance(by_svd)),
        ("linear, rank 8", distance(by_linear)),
    ],
    ("rule", "distance from the sum"),
)

# %% tags=["fold"]
expect_between("cat", distance(by_cat), 0, 1e-5)
expect_between("linear", distance(by_linear), 0.3, 3)
expect("svd is nearer than linear", distance(by_svd) < distance(by_linear), True)

# %% [markdown]
# Multiply it out: $(\sqrt{w_1} B_1 + \sqrt{w_2} B_2)(\sqrt{w_1} A_1 + \sqrt{w_2} A_2)$ is the sum and two
# terms more, $\sqrt{w_1 w_2}\,(B_1A_2 + B_2A_1)$. $A_2$ looks for what matters in reviews, and $B_1$
# writes what SQL needs. **Nobody trained that.** `svd` has the same rank as `linear` and is the nearest
# matrix of that rank.

# %%
for name, update in (("sum (cat)", the_sum), ("svd, rank 8", by_svd), ("linear", by_linear)):
    results[name] = scores_of(update)
table([(name, *scores, np.mean(scores)) for name, scores in results.items()], ("", *TASKS, "mean"))
means = {name: float(np.mean(scores)) for name, scores in results.items()}

# %% tags=["fold"]
expect("the sum is better than linear", means["sum (cat)"] > means["linear"], True)
expect(
    "linear is below either adapter alone",
    means["linear"] < min(means[f"{task} alone"] for task in TASKS),
    True,
)

# %% [markdown]
# The exact sum keeps a good part of both; `linear` is worse than either adapter alone, whose means are
# 0.4 and 0.5. **Always look at that control.**
#
# ## TIES
#
# Even the exact sum loses something: the two updates disagree. **TIES** (Yadav et al. 2023) tries to keep
# them out of each other's way, in three steps: *trim* the small numbers of each update, which are mostly
# noise; *elect* one sign for each number; *average* only those that agree with it.
#
# ## Do: TIES

# %%
cards("19.2")


# %% tags=["exercise"]
def ties_update(updates, density):
    """TIES: trim each update, elect a sign for each number, and average what agrees.

    Trim: of each update the int(density · n) numbers of largest size stay, the others become 0.
    Elect: for each of the n places, the sign of the sum of the trimmed updates.
    Average: for each place, the mean of those trimmed numbers that have the elected sign. Numbers
    that were trimmed do not count. Where none is left, 0.

    updates: (T, n), one row for each adapter; density: a number from 0 to 1. Returns (n,).
    """
    raise NotImplementedError


check("19.2", ties_update)

# %% [markdown]
# All 28 matrices of an update, one after the other, are one row of 737,280 numbers.
#
# **Predict.** Without trimming: at which share of the places do the two updates have opposite signs? And
# after trimming each to its largest fifth: of the places where any number is left, at how many do both
# have one?

# %%
opposite = predict("share of the places where the two updates have opposite signs?", None)

# %%
ties = answer("19.2")
flat = np.stack(
    [np.concatenate([delta[task][n].ravel() for n in W]) for task in TASKS]
)  # (2, 737,280)
disagree = float(np.mean(np.sign(flat[0]) != np.sign(flat[1])))
large = np.abs(flat) >= np.quantile(np.abs(flat), 0.8, axis=1, keepdims=True)
both = float((large[0] & large[1]).sum() / (large[0] | large[1]).sum())
opposite.compare(disagree)
print(f"opposite signs: {disagree:.2f}; both are left, of all places with one left: {both:.2f}")

# %% tags=["fold"]
expect_between("opposite signs", disagree, 0.4, 0.6)
expect_between("both are left", both, 0.05, 0.3)


# %%
def cut_up(row):  # (737,280,) -> {name: (out, in)}
    at, update = 0, {}
    for n in W:
        update[n] = row[at : at + W[n].size].reshape(W[n].shape)
        at += W[n].size
    return update


PART = 16_384  # numbers: one part is timed first, so that a slow function gets fewer of them
some = PART * affordable_steps(lambda: ties(flat[:, :PART], 0.2), flat.shape[1] // PART)
merged_by_ties = np.zeros(flat.shape[1])
merged_by_ties[:some] = ties(flat[:, :some], 0.2)
for weight in (0.7, 1.0):
    results[f"ties, density 0.2, weight {weight}"] = scores_of(cut_up(weight * merged_by_ties))
table([(name, *scores, np.mean(scores)) for name, scores in results.items()], ("", *TASKS, "mean"))

# %% tags=["fold"]
expect_between("ties, mean", float(np.mean(results["ties, density 0.2, weight 1.0"])), 0.2, 0.7)

# %% tags=["fold"]
with show_axes(height=5.0) as axes:
    marks = {
        "sql alone": (BLUE, "s"),
        "reviews alone": (BLUE, "D"),
        "sum (cat)": (GREEN, "o"),
        "svd, rank 8": (GREEN, "^"),
        "linear": (ORANGE, "v"),
        "ties, density 0.2, weight 1.0": ("black", "P"),
    }
    for name, (colour, marker) in marks.items():
        axes.plot(*results[name], marker, color=colour, markersize=14, label=name)
    axes.plot([0, 1], [1, 0], ":", color="grey")
    axes.set(
        xlabel="score on sql", ylabel="score on reviews", xlim=(-0.05, 1.08), ylim=(-0.05, 1.08)
    )
    axes.legend(loc="upper right", fontsize=13)

# %% [markdown]
# The two updates agree about signs as often as coins do: they were trained apart, from different random
# $A$s. There is little conflict to solve, since their large numbers are mostly in different places: both
# have one at 0.13 of them, and by chance alone it would be 0.11.
#
# ## Three tasks, five seeds, whole models too
#
# One run with one weight is no evidence. In `benchmarks/COMBINING.md` three tasks are merged by every
# rule; weight and density were chosen on validation data, and five seeds were measured. A merge of
# *whole* models works alike: a fully fine-tuned model minus the base is its *task vector*, which takes
# the place of $\Delta W$.
#
# **Predict.** Which adapter rule has the highest mean score over the three tasks: "cat", "linear", "ties"
# or "dare_linear_svd, r=24"?

# %%
highest = predict("highest mean: cat, linear, ties or dare_linear_svd, r=24?", None)

# %%
rows = [
    row for row in measured("combining") if "scores" in row and row["of"] in ("adapters", "models")
]


def mean_of(of, rule):
    return float(
        np.mean([list(r["scores"].values()) for r in rows if (r["of"], r["rule"]) == (of, rule)])
    )


adapter_rules = ("cat", "svd, r=8", "linear", "ties", "ties_svd, r=24", "dare_linear_svd, r=24")
model_rules = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
THREE = ("data-to-text", "sql", "reviews")
alone = max(mean_of("adapters", f"{task} alone") for task in THREE)
by_rule = {rule: mean_of("adapters", rule) for rule in adapter_rules}
table(
    [("adapters", "the best alone", alone)]
    + [("adapters", rule, by_rule[rule]) for rule in adapter_rules]
    + [("whole models", rule, mean_of("models", rule)) for rule in model_rules],
    ("of", "rule", "mean score of three tasks"),
)
cat_scores = [r["scores"] for r in rows if (r["of"], r["rule"]) == ("adapters", "cat")]
of_cat = {task: float(np.mean([scores[task] for scores in cat_scores])) for task in THREE}
print("cat, task by task:", ", ".join(f"{task} {score:.2f}" for task, score in of_cat.items()))
highest.compare(
    max(("cat", "linear", "ties", "dare_linear_svd, r=24"), key=by_rule.get),
    wrong={
        "ties": "On As and Bs apart it is the lowest of all here.",
        "linear": "It has the terms B1 A2 and B2 A1, which nobody trained.",
    },
)

# %% tags=["fold"]
expect("cat is the highest of the adapter rules", max(by_rule, key=by_rule.get), "cat")
better = {rule for rule in adapter_rules if by_rule[rule] > alone}
expect(
    "only cat and dare_linear_svd are better than one adapter",
    better == {"cat", "dare_linear_svd, r=24"},
    True,
)
expect("linear is below the best adapter alone", by_rule["linear"] < alone, True)
for task, low, high in zip(THREE, (0, 0.3, 0.6), (0.1, 0.5, 0.9), strict=True):
    expect_between(f"cat on {task}", of_cat[task], low, high)

# %% [markdown]
# The exact sum is the best rule here. It and DARE on $\Delta W$ (`dare_linear_svd`) are the only ones of this
# table's adapter rules that are better than keeping one adapter. And a mean hides what it is made of: the
# sum keeps most of reviews, less than half of sql and nearly nothing of data-to-text. On large models the
# papers find gains for TIES and DARE.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/combining/weighted.py`: `task_arithmetic`, `cat`, `svd` and `roots` (the weights of
# "linear"). `minilora/combining/ties.py`: `paper_ties` is your exercise 19.2, with the cutoff found
# without sorting; `ties` is PEFT's, of each tensor apart. In a program:
# `add_weighted_adapter` of `minilora/adapters/model.py`; in a terminal `minilora merge --models`.
#
# ## What this does not show
#
# Tasks that resemble each other, where adding works better; large models. A weight and a density for
# each rule, chosen on validation data: the table above has that, our own run has not. And the honest
# alternative: keep both adapters and choose by request, which costs nothing (lesson 11).
#
# ## Questions
#
# <details><summary>Two adapters of ranks 4 and 8 are to be merged by linear. What happens?</summary>Nothing: the
# As have 4 and 8 rows and cannot be added. cat works: rank 12.</details>
#
# <details><summary>Two adapters have the same A (it was frozen in both). Is linear the exact sum
# then?</summary>No: with w1 = w2 = w it is w (B1 + B2)(2 A), twice the sum.</details>
#
# <details><summary>PEFT's rule "ties" works on As and Bs apart. Why is that not TIES of ΔW?</summary>A sign of an
# A means nothing by itself: (-B)(-A) is the same update, with all signs turned.</details>
#
# <details><summary>Why are whole models merged by task vectors, and not by averaging the
# weights?</summary>With weights that add up to 1 both are the same. Task vectors allow other sums: each skill
# with full weight, or a negative one.</details>
