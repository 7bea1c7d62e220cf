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
# # 4 · A transformer you can count
#
# *30 minutes to read, in two parts · needs matrix products; lesson 2 for the word backward · reads
# `minilora/models/llama.py` · exercises 4.1 to 4.3*
#
# **You will be able to** name every matrix of a Llama decoder, say what it is for, and count its
# parameters exactly.
#
# *Two parts with a break between them: (a) one token: norm and position; (b) many tokens:
# attention, MLP, the count, and a little training.*

# %%
import textwrap

import numpy as np

from minilora import Tensor, no_grad, ops
from minilora.text.batches import TextBatches
from minilora.text.encoding import encode_text
from minilora.text.tokenizer import load_tokenizer
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.training.optim import AdamW
from minilora.files.shipped import shipped
from minilora.course.lesson import BLUE, GREEN, ORANGE, cards, show_axes, table
from minilora.course.lesson import expect, expect_between, predict

rng = np.random.default_rng(3)

# %% [markdown]
# # Part a: one token
#
# *15 minutes to read, 5 for exercise 4.1. New symbols: $w$, $q$, $k$; and the sizes $d$ and $T$.*
#
# ## From text to vectors
#
# A tokenizer cuts text into *tokens*, each with a number. The embedding is a table with one row of
# $d$ numbers per token; looking up the rows gives $x$, shape `(T, d)`: $T$ tokens, each a vector of
# width $d$. From here on, nothing is text.

# %%
tokenizer = load_tokenizer(shipped("tokenizer.json"))
ids = np.array(tokenizer.encode("Hattie Sedge lives on Chapel Steps."))
print(len(ids), "tokens:", [tokenizer.decode([i]) for i in ids])

# %% [markdown]
# ## RMSNorm: keep the direction, fix the size
#
# Before each part of a block, RMSNorm brings the vector to a fixed size: it divides the vector by
# the root of the mean of its squares, then multiplies by $w$ (shape `(d,)`, learned, starts at 1):
#
# $$y = w \cdot \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}}$$
#
# with $\epsilon = 10^{-6}$, which prevents a division by zero.
#
# **Predict.** We multiply $x$ by 1,000. By what factor does $y$ grow?

# %%
growth = predict("y grows by the factor", None)

# %%
x, w = Tensor(rng.standard_normal((5, 8))), Tensor(np.ones(8))
y, y_large = ops.rms_norm(x, w).data, ops.rms_norm(1000 * x, w).data
growth.compare(float(np.round(np.abs(y_large / y).mean(), 3)))
expect("the mean square of every row", (y**2).mean(axis=1), np.ones(5), within=1e-4)
expect("1,000 times larger x, same y", y_large, y, within=1e-4)

# %% [markdown]
# ## Rotary positions: turn instead of add
#
# Attention compares a *query* $q$ with *keys* $k$ by their dot product. The dot product alone
# cannot tell "dog bites man" from "man bites dog". The rotary embedding takes the numbers of a
# vector in pairs and turns each pair by an angle: the position times a frequency. Two vectors that
# are turned by the same angle keep their dot product, so only the **distance** between their
# positions matters.
#
# We take one $q$ and one $k$, put them at all positions $0 \ldots 15$, and look at all dot
# products.

# %%
hd, T = 16, 16  # width of a head; positions
frequencies = 10000.0 ** (-np.arange(0, hd, 2) / hd)  # (hd/2,) one for each pair
cos, sin = ops.rotary_angles(np.arange(T)[None], frequencies, np.float64)
q = np.repeat(rng.standard_normal((1, 1, 1, hd)), T, axis=1)  # the same query at every position
k = np.repeat(rng.standard_normal((1, 1, 1, hd)), T, axis=1)
turned_q = ops.rotary(q, cos, sin).data[0, :, 0]  # (T, hd)
turned_k = ops.rotary(k, cos, sin).data[0, :, 0]
products = turned_q @ turned_k.T  # (T, T)

