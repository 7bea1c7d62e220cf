"""Figures and tables that are no curves or columns: the map of LoRA+, AdaLoRA's ranks, the cut of 4 bits' error."""

from statistics import mean, stdev

from minilora.display.plots import COLOURS, LINES

from .drawings import MARKERS, markdown, panels, rows_of, spread, values
from .family_experiments import GRID, adalora, lora_plus

SQUARES = {"cmap": "cividis", "aspect": "auto"}
WHITE_BELOW = 0.5  # of the range of colours: darker squares have white numbers


def squares(axes, grid, texts, across, down, **colours):  # [[float]], [[str]], [str], [str] -> the image
    """A coloured square for each number, with its text inside."""
    image = axes.imshow(grid, **SQUARES, **colours)
    for i, line in enumerate(texts):
        for j, text in enumerate(line):
            dark = image.norm(grid[i][j]) < WHITE_BELOW
            axes.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    return image


# ---- LoRA+: the rate of A by the rate of B


def map_values(store, metric):  # -> {(rate of A, rate of B): [float], one for each seed}
    return {(s.rates[0], s.x): values(s, store, metric) for s in lora_plus() if rows_of(s, store)}


def map_table(store):
    """A line for each rate of A, a column for each rate of B: the test loss, then the score."""
    text = []
    for metric, digits in (("test_loss", 3), ("score", 2)):
        cells = map_values(store, metric)
        lines = [[f"A {a:g}", *(spread(cells.get((a, b), []), digits) for b in GRID)] for a in GRID]
        text.append(markdown([metric.replace("_", " "), *(f"B {b:g}" for b in GRID)], lines))
    return "\n".join(text)


def draw_map(store, path):
    """Two maps, mean over the seeds with the lowest and the highest; the diagonal is plain LoRA."""
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    with panels(path, 2, 14, 6.4) as both:
        for axes, metric in zip(both, ("test_loss", "score"), strict=True):
            cells = map_values(store, metric)
            grid = [[mean(cells[a, b]) for b in GRID] for a in GRID]
            texts = [[cell_text(cells[a, b]) for b in GRID] for a in GRID]
            limits = [f(map(f, grid)) for f in (min, max)]
            colours = {"norm": LogNorm(*limits)} if metric == "test_loss" else {"vmin": 0, "vmax": limits[1]}
            squares(axes, grid, texts, [f"{b:g}" for b in GRID], [f"{a:g}" for a in GRID], **colours)
            axes.invert_yaxis()
            for i in range(len(GRID)):
                axes.add_patch(
                    Rectangle((i - 0.47, i - 0.47), 0.94, 0.94, fill=False, edgecolor=COLOURS[1], linewidth=4)
                )
            axes.set(xlabel="learning rate of B", ylabel="learning rate of A", title=metric.replace("_", " "))
        both[0].figure.suptitle(
            "mean over the seeds, (lowest to highest); framed: equal rates, plain LoRA", fontsize=16
        )


def cell_text(seeds):  # [float] -> "0.123\n(0.11-0.14)"
    return f"{mean(seeds):.3g}\n({min(seeds):.2f}-{max(seeds):.2f})"


# ---- AdaLoRA: the ranks that are left


def ranks(store):  # -> {"q_proj": [[int] of the seeds, for each block]}
    """Of the setting with the whole method."""
    seeds = [row["ranks"] for row in rows_of(adalora()[0], store)]
    found = {}
    for path in seeds[0]:  # "0.self_attn.q_proj"
        found.setdefault(path.rpartition(".")[2], []).append([seed[path] for seed in seeds])
    return found


def ranks_table(store):
    lines = [[name, *(spread(seeds, 1) for seeds in blocks)] for name, blocks in ranks(store).items()]
    return markdown(["triplets left", *(f"block {i}" for i in range(len(lines[0]) - 1))], lines)


def draw_ranks(store, path):
    """Figure 3 of the paper: a square for each matrix of each block, mean over the seeds with lowest and highest."""
    found = ranks(store)
    with panels(path, 1, 11, 6.4) as (axes,):
        grid = [[mean(seeds) for seeds in blocks] for blocks in found.values()]
        texts = [[f"{mean(s):.1f}  ({min(s)}-{max(s)})" for s in blocks] for blocks in found.values()]
        across = [f"block {i}" for i in range(len(grid[0]))]
        image = squares(axes, grid, texts, across, list(found), vmin=0, vmax=adalora()[0].run.init_r)
        axes.figure.colorbar(image, ax=axes, label="triplets left of 6")
        axes.set_title("AdaLoRA, 4 a layer on average; mean over the seeds (lowest-highest)")


# ---- PiSSA: the error of 4 bits

CUTS = {  # in a row -> in tables and figures
    "pissa": "PiSSA", "loftq1": "LoftQ, one turn", "loftq5": "LoftQ, five turns", "both5": "PiSSA, then five turns",
    "random": "PiSSA, random matrices",
}  # fmt: skip


def cut_lines(store):  # -> {what: {r: [float], one for each matrix}}
    found = {what: {} for what in CUTS}
    for row in store.rows:
        for what in CUTS:
            found[what].setdefault(row["r"], []).append(row[what])
    return found


def error_table(store):
    lines = cut_lines(store)
    head = ["% of the error cut", *(f"r = {r}" for r in lines["pissa"])]
    cells = {what: [f"{mean(v):.1f} ± {stdev(v):.1f}" for v in by_rank.values()] for what, by_rank in lines.items()}
    return markdown(head, [[CUTS[what], *texts] for what, texts in cells.items()])


def draw_error(store, path):
    """The cut over the rank, and for each kind of matrix."""
    with panels(path, 2, 13, 5.8) as (left, right):
        for i, (what, by_rank) in enumerate(cut_lines(store).items()):
            style = {"color": COLOURS[i], "linestyle": LINES[i], "marker": MARKERS[i], "markersize": 9}
            left.plot(list(by_rank), [mean(v) for v in by_rank.values()], label=CUTS[what], **style)
            if what == "pissa":
                edges = ([f(v) for v in by_rank.values()] for f in (min, max))
                left.fill_between(list(by_rank), *edges, color=COLOURS[i], alpha=0.2, linewidth=0)
        names = list(dict.fromkeys(row["path"].rpartition(".")[2] for row in store.rows))
        for i, name in enumerate(names):
            by_rank = {}
            for row in store.rows:
                if row["path"].endswith(name):
                    by_rank.setdefault(row["r"], []).append(row["pissa"])
            style = {
                "color": (*COLOURS, "black")[i],
                "linestyle": LINES[i % 4],
                "marker": f"{MARKERS}X"[i],
                "markersize": 9,
            }
            right.plot(list(by_rank), [mean(v) for v in by_rank.values()], label=name, **style)
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(by_rank), [str(r) for r in by_rank])
            axes.minorticks_off()
            axes.set(xlabel="rank r", ylim=(0, None))
            axes.grid(alpha=0.3)
            axes.legend()
        left.set(ylabel="% of the error cut", title="mean of 28 matrices; band: all of PiSSA's")
        right.set(title="PiSSA, mean over the blocks")
