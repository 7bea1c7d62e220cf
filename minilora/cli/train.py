"""`minilora train`: fine-tune a base on a shipped task or on your own files, with LoRA or in full."""

from pathlib import Path

import click
from click.core import ParameterSource

from ..errors import ConfigError
from ..files.atomic import is_taken
from ..finetuning import KEPT, RATE_TIMES_WIDTH, TURNS, finetune
from ..text.examples import check_one_source
from ..training.optim import SCHEDULES
from ..training.precision import PRECISIONS
from .common import FilesCommand, base_option, jsonl_option, quantize_option, text_option
from .push import show_push
from .running import defaults_of, join_workers, options_of, show_result, training_options

DEFAULT = defaults_of(finetune)
RATES_HELP = ", ".join(f"{method} {rate}" for method, rate in RATE_TIMES_WIDTH.items())


class Listed(click.ParamType):
    """Parts joined by commas -> a list. kind: of a part."""

    name = "list"

    def __init__(self, kind: type):
        self.kind = kind

    def convert(self, value, param, ctx):
        try:
            return [self.kind(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r}: expected whole numbers joined by commas")


class Patterns(click.ParamType):
    """NAME=VALUE parts joined by commas -> {name: value}. kind: of a value."""

    name = "patterns"

    def __init__(self, kind: type):
        self.kind = kind

    def convert(self, value, param, ctx):
        parts = [part.rpartition("=") for part in value.split(",")]
        try:
            found = {name: self.kind(number) for name, _, number in parts}
        except ValueError:
            found = {}
        if len(found) < len(parts) or not all(found):
            self.fail(f"{value!r}: expected names, each once, and numbers as in k_proj=16,down_proj=4")
        return found


@click.command(cls=FilesCommand)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@base_option
@click.option("--task", metavar="NAME", help="A shipped task: data-to-text, sql, reviews, style-json, ...")
@text_option
@jsonl_option
@click.option("--chat", is_flag=True, help="Write the examples of --jsonl in the base's chat template.")
@click.option(
    "--turns", default=DEFAULT["turns"], show_default=True, type=click.Choice(TURNS),
    help="Learn the last answer of a conversation, or all: each after everything before it.",
)  # fmt: skip
@click.option(
    "--max-length", type=click.IntRange(2), metavar="N",
    help="Cut rows that have more tokens, and say how many; of --text, the length of a window.  [default: no cut; 128]",
)  # fmt: skip
@click.option(
    "--valid", multiple=True, type=click.Path(path_type=Path), metavar="FILE...",
    help="Files of the same kind for the validation loss.  [default: 5% of the data]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder for the result.  [default: ./data-lora for data.jsonl]",
)  # fmt: skip
@click.option("--adapter", metavar="DIR", help="Go on with this adapter, on new data; its base and settings are used.")
@click.option(
    "--method", default=DEFAULT["method"], show_default=True, type=click.Choice(list(RATE_TIMES_WIDTH)),
    help="Train an adapter of this kind, or every weight of the base.",
)  # fmt: skip
@click.option(
    "--rank", type=int, help="Rank r of every update; pissa and olora are saved with 2 r.  [default: 8; vera: 256]"
)
@click.option("--alpha", default=float(DEFAULT["alpha"]), show_default=True, help="Scale every update by alpha / r.")
@click.option(
    "--targets", default=DEFAULT["targets"], show_default=True, metavar="NAMES",
    help="Layers to adapt: names like q_proj,v_proj, or a regular expression for whole paths.",
)  # fmt: skip
@click.option("--dropout", default=DEFAULT["dropout"], show_default=True, help="Dropout on the input of the adapter.")
@click.option("--rslora", is_flag=True, help="Scale every update by alpha / the root of r.")
@click.option("--init", metavar="NAME", help="Start of LoRA (init_lora_weights): gaussian, pissa, olora, ...")
@click.option("--exclude", metavar="NAMES", help="Layers to leave out of --targets, written in the same way.")
@click.option("--layers", type=Listed(int), metavar="N,N", help="Adapt only the blocks with these indices.")
@click.option(
    "--modules-to-save",
    type=Listed(str),
    metavar="NAMES",
    help="Modules to train in full and save with the adapter.",
)
@click.option("--rank-pattern", type=Patterns(int), metavar="NAME=R,...", help="Layers with another rank.")
@click.option("--alpha-pattern", type=Patterns(float), metavar="NAME=A,...", help="Layers with another alpha.")
@click.option("--lora-bias", is_flag=True, help="Give every B a bias that learns.")
@click.option(
    "--trainable-tokens", type=Listed(int), metavar="N,N",
    help="Train the rows of the embedding of these tokens too, by their numbers in the vocabulary.",
)  # fmt: skip
@click.option(
    "--lr",
    "--learning-rate",
    "lr",
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
    "--weight-decay", default=DEFAULT["weight_decay"], show_default=True, type=click.FloatRange(0),
    help="Weight decay of AdamW.",
)  # fmt: skip
@click.option(
    "--max-grad-norm", default=DEFAULT["max_grad_norm"], show_default=True, type=click.FloatRange(0, min_open=True),
    help="Bound on the global norm of the gradients.",
)  # fmt: skip
@click.option("--adam-beta1", default=DEFAULT["adam_beta1"], show_default=True, help="Beta 1 of AdamW.")
@click.option("--adam-beta2", default=DEFAULT["adam_beta2"], show_default=True, help="Beta 2 of AdamW.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Passes over the data, instead of --steps.")
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
@click.option("--warmup-ratio", type=click.FloatRange(0, 1), help="These steps as a part of all, instead of --warmup.")
@click.option(
    "--save-total-limit", type=click.IntRange(1), metavar="N",
    help="Also keep the last N of what is saved every --eval-every steps, each in checkpoint-STEP.",
)  # fmt: skip
@click.option(
    "--keep", default=DEFAULT["keep"], show_default=True, type=click.Choice(KEPT),
    help="Save the weights of the last step, or those with the best validation loss.",
)  # fmt: skip
@click.option(
    "--patience", type=click.IntRange(1), metavar="N", help="Stop after N evaluations without a better validation loss."
)
@click.option(
    "--teacher", metavar="BASE[+ADAPTER]",
    help="Learn the probabilities of this model; an adapter's folder alone goes on its own base.",
)  # fmt: skip
@click.option(
    "--temperature", default=DEFAULT["temperature"], show_default=True, type=click.FloatRange(0, min_open=True),
    help="With --teacher: how much its probabilities, and the student's, are softened.",
)  # fmt: skip
@click.option(
    "--mix", default=DEFAULT["mix"], show_default=True, type=click.FloatRange(0, 1),
    help="With --teacher: its part of the loss; the rest is the labels'.",
)  # fmt: skip
@click.option(
    "--precision", default=DEFAULT["precision"], show_default=True, type=click.Choice(list(PRECISIONS)),
    help="Compute in this type, with float32 master weights. On a CPU: the values of 16 bits, not the speed.",
)  # fmt: skip
@quantize_option
@click.option(
    "--checkpointing", is_flag=True,
    help="Compute every block again in the backward pass: less memory, a third more work, the same result.",
)  # fmt: skip
@click.option(
    "--chunked-loss", is_flag=True,
    help="Never hold the logits of all positions, also of a head that is trained: less memory.",
)  # fmt: skip
@click.option(
    "--push-to-hub", metavar="OWNER/NAME", help="Push the adapter to the hub after the training, as `push` does."
)
@training_options(finetune)
@click.pass_context
def train(ctx, files, out, push_to_hub, **_):
    """Fine-tune a base model with LoRA, one of its relatives, or in full, on FILE, --task, --text or --jsonl.

    `minilora train data.jsonl` trains on the lines of data.jsonl and saves the adapter in ./data-lora. A FILE that ends
    in .jsonl or .json has examples, one that ends in .txt plain text.

    `mpiexec -n 4 minilora train ...` shares the rows of every batch among four processes, with the same result.
    """
    del ctx.params["push_to_hub"]  # all others are settings of the run
    if push_to_hub:
        from ..files.hub import check_can_push  # before hours of training

        if ctx.params["method"] == "full":
            raise ConfigError("--push-to-hub is for adapters, and the method full makes none")
        check_can_push(push_to_hub)
    workers = join_workers(ctx.params["device"])
    if out is None:
        ctx.params["out"] = default_folder(ctx.params, workers.rank == 0)
        click.echo(f"the result will be in {ctx.params['out']}", err=True)
    options = options_of(ctx, finetune)
    if options["epochs"] and ctx.get_parameter_source("steps") is not ParameterSource.DEFAULT:
        raise ConfigError("--epochs and --steps: use only one of them")
    if options["warmup_ratio"] is not None and ctx.get_parameter_source("warmup") is not ParameterSource.DEFAULT:
        raise ConfigError("--warmup-ratio and --warmup: use only one of them")
    if not options["resume"]:
        check_one_source({f"--{name}": options[name] for name in ("task", "text", "jsonl")} | {"FILE": files})
    elif files:
        options |= {"task": None, "text": (), "jsonl": ()}
    show_result(ctx, finetune(**options))
    if push_to_hub and workers.rank == 0:
        show_push(options["out"], push_to_hub)


def default_folder(options: dict, writes: bool = True) -> Path:
    """./data-lora for data.jsonl. Raises ConfigError without data, or when a new run would write into it."""
    data = [options["task"], *options["files"], *options["text"], *options["jsonl"]]
    name = next(("stdin" if str(source) == "-" else Path(source).stem for source in data if source), None)
    if name is None:
        raise ConfigError("name your data, as in `minilora train data.jsonl`; to go on with a run, name its --out")
    folder = Path(f"{name}-{options['method'].replace('_', '-')}")
    if writes and is_taken(folder) and not (options["resume"] or options["overwrite"]):
        raise ConfigError(f"{folder} exists; choose another folder with --out, or pass --overwrite to replace its run")
    return folder
