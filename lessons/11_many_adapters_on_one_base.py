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
# # 11 · Many adapters on one base
#
# *20 minutes to read · needs lesson 0 · reads `minilora/adapters/model.py` · exercise 11.1*
#
# **You will be able to** keep many adapters beside one base, switch among them, say what that costs
# in bytes and microseconds, and say what to expect (and not) when two are added.

# %%
import tempfile
import time
from pathlib import Path

import numpy as np

from minilora import LoraConfig, PeftModel, Tensor, get_peft_model
from minilora.course import drawings
from minilora.course.lesson import BLUE, ORANGE, cards, show_axes, table
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import budget, expect, expect_between
from minilora.course.lab.tune import load_base, test_score, tune
from minilora.tasks.scoring import answers
from minilora.tasks.shipped import get_task

# %% [markdown]
# ## Two customers
#
# One wants answers in JSON, the other in the style of the town crier. Same base, same questions. We
# train two adapters, $A_1, B_1$ and $A_2, B_2$, one after the other in the same model; while one
# learns, the other is frozen.

# %%
base, tokenizer = load_base()
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
model = get_peft_model(base, config, adapter_name="json", seed=0)
model.add_adapter("crier", config, seed=1)

steps = budget(150, in_browser=60)
for name, task in (("json", "style-json"), ("crier", "style-crier")):
    model.set_adapter(name)
    tune(model, tokenizer, task, steps=steps, lr=3e-3, seed=0)

question = "Where does Bess Moss live?"
for name in ("json", "crier"):
    model.set_adapter(name)
    print(f"{name:6}", answers(model, tokenizer, [question], 40)[0])

# %%
rows = []
for name in ("json", "crier"):
    model.set_adapter(name)
    rows.append((name, *(test_score(model, tokenizer, t) for t in ("style-json", "style-crier"))))
table(rows, ("active adapter", "scored as JSON", "scored as crier"))

# %% tags=["fold"]
expect_between("JSON by the JSON adapter", rows[0][1], 0.85, 1.0)
expect_between("crier by the crier adapter", rows[1][2], 0.85, 1.0)
expect("crier by the JSON adapter", rows[0][2], 0.0)

# %% [markdown]
# ## Both at once
#
# Several adapters can be active: their updates add up, $\Delta W = s_1 B_1 A_1 + s_2 B_2 A_2$.
#
# **Predict.** Each alone scores near 1.0. With both active: what share of the answers is right *in
# either style*?

# %%
either = predict("right in either style, with both adapters active", None)

# %%
model.set_adapter(["json", "crier"])
together = [test_score(model, tokenizer, t) for t in ("style-json", "style-crier")]
for person in get_task("style-json").examples("test")[:4]:
    print(answers(model, tokenizer, [person["prompt"]], 40)[0])
either.compare(
    sum(together),
    wrong={
        1: "Each layer adds both updates exactly, but the model is not linear between the layers.",
        2: "An answer has one form only: the two shares add up to at most 1.",
    },
)

# %% tags=["fold"]
expect_between("right in either style", sum(together), 0.0, 0.9)

# %% [markdown]
# The algebra is exact: the next cell checks it. The behaviour breaks all the same. The layers are
# linear in $\Delta W$, but the *model* is not: there are norms, softmax and SwiGLU between the
# layers, and each adapter was trained without the other.

# %%
path = "base_model.model.model.layers.2.mlp.down_proj"
layer = model.get_submodule(path)
x = np.random.default_rng(0).standard_normal((5, 352)).astype(np.float32)
W = layer.base_layer.dense()
deltas = {name: adapter.delta() for name, adapter in layer.adapters.items()}
context = model.new_context()  # the context says which adapters are active
out = layer(Tensor(x), context).numpy()

# %% tags=["fold"]
expect(
    "one layer with both against W + ΔW1 + ΔW2",
    out,
    x @ (W + deltas["json"] + deltas["crier"]).T,
    within=1e-3,
)

# %% [markdown]
# ## Do: two adapters as one
#
# If updates add up, there must be one adapter that does what both do, with scale 1. Its rank may be
# as large as $r_1 + r_2$. Which $A$ and which $B$? (Not $A_1 + A_2$: a product of sums has terms that
# nobody wants.)

# %%
cards("11.1")


# %% tags=["exercise"]
def stack_adapters(A1, B1, s1, A2, B2, s2):
    """One adapter, with scale 1, whose update B A is exactly s1 B1 A1 + s2 B2 A2.

    A1: (r1, in), B1: (out, r1), A2: (r2, in), B2: (out, r2); s1, s2: numbers. r1 and r2 may differ.
    Returns (A, B): A (r, in), B (out, r), with r at most r1 + r2.
    """
    raise NotImplementedError


check("11.1", stack_adapters)

# %% [markdown]
# Put the rows of $A_1$ above those of $A_2$, and $s_1 B_1$ beside $s_2 B_2$: a product of blocks is
# the sum of the products of its blocks. For the layer from above:

# %%
stack = answer("11.1")
parts = [(a.A.data, a.B.data, a.scaling) for a in (layer.adapters["json"], layer.adapters["crier"])]
A, B = stack(*parts[0], *parts[1])
largest = float(np.abs(B @ A - (deltas["json"] + deltas["crier"])).max())
print(f"rank {A.shape[0]}; largest difference to the sum of both updates: {largest:.1e}")

# %% tags=["fold"]
expect_between("largest difference", largest, 0.0, 1e-5)

