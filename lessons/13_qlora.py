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
# # 13 · QLoRA: a base in four bits
#
# *25 minutes to read · needs lesson 6; lesson 10 for the words about rounding · reads
# `minilora/quantization/nf4.py` · exercises 13.1 to 13.3*
#
# **You will be able to** store a weight in four bits and read it again, predict the bytes of a
# stored model, and say what becomes of an adapter that was trained beside such weights when you
# merge it.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.course.lesson import BLUE, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.low_rank import matrices, set_weights
from minilora.course.lab.tune import affordable_steps, corpus_loss, load_base, test_loss, test_score
from minilora.course.lab.tune import tune
from minilora.quantization.blockwise import normalize
from minilora.quantization.nf4 import VALUES, FourBit

# %% [markdown]
# ## Frozen weights need not be exact
#
# LoRA freezes $W$, so $W$ is only read. Most of a large model's memory is $W$. QLoRA (Dettmers et
# al. 2023) stores it in 4 bits a number, and trains $A$ and $B$ beside it in full precision.
#
# Four bits name 16 values. A weight can be any number, so each block of weights is first divided by
# its largest absolute value, its *absmax*; then all are between -1 and 1. For every number the
# nearest of 16 fixed *levels* is stored, as a *code* from 0 to 15.
#
# **Where would you put the 16 levels?** Here are all weights of the base's 28 matrices in blocks of
# 64, each divided by its absmax.

# %%
base, tokenizer = load_base()
W = {name: p.data.copy() for name, p in matrices(base).items()}
SIZE = 64
scaled = np.concatenate([normalize(weight.ravel(), SIZE)[0] for weight in W.values()])

nf4 = VALUES["nf4"].astype(float)  # the levels of QLoRA
even = np.linspace(-1, 1, 15)  # as many as a 4-bit number with a sign has, evenly spaced

# %% tags=["fold"]
with show_axes(width=10.0, height=5.2) as axes:
    axes.hist(scaled, bins=160, color="lightgrey")
    top = axes.get_ylim()[1]
    for levels, colour, low, name in ((nf4, BLUE, 0.0, "NF4"), (even, ORANGE, -0.13, "even")):
        axes.vlines(levels, (low - 0.1) * top, low * top, color=colour, linewidth=3)
        axes.text(1.06, (low - 0.05) * top, name, color=colour, va="center")
    axes.set(xlabel="weight / absmax of its block", ylabel="how many", yticks=[])
    axes.set_xlim(-1.05, 1.22)
    axes.spines["left"].set_visible(False)

# %% [markdown]
# The weights crowd around zero, about as a normal distribution does; the largest of each block is at
# -1 or 1. *NF4*, "normal float", puts its levels close together where the numbers are: each level
# serves about the same share of a normal distribution. One level is exactly 0.
#
# ## Do: store and read
#
# First write the two functions: then the lesson stores the whole base with them.

# %%
cards("13.1", "13.2")


# %% tags=["exercise"]
def quantize(w, levels, size):
    """The codes of the numbers w, and what each block of them is divided by.

    w: (n,), cut into blocks of `size` numbers in order; the last block may be shorter.
    levels: (k,), sorted, from -1 to 1, with a 0 among them. The code of a number is the place in
    `levels` of the value nearest to number / absmax of its block. Every number of a block of zeros
    gets the code of the level 0.

    Returns codes: (n,) whole numbers, and absmax: one for each block.
    """
    raise NotImplementedError


check("13.1", quantize)


# %% tags=["exercise"]
def read_back(codes, absmax, levels, size):
    """The numbers that are read from what 13.1 stored.

    codes: (n,) whole numbers, absmax: one for each block of `size` numbers, levels: (k,).
    Returns (n,).
    """
    raise NotImplementedError


check("13.2", read_back)

# %% [markdown]
# The library's class `FourBit` does the same, two codes to a byte. We compare one matrix, read
# again, with yours:

# %%
store, read = answer("13.1"), answer("13.2")


