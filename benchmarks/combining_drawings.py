"""The figures of `python -m benchmarks.combining`: a dot a seed for every rule and task, and the curves of the knob."""

from statistics import mean

from minilora.display.plots import COLOURS, LINES

from .drawings import MARKERS, panels


def draw_rules(store, tasks, path):
    """A column for each rule: adapters above, full models below. Scores of each task, and their mean as a bar."""
    with panels(path, 1, 14, 13, rows=2) as both:
        for axes, of in zip(both, ("adapters", "models"), strict=True):
            found = {}
            for row in store.rows:
                if row["of"] == of and "scores" in row:
                    found.setdefault(row["rule"], []).append(row["scores"])
            for at, seeds in enumerate(found.values()):
                for i, task in enumerate(tasks):
                    scores = [seed[task] for seed in seeds]
                    axes.plot([at + (i - 1) * 0.2] * len(scores), scores, MARKERS[i], color=COLOURS[i], markersize=8,
                              alpha=0.7, label=task if at == 0 else None)  # fmt: skip
                average = mean(score for seed in seeds for score in seed.values())
                axes.hlines(average, at - 0.35, at + 0.35, color="black", linewidth=3)
            names = [name.replace(" alone", "\nalone").replace(", ", "\n") for name in found]
            axes.set_xticks(range(len(found)), names, rotation=60, ha="right", rotation_mode="anchor")
            axes.set(ylabel="score (share of right answers)", ylim=(-0.02, 1.02), title=f"of {of}")
            axes.grid(alpha=0.3)
        both[1].legend(loc="center left")
        both[0].figure.suptitle("a dot a seed; a bar: mean over tasks and seeds", fontsize=16)


def draw_knob(store, styles, path):
    """Scores in both styles over the weight of the second; a band from the lowest seed to the highest."""
    with panels(path, 1, 9, 5.4) as (axes,):
        rows = [row for row in store.rows if row["of"] == "knob"]
        weights = sorted({row["weight"] for row in rows})
        for i, style in enumerate(styles):
            seeds = [[row["scores"][style] for row in rows if row["weight"] == t] for t in weights]
            look = {"color": COLOURS[i], "linestyle": LINES[i], "marker": MARKERS[i], "markersize": 9}
            axes.plot(weights, [mean(s) for s in seeds], label=f"scored as {style}", **look)
            axes.fill_between(weights, *([f(s) for s in seeds] for f in (min, max)), color=COLOURS[i], alpha=0.2)
        axes.set(xlabel=f"weight of {styles[1]}; {styles[0]} has the rest", ylabel="score", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="center left")
