"""The figure and the table of an experiment, from the rows of its file. Every seed is drawn, never a mean alone."""

import math
from contextlib import contextmanager
from statistics import mean, stdev

from minilora.display.plots import COLOURS, LINES, figure

from .experiments import SEEDS, final_runs
from .runs import parameters, row_key

MARKERS = "osD^vP"
METRICS = {"score": "score (share of right answers)", "test_loss": "test loss (nats per token)",
           "train_loss": "loss on what was learned (nats)"}  # fmt: skip
AXES = {
    "rank": "rank r", "learning-rate": "learning rate", "capacity": "examples to learn", "batch-size": "batch size",
    "dora": "rank r",
}  # fmt: skip
MANY = 7  # columns that fit into a panel of half the width


def shown_metrics(name):
    return ("train_loss", "test_loss") if name == "capacity" else ("score", "test_loss")


def rows_of(setting, store):  # -> the rows of all seeds, at the setting's learning rate
    return [row for run in final_runs(setting, store) if (row := store.find(row_key(run)))]


def values(setting, store, metric):  # -> [float], one for each seed that did not overflow
    return [row[metric] for row in rows_of(setting, store) if row[metric] is not None]


# ---- the table


def spread(numbers, digits):  # [float] -> "0.741 ± 0.012": mean and standard deviation over the seeds
    if not numbers:
        return "overflowed"
    deviation = stdev(numbers) if len(numbers) > 1 else 0.0
    text = f"{mean(numbers):.{digits}f} ± {deviation:.{digits}f}"
    return text if len(numbers) == len(SEEDS) else f"{text} ({len(numbers)} seeds)"


def table(name, settings, store):  # -> Markdown
    axis = "" if name == "learning-rate" else AXES.get(name, "task" if settings[0].x else "")
    metrics = ("train_loss", "test_loss", "score") if name == "capacity" else ("score", "test_loss")
    head = ["", *([axis] if axis else []), "parameters", "learning rate", *(m.replace("_", " ") for m in metrics)]
    lines = []
    for setting in settings:
        if not (rows := rows_of(setting, store)):
            continue
        cells = [setting.label, *([str(setting.x)] if axis else [])]
        cells += [f"{parameters(setting.run):,}", f"{rows[0]['lr']:g}"]
        lines.append(cells + [spread(values(setting, store, m), 3 if m == "score" else 4) for m in metrics])
    return markdown(head, lines)


def markdown(head, lines):  # [str], [[str]] -> str
    rule = [" --- " if i == 0 else " ---: " for i in range(len(head))]
    rows = ["| " + " | ".join(line) + " |" for line in (head, *lines)]
    return "\n".join([rows[0], "|" + "|".join(rule) + "|", *rows[1:]]) + "\n"


def subspace_table(store):
    """Table 7 in small, and three values of the diagonals of Figures 3 and 4."""
    seeds = [row["amplification"] for row in store.rows]
    keys = {"inside": "‖Uᵀ W Vᵀ‖, directions of ΔW", "top": "of W itself", "random": "of a random matrix",
            "weight": "‖W‖", "update": "‖ΔW‖", "factor": "‖ΔW‖ / ‖Uᵀ W Vᵀ‖"}  # fmt: skip
    lines = [[text, *(spread([seed[r][key] for seed in seeds], 2) for r in seeds[0])] for key, text in keys.items()]
    first = [
        [what, *(spread([row["similarity"][what][i - 1][i - 1] for row in store.rows], 2) for i in (1, 4, 8))]
        for what in store.rows[0]["similarity"]
    ]
    head = ["q_proj, mean over blocks", *(f"rank {r}" for r in seeds[0])]
    return markdown(head, lines) + "\n" + markdown(["φ(i, i)", "i = 1", "i = 4", "i = 8"], first)


# ---- the figures


@contextmanager
def panels(path, count, width, height, rows=1):  # -> [Axes], `rows` times `count` of them
    with figure(path, width, height) as axes:
        sheet = axes.figure
        axes.remove()
        yield list(sheet.subplots(rows, count, squeeze=False).flat)


def draw(name, settings, store, path):
    """A PNG with a panel for each metric: curves over an axis of numbers, or a column for each setting."""
    settings = [s for s in settings if rows_of(s, store)]
    metrics = shown_metrics(name)
    task = "" if name == "against-full" else f"task {settings[0].run.task}; "
    what = "mean, lowest and highest" if name in AXES else "a dot a seed, a line their mean"
    below = name not in AXES and settings[0].x is None and len(settings) > MANY
    with panels(path, 1 if below else 2, 13, 11 if below else 5.8, rows=2 if below else 1) as both:
        for axes, metric in zip(both, metrics, strict=True):
            (curves if name in AXES else columns)(axes, settings, store, metric)
            axes.set_ylabel(METRICS[metric])
            axes.grid(alpha=0.3)
            if metric == "score":
                axes.set_ylim(-0.02, 1.02)
            elif name in AXES:
                small_log(axes)
            else:
                axes.set_ylim(0, 1.05 * axes.get_ylim()[1])  # room for the highest dot
            if name in AXES:
                axes.set_xlabel(AXES[name])
        both[0].figure.suptitle(f"{task}{len(SEEDS)} seeds: {what}", fontsize=16)
        if len(labels_of(settings)) > 1 and settings[0].x is not None:
            both[1].legend(loc="best")


