"""`python -m benchmarks.paper NAME...`: the experiments of LoRA's paper, of later ones and of its relatives', in small.

Every run is saved at once in benchmarks/results/NAME.part; after an interruption the same command goes on where it
stopped. A finished experiment is in NAME.json, and is only drawn again. `--workers N` measures N runs at a time. The
command writes the figures to
benchmarks/figures/ and the table into the page that has a place for it, benchmarks/PAPER.md or benchmarks/FAMILY.md.
"""

import re
import sys

import click

from minilora.errors import MiniloraError, UnknownNameError, nearest
from minilora.files.atomic import write_text

from .drawings import draw, draw_amplification, draw_similarity, subspace_table, table
from .family_drawings import draw_error, draw_map, draw_ranks, error_table, map_table, ranks_table
from .family_experiments import FAMILY
from .options import OneLine
from .pool import workers_option
from .running import HERE, NAMES, OTHERS, SETTINGS, results, run_experiment

PAGES = {"FAMILY.md": (*FAMILY, "error-cut"), "PAPER.md": NAMES}  # the first page that has the name
TABLES = {"subspaces": subspace_table, "lora-plus": map_table, "error-cut": error_table}  # instead of `table`
FIGURES = {  # name -> {file: function}, instead of one that `draw` draws
    "subspaces": {"subspaces": draw_similarity, "amplification": draw_amplification},
    "lora-plus": {"lora-plus": draw_map},
    "error-cut": {"error-cut": draw_error},
}
FURTHER = {"adalora": (ranks_table, {"adalora-ranks": draw_ranks})}  # beside them


def page_of(name):  # -> Path
    return HERE / next(page for page, names in PAGES.items() if name in names)


def report(name, store):  # -> the Markdown table
    first = TABLES[name](store) if name in TABLES else table(name, SETTINGS[name](), store)
    return f"{first}\n{FURTHER[name][0](store)}" if name in FURTHER else first


def figures_of(name):  # -> {file: function (store, path)}
    own = {name: lambda store, path: draw(name, SETTINGS[name](), store, path)}
    return FIGURES.get(name, own) | (FURTHER[name][1] if name in FURTHER else {})


def with_table(page, name, text):  # str, str, str -> the page with this table between its marks
    begin, end = f"<!-- table {name} -->\n", "<!-- end -->"
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL)


@click.command(cls=OneLine)
@click.argument("names", nargs=-1, metavar="NAME...")
@workers_option
def main(names, workers):
    """Measure the missing runs of these experiments, draw their figures and write their tables into the page."""
    try:
        if not names:
            click.echo("the experiments: " + ", ".join(NAMES))
        for name in names:
            if name not in NAMES:
                raise UnknownNameError(f"no experiment {name!r}; there are: {nearest(name, NAMES)}")
        for name in names:
            store = results(name)
            if name in OTHERS:
                OTHERS[name](store, workers)
            else:
                run_experiment(SETTINGS[name](), store, workers)
            for file, draw_figure in figures_of(name).items():
                draw_figure(store, HERE / "figures" / f"{file}.png")
            text, page = report(name, store), page_of(name)
            write_text(page, with_table(page.read_text(encoding="utf-8"), name, text))
            click.echo(f"\n{text}")
    except MiniloraError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        click.echo("stopped; every measured run is saved, and the same command goes on", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
