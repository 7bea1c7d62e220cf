"""The tables and figures of QUANTIZATION.md, from the rows of results/quantization.json."""

from statistics import mean

from minilora.display.plots import COLOURS, LINES

from .drawings import MARKERS, METRICS, markdown, panels, small_log, spread
from .experiments import SEEDS
from .quantization_runs import (
    DOUBLE,
    PISSA,
    RECOVERED,
    SETTINGS,
    STEPS,
    TASKS,
    TYPES,
    best_rate,
    key_of,
    recovery_key,
    recovery_rate,
    run_of,
)  # fmt: skip
from .running import HERE

PAGE = HERE / "QUANTIZATION.md"


def rows_of(store, task, kind, start, **more):
    """The rows of all seeds."""
    lr = best_rate(store, task, start)
    return [store.find(key_of(run_of(task, kind, start, lr=lr, seed=seed, **more))) for seed in SEEDS]


def name_of(kind, start):
    return f"{kind}, PiSSA" if start == PISSA else kind


def format_table(store):
    rows = [row for row in store.rows if row["what"] == "format"]
    lines = [[row["format"], f"{row['bytes']:.3f}", f"{row['step']:.2f}", f"{row['token']:.2f}"] for row in rows]
    return markdown(["base", "bytes", "step", "token"], lines)


def types_table(store):
    """The base's own loss, then score and test loss of each task."""
    lines = []
    for kind, start in SETTINGS:
        base = store.find({"what": "base", "kind": kind}) if start != PISSA else None
        cells = [name_of(kind, start), *((f"{base['loss']:.4f}", f"{base['divergence']:.4f}") if base else ("", ""))]
        for task in TASKS:
            rows = rows_of(store, task, kind, start)
            cells += [spread([r["score"] for r in rows], 3), spread([r["test_loss"] for r in rows], 4)]
        lines.append(cells)
    tasks = [f"{task}, {what}" for task in TASKS for what in ("score", "test loss")]
    return markdown(["base", "its loss", "divergence", *tasks], lines)


def steps_table(store):
    lines = []
    for steps in STEPS:
        cells = [str(steps)]
        for kind in ("float32", DOUBLE):
            rows = rows_of(store, TASKS[0], kind, "lora", steps=steps)
            cells += [spread([r["score"] for r in rows], 3), spread([r["test_loss"] for r in rows], 4)]
        lines.append(cells)
    return markdown(["steps", "LoRA: score", "test loss", "QLoRA: score", "test loss"], lines)


def recovery_table(store):
    """How far the probabilities are from the float32 base's, on windows that chose nothing."""
    lines = []
    for kind, start, learns in RECOVERED:
        rows, lr = recovery_rows(store, kind, start, learns), recovery_rate(store, kind, start, learns)
        before, whole = rows[0]["divergence before"], rows[0]["float32's loss"]
        recovered = [100 * (1 - r["divergence"] / before) for r in rows]
        above = [rows[0]["loss before"] - whole, mean(r["loss"] for r in rows) - whole]
        lines.append([
            name_of(kind, start), learns, f"{lr:g}", f"{before:.4f}", spread([r["divergence"] for r in rows], 4),
            f"{mean(recovered):.0f} %", *(f"{n:+.4f}" for n in above),
        ])  # fmt: skip
    head = ["base", "learns", "learning rate", "divergence before", "after", "recovered", "loss above float32's before"]
    return markdown([*head, "after"], lines)


def recovery_rows(store, kind, start, learns):
    """The rows of all seeds."""
    lr = recovery_rate(store, kind, start, learns)
    return [store.find(recovery_key(kind, start, learns, lr, seed)) for seed in SEEDS]


def error_table(store):
    rows, lines = [row for row in store.rows if row["what"] == "error"], []
    for row in rows:
        cuts = row["cut"].values()
        lines.append([str(row["r"]), f"{mean(cuts):.1f} %", f"{min(cuts):.1f} %", f"{max(cuts):.1f} %"])
    return markdown(["rank", f"cut of the error, mean of {len(rows[0]['cut'])} matrices", "least", "most"], lines)


TABLES = {
    "formats": format_table, "types": types_table, "steps": steps_table, "recovery": recovery_table,
    "cut": error_table,
}  # fmt: skip


# ---- the figures


def draw_types(store, path):
    """A dot for every seed, a bar at their mean; a panel for each task and measure."""
    with panels(path, 2, 16, 11, rows=len(TASKS)) as many:
        for i, (task, metric) in enumerate((t, m) for t in TASKS for m in ("score", "test_loss")):
            axes = many[i]
            for place, (kind, start) in enumerate(SETTINGS):
                numbers = [row[metric] for row in rows_of(store, task, kind, start)]
                across = [place + 0.08 * (k - (len(numbers) - 1) / 2) for k in range(len(numbers))]
                which = list(TYPES).index(kind)
                axes.plot(across, numbers, MARKERS[start == PISSA], color=COLOURS[which], markersize=9, alpha=0.8)
                axes.hlines(mean(numbers), place - 0.3, place + 0.3, color="black", linewidth=3)
            names = [name_of(*setting).replace(", ", "\n") for setting in SETTINGS]
            axes.set_xticks(range(len(SETTINGS)), names, fontsize=13)
            axes.set_ylabel(METRICS[metric])
            axes.set_title(task)
            axes.grid(alpha=0.3)
        axes.figure.suptitle(f"{len(SEEDS)} seeds: a dot a seed, a line their mean", fontsize=16)


def draw_steps(store, path):
    """Score and test loss against steps: mean, lowest and highest."""
    with panels(path, 2, 13, 5.8) as both:
        for axes, metric in zip(both, ("score", "test_loss"), strict=True):
            for i, (kind, label) in enumerate((("float32", "LoRA"), (DOUBLE, "QLoRA (NF4, double)"))):
                found = [[r[metric] for r in rows_of(store, TASKS[0], kind, "lora", steps=n)] for n in STEPS]
                axes.plot(
                    STEPS, list(map(mean, found)), color=COLOURS[i], linestyle=LINES[i], marker=MARKERS[i], label=label
                )
                axes.fill_between(STEPS, list(map(min, found)), list(map(max, found)), color=COLOURS[i], alpha=0.2)
            axes.set_xscale("log")
            axes.set_xticks(STEPS, [str(n) for n in STEPS])
            axes.minorticks_off()
            axes.set(xlabel="steps", ylabel=METRICS[metric])
            axes.grid(alpha=0.3)
            if metric == "test_loss":
                small_log(axes)
        both[1].legend()
        axes.figure.suptitle(f"task {TASKS[0]}; {len(SEEDS)} seeds: mean, lowest and highest", fontsize=16)


FIGURES = {"quantization": draw_types, "quantization-steps": draw_steps}
