"""The memory of a step in each way to train, measured, and what `minilora params` predicts. See benchmarks/memory.py.

"Measured" is the peak of what the C library has handed out during two steps, above its value before the model was
built: weights, gradients, the optimizer's arrays, activations and all temporary arrays. Both sides train the same Llama
on the same tokens, in float32 but for the base: with transformers a 4-bit base has the rest in bfloat16, as QLoRA has.

Two things are needed so that torch's bytes are what `minilora params` counts. transformers maps the file of the weights
into memory, which the C library has not handed out: the weights are copied. And the loop keeps the model's output, with
the logits in it, as the examples of PEFT do: `loss.backward()` alone would free them before the backward.
"""

import gc
import tempfile
from pathlib import Path

from minilora.display.plots import COLOURS

from .drawings import markdown, panels
from .options import environment, output_of
from .peak_memory import PeakMemory, allocated
from .rows import Rows
from .running import HERE, progress

BASES = {  # method -> value of --quantize
    "full": None, "LoRA": None, "4-bit + LoRA": "nf4", "8-bit + LoRA": "int8", "16-bit + LoRA": "bf16",
}  # fmt: skip
WAYS = ("kept", "recomputed", "kept, chunked loss", "recomputed, chunked loss")
OWN = ("8-bit + LoRA", "16-bit + LoRA")  # methods that nothing predicts for torch
SIDES = ("here", "torch")
RANK = 8
MIB = 2**20


def results(folder=HERE / "results"):
    return Rows(folder / "memory-ways.json", command="python -m benchmarks.memory --ways")


def cases(size):  # -> [(side, size, method, way)]
    """Every way in full fine-tuning and LoRA. On a base in fewer bits a chunked loss changes little: it is left out."""
    of_both = {"torch": WAYS[:2], "here": WAYS}
    found = []
    for method in BASES:
        for side in SIDES:
            ways = of_both[side] if method in ("full", "LoRA") else WAYS[:2]
            found += [(side, size, method, way) for way in ways if side == "here" or method not in OWN]
    return found


def key_of(case):
    return dict(zip(("side", "size", "method", "way"), case, strict=True))


def measure_all(sizes, command, store):
    """command: what measures one case in a new process when the case follows it."""
    wanted = [case for size in sizes for case in cases(size)]
    with progress(len(wanted)) as step:
        for case in wanted:
            missing = store.find(key_of(case)) is None
            if missing:
                store.add(key_of(case) | {"bytes": int(output_of([*command, *case], environment(1)))})
            step(missing, ", ".join(case))
    store.finish()


def table(store):  # -> Markdown
    lines = []
    for size in dict.fromkeys(row["size"] for row in store.rows):
        for method in BASES:
            for way in WAYS:
                if not store.find(key_of(("here", size, method, way))):
                    continue
                line = [size, method, way]
                for side in SIDES:
                    row = store.find(key_of((side, size, method, way)))
                    made = predicted(side, size, method, way) if row else None
                    line += (
                        [mib(row["bytes"]), mib(made), f"{100 * (made / row['bytes'] - 1):+.1f} %"] if row else [""] * 3
                    )
                lines.append(line)
    head = ["size", "method", "activations, loss", "here", "predicted", "error", "torch + PEFT", "predicted", "error"]
    return markdown(head, lines)


def mib(n):
    return f"{n / MIB:.0f} MiB"


def draw(store, path):
    """A bar for each method and way: measured here and in torch + PEFT, a line where it was predicted."""
    sizes = list(dict.fromkeys(row["size"] for row in store.rows))
    bars = [(method, way) for method in BASES for way in WAYS[:2]]
    with panels(path, len(sizes), 18, 8) as many:
        for axes, size in zip(many, sizes, strict=True):
            for i, side in enumerate(SIDES):
                rows = {bar: store.find(key_of((side, size, *bar))) for bar in bars}
                at = {bar: place + 0.4 * (i - 0.5) for place, bar in enumerate(bars) if rows[bar]}
                label = ("minilora", "torch + PEFT")[i]
                axes.bar(at.values(), [rows[bar]["bytes"] / MIB for bar in at], 0.38, color=COLOURS[i], label=label)
                for bar, x in at.items():
                    axes.hlines(predicted(side, size, *bar) / MIB, x - 0.19, x + 0.19, color="black", linewidth=3)
            axes.set_xticks(range(len(bars)), [f"{m}, {w}" for m, w in bars], rotation=90, fontsize=13)
            axes.set(ylabel="MiB", title=f"size {size}")
            axes.grid(axis="y", alpha=0.3)
        many[0].legend()
        many[0].figure.suptitle("peak of a training step, measured; a line: predicted by minilora params", fontsize=16)


def predicted(side, size, method, way):  # -> bytes
    from minilora.counting.architectures.catalog import from_config
    from minilora.counting.count import count
    from minilora.counting.engine import own_budget
    from minilora.counting.memory import budget
    from minilora.models.pretrained import config_to_json

    from .models import SIZES, config_of

    counted = count(from_config(config_to_json(config_of("llama", SIZES[size])), "llama"), "all-linear", RANK)
    batch, length = SIZES[size].batch, SIZES[size].tokens
    if side == "here":
        own = "full" if method == "full" else "LoRA"
        made = own_budget(own, counted, batch, length, "chunked" in way, BASES[method])
    else:
        made = budget(method, counted, batch, length, "float32")
    return (made.recomputed if "recomputed" in way else made.kept).peak.bytes


def measure(side, size_name, method, way):  # -> bytes at the peak
    from .models import SIZES, batch, build

    ids, labels = batch(SIZES[size_name])
    with tempfile.TemporaryDirectory() as folder:
        build("llama", SIZES[size_name]).save_pretrained(Path(folder) / "base")
        (step_here if side == "here" else step_there)(Path(folder) / "base", method, way)(ids, labels)
        gc.collect()  # what stays are the libraries, and the work space that they keep for products of this size
        before = allocated()
        step = (step_here if side == "here" else step_there)(Path(folder) / "base", method, way)
    with PeakMemory() as memory:
        now = allocated()
        step(ids, labels)
        step(ids, labels)
    return now - before + round(memory.mib[1] * MIB)


def step_here(folder, method, way):  # -> function (ids, labels)
    import minilora as ml
    from minilora.models.pretrained import storage_named
    from minilora.training.optim import AdamW

    model = ml.load_pretrained(folder, **storage_named(BASES[method]))
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

    return step


def step_there(folder, method, way):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch.set_num_threads(1)
    four_bit = {}
    if "4-bit" in method:
        four_bit["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    dtype = torch.bfloat16 if four_bit else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **four_bit)
    for p in model.parameters():
        if p.dtype == dtype:  # not the codes, which were made in memory
            p.data = p.data.clone()
    if method != "full":
        config = LoraConfig(r=RANK, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    if "recomputed" in way:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW([p for p in model.train().parameters() if p.requires_grad])

    def step(ids, labels):
        out = model(input_ids=torch.from_numpy(ids), labels=torch.from_numpy(labels), use_cache=False)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
