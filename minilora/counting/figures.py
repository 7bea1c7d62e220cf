"""The figure of `minilora params --plot`: what is trained against the rank, and the memory of training beside cards."""

from ..display.numbers import GIB
from ..display.plots import COLOURS, LINES, figure
from .count import count
from .memory import CARDS, budgets

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.5}
KINDS = {  # name in the legend -> colour (Okabe and Ito), hatch; from the bottom of the bar
    "frozen weights": ("#999999", ""),
    "trained weights": (COLOURS[0], ""),
    "gradients": (COLOURS[4], "//"),
    "optimizer": (COLOURS[2], "\\\\"),
    "activations": (COLOURS[3], ".."),
}


def draw(counts, batch, length, dtype, path):
    """A PNG: left, parameters against rank, a line for each target set; right, memory of the first configuration."""
    architecture = counts[0].architecture
    with figure(path, 15, 7) as axes:
        sheet = axes.figure
        axes.remove()
        if not architecture.model_type:  # one matrix is not trained alone: no memory to draw
            draw_ranks(counts, sheet.add_subplot())
            return
        left, right = sheet.subplots(1, 2)
        draw_ranks(counts, left)
        draw_memory(counts[0], batch, length, dtype, right)


def draw_ranks(counts, axes):
    architecture = counts[0].architecture
    ranks = sorted({*RANKS, *(c.rank for c in counts)})
    sets = list(dict.fromkeys(c.targets for c in counts))
    for i, targets in enumerate(sets):
        colour, line = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
        asked = [c for c in counts if c.targets == targets]
        label = f"{clip(targets, 34)}\nrank {asked[-1].rank}: {short(asked[-1].trainable)}"
        axes.plot(ranks, [count(architecture, targets, r).trainable for r in ranks], line, color=colour, label=label)
        axes.plot([c.rank for c in asked], [c.trainable for c in asked], "o", color=colour, markersize=10)
    axes.axhline(architecture.base, color="black", linewidth=2)
    axes.text(ranks[0], architecture.base, f"all of the base: {short(architecture.base)}", va="bottom", fontsize=16)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    top, low = 4.0 * max(architecture.base, *(c.trainable for c in counts)), axes.get_ylim()[0]
    legend = min(0.09 * len(sets), 0.6)  # its share of the height: below the lines
    axes.set_ylim(top * (low / top) ** (1 / (1 - legend)), top)
    ticks = [2**k for k in range(0, ranks[-1].bit_length(), 1 + ranks[-1].bit_length() // 11)]
    axes.set_xticks(ticks, [str(r) for r in ticks])
    axes.set(xlabel="rank r", ylabel="trained parameters")
    axes.set_title(f"LoRA on {architecture.name}", fontsize=20)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=16)


def draw_memory(counted, batch, length, dtype, axes):
    """Stacked bars; one that is higher than every card by far is cut off, its height written on it."""
    bars = budgets(counted, batch, length, dtype)
    heights = [b.total_recomputed / GIB for b in bars]
    top = 1.25 * min(heights[0], max(CARDS[-1], *heights[1:]))
    top = max(top, 1.7 * heights[1])  # room for the legend above the second bar
    if heights[0] > CARDS[0] / 2:  # below half the smallest card, lines of cards would only flatten the bars
        top = max(top, 1.25 * CARDS[0])
    for kind, (colour, hatch) in KINDS.items():
        sizes = [stack(b)[kind] / GIB for b in bars]
        below = [sum(v for k, v in stack(b).items() if order(k) < order(kind)) / GIB for b in bars]
        axes.bar(range(3), sizes, 0.6, below, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=kind)
    for i, height in enumerate(heights):
        text = f"{height:,.{0 if height >= 100 else 2}f} GiB"
        place = {"xytext": (0, 6), "va": "bottom"} if height <= top else {"xytext": (0, -40), "va": "top"}
        axes.annotate(
            text if height <= top else f"{text}\n(cut off)", (i, min(height, top)), ha="center", **place,
            textcoords="offset points", fontsize=17, weight="bold", bbox=WHITE, zorder=5,
        )  # fmt: skip
    shown = [gb for gb in CARDS if gb < top]
    for gb in shown:
        axes.axhline(gb, color="black", linestyle="--", linewidth=1.2)
    if not shown:
        axes.text(2.4, 0.5 * top, f"an {CARDS[0]} GB card\nis far above", ha="right", va="center", fontsize=16)
    axes.set_ylim(0, top)
    right = axes.secondary_yaxis("right")
    right.set_yticks(shown, card_names(shown, 0.038 * top), fontsize=14)
    axes.set_xticks(range(3), ["full\nfine-tuning", "LoRA", "4-bit base\n+ LoRA"], fontsize=17)
    axes.set_ylabel("GiB")
    detail = f"{batch} x {length} tokens, activations recomputed"
    axes.set_title(f"Memory of training: {clip(counted.targets, 20)}, rank {counted.rank}\n{detail}", fontsize=17)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper right", fontsize=15, framealpha=1).set_zorder(6)


def card_names(cards, room):  # [GB], GB -> [str]
    """A name for each card; one for several together where they would be written over each other."""
    groups = []
    for gb in sorted(cards, reverse=True):
        if groups and groups[-1][-1] - gb < room:
            groups[-1].append(gb)
        else:
            groups.append([gb])
    names = {g[0]: f"{g[0]} GB card" if len(g) == 1 else f"{g[-1]} to {g[0]} GB" for g in groups}
    return [names.get(gb, "") for gb in cards]


def clip(targets, most):
    return targets if len(targets) <= most else targets[: most - 3] + "..."


def stack(budget):  # Budget -> {kind: bytes}
    sizes = dict.fromkeys(KINDS, 0)
    for item in budget.states:
        sizes[kind_of(item.name)] += item.bytes
    sizes["activations"] = sum(i.bytes for i in budget.recomputed)
    return sizes


def kind_of(name):
    if "gradients" in name:
        return "gradients"
    if "Adam" in name or "copy" in name:
        return "optimizer"
    return "frozen weights" if "frozen" in name or "one matrix" in name else "trained weights"


def order(kind):
    return list(KINDS).index(kind)


def short(n):  # 41943040 -> "41.9 million"
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if n >= size:
            return f"{n / size:,.3g} {word}"
    return str(n)
