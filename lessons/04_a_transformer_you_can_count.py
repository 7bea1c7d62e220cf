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
# *35 minutes to read, in two parts · needs matrix products; lesson 2 for softmax, lesson 3 for Adam ·
# reads `minilora/models/llama.py` · exercises 4.1 to 4.3*
#
# **You will be able to** name every matrix of a Llama decoder, say what it is for, and count its
# parameters exactly.
#
# *Two parts with a break between them: (a) one token: norm and position; (b) many tokens:
# attention, heads, MLP, the count, and a little training.*

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
from minilora.course.lab.tune import load_base
from minilora.course import drawings
from minilora.course.lesson import BLUE, GREEN, ORANGE, cards, show_axes, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import expect, expect_between

rng = np.random.default_rng(3)

# %% [markdown]
# # Part a: one token
#
# *20 minutes to read, 5 for exercise 4.1. New symbols: $w$, $q$, $k$; and the sizes $d$ and $T$.*
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
# Before each part of a block, RMSNorm brings the vector to a fixed size. Divided by its root mean
# square, the root of the mean of its squares, the vector has the mean square 1. Then each number
# is multiplied by its own weight: $w$ has the shape `(d,)`, is learned, and starts at 1. A small
# $\epsilon = 10^{-6}$ is added under the root, which prevents a division by zero.
#
# ## Do (a)

# %%
cards("4.1")


# %% tags=["exercise"]
def rms_norm(x, w, eps):
    """Each row of x divided by its root mean square, then weighted by w. eps is added to the mean, under the root.

    x: (..., d), a row is the last axis; w: (d,); eps: a number. Returns an array of the shape of x.
    """
    raise NotImplementedError


check("4.1", rms_norm)

# %% [markdown]
# As a formula:
#
# $$y = w \cdot \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}}$$
#
# **Predict.** We multiply $x$ by 1,000. By what factor does $y$ grow?

# %%
growth = predict("y grows by the factor", None)

# %%
norm = answer("4.1")
x, w = rng.standard_normal((5, 8)), np.ones(8)
y, y_large = norm(x, w, 1e-6), norm(1000 * x, w, 1e-6)
growth.compare(
    float(np.round(np.abs(y_large / y).mean(), 3)),
    wrong={
        1000: "x is divided by its own size, so the size of x cancels: only its direction is left."
    },
)

# %% tags=["fold"]
expect("the mean square of every row", (y**2).mean(axis=1), np.ones(5), within=1e-4)
expect("1,000 times larger x, same y", y_large, y, within=1e-4)
expect("the same by the library", y, ops.rms_norm(Tensor(x), Tensor(w)).data, within=1e-6)

# %% [markdown]
# ## Rotary positions: turn instead of add
#
# Attention compares a *query* $q$ with *keys* $k$ by their dot product. The dot product alone
# cannot tell "dog bites man" from "man bites dog". The rotary embedding takes the numbers of a
# vector in pairs. A pair is an arrow in the plane, and the embedding **turns** it by an angle: the
# position times a frequency, which is another one for each pair.

# %% tags=["fold"]
with show_axes(width=8, height=4) as axes:
    drawings.turning_pair(axes, degrees=35)

# %% [markdown]
# Two arrows that are turned by the same angle keep their dot product (it depends on the angle
# *between* them), so only the **distance** between two positions matters.
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

# %% tags=["fold"]
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

# %% tags=["fold"]
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
# # Part b: many tokens
#
# *15 minutes to read, 30 for exercises 4.2 and 4.3. New symbols: $v$, $p$, $o$; and the size $m$.*
#
# ## Attention: look back, and take a mean
#
# Learned matrices turn each token into a query $q$, a key $k$ and a *value* $v$, all of width `hd`.
# Token $i$ scores every token $j$ up to itself, by $q_i \cdot k_j / \sqrt{hd}$. Softmax (lesson 2) turns
# the scores of a row into shares $p$, and the output $o_i$ is the mean of the values, weighted by
# these shares. The root keeps the scores from growing with the width.
#
# ## Do: attention

# %%
cards("4.2")


# %% tags=["exercise"]
def causal_attention(q, k, v):
    """One head of causal attention: token i averages v over the tokens 0 ... i.

    q, k, v: (T, hd), a row for each token. Returns (T, hd).
    The weights of row i are the softmax of q_i · k_j / √hd over j = 0 ... i; the tokens after i do not count.
    """
    raise NotImplementedError


check("4.2", causal_attention)

# %% [markdown]
# As a formula:
#
# $$o_i = \sum_{j \le i} p_{ij}\, v_j, \qquad
# p_i = \mathrm{softmax}_j\!\left(\frac{q_i \cdot k_j}{\sqrt{hd}}\right)$$
#
# These are the shares of one trained head of the shipped base (layer 1, head 1) on a sentence. The
# upper half is empty: no token sees a later one. With the identity matrix in place of the values,
# your function returns the shares themselves.

# %%
attend = answer("4.2")

base, _ = load_base()
sentence = tokenizer.encode("Hattie Sedge lives on Chapel Steps.")
block = base.model.layers[0]
with no_grad():
    embedded = base.model.embed_tokens(np.array([sentence]))
    normed = block.input_layernorm(embedded).data[0].astype(np.float64)  # (T, d)
hd = 32
one_head = [
    (normed @ part.weight.data[:hd].T)[None, :, None]  # (1, T, 1, hd), the first head
    for part in (block.self_attn.q_proj, block.self_attn.k_proj)
]
turns = 10000.0 ** (-np.arange(0, hd, 2) / hd)
angles = ops.rotary_angles(np.arange(len(sentence))[None], turns, np.float64)
q1, k1 = (ops.rotary(Tensor(part), *angles).data[0, :, 0] for part in one_head)  # (T, hd)
p = attend(q1, k1, np.eye(len(sentence)))

