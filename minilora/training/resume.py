"""The state of a training run in one file. A resumed run gives bit-identical results.

`training_state.safetensors` holds the trained weights, the optimizer's arrays and, as JSON in the file's metadata, the
step, the random generators, the position in the data, the history and the settings. It is one file, so that it is
either complete or absent; it holds numbers and JSON, so that it cannot run code.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..backend import like
from ..errors import ConfigError, FormatError, MissingFileError, listed
from ..files.atomic import check_writable
from ..files.lock import only_writer
from ..files.safetensors import read_header, read_tensors, write_tensors

FILE = "training_state.safetensors"
ASIDE = f".{FILE}.replaced.part"  # the state of a run that is being replaced; the name of a left-over, see files/lock
START_AGAIN = "start the training again and pass overwrite"
KIND = "minilora training state 1"
HOLDS = {"a run": FILE, "an adapter": "adapter_config.json", "a base": "config.json"}  # content of a folder -> its file
# settings that may differ when a run goes on
MAY_CHANGE = ("steps", "eval_every", "device", "plot", "patience", "checkpointing")


# ---- the file


def save_state(folder: str | Path, run, history, settings: dict, best: dict | None = None) -> None:
    """Write the run into `folder`. settings: any JSON values; `read_settings` returns them.

    best: what `learned` gave at the best step, when that is to be kept.
    """
    history.read(run)
    tensors = learned(run.model)
    tensors |= {f"optimizer/{name}": array for name, array in run.optimizer.state_dict().items()}
    tensors |= {f"best/{name}": array for name, array in (best or {}).items()}
    description = {
        "tensors": sorted(tensors),
        "step": run.step,
        "rng": run.rng.bit_generator.state,
        "batches": run.batches.state(),
        "history": history.as_json(),
        "precision": run.precision.state(),
        "settings": settings,
    }
    write_tensors(Path(folder) / FILE, tensors, {"format": KIND, "run": json.dumps(description)})


def load_state(
    folder: str | Path, model, optimizer, batches, rng, history, best: dict | None = None, precision=None
) -> int:
    """Bring a freshly built run to the state that `save_state` wrote. Returns the step.

    best: a dict that gets what was `best` for `save_state`. precision: that of the run; None: float32.
    Raises FormatError for a damaged file or the file of another run. The model and the optimizer are as before then.
    """
    path = Path(folder) / FILE
    description = _read_description(path)
    _check_complete(description, path)
    tensors = read_tensors(path)
    arrays, saved_best = _of_kind(tensors, "optimizer/"), _of_kind(tensors, "best/")
    for found in [tensors, saved_best] if saved_best else [tensors]:
        _check_weights(_of_kind(found, "weights/"), model, path)
    optimizer.check_state_dict(arrays)
    with _part_of(path, "place in the data"):
        batches.restore(description["batches"])
    with _part_of(path, "random generator"):
        rng.bit_generator.state = description["rng"]
    with _part_of(path, "history"):
        history.restore(description["history"], description["step"])
    with _part_of(path, "loss scale"):
        if precision is not None:
            precision.restore(description["precision"])
    with _part_of(path, "state of the adapters"):
        put_back(model, tensors)
    optimizer.load_state_dict(arrays)
    if best is not None:
        best |= saved_best
    return description["step"]


def read_settings(folder: str | Path) -> tuple[dict, int]:
    """The settings of the run saved in `folder`, and its step. Raises MissingFileError when there is none."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise MissingFileError(f"nothing to resume in {folder}: there is no {FILE}")
    description = _read_description(path)
    return description["settings"], description["step"]


def learned(model) -> dict:
    """{name: array} of what a training changes in a model; the arrays are the model's own."""
    weights = {f"weights/{name}": p.data for name, p in trained(model)}
    return weights | {f"adapters/{name}": array for name, array in model.state().items()}


def put_back(model, arrays: dict) -> None:
    """Bring the model to what `learned` gave. Other names in `arrays` are ignored."""
    model.restore(_of_kind(arrays, "adapters/"))
    weights = _of_kind(arrays, "weights/")
    for name, p in trained(model):
        p.data = like(weights[name], p.data)


def _of_kind(arrays, kind):  # {"weights/a": array, ...}, "weights/" -> {"a": array}
    return {name.removeprefix(kind): a for name, a in arrays.items() if name.startswith(kind)}


