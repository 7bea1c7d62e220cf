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
# # 10 · Merge, unmerge, and what rounding does
#
# *25 minutes to read · needs lesson 0 · reads `minilora/adapters/layer.py` · exercises 10.1 and 10.2*
#
# **You will be able to** merge an adapter into its base, say how exact that is, and explain why you
# must not take it out again by subtracting.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.course import drawings
from minilora.course.lesson import BLUE, GREEN, ORANGE, cards, show_axes, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import budget, expect, expect_between
from minilora.course.lab.low_rank import matrices
from minilora.course.lab.pace import at_pace
from minilora.course.lab.tune import corpus_loss, load_base, test_score, tune

# %% [markdown]
# ## One matrix instead of three
#
# Two more products beside every $W$ cost time at every use. Since $x W^T + s (xA^T) B^T = x\,(W + s
# BA)^T$, a finished adapter can be *merged*: $W \leftarrow W + s\,BA$, shape `(out, in)` as before.

# %% tags=["fold"]
with show_axes(width=9, height=3) as axes:
    drawings.merging(axes, n_out=128, n_in=128, r=8)

# %% [markdown]
# We train one adapter briefly and merge it.
#
# **Predict.** Are the outputs of the merged model the same, to the bit?

# %%
same_bits = predict("merged and unmerged outputs: the same bits? (yes / no)", None)

# %%
base, tokenizer = load_base()
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
model = get_peft_model(base, config, seed=0)
tune(model, tokenizer, "style-json", steps=budget(80, in_browser=50), lr=5e-3, seed=0)
score_apart = test_score(model, tokenizer, "style-json")
weight = dict(model.named_parameters())
name = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight"
bits_before = weight[name].data.tobytes()

ids = np.array([tokenizer.encode("Where does Bess Moss live?\n")])
apart = model(ids).numpy()
model.merge_adapter()
together = model(ids).numpy()

same_bits.compare(
    "yes" if np.array_equal(apart, together) else "no",
    wrong={"yes": "On paper. A computer rounds after each step, and these are other steps."},
)
largest = float(np.abs(together - apart).max())
print(f"largest difference of an output: {largest:.1e}; outputs go up to {np.abs(apart).max():.0f}")

# %% tags=["fold"]
expect_between("largest difference", largest, 1e-7, 1e-4)
expect("score, merged", test_score(model, tokenizer, "style-json"), score_apart, within=0.01)

# %% [markdown]
# Nearly: the same sum in another order rounds differently, in the sixth or seventh digit. The score
# stays.
#
# Now take it out again. `unmerge_adapter` puts the **original array** back, which the merge had
# kept.

# %%
model.unmerge_adapter()
weight = dict(model.named_parameters())

# %% tags=["fold"]
expect("W after unmerge, to the bit", weight[name].data.tobytes() == bits_before, True)

# %% [markdown]
# ## The tempting way
#
# Keeping the original takes memory. Why not subtract the update again? $(W + \Delta W) - \Delta W =
# W$, on paper.
#
# We need updates to play with: five adapters, briefly trained on five tasks.

# %%
tasks = ("style-json", "style-crier", "sql", "reviews", "data-to-text")
W0 = {n: p.data.copy() for n, p in matrices(load_base()[0]).items()}  # the 28 matrices of the base
batch_size = budget(16, in_browser=8, of="examples in a batch")
updates = []
for task in tasks:
    adapted = get_peft_model(load_base()[0], config, seed=0)
    tune(adapted, tokenizer, task, steps=30, lr=5e-3, seed=0, batch_size=batch_size)
    updates.append(
        {
            layer.path + ".weight": layer.adapters["default"].delta()
            for layer in adapted.base_model.layers
        }
    )  # s B A of each matrix

one = "model.layers.1.self_attn.q_proj.weight"
sizes = [
    (task, float(np.linalg.norm(W0[one])), float(np.linalg.norm(update[one])))
    for task, update in zip(tasks, updates, strict=True)
]
table(sizes, ("adapter", "size of W", "size of ΔW"))

# %% [markdown]
# ## Three kinds of numbers
#
# A number is stored in bits: one for the sign, some for the *exponent* (which power of two), and the
# rest for the *digits*. Weights are stored in float32 (24 binary digits, the first of which is
# always 1 and is not stored), float16 (11) or bfloat16 (8).

# %% tags=["fold"]
with show_axes(width=12, height=4) as axes:
    drawings.bits(axes, float(np.pi))

# %% [markdown]
# A bfloat16 is the upper half of a float32. Its neighbours are far apart: between 2 and 4, where pi
# is, one step of the last bit is $2^{-6} = 0.0156$. To round means to go to the nearer neighbour; a number
# exactly in the middle goes to the one whose last bit is 0.
#
# ## Do: round to bfloat16
#
# NumPy has no bfloat16. `x.view(np.uint32)` gives the 32 bits of each float32 as a whole number, and
# `.view(np.float32)` goes back. Whole numbers can be added and shifted, `u >> np.uint32(16)`. The lower 16 bits
# count from 0x0000 to 0xFFFF; the middle is 0x8000. Which number must you add before you cut them
# off, so that all above the middle goes up, all below goes down, and the middle to the even one?

