"""`minilora push`: a saved adapter to the hub."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.argument("name", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Everybody may see a new repository.  [default: only you]")
def push(folder, name, public):
    """Push the adapter in DIR to the hub's repository OWNER/NAME, which is made if there is none.

    Uploads the adapter, its model card and chat template, and how it wants to be asked; no data, no state of the run.
    Log in first with `hf auth login`, or set HF_TOKEN.
    """
    show_push(folder, name, public)


def show_push(folder: Path, name: str, public: bool = False) -> None:
    """Push, and print where the adapter is now."""
    from ..adapters.publish import push_adapter

    click.echo(f"pushed to {push_adapter(folder, name, public)}")