def small_log(axes):
    """A logarithmic axis of losses, labelled with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high > 300 * low else (1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def curves(axes, settings, store, metric):
    """A line for the mean over the seeds, a band from the lowest to the highest."""
    for i, label in enumerate(labels_of(settings)):
        points = {s.x: v for s in settings if s.label == label and (v := values(s, store, metric))}
        style = {"color": COLOURS[i], "linestyle": LINES[i], "marker": MARKERS[i], "markersize": 9}
        axes.plot(list(points), [mean(v) for v in points.values()], label=label, **style)
        low, high = ([f(v) for v in points.values()] for f in (min, max))
        axes.fill_between(list(points), low, high, color=COLOURS[i], alpha=0.2, linewidth=0)
    ticks = sorted({s.x for s in settings})
    if len(ticks) > 6:  # too many to print side by side: keep those that begin with 1, 2 or 5
        ticks = [x for x in ticks if f"{x:e}".startswith(("1.000", "2.000", "5.000"))]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks], rotation=45 if len(ticks) > 6 else 0)
    axes.minorticks_off()


def labels_of(settings):  # -> [str], full fine-tuning first: it looks the same in every figure
    return sorted(dict.fromkeys(s.label for s in settings), key=lambda label: label != "full")


def columns(axes, settings, store, metric):
    """A dot for every seed, a bar at their mean. Settings with the same x share a column."""
    places = list(dict.fromkeys(s.x or s.label for s in settings))
    labels = labels_of(settings) if settings[0].x else [None]
    named = set()
    for setting in settings:
        i = labels.index(setting.label) if setting.x else 0
        at = places.index(setting.x or setting.label) + (i - (len(labels) - 1) / 2) * 0.4
        numbers = values(setting, store, metric)
        if not numbers:
            continue
        across = [at + 0.06 * (k - (len(numbers) - 1) / 2) for k in range(len(numbers))]
        axes.plot(across, numbers, MARKERS[i], color=COLOURS[i], markersize=9, alpha=0.8,
                  label=None if setting.label in named else setting.label)  # fmt: skip
        named.add(setting.label)
        axes.hlines(mean(numbers), at - 0.18, at + 0.18, color="black", linewidth=3)
    texts = [place.replace(", ", "\n") if isinstance(place, str) else place for place in places]
    axes.set_xticks(range(len(places)), texts, fontsize=14)
    axes.set_xlim(-0.6, len(places) - 0.4)


def draw_similarity(store, path):
    """Figures 3 and 4: mean over blocks and seeds as coloured squares, two corners in numbers with their range."""
    kinds = list(store.rows[0]["similarity"])  # query twice, value twice, random
    with panels(path, 3, 13, 9, rows=2) as many:
        places = [many[i] for i in (0, 1, 3, 4, 2)]
        for axes, what in zip(places, kinds, strict=True):
            grids = [row["similarity"][what] for row in store.rows]
            size = len(grids[0])
            average = [[mean(g[i][j] for g in grids) for j in range(size)] for i in range(size)]
            image = axes.imshow(average, cmap="cividis", vmin=0, vmax=1, origin="lower")
            corners = [[g[i][i] for g in grids] for i in (0, size - 1)]
            ends = "\n".join(
                f"φ({n}, {n}): {mean(seeds):.2f}, seeds {min(seeds):.2f} to {max(seeds):.2f}"
                for n, seeds in zip((1, size), corners, strict=True)
            )
            axes.set_xticks(range(size), range(1, size + 1))
            axes.set_yticks(range(size), range(1, size + 1))
            axes.set(xlabel=f"j\n{ends}", ylabel="i", title=what.replace(", ", "\n", 1))
        many[5].axis("off")
        axes.figure.colorbar(image, ax=many[5], label="φ(i, j)", location="left", fraction=0.2)


def draw_amplification(store, path):
    """Table 7: the part of W in the directions of its update, and how much larger the update is there."""
    ranks = list(store.rows[0]["amplification"])
    with panels(path, 2, 13, 5.8) as (left, right):
        for i, r in enumerate(ranks):
            seeds = [row["amplification"][r] for row in store.rows]
            for axes, keys in ((left, ("top", "update", "inside", "random")), (right, ("factor",))):
                for k, key in enumerate(keys):
                    at = (k if axes is left else 0) + (i - 0.5) * 0.4
                    numbers = [norms[key] for norms in seeds]
                    across = [at + 0.05 * (n - (len(numbers) - 1) / 2) for n in range(len(numbers))]
                    axes.plot(across, numbers, MARKERS[i], color=COLOURS[i], markersize=9,
                              label=f"rank {r}" if k == 0 else None)  # fmt: skip
                    axes.hlines(mean(numbers), at - 0.18, at + 0.18, color="black", linewidth=3)
        left.set_xticks(range(4), ["W in its own\ndirections", "ΔW", "W in those\nof ΔW", "W in\nrandom ones"])
        left.set(ylabel="Frobenius norm", title="q_proj, mean over blocks; a dot a seed")
        right.set_xticks([-0.2, 0.2], [f"rank {r}" for r in ranks])
        right.set(ylabel="‖ΔW‖ / ‖Uᵀ W Vᵀ‖", title="amplification factor", xlim=(-0.6, 0.6))
        for axes in (left, right):
            axes.set_ylim(0, math.ceil(axes.get_ylim()[1]))
            axes.grid(alpha=0.3)
        left.legend()