# %% tags=["fold"]
with show_axes(width=8, height=6.4) as axes:
    drawings.attention_weights(axes, p, [tokenizer.decode([i]) for i in sentence])
expect("every row of shares adds up to 1", p.sum(axis=1), np.ones(len(sentence)), within=1e-12)

# %% [markdown]
# ## Several heads
#
# One mean for each token is not much. So the vector is cut into *heads*, and each head looks back by
# itself, with its own queries, keys and values of width `hd` = `d / heads`; the results are put
# side by side again and mixed by a last matrix. The shipped base has four query heads. Two of them
# share one key head and one value head (*grouped* attention: fewer keys and values to keep):

# %% tags=["fold"]
with show_axes(width=9.5, height=4.4) as axes:
    drawings.heads(axes, d=128, query_heads=4, kv_heads=2)

# %% [markdown]
# (Another "head", the *language-model head* at the top of the model, turns a vector into one score
# for each token of the vocabulary. The two words have nothing to do with each other.)
#
# **Predict.** We change the last of six tokens. How many of the six outputs change?

# %%
changed = predict("outputs that change with the last of six tokens", None)

# %%
q, k, v = (rng.standard_normal((6, 8)) for _ in range(3))  # (T, hd)
o = attend(q, k, v)
k[-1] += 1.0
v[-1] += 1.0
o_after = attend(q, k, v)
moved = np.abs(o_after - o).max(axis=1) > 0
changed.compare(
    int(moved.sum()),
    wrong={6: "The first five tokens do not look ahead: causal means that they look back only."},
)

# %% tags=["fold"]
expect("the first five outputs, to the bit", bool(np.array_equal(o_after[:5], o[:5])), True)
bias = ops.causal_bias(6, 6, dtype=np.float64)  # 0 where a query sees a key, -1e30 where not
by_library = ops.attention(*(t[None, :, None] for t in (q, k, v)), bias).data[0, :, 0]
expect("the same by the library", o_after, by_library, within=1e-10)

# %% [markdown]
# So one forward pass over a text trains on every position: no position has seen the token that it
# must predict.
#
# ## SwiGLU: the other half of a block
#
# The MLP works on each token alone: two products to width $m$, one of them through
# $\mathrm{silu}(z) = z\,\sigma(z)$ (lesson 1) as a gate on the other, and a product back to width $d$:
#
# $$\mathrm{mlp}(x) = \big(\mathrm{silu}(x\, W_{gate}^T) \cdot x\, W_{up}^T\big)\, W_{down}^T$$
#
# A block is $x + \mathrm{attention}(\mathrm{norm}(x))$, then $x + \mathrm{mlp}(\mathrm{norm}(x))$.
# A model is an embedding, some blocks, a norm, and the language-model head. If that head is *tied*,
# it is the embedding table itself: its score for a token is the dot product with the token's row.
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

# %% [markdown]
# ## Do: count any model
#
# The shapes are in the table. A weight of shape `(out, in)` has `out` times `in` numbers; keys and
# values are narrower than queries; every block has two norms, and one follows the last block.

# %%
cards("4.3")


# %% tags=["exercise"]
def count_parameters(vocab, d, m, layers, heads, kv_heads, tied):
    """The number of parameters of a Llama decoder without biases.

    vocab: tokens in the vocabulary; d: width; m: width of the MLP; layers: blocks; heads: query heads, each d / heads
    wide; kv_heads: key and value heads; tied: True when the head is the embedding itself, so that it counts once.
    """
    raise NotImplementedError


check("4.3", count_parameters)

# %% [markdown]
# Part by part:

# %%
count_all = answer("4.3")
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

# %% tags=["fold"]
expect("by hand and by the model", sum(by_hand.values()), counted)
expect("by your function", count_all(1024, d, m, layers, heads, kv_heads, True), counted)

# %% tags=["fold"]
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

# %% tags=["fold"]
print(f"Llama 3 8B by your function: {count_all(128256, 4096, 14336, 32, 32, 8, False):,}")
expect("Llama 3 8B, the published number of parameters", count, 8_030_261_248)
expect_between("share of the MLP in percent", 100 * mlp / count, 60, 80)

# %% [markdown]
# ## Train it a little
#
# We train a smaller model (width 64, two blocks), from random numbers, on the text that ships with
# the project. One *step* takes a *batch*, here 8 pieces of text of 64 tokens, and moves every number
# by Adam (lesson 3). The loss is the mean of $-\log(\text{share given to the right next token})$. Before
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

# %% tags=["fold"]
expect_between("loss before the first step; log 1024 = 6.93", losses[0], 6.8, 7.1)
expect_between("loss after 300 steps", float(np.mean(losses[-10:])), 0.8, float(by_frequency) - 1)

# %% tags=["fold"]
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

# %%
predictions()

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
#
# ## Questions
#
# <details><summary>Where do most of the parameters of a transformer sit?</summary>In the MLP: about two
# thirds.</details>
#
# <details><summary>Why does attention need positions?</summary>A dot product of a query and a key does not
# depend on where they stand; turned pairs make it depend on their distance.</details>
#
# <details><summary>A model has 32 query heads and 8 key heads. How many queries share one key?</summary>Four.
# </details>
#
# <details><summary>What is the loss of a model that gives all 1,024 tokens the same share?</summary>log 1024 =
# 6.93.</details>
