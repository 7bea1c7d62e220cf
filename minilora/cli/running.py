"""How a command runs a training: its options, what it prints, its exit code."""

import inspect
import os
import sys
from collections.abc import Callable

import click
from click.core import ParameterSource

from ..arguments import check_arguments
from ..errors import ConfigError, FormatError, counted
from ..training.joining import join
from ..training.parallel import Workers
from ..training.resume import FILE, START_AGAIN, read_settings
from .common import device_option, seed_option
from .config import config_option


def defaults_of(function: Callable) -> dict:
    """{parameter: default} of a function of the library: its options have the same defaults."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def training_options(function: Callable):  # -> decorator of a command
    """The options that `train` and `pretrain` share; `function` of the library has the defaults."""
    default = defaults_of(function)
    options = [
        click.option("--batch-size", default=default["batch_size"], show_default=True, type=click.IntRange(1),
                     help="Examples in a batch, of all workers together; of a text, windows."),
        click.option("--eval-every", default=default["eval_every"], show_default=True, type=click.IntRange(1),
                     metavar="N", help="Evaluate and save every N steps."),
        click.option("--plot/--no-plot", default=default["plot"], show_default=True,
                     help="Draw the loss curve into loss.png."),
        config_option,
        click.option("--resume", is_flag=True, help="Go on with the run that was saved in --out."),
        click.option("--overwrite", is_flag=True, help="Replace the run that was saved in --out."),
        seed_option,
        device_option,
    ]  # fmt: skip

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def join_workers(device: str) -> Workers:
    """The workers that a launcher has started; all but worker 0 print nothing more."""
    workers = join(device)
    if workers.rank:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    return workers


def options_of(ctx: click.Context, function: Callable) -> dict:
    """The options of the command line, for `function`. With --resume, those that were not typed are the saved run's.

    Raises FormatError when the saved ones are no arguments of `function`.
    """
    options = dict(ctx.params)
    if options["resume"]:
        saved, _ = read_settings(options["out"])
        typed = [name for name in options if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
        if saved.get("command") != ctx.command.name:
            return options  # the training refuses the run
        kept = {name: value for name, value in saved.items() if name in options and name not in typed}
        try:
            check_arguments(function, kept)
        except ConfigError as error:
            raise FormatError(f"{options['out'] / FILE} is damaged: its settings say {error}; {START_AGAIN}") from error
        options |= kept
    return options


def show_result(ctx: click.Context, result) -> None:
    """Print where the result is. Ends the process with exit code 130 (Ctrl-C) or 143 (SIGTERM) when it was stopped."""
    out = ctx.params["out"]
    if result.interrupted:
        click.echo(f"stopped at step {result.step}; everything is saved. To go on:", err=True)
        click.echo(f'  minilora {ctx.command.name} --resume --out "{out}"', err=True)
        raise SystemExit(128 + result.signal)
    losses = result.history.valid
    change = f": validation loss {losses[0][1]:.4f} -> {losses[-1][1]:.4f}" if losses else ""
    if best := result.history.best():
        change += f", best {best[1]:.4f} at step {best[0]}"
        if best[0] != result.step:
            change += " (kept)" if best[0] == result.kept else " (the last is kept)"
    click.echo(f"saved in {out} after {counted(result.step, 'step')}{change}")
