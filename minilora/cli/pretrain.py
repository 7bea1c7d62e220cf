"""`minilora pretrain`: a small Llama from scratch, on the shipped corpus or on your own text."""

from pathlib import Path

import click

from ..pretraining import pretrain as train_from_scratch
from .common import FilesCommand, text_option
from .running import defaults_of, join_workers, options_of, show_result, training_options

DEFAULT = defaults_of(train_from_scratch)


def size_option(name, least, help):
    return click.option(
        f"--{name.replace('_', '-')}", default=DEFAULT[name], show_default=True, type=click.IntRange(least), help=help
    )


@click.command(cls=FilesCommand)
@text_option
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="PATH",
    help="A tokenizer.json or its folder.  [default: train a tokenizer on the text]",
)  # fmt: skip
@size_option("vocab", 300, "Size of a trained tokenizer.")
@size_option("width", 2, "Hidden size.")
@size_option("layers", 1, "Number of layers.")
@size_option("heads", 1, "Number of query heads.")
@size_option("kv_heads", 1, "Number of key/value heads.")
@size_option("mlp", 1, "Width inside the MLP.")
@size_option("context", 16, "Tokens that the model can read.")
@size_option("length", 16, "Tokens of a training window.")
@click.option(
    "--lr", default=DEFAULT["lr"], show_default=True, type=click.FloatRange(0, min_open=True), help="Learning rate."
)
@click.option(
    "--steps", type=click.IntRange(1), help="Number of optimizer steps.  [default: 1500; 5000 for the shipped corpus]"
)
@training_options(train_from_scratch)
@click.pass_context
def pretrain(ctx, **_):
    """Train a small base model from scratch on plain text.

    Without --text: on the shipped corpus, with the tokenizer and the recipe of the shipped base.
    """
    join_workers(ctx.params["device"])
    show_result(ctx, train_from_scratch(**options_of(ctx, train_from_scratch)))
