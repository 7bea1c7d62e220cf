"""Tables for a terminal."""

import sys


def console(width=400):
    """Where tables go: text as it is. `width` counts when no terminal reads it: by default no line is folded then."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else width)


def new_table(*columns: str, text: int | None = None, title: str = ""):
    """A table for `console()`. The first `text` columns are text, the others numbers; None: all are text."""
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        number = text is not None and i >= text
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return table


def show_facts(*facts):  # (name, value)
    """Names on the left, values on the right."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    for name, value in facts:
        table.add_row(name, str(value))
    console().print(table)