# %%
cards("10.1")


# %% tags=["exercise"]
def round_to_bfloat16(x):
    """Each number rounded to the nearest bfloat16; a tie goes to the neighbour whose last bit is 0.

    x: float32 array, no nan, no infinity. Returns a float32 array of that shape.
    A bfloat16 is the upper 16 of the 32 bits of a float32: sign, 8 bits of exponent, 7 of digits.
    """
    raise NotImplementedError


check("10.1", round_to_bfloat16)

# %% [markdown]
# Just below half a step, 0x7FFF, and one more where the last bit that stays is 1. A lower half above
# 0x8000 then carries into the upper half, one below does not; exactly 0x8000 carries only when the
# last bit is 1, which makes it 0.

# %%
to_bfloat16 = at_pace("10.1", answer("10.1"), W0[one], calls=6000, what="2,000 swaps", longest=20.0)


def to_float16(x):
    return x.astype(np.float16).astype(np.float32)


kinds = {"float32": lambda x: x, "float16": to_float16, "bfloat16": to_bfloat16}
pi = np.array([np.pi], dtype=np.float32)
for kind, rounded in kinds.items():
    print(f"{kind:9} pi = {float(rounded(pi)[0]):.7f}")

# %% [markdown]
# The naive swap subtracts the old update, adds the new one, and rounds each time.
#
# **Predict.** Which drifts further from the original base: (a) *one* adapter merged and unmerged
# 1,000 times, or (b) *five* adapters swapped in turn, 1,000 swaps?

# %%
further = predict("which drifts further, one or five?", None)


# %%
def drift_of(W, chosen, rounded, swaps):  # -> after each swap: |W now - W at the start| / |ΔW|
    start = now = rounded(W)
    drift = []
    for i in range(swaps):
        update = rounded(chosen[i % len(chosen)])
        now = rounded(now + update)  # merge
        now = rounded(now - update)  # the naive unmerge
        drift.append(np.linalg.norm(now - start) / np.linalg.norm(chosen[0]))
    return np.array(drift)


choices = {"one": updates[:1], "five": updates}
drift = {
    (kind, number): drift_of(W0[one], [u[one] for u in chosen], rounded, 1000)
    for kind, rounded in kinds.items()
    for number, chosen in choices.items()
}
table(
    [
        (kind, drift[kind, "one"][0], drift[kind, "one"][-1], drift[kind, "five"][-1])
        for kind in kinds
    ],
    ("numbers", "one, after 1", "one, after 1,000", "five, after 1,000"),
)
further.compare(
    "five" if drift["float16", "five"][-1] > drift["float16", "one"][-1] else "one",
    wrong={
        "one": "After its first round one adapter leads back to the same numbers. Five never do.",
        "same": "Each swap rounds, but one adapter always rounds the same numbers in the same way.",
    },
)

# %% tags=["fold"]
expect_between(
    "after 1,000 swaps of five, bfloat16 / float32",
    float(drift["bfloat16", "five"][-1] / drift["float32", "five"][-1]),
    100,
    1e5,
)
expect(
    "float32, five: the drift still grows after 500 swaps",
    bool(drift["float32", "five"][-1] > 1.5 * drift["float32", "five"][500]),
    True,
)
for kind, at_least in (("float32", 10), ("float16", 10), ("bfloat16", 3)):
    ratio = float(drift[kind, "five"][-1] / drift[kind, "one"][-1])
    expect_between(f"{kind}: five / one, after 1,000 swaps", ratio, at_least, 1000)

# %% [markdown]
# ## See

# %% tags=["fold"]
with show_axes(height=5.2) as axes:
    turns = np.arange(1, 1001)
    places = {"float32": (BLUE, 3), "float16": (GREEN, 3), "bfloat16": (ORANGE, 3)}
    for kind, (colour, at) in places.items():
        axes.loglog(turns, drift[kind, "five"], "-", color=colour)
        axes.loglog(turns, drift[kind, "one"], "--", color=colour)
        axes.text(at, drift[kind, "five"][at] * 1.6, kind, color=colour, va="bottom")
    axes.plot([], [], "-", color="black", label="five in turn")
    axes.plot([], [], "--", color="black", label="one, again and again")
    axes.set(xlabel="swaps", ylabel="drift of the base,\nas a share of one update")
    axes.legend(loc="center right")

# %% [markdown]
# With one adapter the first round does the damage, and then nothing more happens: adding and
# subtracting the same update now leads back to the same numbers. With five, each swap starts from
# numbers that the others have moved, and the drift grows until it is as large as rounding lets it
# be. In float32 the same happens, a few thousand times smaller, and after 1,000 swaps it is still
# growing.
#
# Does it matter? We swap all 28 matrices naively in float16, and use the model:

