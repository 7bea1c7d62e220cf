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
# # 12 · Leave the toy
#
# *30 minutes to read · needs lesson 0 · reads `minilora/adapters/files.py`, `minilora/models/gpt2.py`
# · exercises 12.1 and 12.2*
#
# **You will be able to** take an adapter from here to Hugging Face PEFT and back, recognise the
# traps of a loader that is too kind, run the same code on a real model and on a GPU, and build an
# adapter from your own functions, in five steps.

# %%
import json
import os
import tempfile
import textwrap
from pathlib import Path

import numpy as np

from minilora import LoraConfig, PeftModel, get_peft_model, load_pretrained
from minilora.backend import require_cupy
from minilora.text.tokenizer import load_tokenizer
from minilora.errors import MiniloraError
from minilora.files.hub import model_folder
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minilora.training.optim import AdamW
from minilora.files.safetensors import read_tensors, write_tensors
from minilora.course.lesson import BLUE, ORANGE, cards, show_axes
from minilora.course.lesson import answer, check, hint, predict, predictions
from minilora.course.lesson import budget, expect, expect_between
from minilora.course.lesson import save_answers
from minilora.course.lab.own_lora import lora_from
from minilora.course.lab.tune import affordable_steps, load_base, test_score, tune
from minilora.tasks.shipped import get_task
from minilora.text.batches import PairBatches

# %% [markdown]
# ## A folder that every tool reads
#
# PEFT keeps an adapter as a folder with two files: the settings as JSON, the numbers as
# safetensors. We train a short adapter, save it, and look inside.

# %%
base, tokenizer = load_base()
config = LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
model = get_peft_model(base, config, seed=0)
tune(model, tokenizer, "style-json", steps=budget(120, in_browser=60), lr=5e-3, seed=0)
workspace = tempfile.TemporaryDirectory()
folder = Path(workspace.name) / "adapter"
model.save_pretrained(folder)

settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
for key in ("peft_type", "r", "lora_alpha", "target_modules", "task_type"):
    print(f"{key:24} {settings[key]}")
tensors = read_tensors(folder / "adapter_model.safetensors")
print(f"\n{len(tensors)} tensors, the first two:")
for name in sorted(tensors)[:2]:
    print(f"    {name}  {tensors[name].shape}")

# %% tags=["fold"]
expect("tensors: A and B of q and v in 4 layers", len(tensors), 2 * 2 * 4)

# %% [markdown]
# The names are paths through the model, with `base_model.model.` in front. Loaded into a fresh
# base, the adapter must compute the same.

# %%
ids = np.array([tokenizer.encode("Where does Bess Moss live?\n")])
again = PeftModel.from_pretrained(load_base()[0], folder)

# %% tags=["fold"]
expect(
    "outputs of the loaded adapter, to the bit",
    bool(np.array_equal(again(ids).numpy(), model(ids).numpy())),
    True,
)

# %% [markdown]
# ## A loader that is too kind
#
# What if a tensor matches no module, because somebody's script dropped the prefix of the names? Or
# `lora_alpha` is missing from the settings? PEFT prints a warning for the first and runs **with $B
# = 0$**: the base alone. For the second it silently takes 8.
#
# **Predict.** Our adapter has $\alpha = 32$ and $r = 4$, so $s = 8$. Read with $\alpha = 8$, it
# gets $s = 2$. The score was nearly 1. Is it now the same, about half, or near 0?

# %%
small_scale = predict("score with a quarter of the scale (same, half, near 0)", None)

# %%
scores = {"as trained": test_score(model, tokenizer, "style-json")}
for layer in model.base_model.layers:
    layer.adapters["default"].scaling = 8 / 4
scores["lora_alpha missing,\nread as 8"] = test_score(model, tokenizer, "style-json")
for layer in model.base_model.layers:
    layer.adapters["default"].scaling = 32 / 4
with model.disable_adapter():
    scores["names without prefix,\nB stays 0"] = test_score(model, tokenizer, "style-json")
