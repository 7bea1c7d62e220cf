"""`python -m benchmarks.paper NAME...`: the experiments of the LoRA paper, and of later ones, on the shipped base.

Every run is saved at once in benchmarks/results/NAME.part; after an interruption the same command goes on where it
stopped. A finished experiment is in NAME.json, and is only drawn again. The command writes the figure to
benchmarks/figures/ and the table into benchmarks/PAPER.md.
"""

import re
import sys

import click

from minilora.errors import MiniloraError, UnknownNameError, nearest
from minilora.files.atomic import write_text

from .drawings import draw, draw_amplification, draw_similarity, subspace_table, table
from .experiments import EXPERIMENTS
from .options import OneLine
from .running import HERE, NAMES, results, run_experiment, run_subspaces

PAGE = HERE / "PAPER.md"


def report(name, store):  # -> the Markdown table
    return subspace_table(store) if name == "subspaces" else table(name, EXPERIMENTS[name](), store)


def draw_all(name, store, folder):
    if name == "subspaces":
        draw_similarity(store, folder / "subspaces.png")
        draw_amplification(store, folder / "amplification.png")
    else:
        draw(name, EXPERIMENTS[name](), store, folder / f"{name}.png")


def with_table(page, name, text):  # str, str, str -> the page with this table between its marks
    begin, end = f"<!-- table {name} -->\n", "<!-- end -->"
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL)


@click.command(cls=OneLine)
@click.argument("names", nargs=-1, metavar="NAME...")
def main(names):
    """Measure the missing runs of these experiments, draw their figures and write their tables into the page."""
    try:
        if not names:
            click.echo("the experiments: " + ", ".join(NAMES))
        for name in names:
            if name not in NAMES:
                raise UnknownNameError(f"no experiment {name!r}; there are: {nearest(name, NAMES)}")
        for name in names:
            store = results(name)
            if name == "subspaces":
                run_subspaces(store)
            else:
                run_experiment(EXPERIMENTS[name](), store)
            draw_all(name, store, HERE / "figures")
            text = report(name, store)
            write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), name, text))
            click.echo(f"\n{text}")
    except MiniloraError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        click.echo("stopped; every measured run is saved, and the same command goes on", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
