"""`minilora eval`: how well a base answers, with or without an adapter."""

import math
from functools import partial

import click

from ..display.progress import show_progress
from ..text.batches import encode_pairs, pair_batches, text_windows, training_window
from ..training.loop import count_labels, evaluate
from .common import (
    FilesCommand,
    adapter_option,
    base_option,
    chat_option,
    check_source,
    device_option,
    jsonl_option,
    pair_encoder,
    text_option,
    with_adapters,
)

BATCH = 32


@click.command("eval", cls=FilesCommand)
@base_option
@adapter_option
@click.option("--task", metavar="NAME", help="A shipped task: the test split, scored by the task's own metric.")
@text_option
@jsonl_option
@chat_option
@device_option
def eval(base, adapter, task, text, jsonl, chat, device):
    """Score a base, with or without adapters, on --task, --text or --jsonl: the loss, and a task's own metric."""
    from ..models.pretrained import base_folder, load_base

    check_source({"task": task, "text": text, "jsonl": jsonl})
    folder = base_folder(base)
    model, tokenizer = load_base(base, device)
    encode = pair_encoder({"chat": chat, "jsonl": jsonl}, folder)
    model = with_adapters(model, adapter)
    batches, examples = read_held_out(task, text, jsonl, tokenizer, encode, model.config.max_position_embeddings)
    labels = sum(count_labels(labels) for _, labels in batches)
    loss = evaluate(model, show_progress(batches, "loss"))
    click.echo(f"base {folder}, adapter {', '.join(map(str, adapter)) or 'none'}")
    click.echo(f"loss {loss:.4f} nats per token, perplexity {math.exp(min(loss, 700)):.2f}, {labels:,} tokens")
    if task:
        show_score(model, tokenizer, task, examples)


def read_held_out(task, text, jsonl, tokenizer, encode, context):  # -> batches (a list), examples
    """All of a person's files, or the test split of a task."""
    from ..tasks.shipped import get_task
    from ..text.encoding import encode_text
    from ..text.examples import read_jsonl, read_text

    if text:
        ids = encode_text(read_text(text), tokenizer)
        return text_windows(ids, training_window(ids, context), BATCH, most=len(ids)), []
    examples = get_task(task).examples("test") if task else [e for path in jsonl for e in read_jsonl(path)]
    pairs = encode_pairs(examples, tokenizer, encode, context)
    return pair_batches(pairs, BATCH, tokenizer.pad_id), examples


def show_score(model, tokenizer, name, examples):
    from ..tasks.scoring import forced_choice, score
    from ..tasks.shipped import get_task

    task = get_task(name)
    share, _ = score(model, tokenizer, task, examples, partial(show_progress, what="answers"))
    click.echo(f"{name}: {share:.3f} of {len(examples)} test answers right ({task.scored})")
    if task.choices:
        chosen = forced_choice(model, tokenizer, task, examples, each=partial(show_progress, what="choices"))
        click.echo(f"{name}: {chosen:.3f} right when choosing among the labels (chance {1 / len(task.choices):.2f})")
