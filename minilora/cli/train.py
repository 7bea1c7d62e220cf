"""`minilora train`: fine-tune a base on a shipped task or on your own files, with LoRA or in full."""

from pathlib import Path

import click

from ..finetuning import RATE_TIMES_WIDTH, finetune
from ..text.examples import check_one_source
from ..training.optim import SCHEDULES
from .common import FilesCommand, base_option, jsonl_option, text_option
from .running import defaults_of, options_of, show_result, training_options

DEFAULT = defaults_of(finetune)
RATES_HELP = ", ".join(f"{method} {rate}" for method, rate in RATE_TIMES_WIDTH.items())


@click.command(cls=FilesCommand)
@base_option
@click.option("--task", metavar="NAME", help="A shipped task: data-to-text, sql, reviews, style-json, ...")
@text_option
@jsonl_option
@click.option("--chat", is_flag=True, help="Write the examples of --jsonl in the base's chat template.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result.")
@click.option(
    "--method", default=DEFAULT["method"], show_default=True, type=click.Choice(list(RATE_TIMES_WIDTH)),
    help="Train an adapter of this kind, or every weight of the base.",
)  # fmt: skip
@click.option("--rank", type=int, help="Rank r of every update.  [default: 8; vera: 256]")
@click.option("--alpha", default=float(DEFAULT["alpha"]), show_default=True, help="Scale every update by alpha / r.")
@click.option(
    "--targets", default=DEFAULT["targets"], show_default=True, metavar="NAMES",
    help="Layers to adapt: names like q_proj,v_proj, or a regular expression for whole paths.",
)  # fmt: skip
@click.option("--dropout", default=DEFAULT["dropout"], show_default=True, help="Dropout on the input of the adapter.")
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    help=f"Learning rate.  [default: a number / hidden size: {RATES_HELP}]",
)
@click.option(
    "--lr-ratio", default=DEFAULT["lr_ratio"], show_default=True, type=click.FloatRange(0, min_open=True),
    help="With lora_plus: learning rate of B over that of A.",
)  # fmt: skip
@click.option(
    "--virtual-tokens", default=DEFAULT["virtual_tokens"], show_default=True, type=click.IntRange(1),
    help="With prefix_tuning and prompt_tuning: places in front of every sequence.",
)  # fmt: skip
@click.option(
    "--steps", default=DEFAULT["steps"], show_default=True, type=click.IntRange(1), help="Number of optimizer steps."
)
@click.option(
    "--accumulate", default=DEFAULT["accumulate"], show_default=True, type=click.IntRange(1),
    help="Batches whose gradients are added before each step.",
)  # fmt: skip
@click.option(
    "--schedule", default=DEFAULT["schedule"], show_default=True, type=click.Choice(list(SCHEDULES)),
    help="How the learning rate falls after the warm-up.",
)  # fmt: skip
@click.option(
    "--warmup", default=DEFAULT["warmup"], show_default=True, type=click.IntRange(0),
    help="Steps in which the learning rate rises.",
)  # fmt: skip
@training_options(finetune)
@click.pass_context
def train(ctx, **_):
    """Fine-tune a base model with LoRA, one of its relatives, or in full, on --task, --text or --jsonl."""
    options = options_of(ctx)
    if not options["resume"]:
        check_one_source({f"--{name}": options[name] for name in ("task", "text", "jsonl")})
    show_result(ctx, finetune(**options))
