"""`minilora merge`: a base and its adapters as one ordinary checkpoint, which needs no LoRA to run."""

from pathlib import Path

import click

from ..errors import ConfigError
from .common import adapter_option, base_of, base_option, device_option, with_adapters


@click.command()
@base_option
@adapter_option
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result.")
@device_option
def merge(base, adapter, out, device):
    """Write base + adapter as one ordinary checkpoint, in float32, which other tools can open.

    Then reads the checkpoint back, and prints how far its logits are from those of base and adapter side by side.
    """
    from ..combining.checkpoint import check_target, merge_to_folder
    from ..models.pretrained import base_folder, load_pretrained

    if not adapter:
        raise ConfigError("no adapter to merge; expected --adapter DIR[=W][,DIR]")
    base = base_of(base, adapter)
    folder = base_folder(base)
    check_target(out, [folder, *adapter])
    merged = merge_to_folder(with_adapters(load_pretrained(folder, device=device), adapter), out, folder, list(adapter))
    if merged.untied:
        click.echo("head and embedding shared one weight and one of them was adapted: both are saved now")
    click.echo(
        f"largest difference of a logit on {merged.tokens} fixed tokens, merged against apart: "
        f"{merged.difference:.2g} (largest logit {merged.logit:.3g})"
    )
    click.echo(f"saved in {out}, float32: {merged.bytes:,} bytes")
