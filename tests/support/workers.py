"""What several workers compute, for tests/training/test_parallel.py: `mpiexec -n N python workers.py OUT.npz BASE`.

Worker 0 writes every measure into OUT.npz; alone (without mpiexec) this file computes the same in one process.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from training_cases import endless, fresh, labelled

import minilora as ml
from minilora.training.joining import join
from minilora.training.loop import Run, add_gradients, rows_of_worker
from minilora.training.resume import learned, trained
from minilora.training.run import run_training

PAIRS = [{"prompt": f"count {i}", "response": "sea " * (i % 5 + 1)} for i in range(43)]
STEPS = 20
WAYS = {  # name -> settings of finetune, beside those of all
    "lora": {}, "dora": {"method": "dora"}, "pissa": {"method": "pissa"}, "lora_plus": {"method": "lora_plus"},
    "adalora": {"method": "adalora"}, "vera": {"method": "vera"}, "ia3": {"method": "ia3"},
    "prefix_tuning": {"method": "prefix_tuning", "virtual_tokens": 3},
    "prompt_tuning": {"method": "prompt_tuning", "virtual_tokens": 3},
    "full": {"method": "full"}, "nf4": {"quantize": "nf4"}, "int8": {"quantize": "int8"},
    "float16": {"precision": "float16"}, "accumulated": {"batch_size": 2, "accumulate": 3},
    "distilled": {"teacher": "the base", "mix": 0.5},
    "few rows": {"batch_size": 1}, "last rows uneven": {"batch_size": 7},
}  # fmt: skip


def joined(*batches):
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


BATCHES = {  # name -> micro-batches of one step in float64
    "uneven labels": [joined(*(labelled(i, (1, 9), 8 - 2 * i) for i in range(4)))],
    "a worker without labels": [joined(labelled(1, (1, 9)), labelled(2, (1, 9), ignored=9), labelled(3, (1, 9)))],
    "fewer rows than workers": [labelled(4, (1, 9))],
    "accumulated": [labelled(5, (3, 9), ignored=2), labelled(6, (5, 9), ignored=6), labelled(7, (1, 9))],
}


def flat(arrays):
    return np.concatenate([np.asarray(a, dtype=np.float64).ravel() for a in arrays])


def digest(arrays):  # 48 bits, exact in float64
    joined = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
    return float(int.from_bytes(joined.digest()[:6], "big"))


def gradients(micro_batches, workers):  # -> (n,) float64 of one step, and its loss
    model, optimizer = fresh(dtype=np.float64)
    model.train()
    run = Run(model, None, optimizer, 1, workers=workers)
    loss = add_gradients(run, micro_batches)
    return np.append(flat(p.grad for p in optimizer.params), loss)


def mean_of_means(micro_batches, workers):
    """The mistake: every worker's mean loss counts the same."""
    model, optimizer = fresh(dtype=np.float64)
    model.train()
    [batch] = micro_batches
    ids, labels, _ = rows_of_worker(batch, Run(model, None, optimizer, 1, workers=workers))
    model.loss(ids, labels).backward()
    for p in optimizer.params:
        p.grad = workers.sum(p.grad) / workers.size
    return flat(p.grad for p in optimizer.params)


def first_draw(workers):
    """The first random number that dropout would get."""
    (model, optimizer), draws = fresh(), []
    run_training(
        model, endless(), optimizer, 1, rng=np.random.default_rng(5), workers=workers,
        callbacks=[lambda run: draws.append(run.rng.random())],
    )  # fmt: skip
    return draws[0]


def frozen(model):
    """The weights that are not trained; those in fewer bits as the numbers that they stand for."""
    weights = (p.data for p in model.parameters() if not p.requires_grad)
    return [w if isinstance(w, np.ndarray) else w.dense() for w in weights]


def measures(base):
    workers = join()
    found = {"size": workers.size, "gathered": workers.gather(10.0 + workers.rank)}
    for name, micro_batches in BATCHES.items():
        sent = workers.bytes
        found[f"gradients/{name}"] = gradients(micro_batches, workers)
        found["bytes of a step"] = workers.bytes - sent
    found["dropout"] = workers.gather(first_draw(workers))
    found["mean of means"] = mean_of_means(BATCHES["uneven labels"], workers)
    for name, settings in WAYS.items():
        settings = {"examples": PAIRS, "steps": STEPS, "batch_size": 6, "eval_every": 10, "lr": 1e-3} | settings
        if "teacher" in settings:
            settings["teacher"] = str(base)
        sent = workers.bytes
        result = ml.finetune(base, **settings, progress=False)
        own = learned(result.model)
        found[f"weights/{name}"] = flat(p.data for _, p in trained(result.model))
        found[f"state/{name}"] = flat(result.model.state().values()) if result.model.state() else np.zeros(0)
        found[f"loss/{name}"] = np.array(result.history.loss)
        found[f"norm/{name}"] = np.array(result.history.norm)[:, 1]
        found[f"penalty/{name}"] = np.array(result.history.penalty)
        found[f"valid/{name}"] = np.array(result.history.valid)
        found[f"digests/{name}"] = workers.gather(digest(own[key] for key in sorted(own)))
        found[f"base/{name}"] = workers.gather(digest(frozen(result.model)))
        found[f"bytes/{name}"] = workers.bytes - sent
    return found


if __name__ == "__main__":
    result = measures(sys.argv[2])
    if join().rank == 0:
        np.savez(sys.argv[1], **result)
