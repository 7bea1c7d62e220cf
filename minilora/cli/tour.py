"""`minilora tour`: LoRA shown in one run. Every number that it prints is measured in this run."""

import hashlib
import time
from pathlib import Path

import click
import numpy as np

from ..display.tables import console, new_table
from ..files.atomic import check_writable
from ..training.run import run_training, write_history
from .common import base_option, device_option, quantize_option, seed_option

TASKS = ("style-json", "style-crier")  # two house styles for the same questions: one adapter each
RANK, ALPHA, TARGETS, LEARNING_RATE = 8, 16, "all-linear", 3e-3
STEPS, BATCH_SIZE, WARMUP = 180, 16, 10
MATRIX, MATRIX_RANK = 4096, 16  # the matrix that articles on LoRA count


@click.command()
@click.option(
    "--out", default="minilora-tour", show_default=True, type=click.Path(path_type=Path), metavar="DIR",
    help="Folder for the figures and both adapters.",
)  # fmt: skip
@base_option
@seed_option
@quantize_option
@device_option
def tour(out, base, seed, quantize, device):
    """Train two adapters on one frozen base: count, train, compare, merge, switch, save.

    Takes about a minute on two CPU cores, writes figures and both adapters into --out, and needs no network.
    """
    from ..models.pretrained import load_base
    from ..tasks.shipped import get_task

    began = time.perf_counter()
    check_writable(out)
    show = console(width=100)
    model, tokenizer = load_base(base, device, quantize)
    tasks = [get_task(name) for name in TASKS]
    test = tasks[0].examples("test")  # people that neither adapter has seen; the same questions for both styles

    model, configs = wrap(model, seed)
    count(show, model, configs[TASKS[0]])
    before = frozen_digest(model)
    with model.disable_adapter():
        base_answers = ask(model, tokenizer, tasks[0], test)
    histories, adapted = {}, {}
    show.rule("2. Train two adapters on one base")
    for task in tasks:
        histories[task.name] = learn(show, model, tokenizer, task, seed)
        adapted[task.name] = ask(model, tokenizer, task, test)
    side_by_side(show, test, base_answers, adapted)
    scores = compare(show, tasks, test, base_answers, adapted)
    unchanged(show, model, before)
    merging(show, model, tokenizer, tasks[0], test, adapted)
    switching(show, model)
    save(show, model, out, histories)
    figures(show, out, histories, scores)
    show.print(f"\nThe whole tour took {time.perf_counter() - began:.0f} s on {model.device}.")


def wrap(model, seed):  # -> PeftModel with both adapters, {name: LoraConfig}
    from ..adapters.model import get_peft_model
    from ..methods.lora import LoraConfig

    configs = {
        name: LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM") for name in TASKS
    }
    first, second = TASKS
    wrapped = get_peft_model(model, configs[first], adapter_name=first, seed=seed)
    wrapped.add_adapter(second, configs[second], seed=seed + 1)
    return wrapped, configs


def count(show, model, config):
    show.rule("1. Count")
    table = new_table("", "frozen W", "trained A and B", "times fewer", text=1)
    d, r = MATRIX, MATRIX_RANK
    table.add_row(f"one {d} x {d} matrix, rank {r}", f"{d * d:,}", f"{r * (d + d):,}", f"{d * d / (r * (d + d)):g}")
    trainable, every = model.get_nb_trainable_parameters()
    frozen = every - trainable * len(TASKS)  # both adapters are there, one is trainable at a time
    ratio = f"{frozen / trainable:.1f}"
    table.add_row(f"this base, rank {config.r} on every linear layer", f"{frozen:,}", f"{trainable:,}", ratio)
    show.print(table)


def learn(show, model, tokenizer, task, seed):  # -> History
    """Fine-tune the adapter of `task`; the other one and W stay as they are."""
    from ..text.batches import PairBatches
    from ..training.optim import AdamW, linear_decay
    from ..training.resume import trained

    model.set_adapter(task.name)
    context = model.config.max_position_embeddings
    batches = PairBatches(task.examples("train"), tokenizer, BATCH_SIZE, context, np.random.default_rng([seed, 2]))
    optimizer = AdamW([p for _, p in trained(model)], lr=LEARNING_RATE)
    began = time.perf_counter()
    history = run_training(
        model, batches, optimizer, STEPS, schedule=linear_decay(STEPS, WARMUP), progress=True
    ).history
    seconds = time.perf_counter() - began
    show.print(
        f"{task.name}: {STEPS} steps of {BATCH_SIZE} examples in {seconds:.1f} s, "
        f"loss {history.loss[0]:.3f} -> {np.mean(history.loss[-10:]):.3f}"
    )
    return history


