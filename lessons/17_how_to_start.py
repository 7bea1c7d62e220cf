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
# # 17 · How to start
#
# *20 minutes to read · needs lessons 5, 6 and 7 · reads `minilora/methods/pissa.py` · exercises 17.1
# to 17.3*
#
# **You will be able to** start an adapter from $W$ itself without changing the model, say what such a
# start does to the first gradients, and give A and B two learning rates.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model, no_grad
from minilora.course.lesson import BLUE, GREEN, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.low_rank import matrices
from minilora.course.lab.measured import mean_and_spread, measured
from minilora.course.lab.tune import load_base, tune
from minilora.methods.lora_plus import loraplus_groups
from minilora.tasks.shipped import get_task
from minilora.text.batches import PairBatches

# %% [markdown]
# ## A slow beginning
#
# LoRA starts with a random $A$ and $B = 0$. That is safe: the model is unchanged. It has a price
# (lesson 6): $dA = s\,(gB)^T x$ is zero at first, and small as long as $B$ is small. $A$ looks at
# random directions of the input, and $B$ must first grow.
#
# Two methods start elsewhere. They take a part of $W$ itself, of rank $r$, and train that:
#
# $$W = \underbrace{W - s\,B_0 A_0}_{\text{the rest, frozen}} + \; s\,B_0 A_0, \qquad
# y = x\,(W - s\,B_0A_0)^T + s\,(xA^T)B^T$$
#
# with $A$ and $B$ starting as $A_0$ and $B_0$. Neither is zero, and the model is unchanged all the
# same. They differ in the part that they take:
#
# - **PiSSA** (Meng et al. 2024): the *best* part of rank $r$, from the $r$ largest singular values.
# - **OLoRA** (Büyükakyüz 2024): the first $r$ columns of $Q$ and rows of $R$, where $W = QR$, the
#   columns of $Q$ at right angles. It is cheaper to compute.
#
# ## Do: two starts

# %%
cards("17.1", "17.2")


# %% tags=["exercise"]
def pissa_start(W, r, alpha):
    """A start from the largest singular values of W, which leaves the layer's function unchanged.

    s B0 A0 is the best part of rank r of W (lesson 5), and each singular value is shared equally:
    row k of A0 and column k of B0 have the same length. The layer keeps the rest of W, frozen:
    at the start rest + s B0 A0 is W again.

    W: (out, in); r: a whole number, at most the smaller side; alpha: a number above 0.
    Returns (A0, B0, rest): (r, in), (out, r), (out, in).
    """
    raise NotImplementedError


check("17.1", pissa_start)


# %% tags=["exercise"]
def olora_start(W, r, alpha):
    """A start from W = Q R, where the columns of Q have length 1 and are at right angles.

    B0 is the first r columns of Q, A0 the first r rows of R. The layer keeps the rest of W, frozen:
    at the start rest + s B0 A0 is W again.

    W: (out, in); r: a whole number, at most the smaller side; alpha: a number above 0.
    Returns (A0, B0, rest): (r, in), (out, r), (out, in).
    """
    raise NotImplementedError


check("17.2", olora_start)

# %% [markdown]
# How large a part of $W$ do the two take? The share of the energy (lesson 5: squares of the singular
# values) for one matrix of the base, at rank 8:
#
# **Predict.** PiSSA takes the largest 8 of 128 directions. How much of the energy is that, in percent?

# %%
share = predict("percent of the energy of W in PiSSA's part of rank 8?", None)

# %%
pissa, olora = answer("17.1"), answer("17.2")
base, tokenizer = load_base()
W0 = {name: p.data.copy() for name, p in matrices(base).items()}
one = W0["model.layers.1.self_attn.q_proj.weight"].astype(float)
ranks = (1, 2, 4, 8, 16, 32, 64)


def energy(start, r):  # of s B0 A0, in percent of that of W
    rest = np.asarray(start(one, r, float(r))[2])  # alpha = r, so that s = 1
    return 100 * float(((one - rest) ** 2).sum() / (one**2).sum())


taken = {
    name: [energy(start, r) for r in ranks] for name, start in (("PiSSA", pissa), ("OLoRA", olora))
}
table(
    [(r, taken["PiSSA"][i], taken["OLoRA"][i]) for i, r in enumerate(ranks)],
    ("rank", "PiSSA, percent", "OLoRA"),
)
share.compare(taken["PiSSA"][3])

