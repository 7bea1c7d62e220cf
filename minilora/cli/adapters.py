"""`minilora adapters` and `minilora inspect`: what is in a folder, read from its files alone."""

from pathlib import Path

import click

from ..display.tables import console, new_table, show_facts
from ..errors import ConfigError, FormatError, MiniloraError, MissingFileError, listed, printable, shortened
from ..files.atomic import is_taken
from ..files.hub import adapter_folder
from .common import json_option, show_json

ADAPTER, BASE = "adapter_config.json", "config.json"


def value_range(values) -> str:  # "8", or "4 .. 16" when they differ; "-" for a method that has none
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} .. {high:g}"


def target_names(targets) -> str:
    targets = targets or "none: the sequence"  # prompt learning adapts no module
    names = [targets] if isinstance(targets, str) else targets
    return listed([shortened(name) for name in names], limit=20)  # a file may have a million


def method_name(config) -> str:
    """The method's name: "lora", "dora", "prefix_tuning", ..."""
    return "dora" if getattr(config, "use_dora", False) else config.peft_type.lower()


def summary(adapter) -> dict:
    """What both commands say of an adapter. r, alpha, scale: the different values of its modules, from the smallest."""
    config, updates = adapter.config, adapter.updates
    ranks, alphas, scales = ([config.r] if hasattr(config, "r") else []), [], []  # alpha and scale belong to LoRA
    if updates:
        ranks = sorted({u.r for u in updates})
        alphas = sorted({config.alpha(u.path) for u in updates})
        scales = sorted({u.scaling for u in updates})
    return {
        "folder": str(adapter.folder),
        "method": method_name(config),
        "targets": getattr(config, "target_modules", None),
        "r": ranks,
        "alpha": alphas,
        "scale": scales,
        "parameters": adapter.parameters,
        "bytes_on_disk": adapter.bytes_on_disk,
    }


# ---- minilora adapters


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@json_option("Print a JSON array with an object for each adapter; r, alpha and scale are lists of different values.")
def adapters(folders, as_json):
    """List adapters: those in each DIR, or in the folders directly in it.

    Adapters that cannot be read are listed after the table, with exit code 2; the rest are shown.
    """
    from ..adapters.inspect import adapter_folders, read_adapter

    found, problems = [], []
    for folder in dict.fromkeys(inside for given in folders for inside in adapter_folders(given)):
        try:
            found.append(summary(read_adapter(folder)))
        except MiniloraError as error:
            problems.append(error)
    if as_json:
        show_json(found)
    elif found:
        show_list(found)
    if problems:
        raise FormatError(str(problems[0]) + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))


def show_list(found: list[dict]) -> None:
    table = new_table("name", "method", "targets", "r", "alpha", "scale", "parameters", "bytes on disk", text=3)
    for one in found:
        about = map(printable, (one["folder"], one["method"], target_names(one["targets"])))
        numbers = (value_range(one[name]) for name in ("r", "alpha", "scale"))
        table.add_row(*about, *numbers, f"{one['parameters']:,}", f"{one['bytes_on_disk']:,}")
    console().print(table)


# ---- minilora inspect


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--base", metavar="DIR", help="Check that the adapter fits this base, and compare their norms.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE",
    help="Draw the ranks that AdaLoRA left in each module into this new PNG file.",
)  # fmt: skip
@json_option('Print all of it as one JSON object; its "kind" is adapter or base.')
def inspect(folder, base, plot, as_json):
    """Show what is in DIR, an adapter or a base: targets, ranks, scale, sizes, and how large each update is.

    DIR may also be the name of an adapter on the hub.
    """
    folder = adapter_folder(folder)
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {folder}")
    if (folder / ADAPTER).is_file():
        report = adapter_report(folder, base, plot)
        show = show_updates if "modules" in report else show_tensors
    elif (folder / BASE).is_file():
        if base is not None:
            raise click.UsageError(f"{folder} is a base; --base goes with an adapter")
        if plot is not None:
            raise click.UsageError(f"{folder} is a base; --plot goes with an adapter of AdaLoRA")
        report, show = base_report(folder), show_base
    else:
        raise MissingFileError(f"neither an adapter nor a base in {folder}: no {ADAPTER}, no {BASE}")
    (show_json if as_json else show)(report)


