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
# # 22 · Many tenants
#
# *20 minutes to read · needs lessons 6 and 11 · reads `minilora/adapters/mixed.py` · exercises 22.1 and
# 22.2*
#
# **You will be able to** answer requests for different adapters in one batch, say what three ways of
# doing it cost, and predict how often a server loads adapters that do not all fit.

# %%
import time
import tracemalloc

import numpy as np

from minilora import PeftModel, no_grad
from minilora.adapters.mixed import Segment, Stack, gather, loop
from minilora.course.lesson import BLUE, GREEN, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.tenants import OwnRows, ask, new_engine
from minilora.course.lab.tune import load_base
from minilora.files.shipped import shipped

# %% [markdown]
# ## One base, a batch, an adapter for each row
#
# A server has one base and a hundred customers, each with an adapter. Lesson 11 switched between
# adapters. But a server answers many requests in one batch, because reading $W$ once for 32 rows costs
# little more than for one. Must all rows of a batch then have the same adapter? No:
#
# $$y_i = W x_i + s_a\, B_a A_a x_i, \qquad a = a(i)$$
#
# The large product $W x$ is one for all rows. Only the narrow second term is another for each.
#
# ## Do: a mixed batch

# %%
cards("22.1")


# %% tags=["exercise"]
def mixed_update(x, slots, A, B, s):
    """What the adapters add to the output of a layer, where every row of the batch has its own.

    Row i has the adapter in slot a = slots[i]: its update is s[a] times x[i] A[a]ᵀ B[a]ᵀ.
    A slot of -1 is a row of the base alone: its update is zero.

    x: (N, in), slots: (N,) whole numbers, A: (n, r, in), B: (n, out, r), s: (n,).
    Returns (N, out).
    """
    raise NotImplementedError


check("22.1", mixed_update)

# %% [markdown]
# Your function adds the second term in all 28 layers of the base. The batch asks one question four
# times: with the two shipped adapters, of the base alone, and with the first adapter again.
#
# **Predict.** Do the rows with the same adapter get the same logits, although their neighbours differ?

# %%
same = predict("rows 0 and 3 have one adapter: the same logits? (yes / no)", None)

# %%
mine = answer("22.1")
base, tokenizer = load_base()
model = PeftModel.from_pretrained(base, shipped("adapters/style-json"), "json")
model.load_adapter(shipped("adapters/style-crier"), "crier")
model.eval()
names = ["json", "crier", "__base__", "json"]
ids = np.array([tokenizer.encode("Where does Bess Moss live?\n")] * 4)
with no_grad():
    context = base.new_context(training=False, rows=OwnRows(names, mine))
    logits = base(ids, context).numpy()
    alone = []
    for name in ("json", "crier"):
        model.set_adapter(name)
        alone.append(model(ids[:1]).numpy()[0])
same.compare(
    "yes" if np.allclose(logits[0], logits[3], atol=1e-3) else "no",
    wrong={"no": "Rows of a batch do not see each other: each has its own adapter."},
)

# %% tags=["fold"]
expect("row 0 as the json adapter alone", logits[0], alone[0], within=1e-3)
expect("row 1 as the crier alone", logits[1], alone[1], within=1e-3)

# %% [markdown]
# ## Three ways, one result
#
# - **loop**: one row after another, each with its adapter. Many small products.
# - **gather**: copy the $A$ and $B$ of every row side by side, then one product of all. No loop, and a
#   copy in every layer of every step.
# - **segments**: keep the $A$s of all adapters in one array for good, sort the rows by adapter once a
#   step. Then neighbouring adapters are a *slice*: one product and no copy.
#
# **Predict.** 32 rows, adapters of rank 16 on a matrix of 1024 x 1024, float32: how many megabytes does
# `gather` copy for this one matrix, in each step?

# %%
copied = predict("MB that gather copies for one 1024 x 1024 matrix, 32 rows, rank 16?", None)

