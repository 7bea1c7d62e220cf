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
# # 14 · Mixed precision and little memory
#
# *25 minutes to read · needs lessons 3 and 6; lesson 10 for the words about rounding · reads
# `minilora/training/precision.py` · exercises 14.1 and 14.2*
#
# **You will be able to** say why trained numbers stay in float32 while the model computes in 16 bits,
# what a loss scale is for and when a step must be skipped, and predict what two tricks save: blocks
# that are computed twice, and a loss in chunks.

# %%
import tracemalloc

import numpy as np

from minilora import LoraConfig, Tensor, get_peft_model, no_grad, ops
from minilora.course.lesson import BLUE, GREEN, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.pace import at_pace
from minilora.course.lab.tune import load_base
from minilora.rounding import round_to
from minilora.tasks.shipped import get_task
from minilora.text.batches import PairBatches
from minilora.training.loop import train
from minilora.training.optim import AdamW
from minilora.training.precision import Float16

# %% [markdown]
# ## Sixteen bits to compute, thirty-two to remember
#
# A number of 16 bits takes half the memory of a float32, and large cards multiply such numbers many
# times faster. So models are computed in bfloat16 (8 binary digits) or float16 (11). Are the trained
# numbers kept in 16 bits as well?
#
# Take one trained number that starts at 1, and 1,000 steps, each of which subtracts 0.001. Exactly
# computed it ends at 0.
#
# **Predict.** Where does it end if it is kept in bfloat16, rounded after each step?

# %%
ends = predict("1, minus 0.001 a thousand times, in bfloat16: where does it end?", None)


# %%
def count_down(kind):
    p = np.ones(1, np.float32)
    for _ in range(1000):
        p = round_to(p - np.float32(0.001), kind)
    return float(p[0])


table(
    [(kind, count_down(kind)) for kind in ("float32", "float16", "bfloat16")],
    ("kept in", "ends at"),
)
ends.compare(
    count_down("bfloat16"),
    wrong={
        0: "In exact numbers. A bfloat16 just below 1 is 0.004 away: each step is rounded away."
    },
)

# %% tags=["fold"]
expect("bfloat16 ends at", count_down("bfloat16"), 1.0)
expect("float32 ends at", count_down("float32"), 0.0, within=1e-4)

# %% [markdown]
# It never moves. Just below 1 the numbers of bfloat16 are 1/256 apart, about 0.004; a step of less
# than half of that is rounded away, every time. Training consists of such steps. Hence **mixed**
# precision: the trained numbers, the *masters*, stay in float32; for each forward they are rounded to
# 16 bits. The gradient moves the master. (With LoRA the masters are $A$ and $B$: few. The frozen $W$
# can be kept in 16 bits for good.)

# %% [markdown]
# ## What falls out of float16
#
# float16 has more digits than bfloat16 and a small range: nothing above 65,504, and nothing between 0
# and $2^{-24}$. A sum that is too large becomes inf. A gradient that is too small becomes 0, and
# nobody notices. Here are the gradients of all trained numbers of our base with LoRA, after five
# steps.

# %%
base, tokenizer = load_base()
model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"), seed=0)


def batches(seed):
    examples = get_task("sql").examples("train")
    return PairBatches(examples, tokenizer, 16, 512, np.random.default_rng(seed))


trained = [p for p in model.parameters() if p.requires_grad]
train(model, batches(0), AdamW(trained, lr=3e-3), 5)
ids, labels = next(batches(1))


def all_gradients():  # -> one array, and no gradient is left behind
    g = np.concatenate([p.grad.ravel() for p in trained])
    for p in trained:
        p.grad = None
    return g


model.loss(ids, labels).backward()
gradient = all_gradients()

# %% [markdown]
# A gradient is a mean over the tokens of a batch. In a large training a batch has millions of tokens,
# and the gradient of each of them passes through the layers by itself, divided by that number. We
# imitate that: the same gradients at 1 / 65,536 of their size.
#
# **Predict.** Which share of them becomes exactly 0 in float16?

# %%
gone = predict("share of the small gradients that float16 turns into 0, in percent?", None)

# %%
small = gradient / 65536
lost = 100 * float(np.mean(small.astype(np.float16) == 0))
kept = (small * 65536).astype(np.float16).astype(np.float64) / 65536
gone.compare(lost)
print(
    f"lost: {lost:.1f} percent; "
    f"lost when the loss is first multiplied by 65,536: {100 * np.mean(kept == 0):.3f}"
)

