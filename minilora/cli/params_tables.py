"""The tables of `minilora params`, each at most 80 columns wide."""

import textwrap

from ..counting.cards import LESS, OVERHEAD, SEVERAL
from ..counting.methods import LABELS
from ..display.numbers import GIB
from ..display.tables import new_table

WIDTH = 80
SHORT = {"full, 16-bit": "16-bit", "4-bit + LoRA": "4-bit", "4-bit + LoRA, prepared": "prepared"}


def show(rows: list) -> None:
    """Print rows of counting.report, or all about one; first what is known of the cards that were asked for."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, WIDTH)
    first = rows[0]
    console.print(f"{first['model']} ({first['model_class']}): {first['base']:,} parameters")
    if "on" in first:
        for text in about_cards(first):
            console.print(wrap(text))
        if len(rows) == 1:
            console.print(card_table(first["on"]["answers"]))
    console.print(counts_table(rows))
    if first["method"] != "lora":
        console.print(wrap(f"method: {first['method']}; LoRA in these tables means {LABELS[first['method']]}"))
    for text in dict.fromkeys(f"{r['targets']}: {r['counted']}" for r in rows):
        console.print(wrap(text))
    for text in dict.fromkeys(f"note: {note}" for r in rows for note in r["notes"]):
        console.print(wrap(text))
    if len(rows) > 1:
        if "memory" in first:
            console.print(memory_table(rows))
            full = ", ".join(f"{m} {peak_and_card(first, m)}" for m in first["memory"] if m.startswith("full"))
            console.print(wrap(f"At any rank: {' '.join(full.split())}."))
            console.print(wrap(f"Assumed: {first['assumed']}."))
        console.print("\nWith one rank and one target set the command prints more: all that it counts.")
        return
    console.print(wrap(f"trainable = {first['sum']} = {first['working']} = {first['trainable']:,}"))
    for name, key in (("fp32", "fp32"), ("16 bit", "16bit")):
        data, file = first[f"adapter_bytes_{key}"], first[f"file_bytes_{key}"]
        console.print(f"adapter in {name}: {data:,} bytes of numbers, a file of {file:,}")
    if "memory" not in first:  # one matrix: nobody trains or serves one alone
        return
    console.print(variants_table(first))
    for text in caption(first):
        console.print(wrap(text))
    console.print(peak_table(first))
    for method, budget in first["memory"].items():
        console.print(wrap(f"{method}: {budget['assumes']}"))
    console.print(formulas_table(first, "LoRA"))
    console.print(flops_table(first))
    console.print(serving_table(first))


def wrap(text: str) -> str:
    """The text in lines of 80 columns; a word that fits into one stays whole."""
    return textwrap.fill(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def counts_table(rows):
    made = new_table("targets", "rank", "trainable", "%", "fewer", "fp32", "16 bit", text=1)
    for above, r in zip([None, *rows], rows, strict=False):
        targets = "" if above and above["targets"] == r["targets"] else breakable(r["targets"])
        made.add_row(
            targets, rank_of(r), f"{r['trainable']:,}", f"{r['percent']:.4f}", times(r["reduction"]),
            megabytes(r["file_bytes_fp32"]), megabytes(r["file_bytes_16bit"]),
        )  # fmt: skip
    made.caption = wrap(
        "%: of base and adapter together. fp32, 16 bit: size of the file; PEFT writes fp32 unless the adapter was "
        "made in 16 bit"
    )
    return made


def rank_of(r):
    return "-" if r["rank"] is None else str(r["rank"])


def breakable(names):  # so that a name is not cut where a table folds
    return names.replace(",", ", ")


def about_cards(r):
    """The lines above what fits."""
    on = r["on"]
    cards, gb, gib = on["cards"], on["gb"], on["gib"]
    what = f"A card of {gb:g} GB has" if cards == 1 else f"{cards} cards of {gb:g} GB have"
    yield f"{what} {gib:g} GiB{' each' * (cards > 1)}; {gib - OVERHEAD:.1f} of them are free for arrays"
    if gb in LESS:
        yield f"({LESS[gb][1]} is sold as {gb:g} GB and has less: --card {LESS[gb][0]})"
    if cards > 1:
        yield (
            "The cards share weights, gradients and optimizer evenly (FSDP, ZeRO 3). Each trains on "
            f"{r['batch']} x {r['length']} tokens of its own. GiB are of each card."
        )


def card_table(answers):
    made = new_table("", "GiB", "", text=1)
    made.columns[2].justify, made.columns[2].no_wrap = "left", False
    for answer in answers:
        remedies = answer["remedies"]
        remedy = "no; it would fit with " + ", or with ".join(remedies) if remedies else "no"
        made.add_row(answer["method"], gib(answer["total"]), "fits" if answer["fits"] else remedy)
    return made


def memory_table(rows):
    """Rows: configurations; columns: the methods that depend on them, with the peak, and its card or whether the asked
    one fits."""
    first = rows[0]
    methods = [m for m in first["memory"] if not m.startswith("full")]
    title = (
        f"Peak of {first['batch']} x {first['length']} tokens with {first['engine']}, {way_of(first)}: "
        f"GiB, {'fits' if 'on' in first else 'card'}"
    )
    made = new_table("targets", "rank", *(short(m) for m in methods), text=1, title=title)
    for above, r in zip([None, *rows], rows, strict=False):
        targets = "" if above and above["targets"] == r["targets"] else breakable(r["targets"])
        made.add_row(targets, rank_of(r), *(peak_and_card(r, m) for m in methods))
    return made


def way_of(r):  # the first of "variants": "recomputed", or "kept" with minilora
    return next(iter(next(iter(r["memory"].values()))["variants"]))


def peak_and_card(r, method):  # "14.3   16 GB", or of the card that was asked for "14.3   no"
    if "on" in r:
        answer = next(a for a in r["on"]["answers"] if a["method"] == method)
        return f"{gib(answer['total'])} {'fits' if answer['fits'] else 'no':>4}"
    variant = r["memory"][method]["variants"][way_of(r)]
    return f"{gib(variant['total'])} {card_name(variant):>7}"


def variants_table(r):
    """Rows: methods; columns: the ways to train, with the peak and the smallest card."""
    title = f"Memory of training {r['batch']} x {r['length']} tokens with {r['engine']}: peak in GiB, card"
    columns = {"recomputed": "recomputed", "recomputed, chunked loss": "chunked loss", "kept": "all kept"}
    first = next(iter(r["memory"].values()))["variants"]
    names = [name for name in columns if name in first]
    made = new_table("", *(columns[name] for name in names), text=1, title=title)
    for method, budget in r["memory"].items():
        variants = (budget["variants"][name] for name in names)
        made.add_row(method, *(f"{gib(v['total'])} {card_name(v):>7}" for v in variants))
    return made


def caption(r):
    """The lines under the table of memory."""
    if r["engine"] == "huggingface":
        yield (
            "recomputed: activations (gradient checkpointing). chunked loss: recomputed too, and the loss computed "
            "for a few tokens at a time (Liger, Unsloth, torchtune), so that no logits are kept. all kept: nothing is "
            "recomputed."
        )
        variants = [v for budget in r["memory"].values() for v in budget["variants"].values()]
        if any(not v["card"] for v in variants):
            yield (
                f"3 x {SEVERAL}: three cards of {SEVERAL} GB, which share weights, gradients and optimizer (FSDP, ZeRO "
                "3); each has the activations of its own sequences. none: these alone do not fit."
            )
    else:
        yield "recomputed: train --checkpointing. chunked loss: --chunked-loss too. all kept: neither."
    yield f"Assumed: {r['assumed']}."
    lean = [(m, b["variants"]) for m, b in r["memory"].items() if "recomputed, flash attention" in b["variants"]]
    if lean:
        sizes = (
            f"{m} {gib(v['recomputed, flash attention']['total'])} GiB"
            f" (with a chunked loss {gib(v['recomputed, flash attention, chunked loss']['total'])})"
            for m, v in lean
        )
        yield "The T x T scores of attention are kept here; with a flash kernel: " + ", ".join(sizes) + "."


def short(method):
    return SHORT[method] if method in SHORT else method


def card_name(variant):  # of "variants" -> "24 GB"
    if variant["card"]:
        return f"{variant['card']:g} GB"
    return f"{variant['cards_of_80']} x {SEVERAL}" if variant["cards_of_80"] else "none"


def peak_table(r):
    """Rows: arrays that are alive at the peak; columns: methods."""
    methods = list(r["memory"])
    kind = next(iter(r["memory"][methods[0]]["peak"]))
    names = (short(m) for m in methods)
    made = new_table("", *names, text=1, title=f"Arrays that are alive at the peak, {kind}")
    peaks = {m: r["memory"][m]["peak"][kind] for m in methods}
    names = dict.fromkeys(item["name"] for m in methods for item in peaks[m]["items"])
    for name in names:
        sizes = [sum(i["bytes"] for i in peaks[m]["items"] if i["name"] == name) for m in methods]
        made.add_row(name, *(gib(size, 2) if size else "" for size in sizes))
    made.add_section()
    made.add_row("sum, GiB", *(gib(peaks[m]["total"], 2) for m in methods), style="bold")
    return made


def formulas_table(r, method):
    kind, peak = next(iter(r["memory"][method]["peak"].items()))
    made = new_table("", "formula", "GiB", text=1, title=f"{method}, {kind}, {peak['moment']}")
    for item in peak["items"]:
        made.add_row(item["name"], item["formula"], f"{item['bytes'] / GIB:,.3f}")
    return made


def flops_table(r):
    f = r["flops_per_token"]
    made = new_table("", "full", "LoRA", text=1, title=f"Operations per token, among {r['length']}")
    saved = f["backward_dW_saved"]
    for name, full, lora in (
        ("forward: W x", f["forward"], f["forward"]),
        ("forward: attention", f["attention_forward"], f["attention_forward"]),
        ("backward: dx = g W", f["backward_dx"], f["backward_dx"]),
        ("backward: attention", f["attention_backward"], f["attention_backward"]),
        ("backward: dW = gᵀ x", f["backward_dW"], saved),
        ("A and B, forward and backward", 0, f["lora"]),
        ("sum", f["full"], f["with_lora"]),
    ):
        made.add_row(name, f"{full:,}", f"{lora:,}")
    made.caption = wrap(
        f"Operations, not time. LoRA saves the dW products and nothing else: full / LoRA = {f['full_over_lora']:.3f} "
        f"(never above 1.5), {f['full_over_lora_recomputed']:.3f} with recomputation (never above 1.333)"
    )
    return made


def serving_table(r):
    s = r["serving"]
    title = f"Serving in {r['dtype']}: a cache of {r['batch']} x {r['length']} tokens"
    made = new_table("", "formula", "GiB", text=1, title=title)
    for item in s["memory"]:
        made.add_row(item["name"], item["formula"], f"{item['bytes'] / GIB:,.3f}")
    made.add_row("sum", "", f"{s['total'] / GIB:,.3f}")
    made.add_row("sum with the base in 4 bit", "", f"{s['total_4bit'] / GIB:,.3f}")
    made.caption = wrap(
        f"To switch adapters: {s['switch_resident']} bytes when resident and unmerged; {megabytes(s['switch_load'])} "
        f"from the host; {megabytes(s['switch_merge'])} read and written to merge into W"
    )
    return made


def gib(size, digits=1):  # bytes -> "16.4"
    size /= GIB
    return f"{size:,.{0 if size >= 1000 else digits}f}"


def times(ratio):  # 128.0 -> "128x", 1178.19 -> "1,178.2x", 0.75 -> "1.3x more"
    if ratio < 1:
        return f"{1 / ratio:.1f}x more"
    return f"{ratio:,.{1 if ratio < 10_000 and ratio != int(ratio) else 0}f}x"


def megabytes(n):
    return f"{n / 1e6:,.1f} MB" if n >= 1e5 else f"{n:,} B"
