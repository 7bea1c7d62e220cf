"""`minilora adapters` and `minilora inspect`: what is in a folder, read from its files alone."""

import math
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from ..errors import FormatError, MiniloraError, MissingFileError
from .common import console, new_table, show_facts

ADAPTER, BASE = "adapter_config.json", "config.json"


@dataclass
class Update:
    """One adapted module of an adapter: ΔW = s · B A, A (r, in), B (out, r)."""

    path: str
    A: np.ndarray
    B: np.ndarray
    scaling: float

    r = property(lambda self: self.A.shape[0])
    shape = property(lambda self: (self.B.shape[0], self.A.shape[1]))  # (out, in)

    def norm(self):
        """‖ΔW‖_F = s √tr(BᵀB · AAᵀ): two (r, r) matrices; ΔW itself is never formed."""
        A, B = self.A.astype(np.float64), self.B.astype(np.float64)
        return abs(self.scaling) * math.sqrt(max(0.0, float(((B.T @ B) * (A @ A.T)).sum())))


@dataclass
class Adapter:
    """An adapter folder: its LoraConfig, its updates in order, and the other tensors that it holds."""

    folder: Path
    config: object
    updates: list
    copies: dict  # tensor name -> array: modules trained in full
    base_copies: dict  # tensor name -> array: weights of the base that PEFT saves along

    @property
    def parameters(self):
        arrays = [a for u in self.updates for a in (u.A, u.B)] + list(self.copies.values())
        return sum(a.size for a in arrays)


def read(folder):  # -> Adapter
    """The adapter in `folder`. Raises MissingFileError, FormatError, ConfigError.

    Whatever can be known without the base is checked: every A has its B, both of the rank that the config gives them.
    """
    from ..peft_format import read_adapter_config, read_adapter_tensors

    config = read_adapter_config(folder)
    found = Adapter(folder, config, [], {}, {})
    halves = {}  # path -> {"A": array, "B": array}
    for (path, place), array in read_adapter_tensors(folder).items():
        if place.startswith("lora_"):
            halves.setdefault(path, {})["A" if "_A" in place else "B"] = array
        elif path.endswith(".base_layer"):
            found.base_copies[f"{path}.{place}"] = array
        elif place:
            found.copies[f"{path}.{place}"] = array
        else:
            raise FormatError(f"{folder}: {path} is not a tensor of LoRA")
    for path in sorted(halves, key=_in_order):
        found.updates.append(_update(folder, path, halves[path], config))
    if not found.updates:
        raise FormatError(f"{folder}: no tensor of LoRA in it")
    return found


def _update(folder, path, pair, config):  # -> Update
    r = config.rank(path)
    for half, axis in (("A", 0), ("B", 1)):
        if half not in pair:
            raise FormatError(f"{folder}: {path} has no lora_{half}")
        shape = pair[half].shape
        if len(shape) != 2 or shape[axis] != r:
            raise FormatError(f"{folder}: lora_{half} of {path} has shape {shape}, which is not of rank {r}")
        if not np.isfinite(pair[half]).all():
            raise FormatError(f"{folder}: lora_{half} of {path} has values that are not finite")
    return Update(path, pair["A"], pair["B"], config.scaling(path))


def _in_order(path):  # layer 2 before layer 10
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")]


def size_of(folder, *patterns):  # -> bytes
    return sum(f.stat().st_size for pattern in patterns for f in folder.glob(pattern))


def spread(values):  # numbers -> "8", or "4 .. 16" when they differ
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} .. {high:g}"


def targets(config):
    found = config.target_modules
    return found if isinstance(found, str) else ", ".join(found)


# ---- minilora adapters


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
def adapters(folders):
    """List adapters: those in each DIR, or in the folders right inside it.

    One that cannot be read does not hide the others: it is named after the table, with exit code 2.
    """
    table = new_table("name", "targets", "r", "alpha", "scale", "parameters", "bytes on disk", text=2)
    problems = []
    for folder in dict.fromkeys(inside for given in folders for inside in adapter_folders(given)):
        try:
            adapter = read(folder)
        except MiniloraError as error:
            problems.append(error)
            continue
        paths = [u.path for u in adapter.updates]
        table.add_row(
            str(folder), targets(adapter.config),
            spread([u.r for u in adapter.updates]), spread([adapter.config.alpha(p) for p in paths]),
            spread([u.scaling for u in adapter.updates]), f"{adapter.parameters:,}", f"{adapter_bytes(folder):,}",
        )  # fmt: skip
    if table.row_count:
        console().print(table)
    if problems:
        raise FormatError(str(problems[0]) + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))


def adapter_bytes(folder):
    return size_of(folder, "adapter_model*", ADAPTER)


def adapter_folders(given):  # -> list of folders
    """`given` itself and the folders right inside it, as far as they hold an adapter."""
    if not given.is_dir():
        raise MissingFileError(f"no such folder: {given}")
    found = [f for f in (given, *sorted(f for f in given.iterdir() if f.is_dir())) if (f / ADAPTER).is_file()]
    if not found:
        raise MissingFileError(f"no adapter in {given} or right inside it: no {ADAPTER}")
    return found