# %% tags=["fold"]
expect_between("percent lost", lost, 40, 99.9)
expect_between("percent lost with a scale", 100 * float(np.mean(kept == 0)), 0, 0.1)

# %% tags=["fold"]
with show_axes(width=10.0) as axes:
    for g, colour, name, high in (
        (gradient, BLUE, "as here", 1),
        (small, ORANGE, "1 / 65,536 of it", 1),
    ):
        exponents = np.log2(np.abs(g[g != 0]))
        axes.hist(exponents, bins=80, color=colour, alpha=0.75)
        axes.text(
            np.median(exponents),
            high * axes.get_ylim()[1],
            name,
            color=colour,
            ha="center",
            va="bottom",
        )
    axes.axvspan(-24, 16, ymax=0.06, color=GREEN, alpha=0.5)
    axes.text(3, 0.09 * axes.get_ylim()[1], "what float16 can hold", color=GREEN, ha="center")
    axes.set(
        xlabel="size of a gradient, power of two", ylabel="how many", yticks=[], xlim=(-46, 17)
    )
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])

# %% [markdown]
# **A loss scale** moves them back into the range: the loss is multiplied by $S$ before the backward,
# so by the chain rule every gradient on the way is $S$ times as large; before the step the gradients
# of the masters are divided by $S$, in float32. But which $S$? Too small and gradients vanish; too
# large and one becomes inf, and then the whole step is worthless. So $S$ is tried: halve it when it
# was too large, double it after many good steps.
#
# ## Do: take the step, or skip it

# %%
cards("14.1")


# %% tags=["exercise"]
def unscale(g, scale, good, interval):
    """What to do after a backward of scale times the loss: take the step, or skip it.

    g: the gradient of all trained numbers, one array; it is `scale` times too large, and what did
    not fit into float16 is inf or nan in it. good: how many steps in a row were taken so far.

    If any element is inf or nan the step is skipped: the scale is halved, and good is 0. Otherwise
    the step is taken with the true gradient, and good counts it; when good reaches `interval`, the
    scale is doubled and good starts again at 0.

    Returns (taken, g, scale, good). taken: True or False. g: the true gradient; zeros if skipped.
    """
    raise NotImplementedError


check("14.1", unscale)

# %% [markdown]
# Your function now decides in a training in float16. It starts with a loss scale that is far too large,
# $2^{24}$, and doubles it after 10 good steps. `Float16` is the library's; only its decision is
# replaced.

# %%
decide = answer("14.1")


class Decided(Float16):
    def __init__(self):
        super().__init__()
        self.scale, self.history = 2.0**24, []

    def unscale_(self, params):
        g = np.concatenate([p.grad.ravel() for p in params])
        taken, g, self.scale, self.good_steps = decide(g, self.scale, self.good_steps, 10)
        at = 0
        for p in params:
            p.grad = np.asarray(g[at : at + p.size], np.float32).reshape(p.shape)
            at += p.size
        self.history.append((bool(taken), float(self.scale)))
        return bool(taken)


model = get_peft_model(
    load_base()[0], LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"), seed=0
)
trained = [p for p in model.parameters() if p.requires_grad]
losses = []
precision = Decided()
train(
    model,
    batches(0),
    AdamW(trained, lr=5e-3, weight_decay=0.0),
    40,
    precision=precision,
    callbacks=[lambda run: losses.append(float(run.loss)) if run.step else None],
)
taken = [good for good, _ in precision.history]
print(
    f"{len(taken)} backwards, {taken.count(False)} skipped; "
    f"loss {losses[0]:.2f}, at the end {losses[-1]:.2f}"
)

# %% tags=["fold"]
expect("steps taken", taken.count(True), 40)
expect_between("steps skipped", taken.count(False), 3, 20)
expect_between("loss at the end / at first", losses[-1] / losses[0], 0.02, 0.6)

# %% tags=["fold"]
with show_axes() as axes:
    scales = np.log2([scale for _, scale in precision.history])
    at = np.arange(len(scales))
    good = np.array(taken)
    axes.step(at, scales, color=BLUE, where="mid")
    axes.plot(at[~good], scales[~good], "x", color=ORANGE, markersize=11, markeredgewidth=3)
    axes.text(at[~good][0] + 1.5, scales[~good][0], "x: skipped, halved", color=ORANGE, va="center")
    axes.text(
        at[-1], scales.min() - 0.3, "ten good steps: doubled", color=BLUE, ha="right", va="top"
    )
    axes.set(xlabel="backward", ylabel="loss scale, power of two", ylim=(scales.min() - 1.2, None))