# %%
names = list(W0)
flat = [np.concatenate([u[n].ravel() for n in names]) for u in updates]
now = start = to_float16(np.concatenate([W0[n].ravel() for n in names]))
swapped, _ = load_base()
rows, first_output = [], None
for swap in range(1001):
    if swap in (0, 10, 100, 1000):
        place = 0
        for p in matrices(swapped).values():
            p.data = now[place : place + p.size].reshape(p.shape).copy()
            place += p.size
        output = swapped(ids).numpy()
        first_output = output if first_output is None else first_output
        rows.append(
            (
                swap,
                100 * float(np.mean(now != start)),
                float(np.abs(output - first_output).max()),
                corpus_loss(swapped, tokenizer),
            )
        )
    update = to_float16(flat[swap % len(flat)])
    now = to_float16(to_float16(now + update) - update)
table(rows, ("naive swaps", "percent of W changed", "largest change of an output", "base loss"))

# %% tags=["fold"]
expect_between("percent of W changed after 1,000 swaps", rows[-1][1], 5, 80)
expect_between("largest change of an output", rows[-1][2], 0.01, 10)
expect_between("change of the loss on base text", abs(rows[-1][3] - rows[0][3]), 0, 0.05)

# %% [markdown]
# The model is not ruined: the loss hardly moves. But a good part of $W$ is no longer the shipped
# one, and its error depends on **which adapters were served before**: two servers with the same
# files give different answers, and nobody can say which is right. Keeping the original costs memory
# once, and the question never comes up.

# %% [markdown]
# ## What merging itself loses
#
# A single merge loses something too: in bfloat16, an element of $\Delta W$ vanishes when it is
# smaller than half a rounding step of its $W$.

# %%
for kind, rounded in kinds.items():
    W, D = rounded(W0[one]), updates[0][one]
    kept = rounded(W + D) - W
    print(
        f"{kind:9} elements whose update vanishes: {100 * np.mean(kept == 0):5.1f} percent; "
        f"error of the update as a whole: {np.linalg.norm(kept - D) / np.linalg.norm(D):.1e}"
    )
W16 = to_bfloat16(W0[one])
vanished = 100 * float(np.mean(to_bfloat16(W16 + updates[0][one]) == W16))

# %% tags=["fold"]
expect_between("percent that vanishes in bfloat16", vanished, 0.5, 50)

# %% [markdown]
# Kept apart, $A$ and $B$ lose nothing: the layer adds their output in float32. So serve many
# adapters unmerged and switch by name. If you need only one, merge it for good, into the original
# $W$.
#
# ## Do: take turns

# %%
cards("10.2")


# %% tags=["exercise"]
def take_turns(W, updates, order):
    """The matrices that are used when adapters take turns on one base.

    W: float32 array (out, in); updates: list of float32 arrays (out, in), the ΔW of each adapter; order: list of
    positions in `updates`, the adapter of each turn. Returns a list with one matrix for each turn: W plus
    the update of that turn, to the bit, and nothing left over from earlier turns.
    """
    raise NotImplementedError


check("10.2", take_turns)

# %% [markdown]
# After 1,000 turns in float16 numbers, the turn of the first adapter must be what it was at first:

# %%
turns_of = answer("10.2")
start16 = to_float16(W0[one])
order = [i % 5 for i in range(1000)] + [0]
matrices_used = turns_of(start16, [u[one] for u in updates], order)
same = matrices_used[-1].tobytes() == matrices_used[0].tobytes()
print("the first turn and turn 1,001 have the same bits:", same)

# %% tags=["fold"]
expect("no drift", same, True)

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/adapters/layer.py`: `AdaptedLayer.merge` adds to a copy and keeps the original
# Parameter, `unmerge` puts it back. Nothing in the library subtracts. `set_adapter`, in
# `minilora/adapters/model.py`, changes a name and reads no weight.
#
# ## What this does not show
#
# The gain of merging: two narrow products fewer per matrix, which matters when a model generates
# one token at a time. And 4-bit bases: a merge into one rounds all of it again
# (lesson 13).
#
# ## Questions
#
# <details><summary>Why are merged and unmerged outputs not equal to the bit?</summary>The same sum in another
# order rounds differently.</details>
#
# <details><summary>Why does one adapter, merged and unmerged 1,000 times, stop drifting, and five do not?
# </summary>With one the numbers repeat after the first round. With five each swap starts from numbers that
# the others have moved.</details>
#
# <details><summary>When does an element of an update vanish in a merge?</summary>When it is smaller than half
# a rounding step of the weight that it is added to.</details>
#
# <details><summary>"The loss has not changed, so naive swapping is harmless." What do you say?</summary>The
# weights depend on which adapters were served before: two servers with the same files answer differently.
# </details>
