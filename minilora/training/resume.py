"""A training run in one file, from which it goes on as if it had never stopped: to the same bits.

`training_state.safetensors` holds the trained weights, the optimizer's arrays and, as JSON in the file's metadata, the
step, the random generators, the place in the data, the history and the settings. One file, so that it is whole or not
there; numbers and JSON, so that it cannot run code.
"""

import json
from pathlib import Path

from ..backend import like
from ..errors import FormatError, MissingFileError, nearest
from ..files.safetensors import read_header, read_tensors, write_tensors

FILE = "training_state.safetensors"
KIND = "minilora training state 1"


def save_state(folder, run, history, settings):
    """Write the run into `folder`. settings: anything JSON can hold, given back by `read_settings`."""
    history.read(run)
    tensors = {f"weights/{name}": p.data for name, p in trained(run.model)}
    tensors |= {f"optimizer/{name}": array for name, array in run.optimizer.state_dict().items()}
    facts = {
        "step": run.step,
        "rng": run.rng.bit_generator.state,
        "batches": run.batches.state(),
        "history": history.as_json(),
        "settings": settings,
    }
    write_tensors(Path(folder) / FILE, tensors, {"format": KIND, "run": json.dumps(facts)})


def load_state(folder, model, optimizer, batches, rng, history):
    """Bring a freshly built run to where `save_state` left it. Returns the step. Raises FormatError."""
    path = Path(folder) / FILE
    facts = _facts(path)
    tensors = read_tensors(path)
    weights = {name.removeprefix("weights/"): a for name, a in tensors.items() if name.startswith("weights/")}
    wanted = dict(trained(model))
    wrong = sorted(weights.keys() ^ wanted.keys()) or sorted(
        name for name, p in wanted.items() if weights[name].shape != p.shape or weights[name].dtype != p.dtype
    )
    if wrong:
        raise FormatError(f"{path} is of another run: {nearest('', wrong)} do not fit the model")
    arrays = {name.removeprefix("optimizer/"): a for name, a in tensors.items() if name.startswith("optimizer/")}
    optimizer.load_state_dict(arrays)
    try:
        batches.restore(facts["batches"])
        rng.bit_generator.state = facts["rng"]
        history.restore(facts["history"], facts["step"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, IndexError) as error:
        raise FormatError(f"{path}: the description of the run is damaged") from error
    for name, p in wanted.items():
        p.data = like(weights[name], p.data)
    return facts["step"]


def read_settings(folder):  # -> dict, int
    """The settings that a saved run was started with, and its step. Raises MissingFileError when there is none."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise MissingFileError(f"nothing to resume in {folder}: there is no {FILE}")
    facts = _facts(path)
    return facts["settings"], facts["step"]


def trained(model):
    """(name, Parameter) of what learns, in order."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _facts(path):
    _, metadata = read_header(path)
    if metadata.get("format") != KIND:
        raise FormatError(f"{path} is not a training state of minilora")
    try:
        facts = json.loads(metadata["run"])
        settings, step = facts["settings"], facts["step"]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"{path}: the description of the run is damaged") from error
    if not isinstance(settings, dict) or isinstance(step, bool) or not isinstance(step, int):
        raise FormatError(f"{path}: the description of the run is damaged")
    return facts
