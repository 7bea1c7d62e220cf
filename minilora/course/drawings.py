"""The drawings of the lessons: each function draws one idea on the axes of `show_axes`.

    with show_axes(width=9) as axes:
        drawings.lora_beside(axes, n_out=128, n_in=128, r=8)

Large letters and colours that colour-blind people can tell apart: dark grey is frozen, A is green, B is pink, and
what they make together is orange.
"""

import numpy as np

from ..display.plots import CENTRED, COLOURS, FROZEN, OF_A, OF_B, TRAINED
from ..rounding import narrow

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = COLOURS


# ---- blocks and arrows


def block(axes, x, y, width, height, text="", colour=FROZEN, **style):
    """A filled rectangle from its lower left corner (x, y), with white text in its middle."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="white", linewidth=1.5))
    axes.text(x + width / 2, y + height / 2, text, **CENTRED | {"color": "white"} | style)


def arrow(axes, start, end, text="", colour="black", bend=0.0):
    """An arrow from start to end, (x, y) each, with text above its middle; bend: how far it is from straight."""
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.2, "mutation_scale": 20}
    axes.annotate("", end, start, arrowprops=style | {"connectionstyle": f"arc3,rad={bend}"})
    (x, y), (to_x, to_y) = start, end
    if text:
        axes.text((x + to_x) / 2, (y + to_y) / 2 + 0.02, text, ha="center", va="bottom", color=colour)


def _bare(axes, width, height, title=""):  # no ticks: the drawing has its own coordinates
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal", title=title)
    axes.axis("off")


# ---- LoRA


def lora_beside(axes, n_out: int, n_in: int, r: int) -> None:
    """x goes two ways: through the frozen W, and through A and B; the results are added. Sides are to scale."""
    side = 2.4 / max(n_out, n_in)  # of one row or column
    wide, tall, thin = side * n_in, side * n_out, max(side * r, 0.12)
    _bare(axes, 10, 5.6)
    arrow(axes, (0.5, 2.9), (2.35, 4.1))
    arrow(axes, (0.5, 2.5), (2.35, 1.2))
    axes.text(0.35, 2.7, "x", **CENTRED, fontsize=24)
    block(axes, 2.6, 5.4 - tall, wide, tall, f"W\nfrozen\n{n_out} × {n_in}", fontsize=17)
    block(axes, 2.6, 1.1, wide, thin, colour=OF_A)
    axes.text(2.6 + wide / 2, 0.95, f"A   {r} × {n_in}", ha="center", va="top", color=OF_A, fontsize=17)
    left = 2.6 + wide + 1.0
    arrow(axes, (2.6 + wide + 0.1, 1.1 + thin / 2), (left - 0.1, 1.1 + thin / 2))
    low = max(1.15 - tall / 2, 0.1)
    block(axes, left, low, thin, tall, colour=OF_B)
    axes.text(left + thin + 0.15, low + 0.2, f"B   {n_out} × {r}", ha="left", color=OF_B, fontsize=17)
    axes.text(left + 1.0, 1.55, "· s", fontsize=22, color=TRAINED)
    arrow(axes, (2.7 + wide, 4.2), (8.35, 3.0))
    arrow(axes, (left + 1.6, 1.75), (8.35, 2.5))
    axes.text(8.65, 2.75, "+", **CENTRED, fontsize=32)
    axes.text(9.55, 2.75, "y", **CENTRED, fontsize=24)
    arrow(axes, (8.9, 2.75), (9.35, 2.75))


def merging(axes, n_out: int, n_in: int, r: int) -> None:
    """W plus s times the product of a column block and a row block gives one matrix of the shape of W."""
    side = 2.0 / max(n_out, n_in)
    wide, tall, thin = side * n_in, side * n_out, max(side * r, 0.12)
    _bare(axes, 10.2, 3.2)
    base = 0.7
    block(axes, 0.2, base, wide, tall, "W", fontsize=22)
    axes.text(0.2 + wide + 0.5, base + tall / 2, "+  s ·", **CENTRED, fontsize=20)
    block(axes, 3.3, base, thin, tall, colour=OF_B)
    block(axes, 3.6 + thin, base + tall - thin, wide, thin, colour=OF_A)
    axes.text(3.3 + thin / 2, base - 0.1, "B", ha="center", va="top", color=OF_B, fontsize=20)
    axes.text(3.6 + thin + wide / 2, base + tall - thin - 0.1, "A", ha="center", va="top", color=OF_A, fontsize=20)
    axes.text(6.6, base + tall / 2, "=", **CENTRED, fontsize=26)
    block(axes, 7.2, base, wide, tall, "W + s B A", TRAINED, fontsize=18)
    axes.text(0.2 + wide / 2, base - 0.1, f"{n_out} × {n_in}", ha="center", va="top", fontsize=15)
    axes.text(7.2 + wide / 2, base - 0.1, f"{n_out} × {n_in}", ha="center", va="top", fontsize=15)


def mixed_batch(axes, rows: list[str]) -> None:
    """A batch in which each row has its own adapter: one product with W for all rows, narrow products for each.

    rows: the name of the adapter of each row, "" for the base alone.
    """
    names = [name for name in dict.fromkeys(rows) if name]
    colour = {name: COLOURS[1:][i % 5] for i, name in enumerate(names)} | {"": FROZEN}
    tall = 0.62
    height = tall * len(rows)
    _bare(axes, 10.4, height + 0.9)
    axes.text(1.4, height + 0.45, "batch x", **CENTRED, fontsize=17)
    axes.text(9.3, height + 0.45, "y", **CENTRED, fontsize=17)
    block(axes, 3.6, height / 2, 1.9, height / 2, "W\nfor all rows", fontsize=16)
    for i, name in enumerate(rows):
        y = height - tall * (i + 1)
        block(axes, 0.2, y, 2.4, tall, name or "base alone", colour[name], fontsize=15)
        block(axes, 8.4, y, 1.8, tall, "", colour[name])
    for i, name in enumerate(names):
        y = (height / 2 - 0.25) * (1 - (i + 0.5) / len(names)) - 0.15
        block(axes, 3.6, y, 1.9, 0.14, "", colour[name])
        block(axes, 5.75, y - 0.2, 0.14, 0.54, "", colour[name])
        axes.text(6.1, y + 0.07, f"A, B of {name}", va="center", color=colour[name], fontsize=14)
    arrow(axes, (2.7, height * 0.75), (3.5, height * 0.75))
    arrow(axes, (2.7, height * 0.25), (3.5, height * 0.25))
    arrow(axes, (5.6, height * 0.75), (8.3, height * 0.75))
    arrow(axes, (7.7, height * 0.25), (8.3, height * 0.25))


# ---- a matrix as columns times rows


def columns_times_rows(panels, D, ranks=(1, 2, 4, 8)) -> None:
    """The best parts of rank r of D, (out, in), one panel each: r columns at the left, r rows on top, their product."""
    U, s, Vh = np.linalg.svd(D, full_matrices=False)
    bound = 0.7 * np.abs(D).max()
    for axes, r in zip(panels, ranks, strict=True):
        columns, rows = U[:, :r] * s[:r], Vh[:r]
        share = (s[:r] ** 2).sum() / (s**2).sum()
        n_out, n_in = D.shape
        wide = max(r, 0.05 * n_in)  # one column must be seen
        gap = 0.05 * n_in
        style = {"cmap": "RdBu_r", "aspect": "auto", "interpolation": "nearest"}
        axes.imshow(columns @ rows, vmin=-bound, vmax=bound, extent=(0, n_in, n_out, 0), **style)
        for part, extent in (
            (columns, (-gap - wide, -gap, n_out, 0)),
            (rows, (0, n_in, -gap, -gap - wide)),
        ):
            most = np.abs(part).max()
            axes.imshow(part, vmin=-most, vmax=most, extent=extent, **style)
        axes.set(xlim=(-gap - wide, n_in), ylim=(n_out, -gap - wide), aspect="equal")
        axes.set_title(f"{r} column{'s' * (r > 1)} × {r} row{'s' * (r > 1)}\n{100 * share:.0f}% of the energy")
        axes.axis("off")


# ---- the tape


def tape(axes, places: dict, arrows: list, title: str = "") -> None:
    """A tape: boxes joined by arrows along which the gradient flows, from the loss down to the inputs.

    places: {name: (x, y, text)}, middles of the boxes; arrows: (from, to, gradient as text, bend). An input is a box
    whose name begins with a dot.
    """
    xs, ys = [x for x, _, _ in places.values()], [y for _, y, _ in places.values()]
    axes.set(xlim=(min(xs) - 1.3, max(xs) + 1.3), ylim=(min(ys) - 0.7, max(ys) + 0.7), title=title)
    axes.axis("off")
    boxes = {}
    for name, (x, y, text) in places.items():
        face = BLUE if name.startswith(".") else FROZEN
        style = {"boxstyle": "round,pad=0.45", "facecolor": face, "edgecolor": "white"}
        boxes[name] = axes.text(x, y, text, **CENTRED, color="white", fontsize=16, bbox=style).get_bbox_patch()
    for start, end, text, bend in arrows:
        (x, y, _), (to_x, to_y, _) = places[start], places[end]
        style = {
            "arrowstyle": "-|>",
            "color": ORANGE,
            "linewidth": 2.5,
            "mutation_scale": 24,
            "shrinkA": 3,
            "shrinkB": 3,
        }
        ends = {"patchA": boxes[start], "patchB": boxes[end], "connectionstyle": f"arc3,rad={bend}"}
        axes.annotate("", (to_x, to_y), (x, y), arrowprops=style | ends)
        middle = (x + to_x) / 2 + bend * (to_y - y) / 2, (y + to_y) / 2 - bend * (to_x - x) / 2
        white = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        axes.text(*middle, text, **CENTRED, color=ORANGE, fontsize=15, bbox=white)


# ---- inside attention


def turning_pair(axes, degrees: float, positions: int = 4) -> None:
    """One pair of numbers as an arrow in the plane, turned by `degrees` for each position."""
    for position in range(positions):
        angle = np.radians(20 + degrees * position)
        x, y = np.cos(angle), np.sin(angle)
        arrow(axes, (0, 0), (x, y), colour=COLOURS[position % 6])
        axes.text(1.38 * x, 1.13 * y, f"position {position}", **CENTRED, color=COLOURS[position % 6], fontsize=15)
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), ":", color="grey", linewidth=1)
    axes.set(xlim=(-1.7, 1.9), ylim=(-0.3, 1.25), aspect="equal", title=f"one pair turns by {degrees:g}° a position")
    axes.axis("off")


def heads(axes, d: int, query_heads: int, kv_heads: int) -> None:
    """A vector of width d cut into query heads, and which key and value head each of them reads."""
    wide, together = 9.0 / query_heads, query_heads // kv_heads
    _bare(axes, 9.6, 4.3)
    block(axes, 0.3, 3.5, 9.0, 0.6, f"x of one token: {d} numbers", FROZEN, fontsize=16)
    for i in range(query_heads):
        colour = COLOURS[i // together]
        left = 0.3 + wide * i
        block(axes, left + 0.05, 2.0, wide - 0.1, 0.7, f"query head {i + 1}\n{d // query_heads}", colour, fontsize=14)
        arrow(axes, (left + wide / 2, 3.45), (left + wide / 2, 2.75))
        arrow(axes, (left + wide / 2, 1.95), (0.3 + wide * together * (i // together + 0.5), 0.95), colour=colour)
    for i in range(kv_heads):
        left = 0.3 + wide * together * i + wide * (together - 1) / 2
        text = f"key head {i + 1}, value head {i + 1}\n{d // query_heads} each"
        block(axes, left - 0.4, 0.1, wide + 0.8, 0.8, text, COLOURS[i], fontsize=14)


def attention_weights(axes, p, tokens: list[str]) -> None:
    """The shares p, (T, T): row i is the token that looks, column j the token that it looks at."""
    T = len(tokens)
    hidden = np.triu(np.ones((T, T), bool), 1)
    axes.imshow(np.ma.masked_array(p, hidden), cmap="Blues", vmin=0, vmax=1)
    for i in range(T):
        for j in range(T):
            if hidden[i, j]:
                axes.text(j, i, "·", **CENTRED, color="grey")
            else:
                axes.text(j, i, f"{p[i, j]:.2f}", **CENTRED, color="white" if p[i, j] > 0.5 else "black", fontsize=13)
    axes.set_xticks(range(T), tokens, rotation=45, ha="right")
    axes.set_yticks(range(T), tokens)
    axes.set(xlabel="looks at", ylabel="token")
    axes.grid(False)


# ---- numbers as bits


PARTS = {"float32": (1, 8, 23), "bfloat16": (1, 8, 7), "float16": (1, 5, 10)}  # sign, exponent, digits


def bits(axes, value: float, kinds=("float32", "bfloat16")) -> None:
    """The bits of `value` as boxes, one row for each kind of number: sign, exponent, digits."""
    given = np.array([value], np.float32)
    words = {"float32": given.view(np.uint32)}
    words |= {kind: narrow(given, kind).view(np.uint16) for kind in ("bfloat16", "float16")}
    axes.set(xlim=(-4.4, 32.4), ylim=(-0.9 - 2 * (len(kinds) - 1), 2.0))
    axes.axis("off")
    for row, kind in enumerate(kinds):
        parts, y = PARTS[kind], -2 * row
        text = format(int(words[kind][0]), f"0{sum(parts)}b")
        colours = [PINK] * parts[0] + [GREEN] * parts[1] + [BLUE] * parts[2]
        for i, (bit, colour) in enumerate(zip(text, colours, strict=True)):
            block(axes, i, y, 1, 1, bit, colour, fontsize=14)
        axes.text(-0.4, y + 0.5, kind, ha="right", va="center", fontsize=15)
        start = 0
        for n, name in zip(parts, ("sign", "exponent", "digits"), strict=True):
            axes.text(start + n / 2, y - 0.1, f"{n} {name}" if n > 1 else name, ha="center", va="top", fontsize=13)
            start += n
    axes.set_title(f"the number {value:.6g}")


def levels_on_histogram(axes, weights, levels) -> None:
    """The weights of one block, divided by the largest of them, as a histogram, and the levels that they round to."""
    scaled = np.asarray(weights, np.float64).ravel() / np.abs(weights).max()
    axes.hist(scaled, bins=60, range=(-1, 1), color=SKY, edgecolor="white", linewidth=0.5, label="weights")
    top = axes.get_ylim()[1]
    axes.vlines(levels, 0, 0.8 * top, color=ORANGE, linewidth=2.5, label=f"{len(levels)} levels")
    for i, level in enumerate(levels):
        axes.text(level, (0.84 if i % 2 else 0.92) * top, str(i), ha="center", color=ORANGE, fontsize=13)
    axes.set(xlabel="weight / largest weight of its block", ylabel="how many", ylim=(0, 1.18 * top))
    axes.legend(loc="upper left")


# ---- tokens


def merging_a_word(axes, steps: list) -> None:
    """A word from single letters to its tokens: a row for each step; what was merged in it is filled.

    steps: lists of parts, the first of single letters.
    """
    letters, tall = len("".join(steps[0])), 0.8
    _bare(axes, letters + 2.4, tall * len(steps))
    axes.set_aspect("auto")
    for row, parts in enumerate(steps):
        y, x, before = tall * (len(steps) - 1 - row), 0.0, steps[max(row - 1, 0)]
        for part in parts:
            new = part not in before
            block(axes, x, y, len(part), 0.66, part, TRAINED if new else FROZEN if len(part) > 1 else BLUE, fontsize=17)
            x += len(part)
        axes.text(x + 0.3, y + 0.33, f"{len(parts)} tokens", va="center", fontsize=15)