# ---- minilora inspect


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--base", metavar="DIR", help="Does the adapter fit this base, and how large is it there?")
def inspect(folder, base):
    """What is in DIR, an adapter or a base: targets, ranks, scale, sizes, and how large each update is."""
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {folder}")
    if (folder / ADAPTER).is_file():
        show_adapter(folder, base)
    elif (folder / BASE).is_file():
        if base is not None:
            raise click.UsageError(f"{folder} is a base itself, --base goes with an adapter")
        show_base(folder)
    else:
        raise MissingFileError(f"neither an adapter nor a base in {folder}: no {ADAPTER}, no {BASE}")


def show_adapter(folder, base):
    adapter = read(folder)
    norms = {} if base is None else base_norms(adapter, base)
    config, updates = adapter.config, adapter.updates
    formula = "alpha / sqrt(r)" if config.use_rslora else "alpha / r"
    facts = [
        ("adapter", folder),
        ("targets", targets(config)),
        ("r", spread([u.r for u in updates])),
        ("alpha", spread([config.alpha(u.path) for u in updates])),
        ("scale", f"{spread([u.scaling for u in updates])} = {formula}"),
        ("dropout", f"{config.lora_dropout:g} in training"),
        ("parameters", f"{adapter.parameters:,} in {len(updates)} modules"),
        ("stored as", ", ".join(sorted({str(a.dtype) for u in updates for a in (u.A, u.B)}))),
        ("bytes on disk", f"{adapter_bytes(folder):,}"),
    ]
    if adapter.copies:
        facts.append(("trained in full", ", ".join(f"{n} {a.shape}" for n, a in adapter.copies.items())))
    if adapter.base_copies:
        facts.append(("saved along, frozen", ", ".join(f"{n} {a.shape}" for n, a in adapter.base_copies.items())))
    if config.base_model_name_or_path:
        facts.append(("made for", config.base_model_name_or_path))
    show_facts(*facts)
    table = new_table("module", "W (out x in)", "r", "scale", "|dW|", *(["|W|", "|dW| / |W|"] if base else []), text=1)
    for u in updates:
        row = [u.path, f"{u.shape[0]} x {u.shape[1]}", str(u.r), f"{u.scaling:g}", f"{u.norm():.4g}"]
        if base:
            row += [f"{norms[u.path]:.4g}", f"{u.norm() / norms[u.path]:.2%}" if norms[u.path] else "W is zero"]
        table.add_row(*row)
    console().print(table)
    click.echo("|W| is the Frobenius norm: the root of the sum of all squares; dW = scale B A")
    if base:
        click.echo(f"fits {base}: every tensor has its place there (shapes; no file says which base it was trained on)")


def base_norms(adapter, base):  # -> {path: ‖W‖_F}
    """The norm of every weight that the adapter changes, read one at a time.

    Raises FormatError listing names and shapes when the adapter does not fit the base, or the base its own config.json.
    """
    from ..checkpoint import match_tensors, weight_files
    from ..hub import model_folder
    from ..lora.inject import LoraModel
    from ..models.hf_config import model_of, read_config
    from ..peft_format import load_adapter
    from ..safetensors_io import iterate_tensors, read_header

    folder = model_folder(base)
    model = model_of(read_config(folder / BASE))
    files = {file: read_header(file)[0] for file in weight_files(folder)}
    places = match_tensors(model, files, folder)  # name in the files -> Parameter

    def stream(wanted):  # Parameters, by id -> (Parameter, array), one at a time
        for file, header in files.items():
            names = [n for n in header if n in places and id(places[n]) in wanted]
            for name, array in iterate_tensors(file, np.float32, names):
                yield places[name], array

    copied = {n.replace(".base_layer.", ".") for n in adapter.base_copies}
    needed = {id(p) for n, p in model.named_parameters(remove_duplicate=False) if n in copied or p.ndim == 1}
    for parameter, array in stream(needed):  # those to be compared by value; and some, so that the base has a type
        parameter.data = array
    lora = LoraModel(model)
    load_adapter(lora, "adapter", adapter.folder)
    paths = {}  # id of a weight -> the modules that read it: two when embedding and head are tied
    for layer in lora.layers:
        paths.setdefault(id(layer.base_layer.weight), []).append(layer.path)
    norms = {}
    for parameter, array in stream(paths):
        norms |= dict.fromkeys(paths[id(parameter)], math.sqrt(np.square(array).sum(dtype=np.float64)))
    return norms


def show_base(folder):
    from ..checkpoint import match_tensors, weight_files
    from ..models.hf_config import model_of, read_config
    from ..safetensors_io import read_header

    config = read_config(folder / BASE)
    model = model_of(config)
    files = {file: read_header(file)[0] for file in weight_files(folder)}
    match_tensors(model, files, folder)
    tied = config.tie_word_embeddings
    known = ("vocab_size", "tie_word_embeddings")
    sizes = [(k, v) for k, v in vars(config).items() if type(v) is int and k not in known and not k.endswith("_id")]
    show_facts(
        ("base", folder),
        ("model type", config.model_type),
        ("vocabulary", f"{config.vocab_size:,}"),
        *((name.replace("_", " "), f"{value:,}") for name, value in sizes),
        ("parameters", f"{sum(p.size for p in model.parameters()):,}"),
        ("head", "tied: it is the embedding's weight, counted once" if tied else "a weight of its own"),
        ("stored as", ", ".join(sorted({kind for header in files.values() for kind, _ in header.values()}))),
        ("weights on disk", f"{sum(f.stat().st_size for f in files):,} bytes in {len(files)} file(s)"),
        ("tokenizer", "tokenizer.json" if (folder / "tokenizer.json").is_file() else "none"),
    )
