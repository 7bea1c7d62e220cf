"""`minilora eval`: how well a base answers, with or without an adapter."""

import click

from ..errors import ConfigError
from ..text.examples import check_one_source
from .common import (
    FilesCommand,
    adapter_option,
    base_of,
    base_option,
    device_option,
    framed_option,
    jsonl_option,
    only_one,
    quantize_option,
    text_option,
    trained_form,
    with_adapters,
)


@click.command("eval", cls=FilesCommand)
@base_option
@adapter_option
@click.option("--task", metavar="NAME", help="A shipped task: its test split, scored by its own metric.")
@text_option
@jsonl_option
@framed_option
@click.option("--chat", is_flag=True, help="Ask in the base's chat template.")
@quantize_option
@device_option
def eval(base, adapter, task, text, jsonl, framed, chat, quantize, device):
    """Score a base, with or without adapters, on --task, --text or --jsonl.

    Prints the loss, and the score of a task. Examples of --jsonl are asked as the adapter was trained; --framed and
    --chat choose another form.
    """
    from ..models.pretrained import base_folder, load_base
    from ..tasks.scoring import measure
    from ..tasks.shipped import get_task
    from ..text.forms import pair_encoder

    check_one_source({"--task": task, "--text": text, "--jsonl": jsonl})
    form = only_one(framed=framed, chat=chat)
    if form and not jsonl:
        raise ConfigError(f"--{form} goes with --jsonl: plain text and the shipped tasks have their own form")
    base = base_of(base, adapter)
    folder = base_folder(base)
    if jsonl:
        form = form or trained_form(adapter, folder)
    encode = pair_encoder("chat" if form == "chat" else "framed", *adapter, folder)
    model, tokenizer = load_base(base, device, quantize)
    model = with_adapters(model, adapter)
    found = measure(model, tokenizer, task=task, text=text, jsonl=jsonl, encode=encode)

    names = [str(path) if weight == 1 else f"{path}={weight:g}" for path, weight in adapter.items()]
    click.echo(f"base {folder}, adapter {', '.join(names) or 'none'}")
    click.echo(f"loss {found.loss:.4f} nats per token, perplexity {found.perplexity:.2f}, {found.labels:,} tokens")
    if task:
        task = get_task(task)
        click.echo(f"{task.name}: {found.score:.3f} of {found.examples} test answers right ({task.scored})")
        if found.choice is not None:
            chance = 1 / len(task.choices)
            click.echo(f"{task.name}: {found.choice:.3f} right when choosing among the labels (chance {chance:.2f})")
