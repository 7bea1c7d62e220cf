"""`minilora train`: fine-tune a base on a shipped task or on a person's own file, with LoRA or in full."""

import hashlib
import math
from pathlib import Path

import click
import numpy as np
from click.core import ParameterSource

from ..errors import ConfigError
from ..text.batches import encode_pairs, pair_batches, split_pairs, split_text, text_windows, training_window
from ..training.optim import SCHEDULES, AdamW
from ..training.resume import trained
from .common import (
    FilesCommand,
    base_option,
    chat_option,
    check_out,
    check_source,
    device_option,
    jsonl_option,
    overwrite_option,
    pair_encoder,
    seed_option,
    text_option,
)
from .running import check_same_data, fit, load_settings

RATE_TIMES_WIDTH = {"lora": 0.64, "full": 0.128}  # 5e-3 and 1e-3 at width 128; wider models want smaller steps
RATES_HELP = ", ".join(f"{rate} / hidden size for {method}" for method, rate in RATE_TIMES_WIDTH.items())

OF_AN_ADAPTER = ("rank", "alpha", "targets", "dropout")  # options without a meaning for full fine-tuning


@click.command(cls=FilesCommand)
@base_option
@click.option("--task", metavar="NAME", help="A shipped task: data-to-text, sql, reviews, style-json, ...")
@text_option
@jsonl_option
@chat_option
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the result goes.")
@click.option("--method", default="lora", show_default=True, type=click.Choice(["lora", "full"]))
@click.option("--rank", default=8, show_default=True, help="r: rank of every update.")
@click.option("--alpha", default=16.0, show_default=True, help="The update is scaled by alpha / r.")
@click.option(
    "--targets", default="all-linear", show_default=True, metavar="NAMES",
    help="q_proj,v_proj or a regular expression for whole paths.",
)  # fmt: skip
@click.option("--dropout", default=0.0, show_default=True, help="On the adapter's input.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help=f"Learning rate.  [default: {RATES_HELP}]")
@click.option("--steps", default=200, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(1))
@click.option("--accumulate", default=1, show_default=True, type=click.IntRange(1), help="Batches per step.")
@click.option("--schedule", default="cosine", show_default=True, type=click.Choice(list(SCHEDULES)))
@click.option("--warmup", default=10, show_default=True, type=click.IntRange(0), help="Steps of rising learning rate.")
@click.option("--eval-every", default=25, show_default=True, type=click.IntRange(1), help="Steps; also saves.")
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw the loss curve, loss.png.")
@click.option("--resume", is_flag=True, help="Go on with the run that was saved in --out.")
@overwrite_option
@seed_option
@device_option
@click.pass_context
def train(ctx, out, resume, **options):
    """Fine-tune a base model with LoRA, or in full, on --task, --text or --jsonl."""
    from ..models.pretrained import base_folder, load_base

    settings = load_settings(ctx, resume, out) | {"command": "train"}
    check_source(settings)
    given = [f"--{n}" for n in OF_AN_ADAPTER if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    if settings["method"] == "full" and given:
        click.echo(f"note: {' and '.join(given)}: without effect, full fine-tuning has no adapter", err=True)
    check_out(out)
    if settings["lr"] is not None and not math.isfinite(settings["lr"]):
        raise ConfigError(f"--lr {settings['lr']}: expected a finite number above 0")
    base = base_folder(settings["base"])
    model, tokenizer = load_base(settings["base"], settings["device"])
    if out.resolve() == base.resolve():
        raise ConfigError(f"--out {out} is the base itself; name another folder")
    encode = pair_encoder(settings, base)
    batches, valid, digest = read_data(settings, tokenizer, encode, model.config.max_position_embeddings)
    check_same_data(settings, digest, resume)
    model, save_model = prepare(model, settings, base, out)

    parameters = [p for _, p in trained(model)]
    total = sum(p.size for p in model.parameters())
    click.echo(f"training {sum(p.size for p in parameters):,} of {total:,} parameters, base {base}")
    settings["lr"] = settings["lr"] or RATE_TIMES_WIDTH[settings["method"]] / model.config.hidden_size
    fit(model, AdamW(parameters, settings["lr"]), batches, valid, settings, out, save_model)


def read_data(settings, tokenizer, encode, context):  # -> training batches, validation batches (a list), digest
    """What to train on and what is held out: the shipped split of a task, or a part of the person's own file."""
    from ..tasks.shipped import get_task
    from ..text.batches import PairBatches, TextBatches
    from ..text.encoding import encode_text
    from ..text.examples import read_jsonl, read_text

    rng, size = np.random.default_rng([settings["seed"], 2]), settings["batch_size"]
    if settings["text"]:
        ids = encode_text(read_text(settings["text"]), tokenizer)
        digest = digest_of(ids)
        ids, held = split_text(ids)
        window = training_window(ids, context)
        return TextBatches(ids, size, window, rng), text_windows(held, window, size), digest

    if settings["task"]:
        task = get_task(settings["task"])
        examples, held = task.examples("train"), task.examples("valid")
    else:
        examples, held = [e for path in settings["jsonl"] for e in read_jsonl(path)], []
    encode_pairs(examples, tokenizer, encode, context)  # before the split: an example is named by its place in the file
    if not settings["task"]:
        examples, held = split_pairs(examples)
    pairs = [encode(e, tokenizer) for e in held]
    batches = PairBatches(examples, tokenizer, size, context, rng, encode)
    return batches, pair_batches(pairs, size, tokenizer.pad_id), digest_of(batches.pairs + pairs)


def digest_of(data):
    return hashlib.sha256(repr(data).encode() if isinstance(data, list) else data.tobytes()).hexdigest()


def prepare(model, settings, base, out):  # -> model to train, function that saves it
    """The model with a fresh adapter in it, or all of it set free."""
    from ..adapters.model import get_peft_model
    from ..adapters.targets import as_target_modules
    from ..methods.lora import LoraConfig

    if settings["method"] == "full":
        return model, lambda: model.save_pretrained(out, tokenizer_from=base)
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=as_target_modules(settings["targets"]),
        task_type="CAUSAL_LM",
        base_model_name_or_path=settings["base"],
    )
    adapted = get_peft_model(model, config, seed=settings["seed"])
    return adapted, lambda: adapted.save_pretrained(out)