expect(
    "turning keeps the length",
    (turned_q**2).sum(axis=1),
    (q[0, :, 0] ** 2).sum(axis=1),
    within=1e-5,
)
expect(
    "positions 3 and 1 against 12 and 10",
    float(products[3, 1]),
    float(products[12, 10]),
    within=1e-5,
)

# %%
with show_axes(height=5.2, width=6.5) as axes:
    image = axes.imshow(products, cmap="viridis")
    axes.grid(False)
    axes.set(
        xlabel="position of the key",
        ylabel="position of the query",
        title="the same along each diagonal:\nonly the distance counts",
    )
    axes.figure.colorbar(image, label="q · k", shrink=0.85)

# %% [markdown]
# ## Do (a)

# %%
cards("4.1")

# %% [markdown]
# # Part b: many tokens
#
# *15 minutes to read, 30 for exercises 4.2 and 4.3. New symbols: $v$, $p$, $o$; and the size $m$.*
#
# ## Attention: look back, and take a mean
#
# Learned matrices turn each token into a query, a key and a value $v$, all of width `hd`. Token $i$
# scores every token $j$ up to itself, turns the scores into shares (softmax, lesson 2), and takes
# the mean of the values, weighted by these shares:
#
# $$o_i = \sum_{j \le i} p_{ij}\, v_j, \qquad
# p_i = \mathrm{softmax}_j\!\left(\frac{q_i \cdot k_j}{\sqrt{hd}}\right)$$
#
# **Predict.** We change the last of six tokens. How many of the six outputs change?

# %%
changed = predict("outputs that change with the last of six tokens", None)

# %%
q, k, v = (rng.standard_normal((1, 6, 2, 8)) for _ in range(3))  # (B, T, heads, hd)
bias = ops.causal_bias(6, 6, dtype=np.float64)  # 0 where a query sees a key, -1e30 where not
o = ops.attention(q, k, v, bias).data
k[:, -1] += 1.0
v[:, -1] += 1.0
o_after = ops.attention(q, k, v, bias).data
moved = np.abs(o_after - o).max(axis=(0, 2, 3)) > 0
changed.compare(int(moved.sum()))
expect("the first five outputs, to the bit", bool(np.array_equal(o_after[:, :5], o[:, :5])), True)

# %% [markdown]
# So one forward pass over a text trains on every position: no position has seen the token that it
# must predict.
#
# ## SwiGLU: the other half of a block
#
# The MLP works on each token alone: two products to width $m$, one of them through
# $\mathrm{silu}(z) = z\,\sigma(z)$ as a gate on the other, and a product back to width $d$:
#
# $$\mathrm{mlp}(x) = W_{down}\,\big(\mathrm{silu}(W_{gate}\, x) \cdot W_{up}\, x\big)$$
#
# A block is $x + \mathrm{attention}(\mathrm{norm}(x))$, then $x + \mathrm{mlp}(\mathrm{norm}(x))$.
# A model is an embedding, some blocks, a norm, and a head that turns the last vector into one score
# for each token of the vocabulary. If the head is *tied*, it is the embedding table itself.
#
# ## Count
#
# The model of these lessons: vocabulary 1,024, width $d = 128$, MLP width $m = 352$, 4 blocks, 4
# query heads that share 2 key and value heads (each head is 32 wide), tied head. **Predict** the
# number of its parameters. Work it out on paper: the next cell has the shapes.

# %%
total = predict("parameters of the lessons' model", None)

# %%
config = LlamaConfig(
    vocab_size=1024,
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)
model = LlamaForCausalLM(config)  # shapes only: nothing is allocated yet
shapes = [(name, p.shape, p.size) for name, p in model.named_parameters()]
table(
    [
        (name, str(shape), size)
        for name, shape, size in shapes
        if "layers.0" in name or "layers" not in name
    ],
    ("the embedding, one block, the last norm", "shape", "numbers"),
)