def ask(model, tokenizer, task, examples):  # -> list of str
    from ..tasks.scoring import answers

    return answers(model, tokenizer, [e["prompt"] for e in examples], task.max_new_tokens)


def side_by_side(show, test, base_answers, adapted, rows=4):
    show.rule("3. The same questions, before and after")
    table = new_table("question", "base", *TASKS)
    for i in range(rows):
        table.add_row(test[i]["prompt"], base_answers[i], *(adapted[name][i] for name in TASKS))
    show.print(table)


def compare(show, tasks, test, base_answers, adapted):  # -> {metric: {model: score}}
    show.rule(f"4. Score: {len(test)} test questions about people that neither adapter saw")
    answered = {"base": base_answers} | {f"+ {name}": adapted[name] for name in TASKS}
    scores = {
        f"scored as\n{task.name}": {
            who: float(np.mean([task.score(e, a) for e, a in zip(test, texts, strict=True)]))
            for who, texts in answered.items()
        }
        for task in tasks
    }
    table = new_table("", *answered, text=1)
    for (metric, row), task in zip(scores.items(), tasks, strict=True):
        table.add_row(f"{metric.replace(chr(10), ' ')}: {task.scored}", *(f"{value:.2f}" for value in row.values()))
    show.print(table)
    show.print("The facts come from W, the form from B A.")
    return scores


def frozen_digest(model):  # -> str
    """SHA-256 over every number of the base: one changed bit changes it."""
    digest = hashlib.sha256()
    for name, p in base_parameters(model):
        digest.update(name.encode() + p.numpy().tobytes())
    return digest.hexdigest()


def base_parameters(model):
    return [(name, p) for name, p in model.named_parameters() if ".lora_" not in name]


def unchanged(show, model, before):
    after = frozen_digest(model)
    arrays = base_parameters(model)
    verdict = "identical to the bit" if after == before else "CHANGED"
    show.rule("5. Is W really frozen?")
    show.print(f"SHA-256 of W before {before[:16]}..., after {after[:16]}...: {verdict}")
    show.print(f"({len(arrays)} arrays, {sum(p.size for _, p in arrays):,} numbers)")


def merging(show, model, tokenizer, task, test, adapted):
    from ..text.encoding import frame

    show.rule("6. Merge: W + s B A as one matrix")
    model.set_adapter(task.name)
    prompt = np.array([tokenizer.encode(frame(test[0]["prompt"]))])
    apart, original = model(prompt).numpy(), frozen_digest(model)
    model.merge_adapter()
    together = model(prompt).numpy()
    same = sum(a == b for a, b in zip(ask(model, tokenizer, task, test), adapted[task.name], strict=True))
    model.unmerge_adapter()
    restored = "the same bits as before" if frozen_digest(model) == original else "DIFFERENT BITS"
    show.print(f"largest difference of a logit, merged against apart: {abs(together - apart).max():.2g}")
    show.print(f"the same answer, to the letter: {same} of {len(test)}")
    show.print(f"unmerged again: W has {restored}")


def switching(show, model, times=200):
    show.rule("7. Switch")
    took = []
    for i in range(times):
        began = time.perf_counter()
        model.set_adapter(TASKS[i % 2])
        took.append(time.perf_counter() - began)
    show.print(f"one adapter to the other: {np.median(took) * 1e6:.0f} microseconds (median of {times}); W is not read")


def save(show, model, out, histories):
    """Write both adapters, each with its history: `minilora generate` reads there how to ask it."""
    from ..adapters.inspect import read_adapter

    show.rule("8. Save, in the format of Hugging Face PEFT")
    model.save_pretrained(out)
    base = sum(p.numpy().nbytes for _, p in base_parameters(model))
    for name in TASKS:
        write_history(out / name, histories[name], {"task": name})
        show.print(f"{out / name}: {read_adapter(out / name).bytes_on_disk:,} bytes; the base has {base:,}")


def figures(show, out, histories, scores):
    from ..display import plots

    plots.lora_picture(MATRIX, MATRIX_RANK, out / "lora.png")
    plots.learning_curves(histories, out / "learning.png")
    plots.score_table(scores, out / "switch.png", "One base, two adapters, the same questions")
    show.print(f"figures: {', '.join(str(out / name) for name in ('lora.png', 'learning.png', 'switch.png'))}")
