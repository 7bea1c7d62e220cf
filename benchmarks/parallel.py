"""`python -m benchmarks.parallel`: what a training step costs on 1, 2 and 4 workers, with LoRA and in full.

Each case is measured in a process, or under mpiexec, of its own, with one thread for each worker, and saved at once in
benchmarks/results/parallel.part; after an interruption the same command goes on where it stopped. The command checks
the model of benchmarks/network.py against the measured steps, draws it to 1,024 workers, and writes the tables into
benchmarks/PARALLEL.md. Use `--widths 128` to measure a part, and `--again` to measure each case once more: the fastest
step and sum count, since other work of the machine makes steps slower and never faster.
"""

import json
import shutil
import sys

import click

from minilora.display.plots import COLOURS
from minilora.files.atomic import write_text

from .drawings import panels
from .network import ETHERNET, INFINIBAND, network_of, on_gpus, step_of
from .options import OneLine, Refused, Several, environment, output_of
from .paper import with_table
from .rows import Rows
from .running import HERE

PAGE = HERE / "PARALLEL.md"
WIDTHS, METHODS, WORKERS, ROWS = ("128", "256", "512", "768"), ("lora", "full"), (1, 2, 4), 8
NAMES = {"lora": "LoRA", "full": "full"}
CORES = 2  # of the machine that measured: four workers share them
BATCH = 1024  # rows of the steps that are drawn
LLAMA = 6_738_415_616, 39_976_960  # Llama-2 7B, and LoRA of rank 16 on its linear layers


def results(folder=HERE / "results"):
    return Rows(folder / "parallel.json", command="python -m benchmarks.parallel", seeds=[0], cores=CORES)


def run_json(workers, *args):  # -> dict
    command = [sys.executable, "-m", "benchmarks.parallel_step", *map(str, args)]
    if workers > 1:
        mpiexec = shutil.which("mpiexec")
        if mpiexec is None:
            raise Refused("mpiexec not found: pip install '.[parallel]'")
        command = [mpiexec, "-n", str(workers), *command]
    return json.loads(output_of(command, environment(1)))


