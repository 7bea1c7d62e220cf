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
# # 0 · A LoRA in sixty seconds
#
# *10 minutes to read · needs nothing · reads `minilora/methods/lora.py` · exercise 0.1*
#
# **You will be able to** say what a LoRA adapter is and what it leaves alone, and switch one on and
# off.
#
# A small language model comes with this project. It has read about one small town, Tidewick: who
# lives where, who does what. We teach it a *house style*, answers in JSON, without changing a
# single one of its numbers.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.course import drawings
from minilora.course.lesson import BLUE, ORANGE, cards, show_axes, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import budget, expect, expect_between
from minilora.course.lab.tune import load_base, test_score, tune
from minilora.tasks.scoring import answers
from minilora.tasks.shipped import get_task
from minilora.tasks.metrics import states_fact

base, tokenizer = load_base()
style, reviews = get_task("style-json"), get_task("reviews")
test = style.examples("test")  # questions about people that tuning will never show

for example in test[:3]:
    print("asked:  ", example["prompt"])
    print("base:   ", answers(base, tokenizer, [example["prompt"]], 32)[0].split("\n")[0])
    print("wanted: ", example["response"], "\n")

# %% [markdown]
# The base knows the answer. It does not know the form.
#
# There is a second task, which we shall *not* train: say whether a guest's review is praise or
# blame, and of what.

# %%
for example in reviews.examples("test")[:2]:
    print("asked:  ", example["prompt"])
    print("base:   ", answers(base, tokenizer, [example["prompt"]], 12)[0].split("\n")[0])
    print("wanted: ", example["response"], "\n")

# %% [markdown]
# ## Add an adapter
#
# A language model is a stack of *blocks*, here four. Each block has seven matrices (lesson 4 names
# them), so there are 28. A matrix $W$ of shape `(out, in)` turns a vector $x$ of `in` numbers, one
# for each of its columns, into `out` numbers: one sum of products for each row of $W$. For $N$
# tokens at once $x$ has the shape `(N, in)`, and we write $x W^T$, shape `(N, out)`.
#
# Now freeze every number of the model. Beside each $W$ put two narrow matrices, $A$ of shape
# `(r, in)` and $B$ of shape `(out, r)` with a small $r$, here 8. Only they learn.

# %% tags=["fold"]
with show_axes(width=9, height=5) as axes:
    drawings.lora_beside(axes, n_out=128, n_in=128, r=8)

# %% [markdown]
# The upper way is the old model, untouched. The lower way is the adapter: $A$ makes 8 numbers out
# of 128, $B$ makes 128 out of those 8. The two results are added:
#
# $$y = x W^T + s\,(x A^T) B^T$$
#
# with a fixed number $s = \alpha / r$, the *scale*, here 16 / 8 = 2. $B$ starts at zero, so at first
# the adapter adds nothing. The next cell does this for all 28 matrices.

# %%
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
model = get_peft_model(base, config, seed=0)
model.print_trainable_parameters()
trained, total = model.get_nb_trainable_parameters()
frozen = [p for name, p in model.named_parameters() if ".lora_" not in name]
before = [p.data.copy() for p in frozen]

# %% tags=["fold"]
expect("matrices with an adapter", len(model.base_model.layers), 28)

# %% [markdown]
# ## Predict
#
# We train the adapter on 150 batches of questions and answers **in JSON**, about other people. Then
# we score four cells on test questions:
#
# | | base | adapted |
# | --- | --- | --- |
# | answers in JSON (trained) | ? | ? |
# | reviews: praise or blame (not trained) | ? | ? |
#
# A score is the share of answers that are right in form *and* content. Both tasks are at or near 0
# for the base. Which cells will be above 0.5 for the adapted model: `"JSON"`, `"reviews"`,
# `"both"`, `"none"`?

# %%
moves = predict("which task is above 0.5 with the adapter: JSON, reviews, both or none?", None)

# %% [markdown]
# ## Run

# %%
tasks = ("style-json", "reviews")
base_scores = [test_score(model, tokenizer, t) for t in tasks]  # B is still zero: this is the base
losses = tune(model, tokenizer, "style-json", steps=budget(150, in_browser=60), lr=3e-3, seed=0)
adapted_scores = [test_score(model, tokenizer, t) for t in tasks]

table(
    list(zip(("answers in JSON", "reviews"), base_scores, adapted_scores, strict=True)),
    ("task", "base", "adapted"),
)
above = [
    name for name, value in zip(("JSON", "reviews"), adapted_scores, strict=True) if value > 0.5
]
moves.compare(
    set(above),
    of=("JSON", "reviews"),
    wrong={
        "both": "Nobody showed the adapter a review: it learned one form for one kind of question.",
        "reviews": "It is the other way round: the adapter was trained on JSON, and on no review.",
        "none": "150 small steps are enough for a form, because the facts are in the base already.",
    },
)

# %% tags=["fold"]
expect_between("JSON, base", base_scores[0], 0.0, 0.1)
expect_between("JSON, adapted", adapted_scores[0], 0.9, 1.0)
expect_between("reviews, adapted", adapted_scores[1], 0.0, 0.3)

# %%
for example in test[:3]:
    print("asked:   ", example["prompt"])
    print("adapted: ", answers(model, tokenizer, [example["prompt"]], 32)[0], "\n")

