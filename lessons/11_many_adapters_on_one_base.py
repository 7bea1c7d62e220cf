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
from minilora.course.lesson import BLUE, ORANGE, cards, show_axes, table
from minilora.course.lesson import expect, expect_between, predict
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

for name, task in (("json", "style-json"), ("crier", "style-crier")):
    model.set_adapter(name)
    tune(model, tokenizer, task, steps=150, lr=3e-3, seed=0)

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
either.compare(sum(together))
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
expect(
    "one layer with both against W + ΔW1 + ΔW2",
    out,
    x @ (W + deltas["json"] + deltas["crier"]).T,
    within=1e-3,
)

# %% [markdown]
# ## One knob
#
# What happens in between? We turn the crier's $B_2$ up from 0 to 1 while the JSON adapter stays on.

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
expect("with the knob at 0: the JSON adapter alone", float(as_json[0]), rows[0][1])
expect("with the knob at 1: both", float(as_json[-1]), together[0])

# %%
with show_axes() as axes:
    axes.plot(knob, as_json, "o-", color=BLUE)
    axes.plot(knob, as_crier, "s-", color=ORANGE)
    axes.text(0.02, as_json[0] - 0.1, "right as JSON", color=BLUE)
    axes.text(0.98, max(as_crier[-1], 0.02) + 0.06, "right as the crier", color=ORANGE, ha="right")
    axes.set(
        xlabel="share of the crier's update that is added",
        ylabel="share of right answers",
        ylim=(-0.05, 1.1),
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
expect_between("seconds for a switch", median, 0, 0.1)

# %% [markdown]
# A switch reads and writes no weight: it changes a list of names, and marks which numbers are
# trainable.
#
# ## Do

# %%
cards("11.1")

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/adapters/model.py`: `add_adapter`, `set_adapter`, `load_adapter`, `save_pretrained`.
# `AdaptedLayer.forward` in `minilora/adapters/layer.py` is the loop over active adapters.
#
# ## What this does not show
#
# Different adapters for different rows of one batch; and better ways to combine two adapters than
# adding them.
