"""Several full models, tuned from one base C, into one.

    θ = θ_C + f(τ_A, τ_B, ...)        τ_A = w_A (θ_A - θ_C), the weighted task vector of model A

    task_arithmetic   f = Σ τ                             Ilharco et al. 2023, arXiv 2212.04089; w = -1 forgets
    ties              f = TIES, as in the paper           see ties.py
    dare_linear       f = Σ of what DARE keeps of τ       see dare.py
    dare_ties         f = TIES's mean of what DARE keeps

The models are folders, and so is the result: one tensor of each is in memory, and what is not yet written of a shard.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, FormatError, listed, nearest
from ..files.atomic import read_json, write_json
from ..files.checkpoint import copy_tokenizer, read_headers, save_shards
from ..files.safetensors import iterate_tensors
from ..models.pretrained import config_to_json, model_of, places_in, read_config
from ..text.forms import form_trained_on
from ..text.tokenizer import load_tokenizer
from ..training.run import HISTORY, settings_in_history
from .checkpoint import MARK, check_target, filled_folder
from .dare import drop
from .ties import cutoff, paper_ties
from .weighted import check_density, check_seed, check_weights, task_arithmetic

METHODS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
MAY_DIFFER = {"bos_token_id", "eos_token_id", "pad_token_id"}  # of a configuration; the result has those of the base


@dataclass
class MergedModels:
    """tensors, numbers: how many the result has; changed: how many of the numbers are not those of the base."""

    tensors: int
    numbers: int
    changed: int
    bytes: int


def merge_models(
    models: Sequence[Path],
    base: Path,
    out: Path,
    method: str,
    weights: Sequence[float] | None = None,
    density: float | None = None,
    seed: int = 0,
) -> MergedModels:
    """Write the merge of the folders `models`, tuned from the folder `base`, into the folder `out`, in float32.

    method   one of METHODS
    weights  one for each model; None: 1 for each
    density  share of each task vector that is kept: the largest numbers in "ties" (0.2 in its paper), random ones in
             "dare_linear" and "dare_ties"
    seed     chooses what DARE drops

    Tokenizer and configuration are the base's. Raises ConfigError for models that do not belong together, FormatError,
    MissingFileError, MiniloraError; `out` is as before then.
    """
    check_target(out, [base, *models])
    weights = check_weights([1.0] * len(models) if weights is None else weights, len(models))
    check_seed(seed)
    _check_options(models, base, method, density)
    config = read_config(base / "config.json")
    for folder in (base, *models):
        if read_json(folder / "config.json").get("quantization_config"):
            raise ConfigError(f"{folder} is stored in 4 or 8 bits; expected a model in 16 or 32 bits")
    for folder in models:
        check_same_architecture(folder, base)
        check_same_vocabulary(folder, base)
    model = model_of(config)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    origin, *tuned = [Source(folder, model) for folder in (base, *models)]
    vectors = [TaskVector(source, origin, w) for source, w in zip(tuned, weights, strict=True)]
    changed = 0

    def results():
        nonlocal changed
        rule = rule_of(method, vectors, shapes, 1.0 if density is None else density, seed)
        for name in shapes:
            before = origin.read(name)
            after = before + rule([v.read(name) for v in vectors])
            if not np.isfinite(after).all():
                raise ConfigError(f"the merge of {name} has numbers that are not finite")
            changed += np.count_nonzero(after != before)
            yield name, after

    with filled_folder(out) as temporary, np.errstate(over="ignore", invalid="ignore"):  # `results` refuses it
        save_shards(temporary, shapes, results())
        write_json(temporary / "config.json", config_to_json(config) | {"torch_dtype": "float32"})
        copy_tokenizer(base, temporary)
        if settings := shared_settings(models):
            write_json(temporary / HISTORY, {"settings": settings})
        files = sorted([*(f.name for f in temporary.iterdir()), MARK])
        made_of = {"base": str(base), "models": [str(m) for m in models], "method": method, "weights": weights}
        write_json(temporary / MARK, made_of | {"density": density, "seed": seed, "files": files})
    return MergedModels(
        tensors=len(shapes),
        numbers=sum(p.size for p in model.parameters()),
        changed=int(changed),
        bytes=sum((out / name).stat().st_size for name in files),
    )


class Source:
    """The tensors of the model in `folder`, read one by one by the names that they have in the unfilled `model`."""

    def __init__(self, folder: Path, model):
        self.folder = folder
        headers = read_headers(folder)
        own = {id(p): name for name, p in model.named_parameters()}
        stored = {own[id(p)]: stored for stored, p in places_in(model, headers, folder).items()}
        self._places = {
            name: (next(f for f, header in headers.items() if s in header), s) for name, s in stored.items()
        }

    def read(self, name: str):  # -> float32 array
        """Raises FormatError when its numbers are not finite."""
        file, stored = self._places[name]
        [(_, array)] = iterate_tensors(file, np.float32, {stored})
        if not np.isfinite(array).all():
            raise FormatError(f"{file}: {stored} has numbers that are not finite")
        return array


class TaskVector(NamedTuple):
    """τ = w (θ - θ_C), tensor by tensor."""

    source: Source
    origin: Source
    weight: float

    def read(self, name: str):  # -> float32 array
        return (self.weight * (self.source.read(name) - self.origin.read(name))).astype(np.float32, copy=False)


def rule_of(method: str, vectors: list[TaskVector], names: Iterable[str], density: float, seed: int) -> Callable:
    """The function f: [τ of one tensor, for each model] -> array. It must see the tensors in the order of `names`."""
    ones = [1.0] * len(vectors)
    if method == "task_arithmetic":
        return lambda taus: task_arithmetic(taus, ones)
    if method == "ties":
        cutoffs = [cutoff(lambda v=v: map(v.read, names), density) for v in vectors]
        return lambda taus: paper_ties(taus, cutoffs)
    generators = [np.random.default_rng([seed, place]) for place in range(len(vectors))]

    def dare(taus):
        kept = [drop(tau, density, generator) for tau, generator in zip(taus, generators, strict=True)]
        return task_arithmetic(kept, ones) if method == "dare_linear" else paper_ties(kept, [0.0] * len(kept))

    return dare


# ---- which models belong together


def check_same_architecture(folder: Path, base: Path) -> None:
    """Raises ConfigError, with the fields that differ, unless both config.json describe the same computation."""
    own, expected = (asdict(read_config(f / "config.json")) for f in (folder, base))
    fields = [name for name in expected if name not in MAY_DIFFER and own.get(name) != expected[name]]
    if own["model_type"] != expected["model_type"]:
        fields = ["model_type"]
    if fields:
        differ = listed([f"{name} {own[name]} for {expected[name]}" for name in fields])
        raise ConfigError(f"{folder} is no model tuned from {base}: {differ}")


def check_same_vocabulary(folder: Path, base: Path) -> None:
    """Raises ConfigError when both have a tokenizer.json, and a token has another id: other rows would be averaged."""
    if not all((f / "tokenizer.json").is_file() for f in (folder, base)):
        return
    own, expected = (load_tokenizer(f).inner.get_vocab() for f in (folder, base))
    if own != expected:
        token = min(own.keys() ^ expected.keys() or {t for t in own if own[t] != expected[t]})
        ids = " for ".join(str(v.get(token, "no id")) for v in (own, expected))
        raise ConfigError(f"{folder} has another vocabulary than {base}: the token {token!r} has {ids}")


def _check_options(models, base, method, density):
    if method not in METHODS:
        raise ConfigError(f"no method {method!r} for models; there are: {nearest(method, METHODS)}")
    if method != "task_arithmetic":
        check_density(density, method)
    elif density is not None:
        raise ConfigError("density has no effect with task_arithmetic, which keeps every number")
    if not models:
        raise ConfigError("no model to merge; expected one folder or more")
    places = [m.resolve() for m in models]
    if len(set(places)) < len(places):
        raise ConfigError("a model is named twice; give it one weight")
    if base.resolve() in places:
        raise ConfigError(f"{base} is both the base and a model: its task vector is zero")


def shared_settings(models: Iterable[Path]) -> dict:
    """What the trainings of the models have in common, so that the result is asked as they were; {} when they differ
    in the form of a prompt."""
    settings = [s for s in map(settings_in_history, models) if s]
    forms = {form_trained_on(s) for s in settings}
    if len(forms) != 1:
        return {}
    shared = {key: v for key, v in settings[0].items() if all(key in s and s[key] == v for s in settings)}
    if form_trained_on(shared) not in forms:  # two tasks
        shared["examples"] = True
    return shared
