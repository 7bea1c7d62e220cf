"""The memory of a step in each way to train, measured, and what `minilora params` predicts. See benchmarks/memory.py.

"Measured" is the peak of what the C library has handed out during two steps, above its value before the model was
built: weights, gradients, the optimizer's arrays, activations and all temporary arrays. Everything is in float32, but
for the 4-bit base; both sides train the same Llama on the same tokens.
"""

import gc
import sys
import tempfile
from pathlib import Path

from .options import environment, output_of
from .peak_memory import PeakMemory, allocated

METHODS = ("full", "LoRA", "4-bit + LoRA")
WAYS = ("kept", "recomputed", "kept, chunked loss", "recomputed, chunked loss")
RANK = 8
MIB = 2**20


def table(sizes, module):  # -> Markdown lines, one at a time
    """module: the name of the module that measures one case when it is called with --way."""
    yield "| size | method | activations, loss | here | predicted | error | torch + PEFT | predicted | error |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for size in sizes:
        for method in METHODS:
            for way in WAYS:
                cells = []
                for side in ("here", "torch"):
                    found = None if side == "torch" and "chunked" in way else measured(module, side, size, method, way)
                    made = predicted(side, size, method, way)
                    error = "" if found is None or made is None else f"{100 * (made / found - 1):+.1f} %"
                    cells += [mib(found), mib(made) if found is not None else "", error]
                yield f"| {size} | {method} | {way} | " + " | ".join(cells) + " |"


def mib(n):
    return "" if n is None else f"{n / MIB:.0f} MiB"


def measured(module, side, size, method, way):  # -> bytes
    command = [sys.executable, "-m", module, "--way", side, size, method, way]
    return int(output_of(command, environment(1)))


def predicted(side, size, method, way):  # -> bytes, or None where nothing predicts them
    from minilora.counting.architectures.catalog import from_config
    from minilora.counting.count import count
    from minilora.counting.engine import METHODS as OWN
    from minilora.counting.engine import own_budget
    from minilora.counting.memory import budget
    from minilora.models.pretrained import config_to_json

    from .models import SIZES, config_of

    if side == "here" and method not in OWN:
        return None
    counted = count(from_config(config_to_json(config_of("llama", SIZES[size])), "llama"), "all-linear", RANK)
    batch, length = SIZES[size].batch, SIZES[size].tokens
    if side == "here":
        made = own_budget(method, counted, batch, length, chunked="chunked" in way)
    else:
        made = budget(method, counted, batch, length, "float32")
    return (made.recomputed if "recomputed" in way else made.kept).peak.bytes


def measure(side, size_name, method, way):  # -> bytes at the peak
    from .models import SIZES, batch, build

    with tempfile.TemporaryDirectory() as folder:
        build("llama", SIZES[size_name]).save_pretrained(Path(folder) / "base")
        (step_here if side == "here" else step_there)(Path(folder) / "base", method, way, warm=True)
        gc.collect()
        before = allocated()
        step = (step_here if side == "here" else step_there)(Path(folder) / "base", method, way)
    ids, labels = batch(SIZES[size_name])
    with PeakMemory() as memory:
        now = allocated()
        step(ids, labels)
        step(ids, labels)
    return now - before + round(memory.mib[1] * MIB)


def step_here(folder, method, way, warm=False):  # -> function (ids, labels)
    import minilora as ml
    from minilora.training.optim import AdamW

    four_bit = {"quantization_config": ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")}
    model = ml.load_pretrained(folder, **(four_bit if "4-bit" in method else {}))
    model.chunked_loss = "chunked" in way
    if method != "full":
        model = ml.get_peft_model(model, ml.LoraConfig(r=RANK, lora_alpha=16, target_modules="all-linear"))
    if "recomputed" in way:
        model.gradient_checkpointing_enable()
    optimizer = AdamW([p for p in model.train().parameters() if p.requires_grad])

    def step(ids, labels):
        model.loss(ids, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return warmed(step) if warm else step


def step_there(folder, method, way, warm=False):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch.set_num_threads(1)
    four_bit = {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                                                          bnb_4bit_use_double_quant=True)}  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **(four_bit if "4-bit" in method else {}))
    if method != "full":
        config = LoraConfig(r=RANK, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    if "recomputed" in way:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW([p for p in model.train().parameters() if p.requires_grad])

    def step(ids, labels):
        model(input_ids=torch.from_numpy(ids), labels=torch.from_numpy(labels), use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return warmed(step) if warm else step


def warmed(step):
    """One step on eight tokens, so that the libraries load what they load at first use."""
    import numpy as np

    ids = np.ones((1, 8), dtype=np.int64)
    step(ids, ids)