def trained(model):  # -> list of (name, Parameter), in order
    """The parameters that are trained."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _check_complete(description, path):
    """Whether the tensors are those that were saved; nothing of the file is read that is none of them."""
    found = read_header(path)[0].keys()
    with _part_of(path, "list of tensors"):
        wrong = sorted(found ^ set(description.get("tensors", found)))  # an earlier version saved no list
    if wrong:
        what = "is missing" if wrong[0] not in found else "was not saved by the run"
        raise FormatError(f"{path} is damaged: {listed(wrong[:1])} {what}; {START_AGAIN}")


def _check_weights(weights, model, path):
    expected = dict(trained(model))
    wrong = sorted(weights.keys() ^ expected.keys()) or sorted(
        name for name, p in expected.items() if weights[name].shape != p.shape or weights[name].dtype != p.dtype
    )
    if wrong:
        raise FormatError(f"{path} is of another run: {listed(wrong, 1)} do not fit the model; {START_AGAIN}")


def _read_description(path):  # -> dict
    _, metadata = read_header(path)
    if metadata.get("format") != KIND:
        raise FormatError(f"{path} is not a training state of minilora")
    with _part_of(path, "description"):
        description = json.loads(metadata["run"])
        settings, step = description["settings"], description["step"]
        if not isinstance(settings, dict):
            raise TypeError
    with _part_of(path, "number of steps"):
        if isinstance(step, bool) or not isinstance(step, int) or step < 1:
            raise TypeError
    return description


@contextlib.contextmanager
def _part_of(path, what):
    """Any error of a value that is missing, or of the wrong kind, says which file and which part of it is damaged."""
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, IndexError, RecursionError) as error:
        raise FormatError(f"{path} is damaged: the {what} of the run cannot be read; {START_AGAIN}") from error


# ---- the folder: may a run begin, or go on, in it?


def begin_run(
    out: str | Path | None,
    settings: dict,
    adapter: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    writes: bool = True,
) -> dict:
    """Check, before any work, that a run with `settings` may write into `out`. Writes nothing.

    adapter: whether it writes an adapter, not a base. out: None when nothing will be saved. writes: False for a worker
    that leaves writing to worker 0. Returns the settings of the saved run that goes on, {} for a new run. Raises
    ConfigError, MissingFileError, MiniloraError.
    """
    if resume and (overwrite or out is None):
        raise ConfigError("resume and overwrite: choose one of them" if overwrite else "resume needs out, a folder")
    if out is None:
        return {}
    if not writes:
        return check_same_run(Path(out), settings) if resume else {}
    saved = {}
    if resume:
        saved = check_same_run(Path(out), settings)
    else:
        check_new_run(Path(out), adapter, overwrite)
    check_writable(out)
    with only_writer(out):  # for now; the training asks again
        return saved


@contextlib.contextmanager
def only_run(out: Path, resume: bool, replace: bool) -> Iterator[None]:
    """In the block no other process writes into `out`, and nothing can go on with a run that a new one replaces.

    The state of that run is aside. It is back after the block, unless `drop_old_state` was called: something is saved.
    Raises MiniloraError when another process is writing, or when one has saved a result that may not be replaced.
    """
    with only_writer(out):
        if not (resume or replace) and (found := content_of(out)):
            raise ConfigError(
                f"another run has saved {found} in {out} meanwhile; choose another folder or pass overwrite"
            )
        if not resume and (out / FILE).is_file():
            os.replace(out / FILE, out / ASIDE)
        try:
            yield
        finally:
            if (out / ASIDE).is_file():
                os.replace(out / ASIDE, out / FILE)


def drop_old_state(out: Path) -> None:
    """Remove the state of the run that a new one has replaced."""
    (out / ASIDE).unlink(missing_ok=True)


def content_of(out: Path) -> str:
    """What `out` holds, in two words; "" when it holds no result."""
    return next((name for name, file in HOLDS.items() if (out / file).is_file()), "")


def check_new_run(out: Path, adapter: bool, overwrite: bool) -> None:
    """Raises ConfigError when a new run in `out` would replace a result without `overwrite`.

    An adapter beside a base, or a base beside an adapter, is refused in any case: programs would take one for the
    other's.
    """
    holds = {name: (out / file).is_file() for name, file in HOLDS.items()}
    new, other = ("the adapter", "a base") if adapter else ("the base", "an adapter")
    if holds[other]:
        raise ConfigError(f"{out} already contains {other}; choose another folder for {new}")
    if (content := content_of(out)) and not overwrite:
        resume = "resume to go on with it, or " if holds["a run"] else ""
        raise ConfigError(f"{out} already contains {content}; pass {resume}overwrite to replace it")


def check_same_run(out: Path, settings: dict) -> dict:
    """The settings of the run saved in `out`, which is to go on with `settings`. An lr of None is the saved one.

    Raises ConfigError when a setting contradicts the saved one, or no step is left; MissingFileError without a run.
    """
    saved, step = read_settings(out)
    if saved.get("command") != settings["command"]:
        raise ConfigError(f"the run in {out} was not saved by {settings['command']}")
    _check_version(out, settings.keys(), saved.keys())
    for name, value in settings.items():
        same = saved[name] == value or name in MAY_CHANGE or (name == "lr" and value is None)
        if not same:
            raise ConfigError(f"{name} {value} contradicts the run in {out}, which was started with {saved[name]}")
    if step >= settings["steps"]:
        raise ConfigError(f"the run in {out} is already at step {step} of {settings['steps']}; ask for more steps")
    return saved


def _check_version(out, known, saved):
    """Raises ConfigError when the settings of a run are not those of this version: what the others do is not known."""
    if new := sorted(known - saved):
        raise ConfigError(
            f"the run in {out} was saved by another version of minilora; in this one the setting {new[0]} is new; "
            f"{START_AGAIN}, or go on from what it has learned with adapter"
        )


def check_same_data(digest: str, saved: dict, out: str | Path | None) -> None:
    """Raises ConfigError when a run that goes on has other data than it was started with. saved: from `begin_run`."""
    if saved and saved.get("digest") != digest:
        raise ConfigError(f"the training data has changed since the run in {out} was started")