def measure(store, widths, again=False):
    for workers in WORKERS[1:]:
        row = store.find({"what": "sums", "workers": workers})
        if row is None or again:
            found = run_json(workers, "sums")
            if row is None:
                store.add({"what": "sums"} | found)
            else:
                row["sums"] = {size: min(seconds, found["sums"][size]) for size, seconds in row["sums"].items()}
                store.add()
    for width in widths:
        for method in METHODS:
            alone = [(1, ROWS // n) for n in WORKERS]
            for workers, rows in [*alone, *((n, ROWS) for n in WORKERS[1:])]:
                key = {"what": "step", "width": int(width), "method": method, "workers": workers, "rows": rows}
                row = store.find(key)
                if row is None or again:
                    print(key, file=sys.stderr, flush=True)
                    found = run_json(workers, "step", width, method, rows)
                    if row is None:
                        store.add(key | found)
                    elif found["seconds"] < row["seconds"]:
                        row["seconds"] = found["seconds"]
                        store.add()
            for workers in WORKERS[1:]:
                key = {"what": "company", "width": int(width), "method": method, "workers": workers, "rows": ROWS}
                if not store.find(key):
                    store.add(key | run_json(workers, "company", width, method, ROWS))


def step_row(store, width, method, workers, rows=ROWS):
    return store.find({"what": "step", "width": int(width), "method": method, "workers": workers, "rows": rows})


def measured_step(store, width, method):  # -> Step
    seconds = {ROWS // n: step_row(store, width, method, 1, ROWS // n)["seconds"] for n in WORKERS}
    return step_of(seconds, step_row(store, width, method, 2)["bytes"])


def expected(store, width, method, workers):  # -> seconds of a step on this machine, as the model has it
    """The part of the rows as one worker alone computes it, twice where two workers share a core, and the sum."""
    sums = store.find({"what": "sums", "workers": workers})["sums"]
    network = network_of({int(size): seconds for size, seconds in sums.items()}, workers)
    alone = step_row(store, width, method, 1, ROWS // workers)["seconds"]
    return alone * max(1, workers / CORES) + network.sum_seconds(workers, step_row(store, width, method, 2)["bytes"])


def measured_table(store):  # -> Markdown
    lines = [
        "| width | method | bytes of a step | of full | 1 worker, ms | 2 workers | model | 4 workers | model |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    slower = []
    for width in WIDTHS:
        whole = step_row(store, width, "full", 2)["bytes"]
        for method in METHODS:
            size = step_row(store, width, method, 2)["bytes"]
            cells = [f"{step_row(store, width, method, 1)['seconds'] * 1000:,.0f}"]
            for workers in WORKERS[1:]:
                found = step_row(store, width, method, workers)["seconds"]
                model = expected(store, width, method, workers)
                cells += [f"{found * 1000:,.0f}", f"{model * 1000:,.0f}"]
                slower.append(found / model)
            lines.append(f"| {width} | {NAMES[method]} | {size:,} | {size / whole:.2%} | " + " | ".join(cells) + " |")
    lines += ["", f"Several workers took {min(slower):.1f} to {max(slower):.1f} times the time of the model."]
    return "\n".join(lines)


def company_table(store):  # -> Markdown
    lines = [
        "| width | method | 4 rows, alone | as one of 2 workers | ratio | 2 rows, alone | as one of 4 | ratio |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for width in WIDTHS:
        for method in METHODS:
            cells = []
            for workers in WORKERS[1:]:
                alone, together = company(store, width, method, workers)
                cells += [f"{alone * 1000:.0f}", f"{together * 1000:.0f}", f"{together / alone:.2f}"]
            lines.append(f"| {width} | {NAMES[method]} | " + " | ".join(cells) + " |")
    short, others = furthest(store, WIDTHS[:1]), furthest(store, WIDTHS[1:])
    lines += [
        "",
        f"The ratios differ from 1 by at most {others:.0%} from width {WIDTHS[1]} on, and by at most {short:.0%} at "
        f"width {WIDTHS[0]}, whose steps are short.",
    ]
    return "\n".join(lines)


def furthest(store, widths):  # -> how far a ratio of `company` is from 1
    pairs = [company(store, width, method, n) for width in widths for method in METHODS for n in WORKERS[1:]]
    return max(abs(together / alone - 1) for alone, together in pairs)


def company(store, width, method, workers):  # -> CPU seconds of the same rows alone, and as one of so many workers
    key = {"what": "company", "width": int(width), "method": method, "workers": workers}
    return step_row(store, width, method, 1, ROWS // workers)["seconds"], store.find(key)["seconds"]


def cases(store):  # -> [(title, {method: Step}, Network)]
    parameters, adapter = LLAMA
    small = {method: measured_step(store, WIDTHS[-1], method) for method in METHODS}
    large = {"lora": on_gpus(parameters, adapter, 2048, 4), "full": on_gpus(parameters, parameters, 2048, 2)}
    return [
        (f"width {WIDTHS[-1]}, measured on one core;\n{ETHERNET.name}", small, ETHERNET),
        (f"Llama-2 7B on H100s, by arithmetic;\n{INFINIBAND.name}", large, INFINIBAND),
    ]


def scaling_table(store):  # -> Markdown
    lines = [
        "| model and network | method | workers at half efficiency | speed-up with 1,024 | of it lost to the sum |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for title, steps, network in cases(store):
        for method, step in steps.items():
            most, speed = step.most_workers(BATCH, network), step.speed_up(1024, BATCH, network)
            lost = network.sum_seconds(1024, step.bytes) / step.seconds(1024, BATCH, network)
            lines.append(f"| {' '.join(title.split())} | {NAMES[method]} | {most:,} | {speed:,.0f} | {lost:.0%} |")
    return "\n".join(lines)


TABLES = {"company": company_table, "measured": measured_table, "scaling": scaling_table}


def draw(store, path):
    counts = [2**n for n in range(11)]
    with panels(path, 2, 13, 6.2) as both:
        for axes, (title, steps, network) in zip(both, cases(store), strict=True):
            axes.axhline(50, color="black", linewidth=1.5, linestyle=":")
            for method, colour, line in (("lora", COLOURS[0], "-o"), ("full", COLOURS[1], "--s")):
                shares = [100 * steps[method].speed_up(n, BATCH, network) / n for n in counts]
                axes.plot(counts, shares, line, color=colour, markersize=9, label=NAMES[method])
            axes.set(xscale="log", xlabel="workers", title=title, ylim=(0, 104))
            ticks = [1, 4, 16, 64, 256, 1024]
            axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.legend(loc="lower left")
        both[0].set_ylabel("time well spent (%)")


@click.command(cls=OneLine)
@click.option("--widths", type=Several(WIDTHS), default=",".join(WIDTHS), show_default=True)
@click.option("--again", is_flag=True, help="Measure each case once more, and keep the fastest step.")
def main(widths, again):
    """Measure the missing cases; when all widths are there, draw the figure and write the tables."""
    store = results()
    measure(store, widths, again)
    if not all(step_row(store, width, method, 4) for width in WIDTHS for method in METHODS):
        click.echo("a part is measured; the others are missing")
        return
    store.finish()
    (HERE / "figures").mkdir(exist_ok=True)
    draw(store, HERE / "figures" / "parallel.png")
    page = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        text = table(store)
        page = with_table(page, name, text + "\n")
        click.echo(text)
    write_text(PAGE, page)


if __name__ == "__main__":
    main()