right, small, none = scores.values()
small_scale.compare(
    "near 0" if small < 0.1 else "same" if small > 0.9 * right else "half",
    wrong={
        "half": "An answer is right as a whole or not at all: a quarter moves too few "
        "tokens of it.",
        "same": "The scale is part of what was trained; a quarter of it is another model.",
    },
)
print([round(s, 2) for s in scores.values()])

# %% tags=["fold"]
expect_between("as trained", right, 0.7, 1.0)
expect_between("with a quarter of the scale", small, 0.0, 0.5)
expect_between("with B = 0", none, 0.0, 0.1)

# %% tags=["fold"]
with show_axes(height=4.4) as axes:
    bars = axes.bar(list(scores), scores.values(), color=[BLUE, ORANGE, ORANGE], width=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=4)
    axes.set(
        ylabel="score on the test split",
        ylim=(0, 1.15),
        title="the same file, read by a loader that guesses",
    )

# %% [markdown]
# Nothing crashes. You might conclude that fine-tuning does not work. So minilora loads strictly: it
# refuses a file that does not fit, and lists the missing and the extra tensors.


# %%
def refused(change_settings=None, rename=None):  # -> the error that a changed copy gives
    copy = Path(tempfile.mkdtemp(dir=workspace.name))
    changed = dict(settings)
    if change_settings:
        change_settings(changed)
    (copy / "adapter_config.json").write_text(json.dumps(changed), encoding="utf-8")
    renamed = {(rename or str)(name): array for name, array in tensors.items()}
    write_tensors(copy / "adapter_model.safetensors", renamed)
    try:
        PeftModel.from_pretrained(load_base()[0], copy)
    except MiniloraError as error:
        return str(error).replace(str(copy), "FOLDER")
    return None


errors = {
    "no lora_alpha": refused(lambda s: s.pop("lora_alpha")),
    "names without the prefix": refused(rename=lambda n: n.removeprefix("base_model.")),
    "a wrong target": refused(lambda s: s.update(target_modules=["q_prj", "v_proj"])),
    "a feature of a later version": refused(lambda s: s.update(use_next_years_idea=True)),
}
for what, error in errors.items():
    print(f"{what}:\n{textwrap.indent(textwrap.fill(textwrap.shorten(error, 300), 90), '    ')}\n")

# %% tags=["fold"]
expect("changed folders that were refused", sum(e is not None for e in errors.values()), 4)

# %% [markdown]
# ## Do: refuse a wrong key

# %%
cards("12.2")


# %% tags=["exercise"]
def compare_names(expected, found):
    """The reasons why an adapter file does not fit a model.

    expected: {name: shape}, the tensors that the model expects; found: {name: shape}, those in the file. Returns
    (missing, extra, wrong_shape), three lists of names: expected but not found; found but not expected; in both, with
    different shapes. All three are empty when the file fits.
    """
    raise NotImplementedError


check("12.2", compare_names)

# %%
reasons = answer("12.2")
expected = {name: array.shape for name, array in tensors.items()}
renamed = {name.removeprefix("base_model."): shape for name, shape in expected.items()}
missing, extra, wrong_shape = reasons(expected, renamed)
print(f"without the prefix: {len(missing)} missing, {len(extra)} extra, {len(wrong_shape)} wrong")

# %% tags=["fold"]
expect("without the prefix: missing and extra", [len(missing), len(extra)], [16, 16])

# %% [markdown]
# ## GPT-2 stores its weights the other way round
#
# GPT-2's linear layers (`Conv1D`) keep $W$ as `(in, out)` and compute $y = xW$. PEFT's setting for it
# is `fan_in_fan_out=True`: "the weight is stored as in, out". $A$ is `(r, in)` and $B$ is `(out, r)` as
# always. So what must be added to the stored array? Where `in = out`, a forgotten transpose raises
# no error; the result is only wrong.
#
# ## Do: merge into it

# %%
cards("12.1")