# %% [markdown]
# The scale finds its place in a few skipped steps, and from then on tries from time to time whether
# it may be larger. bfloat16 has the range of float32 and needs none of this; it has three digits less.
#
# ## Compute it twice
#
# Now memory. A backward needs what the forward computed: every block keeps its *activations*. With
# *gradient checkpointing* (Chen et al. 2016) a block keeps only its input. In the backward it is
# computed again, block by block, so the inside of only one block is in memory at a time.
#
# With $L$ blocks, $a$ bytes inside a block and $b$ bytes for its input, that is $L\,(a + b)$ against
# $L\,b + a$. Here $L = 4$, and $a$ is about 20 times $b$.
#
# **Predict.** Peak of the activations with checkpointing / without?

# %%
share = predict("peak of a step with checkpointing / without, L = 4, a = 20 b?", None)

# %%
rng = np.random.default_rng(0)
ids = rng.integers(2, 1024, (8, 128))


def peak(step):  # -> MB that one step takes on top of the weights; its gradients
    tracemalloc.start()
    step()
    top = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return top, all_gradients()


def library_step():
    model.loss(ids, ids).backward()


model.train()
without, gradient = peak(library_step)
model.gradient_checkpointing_enable()
again, same_gradient = peak(library_step)
model.gradient_checkpointing_disable()
share.compare(again / without)
print(
    f"counted on paper: {(4 + 20) / (4 * 21):.2f}; "
    f"measured: {again:.0f} MB / {without:.0f} MB = {again / without:.2f}"
)

# %% tags=["fold"]
expect_between("peak with checkpointing / without", again / without, 0.25, 0.55)
expect("the gradients, to the bit", np.array_equal(gradient, same_gradient), True)

# %% [markdown]
# The bits are the same: the block computes the same twice. The price is one more forward of every
# block, a third more work. (The measured peak has the head and the gradients in it too.)
#
# ## A loss in chunks
#
# The head turns each state, $d = 128$ numbers, into one logit for each token of the vocabulary, $V =
# 1024$. Our batch has $N = 8 \cdot 127$ predictions. The logits are the largest array of the whole
# model; softmax and gradient need another of that size.
#
# **Predict.** A model with $V = 128{,}256$ (Llama 3) on 8,192 tokens: how many gigabytes are its
# logits, in float32?

# %%
gigabytes = predict("GB of the logits of 8,192 tokens with a vocabulary of 128,256?", None)

# %%
gigabytes.compare(8192 * 128256 * 4 / 1e9)

# %% tags=["fold"]
expect("GB", 8192 * 128256 * 4 / 1e9, 4.2, within=0.01)

# %% [markdown]
# Nobody needs them all at once. Take a few rows of $h$, compute their logits, their loss and their
# gradient for $h$, and forget the logits.
#
# ## Do: the loss in chunks

# %%
cards("14.2")


# %% tags=["exercise"]
def chunked_loss(h, W, targets, size):
    """The mean cross-entropy and its gradient, never with the logits of more than `size` rows.

    h: (N, d), the states that the head reads. W: (V, d), the head; logits are z = h Wᵀ.
    targets: (N,), the right token of each row. The last chunk may have fewer rows.

    The loss of a row is log Σ e^z - z of the target. Its gradient for z is softmax(z), minus 1 at
    the target. A logit may be as large as 1,000.

    Returns (loss, dh): the mean over the N rows, a number; and its gradient for h, (N, d).
    """
    raise NotImplementedError


check("14.2", chunked_loss)

# %% [markdown]
# With your function one training step of the whole base: the blocks give $h$, your function gives the
# loss and $dh$, and the tape goes on from $dh$. We measure the memory of the loss alone, for chunks of
# several sizes.

# %%
in_chunks = answer("14.2")
head = model.get_base_model().lm_head.weight.data  # (V, d)


def states():  # -> h (N, d), a Tensor
    h = model.get_base_model().hidden(ids, model.new_context())
    return ops.pick_rows(h.reshape(-1, h.shape[-1]), predicted)


predicted = (
    np.arange(ids.size).reshape(ids.shape)[:, :-1].ravel()
)  # every place but the last of a row
targets = ids[:, 1:].ravel()

h = states()
eight, calls = (h.data[:8], head, targets[:8], 8), 5 * len(targets) // 8
in_chunks = at_pace("14.2", in_chunks, *eight, calls=calls, what="five losses", longest=20.0)
loss, dh = in_chunks(h.data, head, targets, 128)
h.backward(np.asarray(dh, np.float32))
largest = float(np.abs(all_gradients() - gradient).max())
expect("gradients of the library's step", largest, 0.0, within=1e-5)
with no_grad():
    expect("loss of the library", float(loss), model.loss(ids, ids).item(), within=1e-4)