def draw_ranks(adapter, plot):
    """The ranks of an AdaLoRA adapter as bars. Raises ConfigError for another method, and for a file that exists."""
    from ..display.plots import rank_bars

    if adapter.config.peft_type != "ADALORA":
        raise ConfigError(f"--plot draws the ranks of AdaLoRA; {adapter.folder} is {method_name(adapter.config)}")
    if plot.suffix.lower() != ".png" or is_taken(plot):
        raise ConfigError(f"--plot {plot}: expected a new file whose name ends in .png")
    ends = ".lora_E"
    ranks = {name.removesuffix(ends): len(array) for name, array in adapter.others.items() if name.endswith(ends)}
    rank_bars(ranks, adapter.config.init_r, plot)
    click.echo(f"figure: {plot}", err=True)


def adapter_report(folder, base, plot) -> dict:
    """All about an adapter: of LoRA and DoRA its modules, of another method its settings and tensors."""
    from ..adapters.inspect import compare_base, read_adapter

    adapter = read_adapter(folder)
    if plot is not None:
        draw_ranks(adapter, plot)
    norms, same = ({}, None) if base is None else compare_base(adapter, base)
    report = {"kind": "adapter"} | summary(adapter)
    report |= {"made_for": adapter.config.base_model_name_or_path or None, "fits": base, "trained_on_it": same}
    return report | (of_updates(adapter, norms) if adapter.updates else of_tensors(adapter))


def of_updates(adapter, norms: dict) -> dict:  # norms: {path: of the base's weight}, empty without a base
    config, updates = adapter.config, adapter.updates
    return {
        "rslora": config.use_rslora,
        "dropout": config.lora_dropout,
        "stored_as": sorted({str(a.dtype) for u in updates for a in (u.A, u.B)}),
        "trained_in_full": shapes(adapter.copies),
        "trained_tokens": {path: len(rows) for path, rows in adapter.tokens.items()},
        "saved_along": shapes(adapter.base_copies),
        "modules": [
            {"path": u.path, "out": u.shape[0], "in": u.shape[1], "r": u.r, "alpha": config.alpha(u.path)}
            | {"scale": u.scaling, "norm": u.norm()}
            | ({"base_norm": norms[u.path]} if norms else {})
            for u in updates
        ],
    }


def of_tensors(adapter) -> dict:
    import dataclasses

    import numpy as np

    config, left_out = adapter.config, ("target_modules", "base_model_name_or_path", "rank_pattern", "task_type")
    settings = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name not in left_out}
    tensors = [
        {"name": name, "shape": array.shape, "mean": float(array.mean(dtype=np.float64)) if array.size else None}
        | {"norm": float(np.linalg.norm(array.astype(np.float64)))}
        for name, array in (adapter.others | adapter.frozen).items()
    ]
    return {
        "settings": {name: value for name, value in settings.items() if value not in (None, False, [], {})},
        "saved_along": shapes(adapter.frozen),
        "tensors": tensors,
    }


def shapes(tensors: dict) -> dict:
    return {name: array.shape for name, array in tensors.items()}


def show_updates(report: dict) -> None:
    modules, base = report["modules"], report["fits"]
    formula = "alpha / sqrt(r)" if report["rslora"] else "alpha / r"
    facts = [
        ("adapter", report["folder"]),
        ("method", report["method"]),
        ("targets", target_names(report["targets"])),
        ("r", value_range(report["r"])),
        ("alpha", value_range(report["alpha"])),
        ("scale", f"{value_range(report['scale'])} = {formula}"),
        ("dropout", f"{report['dropout']:g} in training"),
        ("parameters", f"{report['parameters']:,} in {len(modules)} modules"),
        ("stored as", ", ".join(report["stored_as"])),
        ("bytes on disk", f"{report['bytes_on_disk']:,}"),
        *listed_shapes("trained in full", report["trained_in_full"]),
    ]
    if tokens := report["trained_tokens"]:
        facts.append(("trained tokens", ", ".join(f"{count} of {path}" for path, count in tokens.items())))
    show_facts(*facts, *listed_shapes("saved along, frozen", report["saved_along"]), *made_for(report))
    table = new_table("module", "W (out x in)", "r", "scale", "|dW|", *(["|W|", "|dW| / |W|"] if base else []), text=1)
    for m in modules:
        row = [m["path"], f"{m['out']} x {m['in']}", str(m["r"]), f"{m['scale']:g}", f"{m['norm']:.4g}"]
        if base:
            norm = m["base_norm"]
            row += [f"{norm:.4g}", f"{m['norm'] / norm:.2%}" if norm else "W is zero"]
        table.add_row(*map(printable, row))
    console().print(table)
    click.echo("|W| is the Frobenius norm: the root of the sum of all squares; dW = scale B A")
    show_fit(report)


