"""Running a training for a command: everything hung on the loop, what is kept when it stops, and going on later."""

import click
import numpy as np
from click.core import ParameterSource

from ..display.progress import Progress
from ..errors import ConfigError, TrainingError
from ..files.atomic import write_json
from ..training.callbacks import Evaluation, History, Saving, StopOnInterrupt
from ..training.loop import train
from ..training.optim import SCHEDULES
from ..training.resume import FILE, load_state, read_settings, save_state

HOLDS = {"a run": FILE, "an adapter": "adapter_config.json", "a base": "config.json"}  # by which file it is known
MAY_CHANGE = ("steps", "eval_every", "device", "plot", "out", "resume", "overwrite")  # of a run that is taken up again


def load_settings(ctx, resume, out):
    """The settings of a run as JSON: those of the command line, or those of the saved run in `out`.

    Raises ConfigError for an option that contradicts the saved run, and when a new run would replace it unasked.
    """
    given = {name: _plain(value) for name, value in ctx.params.items()}
    if not resume:
        check_replaces(out, given.get("method") == "lora", given["overwrite"])
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


def check_replaces(out, adapter, overwrite):
    """Refuse to write over what somebody may want to keep, or an adapter beside a base: one would pass for the other's.

    adapter: whether an adapter will be written, not a base.
    """
    holds = {name: (out / file).is_file() for name, file in HOLDS.items()}
    writes, other = ("an adapter", "a base") if adapter else ("a base", "an adapter")
    if holds[other]:
        raise ConfigError(f"{out} holds {other}, {writes} would be written beside it; expected another folder")
    if any(holds.values()) and not overwrite:
        what = next(name for name, there in holds.items() if there)
        resume = "--resume goes on with it, " if holds["a run"] else ""
        raise ConfigError(f"{out} holds {what} already: {resume}--overwrite replaces it")


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
    history, rng = History(), np.random.default_rng([settings["seed"], 1])
    start = load_state(out, model, optimizer, batches, rng, history) if settings["resume"] else 0

    saved = []  # steps

    def save(run):
        saved.append(run.step)
        save_model()
        save_state(out, run, history, settings)
        write_json(out / "history.json", history.as_json() | {"settings": settings})

    every = settings["eval_every"]
    if not valid:
        click.echo("too little data to hold some out: no validation loss", err=True)
    quiet = np.errstate(over="ignore", invalid="ignore")  # History stops a run that overflows, in one line
    with StopOnInterrupt() as stop, Progress(history) as progress, quiet:
        evaluation = Evaluation(valid, history, every)
        try:
            run = train(
                model, batches, optimizer, settings["steps"],
                schedule=SCHEDULES[settings["schedule"]](settings["steps"], settings["warmup"]),
                accumulate=settings["accumulate"], rng=rng, start=start,
                callbacks=[stop, history, evaluation, progress, Saving(save, every)],
            )  # fmt: skip
        except TrainingError as error:
            good = history.restore_last_good(optimizer.params)
            if not good:
                raise TrainingError(f"{error}; nothing was learned before it, nothing is saved") from error
            if not saved and not settings["resume"]:
                (out / FILE).unlink(missing_ok=True)  # of the run that is replaced: nothing of it is to go on
            save_model()
            write_json(out / "history.json", history.as_json() | {"settings": settings})
            raise TrainingError(f"{error}; what was good, up to step {good}, is saved in {out}") from error
    if settings["plot"]:
        from ..display.plots import loss_curve

        loss_curve(history, out / "loss.png")
    if run.step < settings["steps"]:
        click.echo(f"stopped at step {run.step} of {settings['steps']}; all is saved. Go on with:", err=True)
        click.echo(f'  minilora {settings["command"]} --resume --out "{out}"', err=True)
        raise SystemExit(130)
    losses = f": validation loss {history.valid[0][1]:.4f} -> {history.valid[-1][1]:.4f}" if valid else ""
    click.echo(f"saved in {out} after {run.step} steps{losses}")