# %%
d, m, layers, heads, kv_heads = 128, 352, 4, 4, 2
kv = kv_heads * d // heads  # 64: keys and values are narrower
by_hand = {
    "embedding (= head)": 1024 * d,
    "attention": layers * (2 * d * d + 2 * d * kv),
    "MLP": layers * 3 * d * m,
    "norms": layers * 2 * d + d,
}
counted = sum(p.size for p in model.parameters())
total.compare(counted)
expect("by hand and by the model", sum(by_hand.values()), counted)

# %%
with show_axes(height=3.6) as axes:
    names, sizes = list(by_hand), list(by_hand.values())
    bars = axes.barh(names, sizes, color=[GREEN, BLUE, ORANGE, "black"])
    axes.bar_label(bars, [f"{s:,}  ({100 * s / counted:.1f}%)" for s in sizes], padding=6)
    axes.invert_yaxis()
    axes.grid(False)
    axes.set(xlabel="parameters", xlim=(0, 1.5 * max(sizes)), xticks=[])

# %% [markdown]
# Most parameters are in the MLP, though most articles are about attention. The same is true of
# large models:

# %%
llama = LlamaForCausalLM(LlamaConfig(128256, 4096, 14336, 32, 32, 8))
count = sum(p.size for p in llama.parameters())
mlp = sum(p.size for name, p in llama.named_parameters() if "mlp" in name)
expect("Llama 3 8B, the published number of parameters", count, 8_030_261_248)
expect_between("share of the MLP in percent", 100 * mlp / count, 60, 80)

# %% [markdown]
# ## Train it a little
#
# We train a smaller model (width 64, two blocks), from random numbers, on the text that ships with
# the project. The loss is the mean of $-\log(\text{share given to the right next token})$. Before
# training all 1,024 tokens get about the same share, so the loss is near $\log 1024$. A model that
# knows only how frequent each token is would reach the dashed line.

# %%
text = encode_text(shipped("corpus.txt").read_text(encoding="utf-8")[:200_000], tokenizer)
frequency = np.bincount(text, minlength=1024) / len(text)
by_frequency = -(frequency[frequency > 0] * np.log(frequency[frequency > 0])).sum()

small = LlamaForCausalLM(LlamaConfig(1024, 64, 176, 2, 4, 2, tie_word_embeddings=True)).init(seed=0)
batches = TextBatches(text, batch_size=8, seq_len=64, rng=np.random.default_rng(0))
optimizer = AdamW(small.parameters(), lr=5e-3)
losses = []
for _ in range(300):
    tokens, labels = next(batches)  # (8, 64) each; the loss shifts them by one
    loss = small.loss(tokens, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())

expect_between("loss before the first step; log 1024 = 6.93", losses[0], 6.8, 7.1)
expect_between("loss after 300 steps", float(np.mean(losses[-10:])), 0.8, float(by_frequency) - 1)

# %%
with show_axes() as axes:
    axes.plot(losses, color=BLUE)
    axes.axhline(np.log(1024), color="black", linestyle=":")
    axes.axhline(by_frequency, color=ORANGE, linestyle="--")
    axes.text(300, np.log(1024) - 0.1, "all tokens alike", ha="right", va="top")
    axes.text(300, by_frequency + 0.1, "frequency of each token", color=ORANGE, ha="right")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, 7.5))

# %%
with no_grad():
    prompt = tokenizer.encode("The cafe on the")
    text = tokenizer.decode(small.generate([prompt], max_new_tokens=30)[0])
print(textwrap.fill(text, 90))

# %% [markdown]
# It has learned the look of the text; sense takes more than a few seconds. The shipped base was
# trained longer, on all of the text.
#
# ## Do (b)

# %%
cards("4.2", "4.3")

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/models/llama.py`: `LlamaAttention`, `LlamaMLP` and `LlamaBlock` are the formulas above,
# line by line, under the names that Hugging Face gives to the weights. `minilora/ops/attention.py`
# and `ops/norm.py` have the backwards.
#
# ## What this does not show
#
# Why this design works so well: RMSNorm, rotary positions and SwiGLU won in experiments. And speed:
# attention compares all pairs of tokens, so its cost grows with the square of the length; at the
# lengths of these lessons the products with the weights cost more.
