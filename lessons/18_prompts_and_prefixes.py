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
# # 18 · Prompts and prefixes: what zero does
#
# *15 minutes to read · needs lesson 4 (attention) and lesson 6 · reads
# `minilora/methods/prefix_tuning.py` · exercises 18.1 and 18.2*
#
# **You will be able to** write attention with a trained prefix, say what a prefix of zeros does (it is
# not nothing), and explain why it is the worst start of all.

# %%
import numpy as np

from minilora import PrefixTuningConfig, PromptTuningConfig, get_peft_model, no_grad
from minilora.course.lesson import BLUE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.measured import mean_and_spread, measured
from minilora.course.lab.tune import load_base, tune

# %% [markdown]
# ## Train the input, not the weights
#
# LoRA adds to weights. There is another place for trained numbers: in front of the text.
#
# - **Prompt tuning** (Lester et al. 2021) puts $n$ trained vectors before the embedded tokens. The model
#   reads them as if they were words, though no word has such a vector.
# - **Prefix tuning** (Li and Liang 2021) puts $n$ trained keys and values in front of those of the text,
#   in *every* layer.
#
# All weights are frozen. Only the rows in front are trained:

# %%
base, tokenizer = load_base()
rows = []
for name, config in (
    ("prompt", PromptTuningConfig(num_virtual_tokens=4)),
    ("prefix", PrefixTuningConfig(num_virtual_tokens=4)),
):
    model = get_peft_model(load_base()[0], config, seed=0)
    rows.append((name, model.get_nb_trainable_parameters()[0]))
table(rows, ("4 places", "trained numbers"))

# %% tags=["fold"]
expect("prompt: places times width", rows[0][1], 4 * 128)
expect("prefix: places, layers, key and value, width", rows[1][1], 4 * 4 * 2 * 64)

# %% [markdown]
# ## Do: attention with a prefix

# %%
cards("18.1")


# %% tags=["exercise"]
def attend_with_prefix(q, K, V, Pk, Pv):
    """What attention gives for one query, with trained keys and values in front of the text's own.

    Each key, of the prefix and of the text, has a score: its product with q, divided by the root of
    the width d. The result is the mean of all values, weighted by the softmax of the scores.

    q: (d,), K and V: (T, d) of the text, Pk and Pv: (n, d) of the prefix; n may be 0.
    Returns (d,).
    """
    raise NotImplementedError


check("18.1", attend_with_prefix)

# %% [markdown]
# One softmax over prefix and text: whatever share the prefix takes, the text loses.
#
# ## What zero does
#
# LoRA starts with $B = 0$, and the model is unchanged. Is a prefix of zeros unchanged as well?
#
# **Predict.** All keys and values of a prefix of 4 places are zero; the text has 4 tokens whose scores are
# all 0 too. By which number is the result of attention multiplied?

# %%
factor = predict("4 zero places, 4 tokens with the scores 0: the result is multiplied by?", None)

# %%
attend = answer("18.1")
rng = np.random.default_rng(18)
d = 8
V = rng.standard_normal((4, d))
K = np.zeros((4, d))  # so that all scores are 0
q = rng.standard_normal(d)
nothing, zeros = np.zeros((0, d)), np.zeros((4, d))
without = np.asarray(attend(q, K, V, nothing, nothing))
with_zeros = np.asarray(attend(q, K, V, zeros, zeros))
ratio = float(np.linalg.norm(with_zeros) / np.linalg.norm(without))
factor.compare(
    ratio,
    wrong={
        1: "A key of zeros has the score 0, and e to the 0 is 1: it takes its share.",
        0: "The prefix takes half of the softmax; the text keeps the other half.",
    },
)

# %% tags=["fold"]
expect("the result is multiplied by", ratio, 0.5, within=1e-9)

# %% [markdown]
# A key of zeros is not absent: its score is 0, and $e^0 = 1$. It takes its share of the softmax and brings
# a value of zero. So all results of attention **shrink**.
#
# ## Do: by how much

# %%
cards("18.2")


# %% tags=["exercise"]
def zero_prefix_factor(scores, n):
    """By which number a prefix of n zero keys and zero values multiplies the result of attention.

    scores: (T,), the scores of the text's keys, as softmax takes them; n: a whole number.
    Returns a number.
    """
    raise NotImplementedError


check("18.2", zero_prefix_factor)

# %% [markdown]
# Your two functions must agree, for any query and any keys:

# %%
factor_of = answer("18.2")
K = 2 * rng.standard_normal((6, d))
V = rng.standard_normal((6, d))
scores = K @ q / np.sqrt(d)
for n in (1, 4, 16):
    zeros = np.zeros((n, d))
    shrunk = np.asarray(attend(q, K, V, zeros, zeros)) / np.asarray(
        attend(q, K, V, nothing, nothing)
    )
    expect(f"{n} zero places", shrunk, np.full(d, factor_of(scores, n)), within=1e-9)

# %% [markdown]
# And the whole base? We put 1 to 64 zero places in front of a question, and look how far the logits move.

# %%
ids = np.array([tokenizer.encode("Where does Bess Moss live?\n")])
with no_grad():
    logits = base(ids).numpy()
places = (1, 2, 4, 8, 16, 32, 64)
moved = []
for n in places:
    model = get_peft_model(
        load_base()[0], PrefixTuningConfig(num_virtual_tokens=n, init_weights="zero"), seed=0
    )
    with no_grad():
        moved.append(float(np.abs(model.eval()(ids).numpy() - logits).mean()))
table(list(zip(places, moved, strict=True)), ("zero places", "mean change of a logit"))

# %% tags=["fold"]
expect("more places, larger change", moved[-1] > moved[0], True)
expect_between("64 places: mean change of a logit", moved[-1], 0.05, 20)

