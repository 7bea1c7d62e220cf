"""`python -m benchmarks.real FOLDER`: a published model here and with transformers + PEFT, on the same batch, in turns.

A step of 4 x 128 tokens with LoRA (rank 8) on all linear layers, and 32 tokens decoded, on one thread; then the memory
of a process that loads the model and takes two steps, for each side in one of its own. FOLDER: such as
SmolLM2-135M-Instruct, see docs/real-model.md. --nf4: on a base in NF4 with double quantization, there by bitsandbytes.
"""

import re
import sys
import time
from pathlib import Path

import click
import numpy as np

from .options import OneLine, environment, need_reference, output_of

BATCH, LENGTH, NEW = 4, 128, 32
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}


def ours(folder, nf4):
    """(function that takes a step, function that decodes) of minilora."""
    import minilora as ml

    config = ml.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    base = ml.load_pretrained(folder, quantization_config=ml.BitsAndBytesConfig(**NF4) if nf4 else None)
    model = ml.get_peft_model(base, config).train()
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (BATCH, LENGTH))
    optimizer = ml.AdamW([p for p in model.parameters() if p.requires_grad])

    def step():
        model.train().loss(ids, ids).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, lambda: model.eval().generate(ids[:1, :16], NEW)


def theirs(folder, nf4):
    """The same with transformers and PEFT."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch.set_num_threads(1)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    quantized = {"quantization_config": BitsAndBytesConfig(**NF4)} if nf4 else {}  # products in float32
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **quantized)
    model = get_peft_model(base, config).train()
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, model.config.vocab_size, (BATCH, LENGTH)))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def step():
        model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def decode():
        model.eval()
        options = {"min_new_tokens": NEW, "max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
        model.generate(input_ids=ids[:1, :16], attention_mask=torch.ones(1, 16), **options)

    return step, decode


SIDES = {"minilora": ours, "transformers + PEFT": theirs}


def cpu_seconds(work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def peak_mib() -> float:
    """The most resident memory that this process has had. (On Linux; ru_maxrss would begin with the parent's.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**10


def memory_of(side, folder, nf4):
    """Print the peak with the libraries alone, with the model loaded, and after two steps."""
    if side == "minilora":
        import minilora.models.pretrained  # noqa: F401
    else:
        import bitsandbytes  # noqa: F401
        import peft  # noqa: F401
        import transformers.models.llama.modeling_llama  # noqa: F401
    libraries = peak_mib()
    step, _ = SIDES[side](folder, nf4)
    loaded = peak_mib()
    step()
    step()
    print(libraries, loaded, peak_mib())


@click.command(cls=OneLine)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Turns of each side.")
@click.option("--nf4", is_flag=True, help="On a base in 4 bits: QLoRA.")
@click.option("--memory-of", "side", hidden=True, type=click.Choice(list(SIDES)), help="Measure one side here.")
def main(folder, rounds, nf4, side):
    """Compare one thread of both sides in CPU time: it does not depend on what else the machine does."""
    need_reference()
    if side:
        memory_of(side, folder, nf4)
        return
    works = {name: make(folder, nf4) for name, make in SIDES.items()}
    for which, what in enumerate((f"a step of {BATCH} x {LENGTH} tokens", f"{NEW} tokens decoded")):
        for work in works.values():
            work[which]()  # once without measuring
        times = np.array([[cpu_seconds(work[which]) for work in works.values()] for _ in range(rounds)])
        here, there = np.median(times, axis=0)
        ratio = np.median(times[:, 0] / times[:, 1])
        print(f"{what}: {here:.2f} s of CPU time, transformers + PEFT {there:.2f} s, ratio {ratio:.2f}", flush=True)
    for side in SIDES:
        command = [sys.executable, "-m", __spec__.name, str(folder), "--memory-of", side, *(["--nf4"] if nf4 else [])]
        libraries, loaded, trained = map(float, output_of(command, environment(1)).split())
        peaks = f"{loaded:.0f} MiB when the model is loaded, {trained:.0f} after two steps"
        print(f"{side}, most memory: {libraries:.0f} MiB with the libraries alone, {peaks}", flush=True)


if __name__ == "__main__":
    main()
