"""The figures, drawn with matplotlib into PNG files; imported only when one is wanted."""

from .files import atomic_write


def figure(width=7.0, height=4.0):  # inches -> Figure, Axes
    """An empty figure that needs no screen (no pyplot, no global state)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.add_subplot()


def save_figure(drawn, path):
    with atomic_write(path) as temporary:
        drawn.savefig(temporary, format="png", dpi=120)


def loss_curve(history, path):
    """Training loss of every step, its running mean, and the validation loss, against the step. Writes a PNG."""
    drawn, axes = figure()
    steps = range(1, len(history.loss) + 1)
    axes.plot(steps, history.loss, color="tab:blue", alpha=0.3, linewidth=0.8, label="training, each step")
    axes.plot(steps, running_mean(history.loss), color="tab:blue", label="training, running mean")
    if history.valid:
        at, losses = zip(*history.valid, strict=True)
        axes.plot(at, losses, "o-", color="tab:orange", markersize=4, label="validation")
    axes.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(drawn, path)


def running_mean(values, share=0.9):  # list of float -> list of float
    """Exponential running mean, corrected for its start as Adam's moments are."""
    means, m = [], 0.0
    for t, value in enumerate(values, start=1):
        m = share * m + (1 - share) * value
        means.append(m / (1 - share**t))
    return means
