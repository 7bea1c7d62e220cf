"""`minilora adapters` and `minilora inspect`: what is in a folder, read from its files alone."""

from pathlib import Path

import click

from ..display.tables import console, new_table, show_facts
from ..errors import ConfigError, FormatError, MiniloraError, MissingFileError, printable

ADAPTER, BASE = "adapter_config.json", "config.json"


def value_range(values) -> str:  # "8", or "4 .. 16" when they differ
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} .. {high:g}"


def target_names(config) -> str:
    targets = getattr(config, "target_modules", None) or "none: the sequence"  # prompt learning adapts no module
    return targets if isinstance(targets, str) else ", ".join(targets)


def method_name(config) -> str:
    """The method's name: "lora", "dora", "prefix_tuning", ..."""
    return "dora" if getattr(config, "use_dora", False) else config.peft_type.lower()


# ---- minilora adapters


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
def adapters(folders):
    """List adapters: those in each DIR, or in the folders directly in it.

    Adapters that cannot be read are listed after the table, with exit code 2; the rest are shown.
    """
    from ..adapters.inspect import adapter_folders, read_adapter

    table = new_table("name", "method", "targets", "r", "alpha", "scale", "parameters", "bytes on disk", text=3)
    problems = []
    for folder in dict.fromkeys(inside for given in folders for inside in adapter_folders(given)):
        try:
            adapter = read_adapter(folder)
        except MiniloraError as error:
            problems.append(error)
            continue
        config, updates = adapter.config, adapter.updates
        numbers = (str(getattr(config, "r", "-")), "-", "-")  # alpha and scale belong to LoRA
        if updates:
            numbers = (
                value_range([u.r for u in updates]),
                value_range([config.alpha(u.path) for u in updates]),
                value_range([u.scaling for u in updates]),
            )
        size, on_disk = f"{adapter.parameters:,}", f"{adapter.bytes_on_disk:,}"
        about = map(printable, (folder, method_name(config), target_names(config)))
        table.add_row(*about, *numbers, size, on_disk)
    if table.row_count:
        console().print(table)
    if problems:
        raise FormatError(str(problems[0]) + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))


# ---- minilora inspect


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--base", metavar="DIR", help="Check that the adapter fits this base, and compare their norms.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE",
    help="Draw the ranks that AdaLoRA left in each module into this new PNG file.",
)  # fmt: skip
def inspect(folder, base, plot):
    """Show what is in DIR, an adapter or a base: targets, ranks, scale, sizes, and how large each update is."""
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {folder}")
    if (folder / ADAPTER).is_file():
        show_adapter(folder, base, plot)
    elif (folder / BASE).is_file():
        if base is not None:
            raise click.UsageError(f"{folder} is a base; --base goes with an adapter")
        if plot is not None:
            raise click.UsageError(f"{folder} is a base; --plot goes with an adapter of AdaLoRA")
        show_base(folder)
    else:
        raise MissingFileError(f"neither an adapter nor a base in {folder}: no {ADAPTER}, no {BASE}")


def draw_ranks(adapter, plot):
    """The ranks of an AdaLoRA adapter as bars. Raises ConfigError for another method, and for a file that exists."""
    from ..display.plots import rank_bars

    if adapter.config.peft_type != "ADALORA":
        raise ConfigError(f"--plot draws the ranks of AdaLoRA; {adapter.folder} is {method_name(adapter.config)}")
    if plot.suffix.lower() != ".png" or plot.exists():
        raise ConfigError(f"--plot {plot}: expected a new file whose name ends in .png")
    ends = ".lora_E"
    ranks = {name.removesuffix(ends): len(array) for name, array in adapter.others.items() if name.endswith(ends)}
    rank_bars(ranks, adapter.config.init_r, plot)
    click.echo(f"figure: {plot}", err=True)


def show_adapter(folder, base, plot):
    from ..adapters.inspect import base_norms, read_adapter

    adapter = read_adapter(folder)
    if plot is not None:
        draw_ranks(adapter, plot)
    norms = {} if base is None else base_norms(adapter, base)
    if not adapter.updates:  # of another method than LoRA and DoRA
        show_tensors(adapter, base)
        return
    config, updates = adapter.config, adapter.updates
    formula = "alpha / sqrt(r)" if config.use_rslora else "alpha / r"
    facts = [
        ("adapter", folder),
        ("method", method_name(config)),
        ("targets", target_names(config)),
        ("r", value_range([u.r for u in updates])),
        ("alpha", value_range([config.alpha(u.path) for u in updates])),
        ("scale", f"{value_range([u.scaling for u in updates])} = {formula}"),
        ("dropout", f"{config.lora_dropout:g} in training"),
        ("parameters", f"{adapter.parameters:,} in {len(updates)} modules"),
        ("stored as", ", ".join(sorted({str(a.dtype) for u in updates for a in (u.A, u.B)}))),
        ("bytes on disk", f"{adapter.bytes_on_disk:,}"),
    ]
    if adapter.copies:
        facts.append(("trained in full", ", ".join(f"{n} {a.shape}" for n, a in adapter.copies.items())))
    if adapter.tokens:
        facts.append(("trained tokens", ", ".join(f"{len(rows)} of {path}" for path, rows in adapter.tokens.items())))
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
        table.add_row(*map(printable, row))
    console().print(table)
    click.echo("|W| is the Frobenius norm: the root of the sum of all squares; dW = scale B A")
    if base:
        click.echo(f"fits {base}: the shapes agree (no file says which base the adapter was trained on)")


def show_tensors(adapter, base):
    """An adapter of a method without low-rank updates: its settings and its tensors."""
    import dataclasses

    import numpy as np

    config, left_out = adapter.config, ("target_modules", "base_model_name_or_path", "rank_pattern", "task_type")
    settings = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config) if f.name not in left_out]
    facts = [("adapter", adapter.folder), ("method", method_name(config)), ("targets", target_names(config))]
    facts += [(name, value) for name, value in settings if value not in (None, False, [], {})]
    facts += [("parameters", f"{adapter.parameters:,}"), ("bytes on disk", f"{adapter.bytes_on_disk:,}")]
    if adapter.frozen:
        facts.append(("saved along, frozen", ", ".join(f"{n} {a.shape}" for n, a in adapter.frozen.items())))
    if config.base_model_name_or_path:
        facts.append(("made for", config.base_model_name_or_path))
    show_facts(*facts)
    table = new_table("tensor", "shape", "mean", "norm", text=2)
    for name, array in (adapter.others | adapter.frozen).items():
        mean = f"{array.mean(dtype=np.float64):.4g}" if array.size else "-"
        shape = " x ".join(map(str, array.shape))
        table.add_row(printable(name), shape, mean, f"{np.linalg.norm(array.astype(np.float64)):.4g}")
    console().print(table)
    if base:
        click.echo(f"fits {base}: the shapes agree")


def show_base(folder):
    from ..files.checkpoint import read_headers
    from ..models.pretrained import empty_model, places_in

    model, headers, packed = empty_model(folder)
    config, files = model.config, read_headers(folder)
    places_in(model, headers, folder)
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
        *((("quantized", f"{len(packed.weights)} linear layers"),) if packed else ()),
        ("weights on disk", f"{sum(f.stat().st_size for f in files):,} bytes in {len(files)} file(s)"),
        ("tokenizer", "tokenizer.json" if (folder / "tokenizer.json").is_file() else "none"),
    )