# %% tags=["exercise"]
def merge_conv1d(W, A, B, s):
    """The merged weight of GPT-2's Conv1D, which stores W as (in, out) and computes y = x W.

    W: (in, out), A: (r, in), B: (out, r); s: number. The adapter adds s (x Aᵀ) Bᵀ, as always.
    Returns a new array (in, out).
    """
    raise NotImplementedError


check("12.1", merge_conv1d)

# %% [markdown]
# We compare with the library, on a tiny model of random numbers. `init_lora_weights=False` starts
# $B$ random instead of zero, so that there is an update without any training.

# %%
tiny = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=12, n_layer=1, n_head=2)).init(seed=0)
adapted = get_peft_model(
    tiny,
    LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=["attn.c_proj"],
        fan_in_fan_out=True,
        init_lora_weights=False,
    ),
    seed=1,
)
tokens = np.array([[3, 1, 4, 1, 5]])
apart = adapted(tokens).numpy()
layer = adapted.get_submodule("base_model.model.transformer.h.0.attn.c_proj")
A, B = layer.adapters["default"].A.data, layer.adapters["default"].B.data
stored = layer.base_layer.weight.data.copy()  # (in, out), here both 12

adapted.merge_adapter()
layer = adapted.get_submodule("base_model.model.transformer.h.0.attn.c_proj")
expect("merged and apart", adapted(tokens).numpy(), apart, within=1e-5)
merged = layer.base_layer.weight.data
by_you = answer("12.1")(stored, A, B, 2.5)
expect("the stored weight by your function, W + s (B A)ᵀ", merged, by_you, within=1e-6)
wrong = float(np.abs(stored + 2.5 * (B @ A) - merged).max())

# %% tags=["fold"]
expect_between("how far off without the transpose, and no error", wrong, 0.01, 100)

# %% [markdown]
# ## A real model
#
# If you have GPT-2, Llama 3.2 1B, SmolLM2 or a similar model, put its folder (or its name, if the
# hub's own tools have cached it) in place of `os.environ...`, and ten steps teach it one sentence.
# Without one, this cell says so and goes on.

# %%
MODEL = os.environ.get("MINILORA_LESSON_MODEL")  # or the folder of a real model, such as "gpt2"
if MODEL is None:
    print("no real model named: set MODEL, or the variable MINILORA_LESSON_MODEL")
