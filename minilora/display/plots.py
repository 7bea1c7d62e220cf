"""The figures of the commands: matplotlib draws them and writes PNG files. It is imported when a figure is drawn.

They can be read from the back of a room: large letters, thick lines, colours that colour-blind people can tell apart.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files.atomic import atomic_write

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
LINES = ("-", "--", "-.", ":", "-", "--")  # so that a print without colours can be read too
FROZEN, TRAINED = "#4A4A4A", "#D55E00"
OF_A, OF_B = COLOURS[2], COLOURS[3]  # green and pink: A and B, where they are drawn apart, as on the pages
STYLE: Any = {"font.size": 15, "lines.linewidth": 2.5, "axes.titlesize": 16, "legend.fontsize": 14}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}


@contextlib.contextmanager
def figure(path: str | Path, width: float = 8.0, height: float = 4.6) -> Iterator[Any]:
    """Yield empty matplotlib axes; when the block ends, write the figure to `path` as PNG. width, height: inches.

    This needs no screen and changes no global setting. Raises MiniloraError when `path` cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        whole = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(whole)
        yield whole.add_subplot()
        with atomic_write(path) as temporary:
            whole.savefig(temporary, format="png", dpi=110)


def loss_curve(history: Any, path: str | Path) -> None:
    """Draw the training loss of every step, its running mean and the validation loss into the PNG file `path`.

    history: training.callbacks.History; its losses are in nats per token.
    """
    with figure(path) as axes:
        steps = range(1, len(history.loss) + 1)
        axes.plot(steps, history.loss, color=COLOURS[5], linewidth=1.2, label="training, each step")
        width = smoothing(history.loss)
        axes.plot(steps, smooth(history.loss, width), color=COLOURS[0], label=f"training, mean of {width} steps")
        if history.valid:
            at, losses = zip(*history.valid, strict=True)
            axes.plot(at, losses, "o--", color=COLOURS[1], markersize=6, label="validation")
        axes.set(xlabel="training step", ylabel="loss (nats per token)", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()


def smoothing(values: list[float]) -> int:
    """An odd number of steps to average over, about a fortieth of all: enough to calm the noise and keep the shape."""
    return max(1, len(values) // 40) // 2 * 2 + 1


def smooth(values: list[float], width: int) -> list[float]:
    """For each value the mean of the `width` values around it (fewer near the ends): a falling curve is not delayed.

    >>> smooth([0.0, 3.0, 0.0, 3.0], 3)
    [0.0, 1.0, 2.0, 3.0]
    """
    half = width // 2
    reach = [min(half, i, len(values) - 1 - i) for i in range(len(values))]  # the same to the left and to the right
    return [sum(values[i - n : i + n + 1]) / (2 * n + 1) for i, n in enumerate(reach)]


# ---- the tour's figures


def lora_picture(n: int, r: int, path: str | Path) -> None:
    """Draw an n x n matrix W beside its B (n x r) and A (r x n), to scale, into the PNG file `path`."""
    from matplotlib.patches import Rectangle

    trained, thin, gap = 2 * r * n, r / n, 0.25  # lengths in units of W's side
    b, a = 1 + gap, 1 + 2 * gap  # the left edges of B and A
    with figure(path, 11.0, 5.4) as axes:
        for x, y, width, height, colour in [
            (0, 0, 1, 1, FROZEN), (b, 0, thin, 1, OF_B), (a, 1 - thin, 1, thin, OF_A)
        ]:  # fmt: skip
            axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=colour))
        axes.text(0.5, 0.5, f"W\nfrozen\n{n:,} × {n:,}\n{n * n:,} numbers", **CENTRED, color="white", fontsize=17)
        axes.text(1 + gap / 2, 0.5, "+  s ·", **CENTRED, fontsize=20)
        axes.text(b, -0.04, f"B\n{n:,} × {r}", ha="center", va="top", color=OF_B, fontsize=17)
        axes.text(a + 0.5, 0.95, f"A\n{r} × {n:,}", ha="center", va="top", color=OF_A, fontsize=17)
        summary = f"trained:\n{trained:,} numbers,\n{n * n / trained:g} times fewer"
        axes.text(a + 0.5, 0.4, summary, **CENTRED, color=TRAINED, weight="bold", fontsize=19)
        axes.set(xlim=(-0.02, a + 1.02), ylim=(-0.2, 1.02), aspect="equal")
        axes.set_title("y = W x + s · B (A x)          every side drawn to scale", fontsize=19)
        axes.axis("off")


def learning_curves(histories: dict[str, Any], path: str | Path) -> None:
    """Draw the training loss (nats per token) of every step into the PNG file `path`: one line per {name: History}."""
    with figure(path) as axes:
        for (name, history), colour, line in zip(histories.items(), COLOURS, LINES, strict=False):
            axes.plot(range(1, len(history.loss) + 1), history.loss, color=colour, linestyle=line, label=name)
        axes.set(xlabel="training step", ylabel="loss (nats per token)", ylim=(0, None))
        axes.set_title("Two adapters learn; W does not move")
        axes.grid(alpha=0.3)
        axes.legend()


def score_table(scores: dict[str, dict[str, float]], path: str | Path, title: str) -> None:
    """Draw {row: {column: score}}, scores from 0 to 1, as a table of coloured cells into the PNG file `path`."""
    rows, columns = list(scores), list(next(iter(scores.values())))
    with figure(path, 2.6 + 2.4 * len(columns), 1.4 + 1.2 * len(rows)) as axes:
        axes.imshow([list(scores[r].values()) for r in rows], cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for i, row in enumerate(rows):
            for j, value in enumerate(scores[row].values()):
                axes.text(j, i, f"{value:.2f}", **CENTRED, fontsize=26, color="black" if value > 0.5 else "white")
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.set_title(title)


def rank_bars(ranks: dict[str, int], most: int, path: str | Path) -> None:
    """Draw how many triplets AdaLoRA left in each module, as bars, into the PNG file `path`.

    ranks: {module: triplets}, in order; most: init_r, how many each had.
    """
    with figure(path, height=max(4.6, 0.32 * len(ranks) + 1.5)) as axes:
        places = range(len(ranks))
        kinds = list(dict.fromkeys(name.rpartition(".")[2] for name in ranks))
        colours = [COLOURS[kinds.index(name.rpartition(".")[2]) % len(COLOURS)] for name in ranks]
        axes.barh(places, list(ranks.values()), color=colours)
        axes.axvline(most, color=FROZEN, linestyle="--", label=f"before pruning: {most}")
        axes.set_yticks(places, list(ranks), fontsize=10)
        axes.invert_yaxis()
        axes.set(xlabel="rank that is left", xlim=(0, None))
        axes.legend()