# %% tags=["fold"]
expect_between("PiSSA at rank 8", taken["PiSSA"][3], 20, 80)
expect(
    "PiSSA takes more than OLoRA at every rank",
    all(p > o for p, o in zip(*taken.values(), strict=True)),
    True,
)

# %% tags=["fold"]
with show_axes() as axes:
    axes.plot(ranks, taken["PiSSA"], "o-", color=BLUE)
    axes.plot(ranks, taken["OLoRA"], "s-", color=ORANGE)
    axes.plot(ranks, [100 * r / 128 for r in ranks], ":", color="black")
    axes.text(18, taken["PiSSA"][4] + 3, "PiSSA", color=BLUE, ha="right")
    axes.text(33, taken["OLoRA"][5] + 1, "OLoRA", color=ORANGE, ha="right", va="bottom")
    axes.text(63, 22, "r of 128 directions\nof equal size", va="top", ha="right")
    axes.set(xlabel="rank", ylabel="energy that the start takes,\npercent of W", ylim=(0, 100))

# %% [markdown]
# Note a difference that $s = 1$ hides: PiSSA divides by $s$, so that $s\,B_0A_0$ is the best part at any
# scale. OLoRA does not: at $s = 16$ it takes out 16 times its part, and the rest is larger than $W$.
#
# ## What the start does to the first gradients
#
# We put your starts into the query and value matrices of the base. (The library keeps $A_0$ and $B_0$
# frozen beside the adapter and subtracts them, so the base's own $W$ is never changed. It is the same
# function, and `disable_adapter` stays exact.)
#
# **Predict.** At the first backward: which of `A` and `B` have a gradient that is not zero, with
# PiSSA's start?

# %%
which = predict("first gradients with PiSSA's start: A, B or both?", None)

