"""`minilora adapters` and `minilora inspect`: what is in a folder, read from its files alone."""

import math
from pathlib import Path

import click
import numpy as np

from ..adapters.inspect import read
from ..display.tables import console, new_table, show_facts
from ..errors import FormatError, MiniloraError, MissingFileError

ADAPTER, BASE = "adapter_config.json", "config.json"


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
    from ..adapters import files as adapter_files
    from ..adapters.inject import AdaptedModel
    from ..files.checkpoint import read_headers
    from ..files.hub import model_folder
    from ..files.safetensors import iterate_tensors
    from ..models.pretrained import model_of, places_in, read_config

    folder = model_folder(base)
    model = model_of(read_config(folder / BASE))
    files = read_headers(folder)
    places = places_in(model, files, folder)  # name in the files -> Parameter

    def stream(wanted):  # Parameters, by id -> (Parameter, array), one at a time
        for file, header in files.items():
            names = [n for n in header if n in places and id(places[n]) in wanted]
            for name, array in iterate_tensors(file, np.float32, names):
                yield places[name], array

    copied = {n.replace(".base_layer.", ".") for n in adapter.base_copies}
    needed = {id(p) for n, p in model.named_parameters(remove_duplicate=False) if n in copied or p.ndim == 1}
    for parameter, array in stream(needed):  # those to be compared by value; and some, so that the base has a type
        parameter.data = array
    adapted = AdaptedModel(model)
    config, tensors = adapter_files.read(adapter.folder)
    parameters = adapted.add("adapter", adapted.accept(config))
    adapter_files.match(tensors, parameters, adapted.base_parameters, adapter.folder)
    paths = {}  # id of a weight -> the modules that read it: two when embedding and head are tied
    for layer in adapted.layers:
        paths.setdefault(id(layer.base_layer.weight), []).append(layer.path)
    norms = {}
    for parameter, array in stream(paths):
        norms |= dict.fromkeys(paths[id(parameter)], math.sqrt(np.square(array).sum(dtype=np.float64)))
    return norms


def show_base(folder):
    from ..files.checkpoint import read_headers
    from ..models.pretrained import model_of, places_in, read_config

    config = read_config(folder / BASE)
    model = model_of(config)
    files = read_headers(folder)
    places_in(model, files, folder)
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
