"""One measurement of several workers, printed as JSON by worker 0; benchmarks/parallel.py starts it.

mpiexec -n 2 python -m benchmarks.parallel_step step 768 lora 8    the steps of a training, batches of 8 rows
mpiexec -n 2 python -m benchmarks.parallel_step company 768 lora 8 the CPU time of their rows, without the sum
mpiexec -n 2 python -m benchmarks.parallel_step sums               the time of a sum, by the bytes of its array
"""

import json
import sys
import time

import numpy as np

from minilora import AdamW, LoraConfig, get_peft_model
from minilora.models.llama import LlamaForCausalLM
from minilora.training.joining import join
from minilora.training.loop import train
from minilora.training.resume import trained

from .models import Size, config_of

TOKENS, VOCAB, LAYERS, R = 32, 1024, 4, 8
WARM_UP, MEASURED, SECONDS = 2, 7, 6  # steps; the time after which fewer steps are enough
SUMS = [1 << n for n in range(8, 28, 3)]  # bytes


def base(width):
    return LlamaForCausalLM(config_of("llama", Size(width, LAYERS, width // 64, width // 64, VOCAB, 1, TOKENS))).init(0)


def batches(rows):
    rng = np.random.default_rng(0)
    while True:
        ids = rng.integers(0, VOCAB, (rows, TOKENS))
        yield ids, ids


def trainable(width, method):  # -> model, optimizer
    model = base(width)
    if method == "lora":
        model = get_peft_model(model, LoraConfig(r=R, lora_alpha=2 * R, target_modules="all-linear"))
    return model, AdamW([p for _, p in trained(model)], lr=1e-4)


def measure_step(width, method, rows):  # -> dict
    """The fastest step: the CPU seconds of one worker alone, which has one thread, or the time that several take."""
    workers = join()
    now = time.process_time if workers.size == 1 else time.perf_counter
    model, optimizer = trainable(width, method)
    times = []

    def clock(run):
        times.append(now())
        slow = len(times) > WARM_UP + 2 and times[-1] - times[0] > SECONDS
        run.stop = bool(workers.gather(slow).any())  # the same step for all

    before = workers.bytes
    run = train(model, batches(rows), optimizer, WARM_UP + MEASURED, callbacks=[clock], workers=workers)
    clocks = 8 * workers.size * (run.step + 1) if workers.bytes else 0  # the numbers of `clock`
    return {
        "width": width, "method": method, "workers": workers.size, "rows": rows,
        "seconds": float(np.diff(times)[WARM_UP:].min()),
        "bytes": (workers.bytes - before - clocks) // run.step,
        "trained": sum(p.size for p in optimizer.params),
    }  # fmt: skip


def measure_company(width, method, rows):  # -> dict
    """The CPU seconds of the fastest step of the slowest worker, without those in the sum, where it waits."""
    workers, in_sums = join(), []
    sum_step = workers.sum_step

    def timed(*given):
        began = time.process_time()
        result = sum_step(*given)
        in_sums.append(time.process_time() - began)
        return result

    workers.sum_step = timed
    times = []
    model, optimizer = trainable(width, method)
    train(
        model, batches(rows), optimizer, WARM_UP + MEASURED, workers=workers,
        callbacks=[lambda run: times.append(time.process_time())],
    )  # fmt: skip
    seconds = (np.diff(times) - in_sums)[WARM_UP:].min()
    return {
        "width": width, "method": method, "workers": workers.size, "rows": rows,
        "seconds": float(workers.gather(seconds).max()),
    }  # fmt: skip


def measure_sums():  # -> dict: {bytes: seconds}
    workers, found = join(), {}
    for size in SUMS:
        array, times = np.ones(size // 4, np.float32), []
        for _ in range(9):
            workers.wait()
            began = time.perf_counter()
            workers.sum(array)
            times.append(time.perf_counter() - began)
        found[size] = min(times)
    return {"workers": workers.size, "sums": found}


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    measure = {"sums": measure_sums, "step": measure_step, "company": measure_company}[what]
    result = measure(*(int(part) if part.isdigit() else part for part in given))
    if join().rank == 0:
        print(json.dumps(result))