# %%
settings = {"r": 1, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
ids, labels = next(
    PairBatches(get_task("sql").examples("train"), tokenizer, 16, 512, np.random.default_rng(0))
)


def adapted(start=None):  # -> the base with LoRA, or with a start
    config = LoraConfig(**settings, init_lora_weights=True if start is None else "pissa")
    model = get_peft_model(load_base()[0], config, seed=0)
    for layer in model.base_model.layers if start else ():
        method = layer.adapters["default"]
        A0, B0, _ = start(W0[f"{layer.path}.weight"].astype(float), method.r, 16.0)
        for parameter, values in ((method.A, A0), (method.A0, A0), (method.B, B0), (method.B0, B0)):
            parameter.data = np.array(values, np.float32)  # a copy each: the frozen one stays
    return model


def first_gradients(model):  # -> size of all dA, of all dB
    model.loss(ids, labels).backward()
    sizes = []
    for letter in "AB":
        grads = [p for name, p in model.named_parameters() if f".lora_{letter}." in name]
        sizes.append(float(np.sqrt(sum((p.grad**2).sum() for p in grads))))
    return sizes


models = {"LoRA": adapted(), "PiSSA": adapted(pissa), "OLoRA": adapted(olora)}
with no_grad():
    logits = base(ids[:4]).numpy()
    moved = {
        name: float(np.abs(model(ids[:4]).numpy() - logits).max()) for name, model in models.items()
    }
sizes = {name: first_gradients(model) for name, model in models.items()}
table(
    [(name, moved[name], *sizes[name]) for name in models],
    ("start", "largest change of a logit", "size of dA", "size of dB"),
)
dA, dB = sizes["PiSSA"]
which.compare(
    "both" if dA and dB else "A" if dA else "B",
    of=("A", "B"),
    wrong={"B": "So with LoRA's start, where B is zero. Here neither is."},
)

# %% tags=["fold"]
expect_between("largest change of a logit by any start", max(moved.values()), 0, 1e-2)
expect("LoRA: size of dA", sizes["LoRA"][0], 0.0)
expect(
    "PiSSA and OLoRA: both learn from the first step",
    all(min(sizes[n]) > 0 for n in ("PiSSA", "OLoRA")),
    True,
)

# %% [markdown]
# The model is unchanged by every start, and with the two new ones both matrices learn at once: along
# the directions in which $W$ itself is strong.
#
# ## Does it learn faster?

# %%
losses = {}
for name, model in models.items():
    for p in model.parameters():
        p.grad = None
    losses[name] = tune(model, tokenizer, "sql", steps=40, lr=1e-2, seed=0)
smooth = {name: np.convolve(values, np.ones(5) / 5, "valid") for name, values in losses.items()}
table(
    [(name, values[0], values[10], values[20], values[-1]) for name, values in smooth.items()],
    ("start", "loss, steps 1-5", "11-15", "21-25", "36-40"),
)

# %% tags=["fold"]
expect(
    "PiSSA is ahead of LoRA at steps 11 to 15", bool(smooth["PiSSA"][10] < smooth["LoRA"][10]), True
)

# %% tags=["fold"]
with show_axes() as axes:
    for (name, values), colour, style in zip(
        smooth.items(), (ORANGE, BLUE, GREEN), ("-", "-", "--"), strict=True
    ):
        axes.plot(np.arange(3, 3 + len(values)), values, style, color=colour, label=name)
    axes.set(xlabel="step", ylabel="training loss,\nmean of five steps", ylim=(0, None))
    axes.legend()

# %% [markdown]
# One seed and one rate are no evidence (lesson 9). Here are five seeds, after 60 steps, each with the
# rate that was best for it on the validation split:

# %%
rows = measured("equal-budget")
starts = ("lora", "pissa", "olora")
results = {m: mean_and_spread(rows, "test_loss", method=m, targets="q,v", r=1) for m in starts}
scores = {m: mean_and_spread(rows, "score", method=m, targets="q,v", r=1) for m in starts}
table(
    [(m, *results[m], *scores[m]) for m in starts],
    ("query and value, rank 1", "test loss", "± spread", "score", "± spread"),
)

# %% tags=["fold"]
expect_between("test loss, PiSSA / LoRA", results["pissa"][0] / results["lora"][0], 0.85, 1.02)

# %% [markdown]
# PiSSA gains some 5% of the loss, OLoRA nothing that the spread would not explain. A good start helps at
# the beginning; sixty steps later the others have caught up with most of it.
#
# ## Two rates
#
# There is another answer to the slow beginning: leave the start as it is, and let $B$ grow faster.
# **LoRA+** (Hayou et al. 2024) gives $B$ a learning rate that is `ratio` times as high as that of
# $A$. Their argument: in a wide layer, $B$'s entries must move further than $A$'s for both to change
# the output equally.
#
# ## Do: two rates

# %%
cards("17.3")


# %% tags=["exercise"]
def two_rates(names, lr, ratio):
    """LoRA+: the learning rate of each trained matrix; that of B is `ratio` times that of A.

    names: list of texts, names as they are in a model, such as
    "model.layers.0.self_attn.q_proj.lora_A.default.weight": one of the parts between the dots is
    lora_A or lora_B. A module's own name may have them too. lr: the rate of A. Returns a list.
    """
    raise NotImplementedError


check("17.3", two_rates)

# %% [markdown]
# The library makes groups of parameters for the optimizer, each with its rate. Yours, for every name
# of the model, are the same:

# %%
rates_of = answer("17.3")
model = adapted()
named = {name: p for name, p in model.named_parameters() if p.requires_grad}
mine = dict(zip(named, rates_of(list(named), 1e-3, 16.0), strict=True))
theirs = {
    id(p): group["lr"] for group in loraplus_groups(model, 1e-3, 16.0) for p in group["params"]
}

# %% tags=["fold"]
expect(
    "rates as in the library's groups",
    np.array(list(mine.values())),
    np.array([theirs[id(p)] for p in named.values()]),
    within=1e-12,
)

# %% [markdown]
# **Predict.** Four rates for $A$, four for $B$, all sixteen pairs, five seeds each. Is the best pair
# one with equal rates, one with a higher rate for B, or one with a higher rate for A?

# %%
best_pair = predict("the best pair of rates: equal, B higher or A higher?", None)

# %%
runs = measured("lora-plus")
grid = (1e-3, 4e-3, 1.6e-2, 6.4e-2)
loss = np.zeros((4, 4))  # rate of A, rate of B
for i, a in enumerate(grid):
    for j, b in enumerate(grid):
        values = [
            r["test_loss"]
            for r in runs
            if np.isclose(r["lr"], a) and np.isclose(r["lr"] * r["lr_ratio"], b)
        ]
        loss[i, j] = np.mean(values)
table(
    [(f"A {a:g}", *loss[i]) for i, a in enumerate(grid)], ("test loss", *(f"B {b:g}" for b in grid))
)
i, j = np.unravel_index(loss.argmin(), loss.shape)
best_pair.compare(
    "equal" if i == j else "B higher" if j > i else "A higher",
    wrong={
        "equal": "The best equal pair is 8% worse.",
        "A higher": "Look along a column: a higher rate of A does not make up for a low one of B.",
    },
)
print(
    f"best: A {grid[i]:g}, B {grid[j]:g}, loss {loss[i, j]:.3f}; "
    f"best with equal rates: {np.diag(loss).min():.3f}"
)

# %% tags=["fold"]
expect("the best pair has a higher rate for B", bool(j > i), True)
expect_between("best equal pair / best pair", float(np.diag(loss).min() / loss.min()), 1.05, 1.12)
plus, plain = (
    {r["seed"]: r["test_loss"] for r in rows if r["method"] == m and r["targets"] == "q,v"}
    for m in ("lora_plus", "lora")
)
expect("seeds with a better loss at ratio 16", sum(plus[s] < plain[s] for s in plain), 0)

# %% tags=["fold"]
with show_axes(width=7.5, height=5.4) as axes:
    axes.imshow(np.log(loss), cmap="Blues_r", vmin=np.log(0.08))
    for a in range(4):
        for b in range(4):
            dark = loss[a, b] < 0.2
            best = (a, b) == (i, j)
            look = {"weight": "bold", "fontsize": 22} if best else {"fontsize": 16}
            colour = "white" if dark else "black"
            axes.text(b, a, f"{loss[a, b]:.2f}", ha="center", va="center", color=colour, **look)
    axes.plot([-0.5, 3.5], [-0.5, 3.5], ":", color=ORANGE)
    axes.set_xticks(range(4), [f"{rate:g}" for rate in grid])
    axes.set_yticks(range(4), [f"{rate:g}" for rate in grid])
    axes.set(xlabel="rate of B", ylabel="rate of A", title="test loss; dotted: equal rates")

# %% [markdown]
# Look along a row and along a column: a low rate of $A$ costs a fifth of the best loss when $B$'s is high. A low
# rate of $B$ costs more. The best equal pair has a loss 8% above the best pair's, and the ratio is one
# more number to choose: at rank 1, where the scale is 16, a ratio of 16 was *worse* than plain LoRA at
# every seed (`equal-budget` has those runs too).

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/methods/pissa.py`: `principal_part` is the SVD (exact, or from a random subspace, which is
# faster), `Pissa.part_of` and `Olora.part_of` are your exercises, `Pissa.update` subtracts the frozen
# start, and `Pissa.plain` writes the update as an ordinary LoRA of rank $2r$, so that a file needs no
# changed base. `minilora/methods/lora_plus.py`: `loraplus_groups`.
#
# ## What this does not show
#
# A base in four bits, where PiSSA has another gain: the best part is kept in full precision, and what
# is left to quantize is smaller (`python -m benchmarks.paper error-cut`). Other ranks and tasks. That
# the rates were fairly chosen for all: the map of LoRA+ is coarse, and its best column is the last.
#
# ## Questions
#
# <details><summary>Why can PiSSA's file not simply be A and B, loaded as a LoRA?</summary>They belong to the
# rest, W - s B0 A0. Added to W itself, the part s B0 A0 would be counted twice. So the file holds s (B A -
# B0 A0), a LoRA of rank 2r.</details>
#
# <details><summary>Both starts leave the function unchanged. Is the model with PiSSA's start after one step
# the same as with LoRA's?</summary>No: the gradients differ, so the first step already does.</details>
#
# <details><summary>Why are the singular values shared by their root?</summary>So that A and B are of equal
# size, and one learning rate suits both.</details>
#
# <details><summary>LoRA+ changes neither start nor function. Where is it in the saved file?</summary>Nowhere:
# it is a setting of the optimizer. The file is a LoRA's.</details>
