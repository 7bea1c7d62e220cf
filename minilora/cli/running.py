"""Running a training for a command: everything hung on the loop, what is kept when it stops, and going on later."""

import click
import numpy as np
from click.core import ParameterSource

from ..errors import ConfigError
from ..training.optim import schedule_named
from ..training.resume import check_new_run, read_settings
from ..training.run import run_training

MAY_CHANGE = ("steps", "eval_every", "device", "plot", "out", "resume", "overwrite")  # of a run that is taken up again


def load_settings(ctx, resume, out):
    """The settings of a run as JSON: those of the command line, or those of the saved run in `out`.

    Raises ConfigError for an option that contradicts the saved run, and when a new run would replace it unasked.
    """
    given = {name: _plain(value) for name, value in ctx.params.items()}
    if not resume:
        check_new_run(out, given.get("method") == "lora", given["overwrite"])
        return given
    if given["overwrite"]:
        raise ConfigError("--resume and --overwrite: expected one of them at most")
    saved, step = read_settings(out)
    if saved.get("command") != ctx.command.name or not given.keys() <= saved.keys():
        raise ConfigError(f"the run in {out} was not saved by this version's {ctx.command.name}")
    for name, value in given.items():
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            if name in MAY_CHANGE:
                saved[name] = value
            elif saved[name] != value:
                option = name.replace("_", "-")
                raise ConfigError(f"--{option} {value} contradicts the run in {out}, started with {saved[name]}")
    if step >= (saved["steps"] or step):
        raise ConfigError(f"the run in {out} is at step {step} of {saved['steps']} already; ask for more --steps")
    return saved


def _plain(value):  # paths and tuples, as JSON has them
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def check_same_data(settings, digest, resume):
    """Note the digest of the training data in the settings; refuse to go on with other data."""
    if resume and settings["digest"] != digest:
        raise ConfigError("the training data is not what this run was started with")
    settings["digest"] = digest


def fit(model, optimizer, batches, valid, settings, out, save_model):
    """Train as `settings` say, into the folder `out`; `save_model()` writes the model or adapter there.

    On Ctrl-C everything is saved and the command ends with exit code 130. Raises TrainingError when the loss is not
    finite; the last good state of the model is written then.
    """
    if not valid:
        click.echo("too little data to hold some out: no validation loss", err=True)
    result = run_training(
        model, batches, optimizer, settings["steps"],
        schedule=schedule_named(settings["schedule"], settings["steps"], settings["warmup"]),
        accumulate=settings["accumulate"], rng=np.random.default_rng([settings["seed"], 1]),
        valid=valid, eval_every=settings["eval_every"],
        out=out, save_model=save_model, settings=settings, resume=settings["resume"],
        progress=True, plot=settings["plot"],
    )  # fmt: skip
    if result.interrupted:
        click.echo(f"stopped at step {result.step} of {settings['steps']}; all is saved. Go on with:", err=True)
        click.echo(f'  minilora {settings["command"]} --resume --out "{out}"', err=True)
        raise SystemExit(130)
    losses = result.history.valid
    change = f": validation loss {losses[0][1]:.4f} -> {losses[-1][1]:.4f}" if losses else ""
    click.echo(f"saved in {out} after {result.step} steps{change}")