# %% tags=["fold"]
with show_axes() as axes:
    axes.semilogx(places, moved, "o-", color=BLUE, base=2)
    axes.axhline(0, color="black", linestyle=":")
    axes.text(1, max(moved) * 0.02, "unchanged, as LoRA's start", va="bottom")
    axes.set_xticks(places, [str(n) for n in places])
    axes.set(xlabel="places of zeros in front of the text", ylabel="mean change of a logit")

# %% [markdown]
# ## Places that stay equal
#
# Zeros have another fault. **Predict.** After 10 steps of training from zeros: how many of 4 places are
# different from each other?

# %%
different = predict("after 10 steps from zeros: how many different places of 4?", None)

# %%
model = get_peft_model(
    load_base()[0], PrefixTuningConfig(num_virtual_tokens=4, init_weights="zero"), seed=0
)
tune(model, tokenizer, "sql", steps=10, lr=0.5, seed=0, batch_size=8)
prefix = next(p for p in model.parameters() if p.requires_grad).data  # (4, layers · 2 · width)
distinct = len(np.unique(np.round(prefix, 3), axis=0))
different.compare(
    distinct, wrong={4: "Nothing tells equal places apart, so their gradients stay equal."}
)
print(f"largest number of the prefix: {np.abs(prefix).max():.1f}; largest difference of two places:"
      f" {np.abs(prefix - prefix[0]).max()}")  # fmt: skip

# %% tags=["fold"]
expect("different places", distinct, 1)
expect("and they did learn", bool(np.abs(prefix).max() > 0.1), True)

# %% [markdown]
# All four are the same to the last bit. Nothing tells equal places apart: attention does not care in which
# order keys lie, so equal places get equal gradients, for ever. (In LoRA, $A$ is random: the rows of $A$
# differ, and so the columns of $B$ learn different things.) Sixteen such places hold one key and
# one value, with a larger share.
#
# ## Four starts
#
# A prefix can start from zeros, from normal numbers, from the keys and values of random tokens, or from those
# of a text of the task. Five seeds, 60 steps, each with its own learning rate, replayed.
#
# **Predict.** With 4 places, which start has the lowest test loss: "text", "random tokens", "zero" or
# "random"?

# %%
best = predict("lowest loss with 4 places: text, random tokens, zero or random?", None)

# %%
runs = measured("prefix")
STARTS = list(dict.fromkeys(row["start"] for row in runs))
loss = {
    (start, n): mean_and_spread(runs, "test_loss", start=start, r=n)
    for start in STARTS
    for n in (4, 16)
}
table(
    [(start, *loss[start, 4], *loss[start, 16]) for start in STARTS],
    ("start", "4 places: loss", "± spread", "16 places: loss", "± spread"),
)
lowest = min(STARTS, key=lambda start: loss[start, 4][0])
best.compare(lowest)
zero = next(start for start in STARTS if start.startswith("zero"))

# %% tags=["fold"]
expect("lowest with 4 places", lowest.startswith("text"), True)
expect("zero is the worst start with 4 places", max(STARTS, key=lambda s: loss[s, 4][0]), zero)
expect_between(
    "zero: loss with 16 places / with 4", loss[zero, 16][0] / loss[zero, 4][0], 0.9, 1.05
)

# %% [markdown]
# Zero is the worst, and 16 zero places are no better than 4. With 4 places a text of the task is best; with 16
# the start hardly matters, except for zero.
#
# ## Against LoRA
#
# At 1,792 trained numbers (the prefix has 2,048), from the same table as in lesson 17:

# %%
budget = measured("equal-budget")
lora = mean_and_spread(budget, "test_loss", method="lora", targets="q,v", r=1)
table(
    [
        ("LoRA on query and value, rank 1", *lora),
        (
            "prefix of 4 places, from a text",
            *mean_and_spread(budget, "test_loss", method="prefix_tuning"),
        ),
        ("prompt of 14 places", *mean_and_spread(budget, "test_loss", method="prompt_tuning")),
    ],
    ("about 1,792 numbers", "test loss", "± spread"),
)
prompt = mean_and_spread(budget, "test_loss", method="prompt_tuning")

# %% tags=["fold"]
expect("the prompt is behind LoRA by more than a spread", prompt[0] - prompt[1] > lora[0], True)

# %% [markdown]
# The prefix is as good as LoRA of the same size; the prompt, which must pass through all layers before it
# reaches the last ones, is far behind. Its authors find that too for small models, and that it catches up
# in very large ones.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/prefix_tuning.py`: `PrefixTuningAdapter.begin` puts the prefix into the cache of keys and
# values; `init_from_text` starts it from a text. `minilora/methods/prompt_tuning.py`: `repeat_rows` gives every
# sequence of a batch the same rows, and adds up their gradients.
#
# ## What this does not show
#
# Large models, long trainings. The small network with which the prefix paper makes its prefix while it
# trains. And a cost of both: places in front take room in the context and time in every step, which LoRA
# does not.
#
# ## Questions
#
# <details><summary>Which prefix leaves a model really unchanged?</summary>None with finite numbers, in general: a
# key whose score is very negative for every query would do, and no key is that.</details>
#
# <details><summary>Can a prefix be merged into the weights, as LoRA can?</summary>No: it is no function of one
# layer's weight. It stays in front of the text.</details>
#
# <details><summary>Values are zero, but keys are random. Do the places stay equal?</summary>No: different keys
# take different shares, so the gradients of their values differ.</details>
#
# <details><summary>Why can two requests with different prefixes not share a batch here?</summary>Their caches
# begin differently, with other lengths; lesson 22's trick works for layers only.</details>