# %%
with no_grad():
    h = states().data


def whole():  # the plain way: all logits at once
    x = Tensor(h, requires_grad=True)
    ops.cross_entropy(ops.linear(x, Tensor(head)), targets).backward()


def memory_of(call):
    tracemalloc.start()
    call()
    top = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return top


sizes = (len(h), 512, 128, 32)
of_logits = 4 * len(h) * len(head) / 1e6
measured = {size: memory_of(lambda size=size: in_chunks(h, head, targets, size)) for size in sizes}
table(
    [("all at once", of_logits, memory_of(whole))]
    + [(f"chunks of {size}", 4 * size * len(head) / 1e6, measured[size]) for size in sizes],
    ("", "logits of a chunk, MB", "measured peak, MB"),
)

# %% tags=["fold"]
expect_between("peak, chunks of 128 / one chunk", measured[128] / measured[len(h)], 0.05, 0.5)

# %% [markdown]
# The peak is a few arrays of the size of a chunk's logits, and $dh$. The smaller the chunks, the
# smaller the products, and small products are slow: the library takes 256 rows.
#
# ## All together


# %%
def plain_step():
    x = states()
    ops.cross_entropy(ops.linear(x, Tensor(head)), targets).backward()


def chunked_step():
    x = states()
    x.backward(np.asarray(in_chunks(x.data, head, targets, 128)[1], np.float32))


rows = []
for checkpointing in (False, True):
    (
        model.gradient_checkpointing_enable
        if checkpointing
        else model.gradient_checkpointing_disable
    )()
    for name, step in (("all logits", plain_step), ("chunks", chunked_step)):
        rows.append(
            (f"{'blocks twice' if checkpointing else 'blocks once'}, {name}", peak(step)[0])
        )
model.gradient_checkpointing_disable()
table(rows, ("one step of 8 x 128 tokens", "peak, MB"))

# %% tags=["fold"]
expect_between("both tricks / none", rows[3][1] / rows[0][1], 0.2, 0.5)

# %% tags=["fold"]
with show_axes(height=3.6) as axes:
    names, peaks = zip(*rows[::-1], strict=True)
    axes.barh(names, peaks, color=[BLUE, BLUE, ORANGE, ORANGE])
    for i, value in enumerate(peaks):
        axes.text(value + 0.6, i, f"{value:.0f} MB", va="center")
    axes.set(xlabel="peak of one step, MB", xlim=(0, 1.15 * max(peaks)))

# %% [markdown]
# On this small model the blocks hold most; computed twice, the inside of one block is still larger than
# the logits, so there the chunks save nothing. With a vocabulary of 128,256 the logits would be first.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/training/precision.py`: `Float16.unscale_` is your exercise 14.1 on many arrays;
# `computing` is the block in which the masters are rounded. `minilora/models/recompute.py`:
# `recomputed` is a block that keeps its input alone. `minilora/ops/loss.py`: `linear_cross_entropy` is
# your exercise 14.2, for a frozen head. In a terminal: `minilora train --precision`,
# `--checkpointing`, `--chunked-loss`.
#
# ## What this does not show
#
# Speed. On a CPU 16 bits are imitated here: the numbers are those of the hardware, the time is not.
# And the 16 bits of activations do not show in our megabytes, since NumPy keeps them in arrays of
# float32. The gradients of this small base do not need a loss scale at all, as the blue part of
# the first figure shows; we made them small by hand.
#
# ## Questions
#
# <details><summary>Why are gradients unscaled before they are clipped?</summary>Clipping compares their norm
# with a bound. Scaled by 65,536 every gradient would be clipped.</details>
#
# <details><summary>Adam divides by the gradient's size. Why does it need the scale taken out?</summary>For a
# constant scale it nearly would not; but the scale changes, and m and v would mix gradients of different
# scales. And ε, decay and clipping are in true units.</details>
#
# <details><summary>With 100 blocks, would checkpointing only every tenth block's input be
# better?</summary>It keeps 10 inputs and, in the backward, the inside of 10 blocks: 10 b + 10 a against
# 100 b + a. With a = 20 b that is 210 b against 120 b.</details>
#
# <details><summary>Does a loss in chunks change the result?</summary>Not in exact numbers. The sums are taken
# in another order, so the last digits differ.</details>