# %% [markdown]
# ## One knob
#
# What happens in between? We turn the crier's $B_2$ up from 0 to 1 while the JSON adapter stays on.
# Think of a knob: at 0 the model answers in JSON, at 1 both updates are added in full.
#
# **Predict.** At which setting of the knob (0, 0.2, 0.4, 0.6, 0.8 or 1) does the share of right JSON
# answers fall below a half?

# %%
breaks = predict("the setting of the knob at which JSON falls below a half", None)

# %%
knob = np.linspace(0, 1, 6)
B2 = {n: p.data.copy() for n, p in model.named_parameters() if ".lora_B.crier" in n}
scores = []
for t in knob:
    for n, p in model.named_parameters():
        if n in B2:
            p.data = (t * B2[n]).astype(np.float32)
    scores.append([test_score(model, tokenizer, task) for task in ("style-json", "style-crier")])
for n, p in model.named_parameters():
    if n in B2:
        p.data = B2[n]
as_json, as_crier = np.array(scores).T
below = knob[as_json < 0.5]
breaks.compare(float(round(below[0], 1)) if len(below) else "none")

# %% tags=["fold"]
expect("with the knob at 0: the JSON adapter alone", float(as_json[0]), rows[0][1])
expect("with the knob at 1: both", float(as_json[-1]), together[0])

# %% tags=["fold"]
with show_axes() as axes:
    axes.plot(knob, as_json, "o-", color=BLUE)
    axes.plot(knob, as_crier, "s-", color=ORANGE)
    axes.text(0.02, as_json[0] - 0.1, "right as JSON", color=BLUE)
    axes.text(0.98, max(as_crier[-1], 0.02) + 0.06, "right as the crier", color=ORANGE, ha="right")
    for t, a, b in zip(knob, as_json, as_crier, strict=True):
        axes.text(t, 1.06, f"{a:.2f}", ha="center", color=BLUE, fontsize=13)
        axes.text(t, -0.14, f"{b:.2f}", ha="center", color=ORANGE, fontsize=13)
    axes.set(
        xlabel="the knob: share of the crier's update that is added",
        ylabel="share of right answers",
        ylim=(-0.2, 1.15),
    )

# %% [markdown]
# ## A library of adapters
#
# What do a hundred customers cost? We compare an adapter on disk, in PEFT's format, with the base:

# %%
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    size = sum(f.stat().st_size for f in (Path(folder) / "json").iterdir())
    model.set_adapter("json")
    before = answers(model, tokenizer, [question], 40)
    loaded = PeftModel.from_pretrained(load_base()[0], Path(folder) / "json")
    after = answers(loaded, tokenizer, [question], 40)
    expect("the loaded adapter gives the same answer", after == before, True)
base_bytes = sum(p.numpy().nbytes for n, p in model.named_parameters() if ".lora_" not in n)
table(
    [
        ("one model for each", 100 * base_bytes / 1e6),
        ("one base and 100 adapters", (base_bytes + 100 * size) / 1e6),
    ],
    ("100 customers", "MB"),
)

# %% tags=["fold"]
expect_between("adapter / base, in bytes", size / base_bytes, 0.05, 0.15)

# %% [markdown]
# (Rank 8 is large for so small a base. For Llama 3 8B, lesson 8 counted 27 MB against 15 GB.)
#
# ## How long does a switch take?
#
# We add 20 more adapters, untrained, to the same model. **Predict** the time of a switch: seconds,
# milliseconds, or less?

# %%
switch = predict("a switch takes (seconds, milliseconds, less)", None)

# %%
for i in range(20):
    model.add_adapter(f"customer-{i}", config, seed=i)
W_before = layer.base_layer.dense()
times = []
for i in range(40):
    began = time.perf_counter()
    model.set_adapter(f"customer-{i % 20}")
    times.append(time.perf_counter() - began)
median = float(np.median(times))
print(f"a switch among {len(model.peft_config)} adapters: {1e3 * median:.2f} ms (median of 40)")
expect("W is the same array after 40 switches", layer.base_layer.dense() is W_before, True)
switch.compare("less" if median < 1e-3 else "milliseconds" if median < 0.1 else "seconds")

# %% tags=["fold"]
expect_between("seconds for a switch", median, 0, 0.1)

# %% [markdown]
# A switch reads and writes no weight: it changes a list of names, and marks which numbers are
# trainable.

# %% tags=["fold"]
with show_axes(width=9.5, height=4.6) as axes:
    drawings.mixed_batch(axes, ["json", "crier", "json", "", "crier"])

# %% [markdown]
# And when requests of several customers arrive at once? The product with $W$ is the same for all
# rows of a batch; only the narrow products differ from row to row. Lesson 22 serves such batches.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/adapters/model.py`: `add_adapter`, `set_adapter`, `load_adapter`, `save_pretrained`.
# `AdaptedLayer.forward` in `minilora/adapters/layer.py` is the loop over active adapters.
#
# ## What this does not show
#
# Different adapters for different rows of one batch (lesson 22), and other ways to combine two
# adapters (lesson 19).
#
# ## Questions
#
# <details><summary>Two adapters of rank 4 are added. Which one adapter does exactly the same?</summary>One of
# rank 8: the rows of A1 above those of A2, and s1 B1 beside s2 B2, with scale 1.</details>
#
# <details><summary>The sum of two updates is exact in every layer. Why do the answers break?</summary>Between
# the layers there are norms, softmax and SwiGLU, which are not linear; and each adapter was trained
# without the other.</details>
#
# <details><summary>What does a switch of adapters read and write?</summary>A list of names. No weight.
# </details>
#
# <details><summary>100 customers: one model for each, or one base and 100 adapters? What decides?
# </summary>The size: an adapter takes a small share of the base, in memory and on disk.</details>
