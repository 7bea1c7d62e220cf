"""Memory of training, item by item, for full fine-tuning, LoRA, and LoRA on a 4-bit base; and which cards hold it."""

from dataclasses import dataclass

from ..display.numbers import GIB
from .activations import Item, activations

NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # a code of 4 bits; per 64 an 8-bit scale; per 256 scales a float32 (QLoRA, 3)
CARDS = (8, 12, 16, 24, 48, 80)  # GB as makers of graphics cards count: GIB bytes
OVERHEAD = 1.2  # a rule of thumb: QLoRA's figures for 33B and 65B (Table 6) lie this far above the weights' bytes
METHODS = ("full", "LoRA", "4-bit + LoRA")
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}  # name -> bytes of a number


@dataclass(frozen=True)
class Budget:
    """What one method needs, in Items. states: all but the activations; kept, recomputed: those, without and with
    recomputation."""

    method: str
    states: tuple
    kept: tuple
    recomputed: tuple

    @property
    def total(self):
        return sum(i.bytes for i in (*self.states, *self.kept))

    @property
    def total_recomputed(self):
        return sum(i.bytes for i in (*self.states, *self.recomputed))

    @property
    def cards(self):  # -> {GB: "fits" | "tight" | "no"}
        """With recomputation. Tight: fits only without the fifth that real runs need on top."""
        return {gb: verdict(self.total_recomputed, gb) for gb in CARDS}


def verdict(needed, gb):
    return "no" if needed > gb * GIB else "tight" if OVERHEAD * needed > gb * GIB else "fits"


def budgets(count, batch, length, dtype):  # Count, int, int, str -> [Budget]
    """The three methods, in the order of METHODS."""
    architecture, w = count.architecture, DTYPES[dtype]
    everything, adapted = ({p.path for p in parts} for parts in (architecture.parts, count.chosen))
    full = activations(architecture, everything, 0, batch, length, w)
    lora = activations(architecture, adapted, count.rank, batch, length, w)
    lora4 = lora if w == 2 else activations(architecture, adapted, count.rank, batch, length, 2)
    adapter = _trained("adapter", count.trainable, 4)
    return [
        Budget("full", _trained("", count.base, w), *full),
        Budget("LoRA", (_frozen(count.base, w), *adapter), *lora),
        Budget("4-bit + LoRA", (*four_bit(architecture), *adapter), *lora4),
    ]


def _frozen(n, w):
    return Item("frozen weights", f"{n:,} x {w} B", n * w)


def _trained(what, n, w):
    """A trained number costs 16 bytes: weight, gradient, Adam's m and v; in 16 bit also a float32 master copy."""
    what = f"{what} " if what else ""
    items = [
        Item(f"{what}weights", f"{n:,} x {w} B", n * w),
        Item(f"{what}gradients", f"{n:,} x {w} B", n * w),
        Item(f"{what}Adam m and v", f"{n:,} x 2 x 4 B", n * 8),
    ]
    if w == 2:
        items.insert(2, Item(f"{what}float32 copy of the weights", f"{n:,} x 4 B", n * 4))
    return tuple(items)


def four_bit(architecture):  # -> (Item, Item, Item)
    """NF4 with double quantization for every linear layer but the head, 16 bit for the rest (QLoRA, section 3)."""
    quantized = sum(p.weights for p in architecture.linears)
    rest = architecture.base - quantized
    largest = max((p.weights for p in architecture.linears), default=0)
    return (
        Item("frozen 4-bit weights", f"{quantized:,} x {NF4_BITS:.9f} bit / 8", round(quantized * NF4_BITS / 8)),
        Item("frozen 16-bit weights", f"{rest:,} x 2 B", rest * 2),
        Item("one matrix at a time in 16 bit", f"{largest:,} x 2 B", largest * 2),
    )