def through_four_bits(weight, levels=nf4, size=SIZE):  # (out, in) -> (out, in), what is read
    codes, absmax = store(weight.ravel().astype(float), levels, size)
    read_again = read(np.asarray(codes), np.asarray(absmax), levels, size)
    return np.asarray(read_again, dtype=np.float32).reshape(weight.shape)


def error(read_again, weight):  # as a share of the weight
    return float(np.linalg.norm(read_again - weight) / np.linalg.norm(weight))


one = "model.layers.1.self_attn.q_proj.weight"

# %% tags=["fold"]
expect("read by the library", through_four_bits(W[one]), FourBit.of(W[one]).dense(), within=1e-6)

# %% [markdown]
# **Predict.** The error of a stored matrix is $\lVert W' - W \rVert / \lVert W \rVert$, where $W'$ is
# what is read. How large is it with NF4, in percent? And with evenly spaced levels?

# %%
percent = predict("error of a matrix in NF4, blocks of 64, in percent?", None)

# %%
errors = {
    (name, size): error(through_four_bits(W[one], levels, size), W[one])
    for name, levels in (("NF4", nf4), ("even", even))
    for size in (16, SIZE, 1024, W[one].size)
}
table(
    [
        (name, *(100 * errors[name, n] for n in (16, SIZE, 1024, W[one].size)))
        for name in ("NF4", "even")
    ],
    ("error in percent", "blocks of 16", "of 64", "of 1,024", "one block"),
)
percent.compare(100 * errors["NF4", SIZE])

# %% tags=["fold"]
expect_between("NF4, blocks of 64: error in percent", 100 * errors["NF4", SIZE], 6, 12)
expect_between("even / NF4, blocks of 64", errors["even", SIZE] / errors["NF4", SIZE], 1.05, 1.5)
expect_between(
    "NF4: one block / blocks of 64", errors["NF4", W[one].size] / errors["NF4", SIZE], 1.2, 4
)

# %% [markdown]
# The error has a tenth of the matrix's size, and every number has a part of it. Smaller blocks are better: one large
# number makes the levels coarse for its whole block and for no other. But each block needs its own
# absmax.
#
# ## Bytes
#
# An absmax is a float32 number, 32 bits for 64 weights. QLoRA stores the absmaxes themselves in 8
# bits (their mean is taken away first, then blocks of 256 of them have one float32 number each).
# That is *double quantization*.
#
# ## Do: count

# %%
cards("13.3")


# %% tags=["exercise"]
def bits_per_number(size, second):
    """How many bits one weight takes, all told, when the weights are many.

    A code has 4 bits. Each block of `size` weights has its absmax.
    second None: an absmax is a float32 number. Otherwise it has 8 bits (double quantization), and
    each block of `second` absmaxes has one float32 number of its own.
    """
    raise NotImplementedError


check("13.3", bits_per_number)

# %% [markdown]
# **Predict.** The 28 matrices have 737,280 numbers. In float32 they take 2,949,120 bytes. How many
# in NF4 with double quantization? Use your function.

# %%
in_bytes = predict("bytes of the 28 matrices in NF4 with double quantization?", None)

# %%
bits = answer("13.3")
n = sum(weight.size for weight in W.values())
rows = []
for double in (False, True):
    counted = sum(FourBit.of(weight, double=double).nbytes for weight in W.values())
    rows.append(
        (
            str(double),
            bits(SIZE, 256 if double else None),
            bits(SIZE, 256 if double else None) * n / 8,
            counted,
        )
    )
table(rows, ("double quantization", "bits a number", "bytes predicted", "bytes of all arrays"))
in_bytes.compare(rows[1][3])

# %% tags=["fold"]
expect("numbers of the 28 matrices", n, 737_280)
expect("without double quantization: predicted", rows[0][2], rows[0][3])
expect_between(
    "with it: counted - predicted, a few bytes for each matrix", rows[1][3] - rows[1][2], 0, 28 * 8
)
expect_between("float32 / NF4", 4 * n / rows[1][3], 7.5, 8)

