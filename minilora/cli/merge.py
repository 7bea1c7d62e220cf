"""`minilora merge`: a base and its adapters, or several models of one base, as one ordinary checkpoint."""

from pathlib import Path

import click

from ..errors import ConfigError
from .common import adapter_option, base_of, base_option, device_option, quantize_option, with_adapters


def _parts(ctx, param, value):  # "a,b" -> ["a", "b"]
    parts = [] if value is None else [value] if Path(value).is_dir() else [part.strip() for part in value.split(",")]
    if not all(parts):
        raise ConfigError(f"{param.opts[0]} {value!r}: expected one, or several joined by commas")
    return parts


def _numbers(ctx, param, value):  # "0.7,-1" -> [0.7, -1.0]
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise ConfigError(f"--weights {value!r}: expected numbers joined by commas, as in 0.7,-1") from error


@click.command()
@base_option
@adapter_option
@click.option(
    "--models", callback=_parts, metavar="DIR[,DIR]", help="Models tuned from the base, instead of --adapter."
)
@click.option("--method", metavar="NAME", help="With --models: task_arithmetic, ties, dare_linear or dare_ties.")
@click.option(
    "--weights", callback=_numbers, metavar="W[,W]", help="With --models: one for each.  [default: 1 for each]"
)
@click.option(
    "--density", type=float, metavar="P", help="Share of what a model changed that ties and dare keep, 0 to 1."
)
@click.option("--seed", type=click.IntRange(0), help="Random seed of what dare drops.  [default: 0]")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result.")
@quantize_option
@click.option(
    "--how", metavar="NAME",
    help="With a base in 4 or 8 bits: dequantize (the function that was trained), original (into the weights before "
    "they were quantized) or requantize (small updates are lost).",
)  # fmt: skip
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
    help="With --adapter: type of the file.  [default: the base's own; with --how, float32]",
)  # fmt: skip
@device_option
def merge(base, adapter, models, method, weights, density, seed, out, quantize, how, dtype, device):
    """Write base + adapter, or several models tuned from one base (in float32), as one ordinary checkpoint.

    An adapter that was trained with --quantize was trained beside other weights than those of the base. Name the same
    --quantize, and choose with --how what becomes of the difference; the command prints what it costs.

    With --adapter it then reads the checkpoint back, and prints how far its logits are from those of base and adapter
    side by side. With --models one tensor of each model is in memory at a time, on the CPU.
    """
    from ..models.pretrained import base_folder

    if models and adapter:
        raise ConfigError("--models and --adapter: use only one of them")
    given = {"--method": method, "--weights": weights, "--density": density, "--seed": seed}
    if models:
        if device != "cpu":
            raise ConfigError(f"--device {device} goes with --adapter; --models are merged on the CPU")
        if method is None:
            raise ConfigError("--models needs --method: task_arithmetic, ties, dare_linear or dare_ties")
        folders = [base_folder(name) for name in models]
        if quantize or how or dtype:
            raise ConfigError(f"{'--quantize' if quantize else '--how' if how else '--dtype'} goes with --adapter")
        return merge_full(folders, base_folder(base), out, method, weights, density, seed or 0)
    if alone := next((option for option, value in given.items() if value is not None), None):
        raise ConfigError(f"{alone} goes with --models; the weight of an adapter is written --adapter DIR=0.7")
    if not adapter:
        raise ConfigError("nothing to merge; expected --adapter DIR[=W][,DIR] or --models DIR[,DIR]")
    if dtype and how == "requantize":
        raise ConfigError("--dtype goes with a result in 16 or 32 bits; --how requantize has 4 or 8")
    merge_adapters(adapter, base_folder(base_of(base, adapter)), out, device, quantize, how, dtype)


def merge_full(models, base, out, method, weights, density, seed) -> None:
    from ..combining.models import merge_models

    merged = merge_models(models, base, out, method, weights, density, seed)
    click.echo(
        f"{method} of {', '.join(map(str, models))}: {merged.changed:,} of {merged.numbers:,} numbers are not those of "
        f"{base}"
    )
    click.echo(f"saved in {out}, float32: {merged.bytes:,} bytes")


def merge_adapters(adapter, base, out, device, quantize, how, dtype) -> None:
    from ..combining.checkpoint import check_target, merge_to_folder
    from ..models.pretrained import load_pretrained, storage_named

    def loaded(**stored):
        return with_adapters(load_pretrained(base, device=device, **stored), adapter)

    check_target(out, [base, *adapter])
    if how == "original" and not quantize:
        raise ConfigError("--how original needs the base before it was quantized: name it with --base, and --quantize")
    merged = merge_to_folder(loaded(**storage_named(quantize)), out, base, list(adapter), how, loaded, dtype)
    if merged.untied:
        click.echo("head and embedding shared one weight and one of them was adapted: both are saved now")
    click.echo(
        f"largest difference of a logit on {merged.tokens} fixed tokens, merged against apart: "
        f"{merged.difference:.2g} (largest logit {merged.logit:.3g})"
    )
    if merged.lost:
        click.echo(
            f"{merged.lost.changed:,} of {merged.lost.codes:,} codes of the adapted layers changed; "
            f"{merged.lost.survived:.1%} of the update survived"
        )
    click.echo(f"saved in {out}, {merged.dtype}: {merged.bytes:,} bytes")