else:
    real = load_pretrained(MODEL)
    total = sum(p.size for p in real.parameters())
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    real = get_peft_model(real, config, seed=0)
    trained, _ = real.get_nb_trainable_parameters()
    print(f"{MODEL}: {total:,} parameters; rank 8 on every linear layer trains {trained:,}")
    words = load_tokenizer(model_folder(MODEL)).encode("The town crier of Tidewick calls the hour.")
    sentence, losses = np.array([words]), []
    optimizer = AdamW([p for p in real.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(10):
        loss = real.loss(sentence, sentence)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    print(f"loss of one sentence: {losses[0]:.2f} at first, {losses[-1]:.2f} after ten steps")
    expect("the loss has fallen", losses[-1] < losses[0], True)

# %% [markdown]
# ## The same on a GPU
#
# An array knows its device. After a move to the GPU with CuPy, the same lines run there; in a
# lesson only one argument changes.

# %%
try:
    require_cupy("cuda")
    device = "cuda"
except MiniloraError as error:
    device = "cpu"
    print(f"running on the CPU ({error})")
moved = PeftModel.from_pretrained(load_base()[0], folder).to(device)
on_device = moved(ids).numpy()
print("device:", moved.device)

# %% tags=["fold"]
expect("outputs on the device and on the CPU", on_device, model(ids).numpy(), within=1e-2)

# %% [markdown]
# ## Capstone: an adapter by your own code
#
# Five steps, with the functions that you wrote in the course. Where one is missing, the course's own
# takes its place, and a line says so. (`load_answers("DIR")` reads the answers of your files, when this is a
# new kernel.)
#
# **Step 1, the layer:** forward and backward of one adapted matrix, from lesson 6.

# %%
forward, gradients, to_below = answer("6.1"), answer("6.2"), answer("6.3")

# %% [markdown]
# **Step 2, inject:** your layer beside each of the 28 frozen matrices of the base.

# %%
mine, tokenizer = lora_from(forward, gradients, to_below, r=8, alpha=16)
mine.print_trainable_parameters()

# %% [markdown]
# **Step 3, train:** a loop of five lines on the town crier's style. One call is timed first: if your
# functions are slow, there are fewer steps.

# %%
examples = get_task("style-crier").examples("train")
batches = PairBatches(examples, tokenizer, 16, 512, np.random.default_rng(0))
first_ids, first_labels = next(batches)
wanted = budget(120, in_browser=80)
steps = affordable_steps(lambda: mine.loss(first_ids, first_labels).backward(), wanted)
trained = [p for p in mine.parameters() if p.requires_grad]
optimizer = AdamW(trained, lr=5e-3)
optimizer.zero_grad()
for _ in range(steps):
    batch_ids, batch_labels = next(batches)
    mine.loss(batch_ids, batch_labels).backward()
    optimizer.step()
    optimizer.zero_grad()
score = test_score(mine, tokenizer, "style-crier")
print(f"right in the crier's style after {steps} steps: {score:.2f}")

# %% tags=["fold"]
expect_between("score of your adapter", score, 0.8 if steps == wanted else 0.0, 1.0)

# %% [markdown]
# **Step 4, merge:** one matrix for both, by your function of lesson 0.

# %%
one_matrix = answer("0.1")
plain, _ = load_base()
weights = dict(plain.named_parameters())
for layer in mine.base_model.layers:
    A, B = layer.adapters["default"].A.data, layer.adapters["default"].B.data
    weights[layer.path + ".weight"].data = one_matrix(layer.base_layer.dense(), A, B, 16, 8)
merged_score = test_score(plain, tokenizer, "style-crier")
print(f"merged: {merged_score:.2f}")

# %% tags=["fold"]
expect("merged and apart", merged_score, score, within=0.03)

# %% [markdown]
# **Step 5, save:** PEFT's folder. Your function of exercise 12.2 says whether it fits, and a strict
# loader opens it. So does PEFT: the folder has its names, shapes and settings.

# %%
mine.save_pretrained(folder.parent / "capstone")
saved = read_tensors(folder.parent / "capstone" / "adapter_model.safetensors")
wanted = {
    f"base_model.model.{layer.path}.lora_{part}.weight": getattr(
        layer.adapters["default"], part
    ).shape
    for layer in mine.base_model.layers
    for part in "AB"
}
print("missing, extra, wrong:", *reasons(wanted, {name: a.shape for name, a in saved.items()}))
opened = PeftModel.from_pretrained(load_base()[0], folder.parent / "capstone")

# %% tags=["fold"]
expect("the opened adapter against yours", opened(ids).numpy(), mine(ids).numpy(), within=1e-3)

# %% [markdown]
# To keep it, give `save_pretrained` a folder of your own; `save_answers("DIR")` writes your functions into files.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/adapters/files.py` reads and writes the folder; `minilora/models/gpt2.py` has `Conv1D`,
# the only class that knows about the transpose. `minilora inspect DIR` lists the parts of an
# adapter, and says whether it fits a base. More on names and traps: `lessons/peft.md`.
#
# ## What this does not show
#
# Bases in 4 bit (lesson 13), and adapters of other kinds, such as DoRA (lesson 15) and IA3.
#
# ## Questions
#
# <details><summary>An adapter loads without an error and the model answers as before. Name two causes.
# </summary>Tensor names that match no module, so that B stays zero; a scale that was read too small,
# because alpha is missing.</details>
#
# <details><summary>Which two files make an adapter in PEFT's format?</summary>adapter_config.json, the
# settings, and adapter_model.safetensors, the numbers.</details>
#
# <details><summary>Why is a square matrix dangerous in a test of Conv1D?</summary>A forgotten transpose
# fits its shape: no error, only wrong numbers.</details>
#
# <details><summary>What does a strict loader do with a setting that it does not know?</summary>It refuses the
# file and names the setting, because it may change the computation.</details>