# %% [markdown]
# These are people that the adapter never saw. It cannot have learned where they live: **the fact
# comes from $W$, the form from $B A$.** We check both halves of this sentence. First: not one bit
# of $W$ has changed. Second: the same model with the adapter switched off still answers as before,
# with the same facts.

# %% tags=["fold"]
expect(
    "every frozen number, to the bit",
    all(a.tobytes() == p.data.tobytes() for a, p in zip(before, frozen, strict=True)),
    True,
)


# %%
def share_with_the_right_fact(model):  # in the first line: the base goes on after it
    lines = [a.split("\n")[0] for a in answers(model, tokenizer, [e["prompt"] for e in test], 32)]
    plain = [a.removeprefix('{"answer": "').removesuffix('"}') for a in lines]
    return float(np.mean([states_fact(e, a) for e, a in zip(test, plain, strict=True)]))


facts_adapted = share_with_the_right_fact(model)
with model.disable_adapter():
    facts_base = share_with_the_right_fact(model)
    off_again = test_score(model, tokenizer, "style-json")

# %% tags=["fold"]
expect("JSON with the adapter off again", off_again, base_scores[0])
expect_between("right facts, base", facts_base, 0.85, 1.0)
expect_between("right facts, adapted", facts_adapted, 0.85, 1.0)

# %% [markdown]
# ## See

# %% tags=["fold"]
with show_axes(height=4.8) as axes:
    groups = ("the right fact,\nin any form", "JSON with\nthe right fact", "reviews\n(not trained)")
    without = (facts_base, base_scores[0], base_scores[1])
    adapted = (facts_adapted, *adapted_scores)
    places = np.arange(3)
    off = axes.bar(places - 0.2, without, 0.38, color=BLUE, label="base")
    on = axes.bar(
        places + 0.2,
        adapted,
        0.38,
        color=ORANGE,
        hatch="//",
        edgecolor="white",
        label="with adapter",
    )
    for bars in (off, on):
        axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xticks(places, groups)
    axes.set(ylabel="share of right answers", ylim=(0, 1.3), yticks=(0, 0.5, 1))
    axes.legend(loc="upper right")

# %%
print(f"trained {trained:,} of {total:,} numbers: {100 * trained / total:.1f} percent")
print(f"loss of the answers: {losses[0]:.2f} at first, {np.mean(losses[-10:]):.3f} at the end")
print(f"rank 8 beside a matrix of 4,096 x 4,096: 1 number for every {4096**2 // (8 * 8192)}")

# %% [markdown]
# A small model has small matrices, so rank 8 is a large share of them. In a large model it is next
# to nothing: lesson 8 counts.
#
# ## Do
#
# The drawing has two ways from $x$ to $y$. Both multiply and add, so one matrix can do the work of
# both. Which one? Mind the shapes: `(out, in)`.

# %%
cards("0.1")


# %% tags=["exercise"]
def effective_weight(W, A, B, alpha, r):
    """The one matrix that does the work of the frozen W and of the adapter together.

    W: (out, in), A: (r, in), B: (out, r); alpha, r: numbers. Returns a new array (out, in); W stays as it is.
    """
    raise NotImplementedError


check("0.1", effective_weight)

# %% [markdown]
# Now use it: a plain copy of the base gets 28 new matrices, and no adapter. Does it answer in JSON?

# %%
one_matrix = answer("0.1")
plain, _ = load_base()
weights = dict(plain.named_parameters())
for layer in model.base_model.layers:
    A, B = layer.adapters["default"].A.data, layer.adapters["default"].B.data
    weights[layer.path + ".weight"].data = one_matrix(layer.base_layer.dense(), A, B, 16, 8)
score_of_one = test_score(plain, tokenizer, "style-json")
print(f"answers in JSON, without an adapter beside the matrices: {score_of_one:.2f}")

# %% tags=["fold"]
expect("score of the one matrix", score_of_one, adapted_scores[0], within=0.02)

# %% [markdown]
# It does. $x W^T + s\,(x A^T) B^T = x\,(W + s\,B A)^T$, so the matrix is $W + s\,B A$. Putting it in
# place of $W$ is called *merging*; lesson 10 says what it loses.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/lora.py` is LoRA itself: read `low_rank_update`, which is half a page.
# `minilora tour` is this lesson with two adapters, as one command.
#
# ## What this does not show
#
# Why it works (lesson 5), where the gradients come from (lesson 6), how to choose $s$ (lesson 7)
# and $r$ (lesson 9). And the model is a toy: it knows only one town.
#
# ## Questions
#
# <details><summary>Which result proves that the adapter did not learn where people live?</summary>The
# people of the test never appear in its training, and the base alone gives the same facts.</details>
#
# <details><summary>W is (128, 352) and r is 8. What shapes have A and B?</summary>A is (8, 352), B is
# (128, 8): A reads what W reads, B writes what W writes.</details>
#
# <details><summary>Why does the adapted model answer exactly like the base before the first training
# step?</summary>B is zero, so s (x Aᵀ) Bᵀ is zero.</details>
#
# <details><summary>Somebody says: "The adapter scores 0 on the reviews, so training has damaged the
# model." What do you answer?</summary>The base scores about 0 on them too; and with the adapter switched
# off every answer is as before, because no number of W changed.</details>
