"""Tables for a terminal, made by rich."""

import sys
from typing import Any

from ..errors import printable


def console(width: int = 400):
    """A rich.console.Console on stdout that prints text unchanged, without markup or colours.

    width: characters in a line when stdout is a file or a pipe; the default is wide enough to fold no table.
    """
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else width)


def new_table(*columns: str, text: int | None = None, title: str = ""):
    """A rich.table.Table with these columns: the first `text` of them for text, the others for numbers, right-aligned.

    text: default None, all columns are text.
    """
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        number = text is not None and i >= text
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return table


def show_facts(*facts: tuple[str, Any]) -> None:
    """Print (name, value) pairs, one a line: names on the left, values on the right, as `printable` writes them."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    for name, value in facts:
        table.add_row(name, printable(value))
    console().print(table)