def show_tensors(report: dict) -> None:
    """An adapter of a method without low-rank updates: its settings and its tensors."""
    show_facts(
        ("adapter", report["folder"]),
        ("method", report["method"]),
        ("targets", target_names(report["targets"])),
        *((name, shortened(str(value), 1000)) for name, value in report["settings"].items()),
        ("parameters", f"{report['parameters']:,}"),
        ("bytes on disk", f"{report['bytes_on_disk']:,}"),
        *listed_shapes("saved along, frozen", report["saved_along"]),
        *made_for(report),
    )
    table = new_table("tensor", "shape", "mean", "norm", text=2)
    for tensor in report["tensors"]:
        mean = "-" if tensor["mean"] is None else f"{tensor['mean']:.4g}"
        shape = " x ".join(map(str, tensor["shape"]))
        table.add_row(printable(tensor["name"]), shape, mean, f"{tensor['norm']:.4g}")
    console().print(table)
    show_fit(report)


def show_fit(report: dict) -> None:
    words = {
        True: "it was trained on this base",
        False: "the shapes agree, but it was trained on another base",
        None: "the shapes agree (no file says which base the adapter was trained on)",
    }
    if report["fits"]:
        click.echo(f"fits {report['fits']}: {words[report['trained_on_it']]}")


def listed_shapes(name: str, found: dict) -> list:  # -> a fact, or nothing
    return [(name, ", ".join(f"{tensor} {shape}" for tensor, shape in found.items()))] if found else []


def made_for(report: dict) -> list:
    return [("made for", report["made_for"])] if report["made_for"] else []


def base_report(folder) -> dict:
    """All about a base: `config` has the whole numbers of its config.json that are sizes."""
    from ..files.checkpoint import read_headers
    from ..models.pretrained import empty_model, places_in

    model, headers, packed = empty_model(folder)
    config, files = model.config, read_headers(folder)
    places_in(model, headers, folder)
    known = ("vocab_size", "tie_word_embeddings")
    return {
        "kind": "base",
        "folder": str(folder),
        "model_type": config.model_type,
        "vocab_size": config.vocab_size,
        "sizes": {k: v for k, v in vars(config).items() if type(v) is int and k not in known and not k.endswith("_id")},
        "parameters": sum(p.size for p in model.parameters()),
        "tied": config.tie_word_embeddings,
        "stored_as": sorted({kind for header in files.values() for kind, _ in header.values()}),
        "quantized_layers": len(packed.weights) if packed else 0,
        "bytes_on_disk": sum(f.stat().st_size for f in files),
        "files": len(files),
        "tokenizer": (folder / "tokenizer.json").is_file(),
    }


def show_base(report: dict) -> None:
    quantized = report["quantized_layers"]
    show_facts(
        ("base", report["folder"]),
        ("model type", report["model_type"]),
        ("vocabulary", f"{report['vocab_size']:,}"),
        *((name.replace("_", " "), f"{value:,}") for name, value in report["sizes"].items()),
        ("parameters", f"{report['parameters']:,}"),
        ("head", "tied: it is the embedding's weight, counted once" if report["tied"] else "a weight of its own"),
        ("stored as", ", ".join(report["stored_as"])),
        *((("quantized", f"{quantized} linear layers"),) if quantized else ()),
        ("weights on disk", f"{report['bytes_on_disk']:,} bytes in {report['files']} file(s)"),
        ("tokenizer", "tokenizer.json" if report["tokenizer"] else "none"),
    )