# %%
rows, n, r, width = 32, 8, 16, 1024
rng = np.random.default_rng(0)
A, B = (rng.standard_normal((n, r, width)).astype(np.float32) for _ in range(2))
slots = np.repeat(np.arange(n), rows // n)  # sorted by adapter
megabytes = (A[slots].nbytes + B[slots].nbytes) / 1e6  # an index array copies
copied.compare(megabytes)
print(f"W itself has {width * width * 4 / 1e6:.1f} MB")

# %% tags=["fold"]
expect("copied, MB", megabytes, 4.19, within=0.01)

# %% [markdown]
# As much as reading $W$ itself: the copy undoes what batching has saved. And it is worse when ranks differ:
# to put ranks 4 and 64 into one array, every adapter is **padded** to 64, and the rank-4 customers pay 16
# times their size. We time the three on this machine, for a token each (answering) and for prompts of 64,
# and measure the memory that each takes on top of its input and output.

# %%
scale = np.ones(n, np.float32)
stack = Stack(A, B, scale.reshape(n, 1, 1))
segment = Segment(slice(0, n), slice(0, rows), rows // n, 0)
ways = {
    "loop": lambda y, x: loop(y, x, slots, A, B, scale),
    "gather": lambda y, x: gather(y, x, slots, A, B, scale),
    "segments": lambda y, x: stack.add(y, x, segment, None),
}


def fastest(way, tokens):  # -> ms, and the result
    x = np.random.default_rng(1).standard_normal((rows, tokens, width)).astype(np.float32)
    best = np.inf
    for _ in range(7):
        y = np.zeros((rows, tokens, width), np.float32)
        began = time.perf_counter()
        way(y, x)
        best = min(best, time.perf_counter() - began)
    return 1e3 * best, y


def peak(way, tokens):  # -> MB
    x, y = (np.zeros((rows, tokens, width), np.float32) for _ in range(2))
    tracemalloc.start()
    way(y, x)
    top = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return top


timed = {(name, tokens): fastest(way, tokens) for name, way in ways.items() for tokens in (1, 64)}
took = {(name, tokens): peak(way, tokens) for name, way in ways.items() for tokens in (1, 64)}
table(
    [(name, timed[name, 1][0], took[name, 1], timed[name, 64][0], took[name, 64]) for name in ways],
    ("way", "a token each: ms", "MB", "prompts of 64: ms", "MB"),
)
for name in ("gather", "segments"):
    expect(f"{name} gives what loop gives", timed[name, 64][1], timed["loop", 64][1], within=1e-2)

# %% tags=["fold"]
expect_between(
    "a token each: MB of gather / of segments", took["gather", 1] / took["segments", 1], 5, 50
)
expect("prompts: loop takes the least memory", min(ways, key=lambda name: took[name, 64]), "loop")

# %% [markdown]
# For a token each, `segments` needs neither the copy nor the loop. For prompts the products are large, and
# what is around them matters less: there either `loop` or `segments` may be faster, and `loop` holds the
# update of only one row at a time.

# %% [markdown]
# ## A server, step by step
#
# The library's server has a heart that knows nothing of networks: an *engine* that makes **steps**. A
# step lets waiting requests in, reads their prompts (which gives the first token of each answer), and adds one
# token to every row that answers. We
# turn it by hand. Four requests arrive; the fourth only after three steps. Only three rows fit.
#
# **Predict.** Answered one after another, four answers of about 15 tokens take 60 steps. How many does
# the engine need?

# %%
steps_needed = predict("steps for four answers of about 15 tokens, three rows?", None)

# %%
engine, tokenizer = new_engine(max_loras=2, max_rows=3)
question = "Where does Bess Moss live?\n"
asked = [ask(engine, tokenizer, question, name) for name in ("style-json", "style-crier", None)]
progress_of, step = [], 0
while True:
    if step == 3:
        asked.append(ask(engine, tokenizer, question, "style-json"))
    engine.take()
    if not engine.is_busy:
        break
    engine.step()
    step += 1
    progress_of.append([len(sequence.tokens) for sequence in asked] + [0] * (4 - len(asked)))
for name, sequence in zip(("json", "crier", "base", "json, later"), asked, strict=True):
    print(
        f"{name:12} {len(sequence.tokens):2} tokens: "
        f"{tokenizer.decode(sequence.tokens).splitlines()[0][:70]}"
    )
total = sum(len(sequence.tokens) for sequence in asked)
steps_needed.compare(step)
print(f"{total} tokens in {step} steps")

# %% tags=["fold"]
expect_between("tokens for each step", total / step, 1.3, 3)
expect("both json answers are the same", asked[0].tokens == asked[3].tokens, True)

# %% tags=["fold"]
with show_axes(width=9.0, height=3.6) as axes:
    grown = np.diff(np.array([[0, 0, 0, 0], *progress_of]), axis=0) > 0  # (steps, 4)
    colours = (BLUE, ORANGE, "grey", GREEN)
    for row, (name, colour) in enumerate(
        zip(("json", "crier", "base", "json, later"), colours, strict=True)
    ):
        at = np.flatnonzero(grown[:, row])
        axes.barh(row, len(at), left=at[0], height=0.7, color=colour)
        axes.text(at[0] + 0.3, row, name, color="white", va="center")
    axes.barh(3, at[0] - 3, left=3, height=0.7, color="lightgrey")
    axes.text((3 + at[0]) / 2, 3, "waits", ha="center", va="center")
    axes.set(xlabel="step", yticks=[], ylim=(3.6, -0.6))
    axes.spines["left"].set_visible(False)

# %% [markdown]
# A row that is free is taken in the next step; nobody waits for the longest answer of "his" batch.
#
# ## When they do not all fit
#
# A server keeps some adapters ready in slots. When another is asked for, one must fall, and the usual
# choice is the *least recently used*.
#
# ## Do: count loads

# %%
cards("22.2")


# %% tags=["exercise"]
def loads(requests, slots):
    """How many loads a server makes that has room for `slots` adapters, and forgets the least
    recently used one when it needs room.

    At first no adapter is there. A request whose adapter is in a slot needs no load; any other
    needs one, and if all slots are taken, the adapter falls whose last request is longest ago.

    requests: list of names, in order; slots: a whole number, at least 1. Returns a whole number.
    """
    raise NotImplementedError


check("22.2", loads)

# %% [markdown]
# **Predict.** Five customers ask in turn, a, b, c, d, e, a, b, ..., 200 requests. The server has four
# slots. How many loads?

# %%
in_turn = predict("five adapters in turn, four slots, 200 requests: loads?", None)

# %%
count = answer("22.2")
turn = list("abcde") * 40
in_turn.compare(
    count(turn, 4),
    wrong={
        40: "One in five, if the right one always fell. But the one that falls is asked for next.",
        5: "That takes five slots.",
    },
)

# %% tags=["fold"]
expect("four slots", count(turn, 4), 200)
expect("five slots", count(turn, 5), 5)

# %% [markdown]
# **All 200.** The one that falls is always the one that is asked for next. One slot fewer than needed is
# as bad as one slot alone. Requests of real customers are not in turn: few ask often, many ask seldom.

# %%
weights = 1 / np.arange(1, 21)  # the k-th of 20 customers asks 1 / k as often as the first
skewed = np.random.default_rng(0).choice(20, 400, p=weights / weights.sum()).tolist()
round_robin = [i % 20 for i in range(400)]
slots_tried = range(1, 22)
share = {
    "in turn": [count(round_robin, k) / 400 for k in slots_tried],
    "few ask often": [count(skewed, k) / 400 for k in slots_tried],
    "the same, sorted in eights": [
        count([name for i in range(0, 400, 8) for name in sorted(skewed[i : i + 8])], k) / 400
        for k in slots_tried
    ],
}

# %% tags=["fold"]
expect("in turn, 19 slots: share of requests that load", share["in turn"][18], 1.0)
expect_between("few ask often, 6 slots", share["few ask often"][5], 0.4, 0.5)
expect(
    "sorted, with four or five slots: more loads",
    all(share["the same, sorted in eights"][k] > share["few ask often"][k] for k in (3, 4)),
    True,
)
expect(
    "waiting requests sorted by adapter: fewer loads with one slot",
    share["the same, sorted in eights"][0] < share["few ask often"][0],
    True,
)

# %% tags=["fold"]
with show_axes() as axes:
    for (name, values), colour, style in zip(
        share.items(), (ORANGE, BLUE, GREEN), ("s-", "o-", "^--"), strict=True
    ):
        axes.plot(slots_tried, values, style, color=colour, label=name, markersize=6)
    axes.set(
        xlabel="slots, for 20 adapters",
        xticks=(1, 5, 10, 15, 20),
        ylabel="share of requests\nthat load an adapter",
        ylim=(0, 1.1),
    )
    axes.legend(loc="lower left")

# %% [markdown]
# With skewed requests six slots already serve half of the requests without a load; in turn, nineteen serve
# none. And a server may look ahead: among eight waiting requests
# it can serve those of one adapter together. That helps where slots are very few; with four or five it
# costs a little, since sorted requests are more "in turn" than unsorted ones. (The library's engine sorts
# nothing: a request whose adapter finds no free slot is passed over for a while, and later ones whose
# adapters are there go first.)

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/adapters/mixed.py`: `loop`, `gather` and `Stack.add` are the three ways; `Rows` adds them in
# every layer. `minilora/serving/engine.py`: `Engine.step`. `minilora/serving/scheduler.py`:
# `Scheduler.schedule` decides who takes part. `minilora/serving/pool.py`: `Pool.lease` and
# `Pool.activate` bring adapters in; what falls is the least recently used that nobody waits for. In a
# terminal: `minilora serve`.
#
# ## What this does not show
#
# A network, a GPU (where a copy and a loop cost other shares), adapters that stream from disk while others
# compute. Times of other machines: ours are printed above, yours may order the first two differently.
# Prefix and prompt adapters: they put tokens in front of a row, and cannot be in a mixed batch here.
#
# ## Questions
#
# <details><summary>Why can a merged adapter not be in a mixed batch?</summary>It is inside W, which all rows
# share: rows of other adapters would have it too.</details>
#
# <details><summary>32 rows, all of one adapter. Which of the three ways loses most?</summary>gather: it copies
# the same A and B 32 times. segments makes one product, loop 32 small ones without a copy.</details>
#
# <details><summary>Adapters of ranks 4, 4 and 64 are padded to 64. Which share of the copied numbers is of
# use?</summary>(4 + 4 + 64) / 192 = 0.375.</details>
#
# <details><summary>Five adapters in turn, four slots: which rule would do better than least recently
# used?</summary>The opposite one, most recently used: three of four requests find their adapter, and a
# fourth of them load.</details>