# %% [markdown]
# The difference is the mean of each matrix, 4 bytes, and second blocks that are not full. On a model
# of 70 billion parameters double quantization saves 0.37 bits each: 3.3 GB.
#
# ## Train beside it
#
# Now the whole base is stored by your functions. What LoRA sees is $W'$:
#
# $$y = x W'^T + s\,(x A^T) B^T, \qquad dx = g W' + s\,(g B) A$$
#
# Nothing else changes: $W'$ is frozen as $W$ was, and $dA$ and $dB$ do not read it. (The library
# reads $W'$ a block of rows at a time, for each product again. Here we keep $W'$ in float32, which
# computes the same.)
#
# **Predict.** How much does the loss on base text rise, from $W$ to $W'$: by 0.002, 0.02 or 0.2?

# %%
rise = predict("loss on base text, W' minus W: 0.002, 0.02 or 0.2?", None)

# %%
few = affordable_steps(lambda: through_four_bits(W[one]), len(W))
names = list(W)[:few]
W_read = {name: through_four_bits(W[name]) for name in names}
loss_before = corpus_loss(base, tokenizer)
set_weights({name: matrices(base)[name] for name in names}, W_read)
loss_after = corpus_loss(base, tokenizer)
rise.compare(
    min(
        (0.002, 0.02, 0.2),
        key=lambda guess: abs(np.log(max(loss_after - loss_before, 1e-9) / guess)),
    )
)
print(f"loss on base text: {loss_before:.4f} with W, {loss_after:.4f} with W'")

# %% tags=["fold"]
expect_between("rise", loss_after - loss_before, -0.001, 0.02)

# %%
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
model = get_peft_model(base, config, seed=0)
tune(model, tokenizer, "sql", steps=80, lr=1e-2, seed=0)
trained = test_score(model, tokenizer, "sql"), test_loss(model, tokenizer, "sql")
delta = {
    f"{layer.path}.weight": layer.adapters["default"].delta() for layer in model.base_model.layers
}
print(f"right answers {trained[0]:.2f}, test loss {trained[1]:.4f}, on a base in four bits")

# %% tags=["fold"]
expect_between("score beside W'", trained[0], 0.7, 1.0)

# %% [markdown]
# The error has a tenth of each matrix's size, and it hardly shows: the errors point in all directions, and in
# a sum of 128 products they cancel. Training beside them works as in lesson 6, and what the errors
# cost, $A$ and $B$ can partly learn to undo.

# %% [markdown]
# ## Three merges
#
# The adapter is to be merged. Into what? There are three answers, and `minilora merge --how` asks for
# one:
#
# - **dequantize**: $W' + \Delta W$, in float32. Large again.
# - **original**: $W + \Delta W$. Large, and exact weights at last.
# - **requantize**: $W' + \Delta W$, stored in four bits again. As small as before.
#
# **Predict.** Which of the three computes the function that was trained?

# %%
exact = predict("which merge computes what was trained: dequantize, original or requantize?", None)

# %%
merged = {
    "dequantize": {name: W_read.get(name, W[name]) + delta[name] for name in W},
    "original": {name: W[name] + delta[name] for name in W},
}
merged["requantize"] = dict(merged["dequantize"])
for name in names:
    merged["requantize"][name] = through_four_bits(merged["dequantize"][name])

results = {}
for how, weights in merged.items():
    plain, _ = load_base()
    set_weights(matrices(plain), weights)
    results[how] = test_score(plain, tokenizer, "sql"), test_loss(plain, tokenizer, "sql")
table(
    [("as trained", *trained), *((how, *both) for how, both in results.items())],
    ("", "score", "test loss"),
)
nearest = min(results, key=lambda how: abs(results[how][1] - trained[1]))
exact.compare(
    nearest,
    wrong={
        "original": "It adds W - W' to what was trained: the adapter has never seen W.",
        "requantize": "It rounds once more, so it is neither.",
    },
)

# %% tags=["fold"]
expect("the function that was trained", nearest, "dequantize")
expect("dequantize: test loss as trained", results["dequantize"][1], trained[1], within=1e-4)
expect(
    "requantize has the highest loss", max(results, key=lambda how: results[how][1]), "requantize"
)

