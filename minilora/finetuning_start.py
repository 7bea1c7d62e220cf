"""What a training says before its first step: what is trained, on how much, and the memory that it will take."""

import sys
import warnings
from pathlib import Path

from .counting.architectures.catalog import default_targets, load
from .counting.count import count, count_config
from .counting.engine import OVERHEAD, W, own_budget, own_methods
from .counting.machine import free_memory
from .display.numbers import GIB
from .errors import MiniloraError, counted
from .finetuning_data import Data
from .quantization.residual import Residual
from .quantization.stored import Stored
from .training.parallel import ALONE, TAIL, Workers


def show_start(
    settings: dict, data: Data, model, base: Path, trained: int, progress: bool, workers: Workers = ALONE
) -> None:
    """Print the plan on standard error, if `progress`, and warn when this machine has too little memory for it.

    settings: of `finetuning.finetune`, with the learning rate. trained: number of parameters. workers: that train
    together; the memory is that of one of them, and those on this machine share what is free.
    """
    rows_a_step, steps = settings["batch_size"] * settings["accumulate"], settings["steps"]
    settings = settings | {"batch_size": -(-settings["batch_size"] // workers.size)}
    needed, room = expected_memory(settings, data, model, base), free_memory() // workers.local
    if progress:
        total = sum(p.size for p in model.parameters())
        print(f"training {trained:,} of {total:,} parameters, base {base}", file=sys.stderr)
        if workers.size > 1:
            sent, of_all = 4 * (trained + TAIL), 4 * (total + TAIL)
            print(
                f"{workers.size} workers; each adds {sent:,} bytes to the sum of a step, {sent / of_all:.2%} of the "
                f"{of_all:,} of all parameters",
                file=sys.stderr,
            )
        unit, passes = "window" if settings["text"] else "row", steps * rows_a_step / data.rows
        passes = f"{passes:.3g}" if passes < 100 else f"{passes:,.0f}"
        passes += " pass" if passes == "1" else " passes"
        taken = f"{counted(steps, 'step')} of {rows_a_step} {'is' if steps == 1 else 'are'} {passes}"
        plan = f"{taken}; learning rate {settings['lr']:.3g}"
        form = f"; rows of {data.form}" if data.form else ""
        print(f"{counted(data.rows, unit)}, {data.held_out:,} held out; {plan}{form}", file=sys.stderr)
        if any(isinstance(p.data, Residual) for p in model.parameters()):
            print(f"{settings['quantize']} keeps the adapter's start in float32; use the adapter without --quantize",
                  file=sys.stderr)  # fmt: skip
        if needed:
            batch = f"batches of {settings['batch_size']} x {data.longest} tokens"
            of = " of each worker" if workers.size > 1 else ""
            print(
                f"memory expected{of}: {needed / GIB:.1f} GiB for {batch}; {room / GIB:.1f} GiB are free",
                file=sys.stderr,
            )
    if needed and needed > room:
        warnings.warn(
            f"this training will need about {needed / GIB:.1f} GiB, and {room / GIB:.1f} GiB are free; a smaller batch "
            "size (with more accumulate) needs less",
            stacklevel=3,
        )


def expected_memory(settings: dict, data: Data, model, base: Path) -> int | None:
    """Bytes at the peak of a step on the longest rows, as `minilora params --engine minilora` counts them.

    None where they are not counted: on a GPU, in 16 bits, or for another method than LoRA and the full one.
    """
    plain = settings["device"] == "cpu" and settings["precision"] == "float32"
    config = getattr(model, "peft_config", {}).get("default")
    if not plain or getattr(config, "peft_type", "LORA") != "LORA":
        return None
    try:
        architecture = load(str(base))
        own_methods(architecture)
        if config is None:
            counted, method = count(architecture, default_targets(architecture), 8), "full"
        else:
            counted, method = count_config(architecture, config), "LoRA"
        budget = own_budget(method, counted, settings["batch_size"], data.longest, settings["chunked_loss"])
    except MiniloraError:  # what cannot be counted can be trained all the same
        return None
    step = budget.total_recomputed if settings["checkpointing"] else budget.total
    stored = [p for p in model.parameters() if isinstance(p.data, Stored)]  # counted as float32 so far
    return step + int(OVERHEAD * GIB) - sum(W * p.size - p.data.nbytes for p in stored)
