"""The figure of `minilora params --plot`: what is trained against the rank, and the memory of training beside cards."""

from dataclasses import replace

from ..display.plots import COLOURS, LINES, figure
from .cards import CARDS, GIB, SEVERAL, cards_needed, smallest_card
from .count import count_config
from .engine import own_budgets
from .memory import LOGITS, LOSS, budgets, gathered

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MOST = 4  # configurations whose memory is drawn
KINDS = {  # name in the legend -> colour (Okabe and Ito), hatch; from the bottom of the bar
    "frozen weights": ("#999999", ""),
    "trained weights": (COLOURS[0], ""),
    "gradients": (COLOURS[4], "//"),
    "optimizer": (COLOURS[2], "\\\\"),
    "activations": (COLOURS[3], ".."),
    "logits and loss": (COLOURS[5], "xx"),
}
NAMES = {  # of methods, under a bar
    "full": "full", "full, 16-bit": "full,\n16-bit", "LoRA": "LoRA", "4-bit + LoRA": "4-bit\n+ LoRA",
    "4-bit + LoRA, prepared": "4-bit\nprepared",
}  # fmt: skip


def draw(counts: list, batch: int, length: int, dtype: str, path, engine: str, quantize: str | None = None) -> None:
    """A PNG: left, parameters against rank, a line for each target set; right, memory of every configuration.

    One matrix is not trained alone: there is no right half then.
    """
    with figure(path, 18, 8) as axes:
        sheet = axes.figure
        axes.remove()
        if not counts[0].architecture.model_type:
            draw_ranks(counts, sheet.add_subplot())
            return
        left, right = sheet.subplots(1, 2, width_ratios=(2, 3))
        draw_ranks(counts, left)
        draw_memory(counts, batch, length, dtype, right, engine, quantize)


def draw_ranks(counts, axes):
    architecture = counts[0].architecture
    ranks = sorted({*RANKS, *(c.rank for c in counts)})
    sets = list(dict.fromkeys(c.targets for c in counts))
    for i, targets in enumerate(sets):
        colour, line = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
        asked = [c for c in counts if c.targets == targets]
        label = f"{clip(targets, 34)}\nrank {asked[-1].rank}: {short(asked[-1].trainable)}"
        axes.plot(ranks, [at_rank(asked[0], r).trainable for r in ranks], line, color=colour, label=label)
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


def at_rank(counted, rank):
    return count_config(counted.architecture, replace(counted.config, r=rank), counted.targets)


def draw_memory(counts, batch, length, dtype, axes, engine, quantize):
    """Stacked bars, side by side for each method; the numbers stand below them, off the lines of the cards."""
    some = counts if len(counts) <= MOST else [min(counts, key=size), max(counts, key=size)]
    bars = bars_of(some, batch, length, dtype, engine, quantize)
    heights = [plan.peak.bytes / GIB for _, _, plan in bars]
    top = 1.35 * max(heights)  # room for the legend
    for kind, (colour, hatch) in KINDS.items():
        stacks = [stack(plan.peak) for _, _, plan in bars]
        sizes = [s[kind] / GIB for s in stacks]
        below = [sum(v for k, v in s.items() if order(k) < order(kind)) / GIB for s in stacks]
        axes.bar(
            range(len(bars)), sizes, 0.7, below, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=kind
        )
    shown = [gb for gb, gib in CARDS.items() if 0.04 * top < gib < top]  # none where they would be one smudge
    for gb in shown:
        axes.axhline(CARDS[gb], color="black", linestyle="--", linewidth=1)
    right = axes.secondary_yaxis("right")
    right.set_yticks([CARDS[gb] for gb in shown], card_names(shown, 0.038 * top), fontsize=14)
    axes.set_ylim(0, top)
    letters = 15 if len(bars) < 8 else 11
    axes.set_xticks(range(len(bars)), [label(*bar) for bar in bars], fontsize=letters)
    axes.set_ylabel("GiB")
    drawn = "" if some is counts else f"the least and the most trained of {len(counts)} configurations\n"
    recomputed = (f", base in {quantize}" if quantize else "") if engine == "minilora" else ", activations recomputed"
    axes.set_title(f"{drawn}Peak memory of {batch} x {length} tokens with {engine}{recomputed}", fontsize=17)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper right", fontsize=14, framealpha=1, ncols=2).set_zorder(6)


def size(count):
    return count.trainable


def bars_of(counts, batch, length, dtype, engine, quantize):  # -> [(method, what is under its name, Plan)]
    """A bar for each method and configuration; full fine-tuning is the same for all of them."""
    found, sets = {}, len({c.targets for c in counts}) > 1
    for i, counted in enumerate(counts):
        name = clip(counted.targets, 12) + "\n" if sets else ""
        own = engine == "minilora"
        of_own = own_budgets(counted, batch, length, quantize=quantize) if own else None
        made = of_own or budgets(counted, batch, length, dtype)
        for budget in made:
            full = budget.method.startswith("full")
            if not full or i == 0:
                whole = gathered(counted.architecture, budget.method)
                under = "" if full else f"{name}rank {counted.rank}\n"
                found.setdefault(budget.method, []).append((budget.method, (under, whole), budget.recomputed))
    return [bar for method in found.values() for bar in method]


def label(method, details, plan):
    under, whole = details
    total = plan.peak.bytes
    card = smallest_card(total)
    several = None if card else cards_needed(plan, whole)
    fits = f"{card:g} GB" if card else f"{several} x {SEVERAL} GB" if several else "no card"
    height = total / GIB
    return f"{NAMES[method]}\n{under}{height:,.{0 if height >= 100 else 1}f} GiB\n{fits}"


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


def stack(moment):  # Moment -> {kind: bytes}
    sizes = dict.fromkeys(KINDS, 0)
    for item in moment.items:
        sizes[kind_of(item.name)] += item.bytes
    return sizes


def kind_of(name):  # of an Item
    if "frozen" in name:
        return "frozen weights"
    if name in (LOSS, LOGITS):
        return "logits and loss"
    if "AdamW" in name:
        return "optimizer"
    if name.endswith("gradients") or "gradients of the layers" in name:
        return "gradients"
    return "trained weights" if name.endswith("weights") else "activations"


def order(kind):
    return list(KINDS).index(kind)


def short(n):  # 41943040 -> "41.9 million"
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if n >= size:
            return f"{n / size:,.3g} {word}"
    return str(n)