# %% [markdown]
# Only `dequantize` is what was trained. `original` adds $W - W'$ to it: the adapter has never seen
# the true weights, yet the loss moves little, because that difference is small beside what $\Delta
# W$ does. `requantize` rounds once more.
#
# ## The update that rounding eats
#
# Here $\Delta W$ was large: a new language in 80 steps. Many fine-tunings change much less. We shrink
# the update, merge it into four bits again, and ask which share of it is left: the part of the
# change of $W'$ that points along $\Delta W$, as a share of $\Delta W$.
#
# **Predict.** $\Delta W$ at a hundredth of its size: how many percent of it survive?

# %%
left = predict("percent of ΔW / 100 that survive the merge into four bits?", None)

# %%
some = [name for name in names if name.startswith("model.layers.1.")] or names
sizes = (1, 0.3, 0.1, 0.03, 0.01)


def codes_of(weight):
    return np.asarray(store(weight.ravel().astype(float), nf4, SIZE)[0])


survived, moved = [], []
for f in sizes:
    along = whole = changed = numbers = 0
    for name in some:
        small = f * delta[name]
        change = through_four_bits(W_read[name] + small) - W_read[name]
        along, whole = along + float((change * small).sum()), whole + float((small * small).sum())
        changed += int((codes_of(W_read[name] + small) != codes_of(W_read[name])).sum())
        numbers += small.size
    survived.append(100 * along / whole)
    moved.append(100 * changed / numbers)
table(
    list(zip(sizes, moved, survived, strict=True)),
    ("size of the update", "percent of codes that changed", "percent of the update that survived"),
)
left.compare(survived[-1])

# %% tags=["fold"]
expect_between("the whole update: percent that survived", survived[0], 80, 110)
expect_between("a hundredth: percent that survived", survived[-1], -5, 40)

# %% tags=["fold"]
with show_axes() as axes:
    axes.semilogx(sizes, survived, "o-", color=BLUE)
    axes.axhline(100, color="black", linestyle=":")
    axes.text(0.011, 103, "nothing lost", va="bottom")
    axes.text(0.12, survived[2] - 4, "merged into four bits", color=BLUE, va="center")
    axes.set(
        xlabel="size of the update, as a share of the trained one",
        ylabel="percent that survived",
        ylim=(min(-3, min(survived) - 3), 120),
    )

# %% [markdown]
# Every number of $W'$ lies exactly on a level. An update smaller than half the way to the next level
# is rounded to nothing: not a little of it is lost but all, number by number. What survives of a
# small update are the numbers where a block's absmax moved. So a lightly trained adapter, merged
# into four bits, is **silently gone**. Keep it apart, or merge into float32.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/quantization/nf4.py`: `quantize` finds the codes by counting how many midpoints lie below
# a number, and `dequantize` reads two numbers from each byte by one table. The absmaxes in 8 bits:
# `quantize_absmax` in `minilora/quantization/double_quantization.py`. `stored_linear` in
# `minilora/quantization/linear.py` is the layer that reads $W'$ block by block. The three merges:
# `merge_dequantized` and `merge_requantized` in `minilora/combining/quantized.py`.
#
# ## What this does not show
#
# Time: here each product reads codes again, which costs time and saves memory. The base is small and
# was trained in float32; large models have a few very large activations and weights that four bits
# treat worse. One task, one seed. And the tenth of error is no law: `minilora merge` prints for your
# model what each way costs.
#
# ## Questions
#
# <details><summary>Why does NF4 need a level that is exactly 0?</summary>Weights that are zero (padding,
# pruned ones) must stay zero, else every one of them adds an error of the same sign.</details>
#
# <details><summary>Blocks of 32 instead of 64, without double quantization: how many bits a
# number?</summary>4 + 32 / 32 = 5 instead of 4.5.</details>
#
# <details><summary>QLoRA trains A and B in full precision. Why not in four bits too?</summary>A step of
# training is much smaller than the distance of two levels: it would be rounded away, every
# time.</details>
#
# <details><summary>An adapter from a four-bit base is loaded onto the same base in float32, without a
# merge. Which of the three is that?</summary>The function is that of `original`: W + ΔW, where W' + ΔW
# was trained. It works about as well here; the difference is W - W'.</details>
