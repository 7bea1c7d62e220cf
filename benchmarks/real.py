"""`python -m benchmarks.real FOLDER`: a published model here and with transformers + PEFT, on the same batch, in turns.

A step of 4 x 128 tokens with LoRA (rank 8) on all linear layers, and 32 tokens decoded, on one thread. FOLDER: such as
SmolLM2-135M-Instruct, see docs/real-model.md.
"""

import time
from pathlib import Path

import click
import numpy as np

from .options import OneLine, need_reference

BATCH, LENGTH, NEW = 4, 128, 32


def ours(folder):
    """(function that takes a step, function that decodes) of minilora."""
    import minilora as ml

    config = ml.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    model = ml.get_peft_model(ml.load_pretrained(folder), config).train()
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (BATCH, LENGTH))
    optimizer = ml.AdamW([p for p in model.parameters() if p.requires_grad])

    def step():
        model.train().loss(ids, ids).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, lambda: model.eval().generate(ids[:1, :16], NEW)


def theirs(folder):
    """The same with transformers and PEFT."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), config).train()
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


@click.command(cls=OneLine)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=5, show_default=True, help="Turns of each side.")
def main(folder, rounds):
    """Compare one thread of both sides in CPU time: it does not depend on what else the machine does."""
    need_reference()
    works = {name: make(folder) for name, make in SIDES.items()}
    for which, what in enumerate((f"a step of {BATCH} x {LENGTH} tokens", f"{NEW} tokens decoded")):
        for work in works.values():
            work[which]()  # once without measuring
        times = np.array([[cpu_seconds(work[which]) for work in works.values()] for _ in range(rounds)])
        here, there = np.median(times, axis=0)
        ratio = np.median(times[:, 0] / times[:, 1])
        print(f"{what}: {here:.2f} s of CPU time, transformers + PEFT {there:.2f} s, ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
