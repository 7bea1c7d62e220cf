"""A frozen base that minilora keeps in fewer bits: `--quantize`, as models/pretrained.py stores it. Bytes.

nf4          every linear layer but the head, 4.127 bits a number; the rest in float32
int8         the same layers, 8 bits a number and a float32 for each row
bf16, fp16   every linear layer and embedding, 16 bits a number; vectors in float32
"""

from ..quantization.stored import BLOCK
from .activations import Item
from .memory import NF4_BITS


def frozen_weights(architecture, quantize: str | None) -> tuple:  # -> Items
    """What the weights of the base take. quantize: one of quantization.config.QUANTIZE, or None for float32."""
    parts = stored_parts(architecture, quantize)
    n, rows = sum(p.weights for p in parts), sum(p.out for p in parts)
    rest = architecture.base - n
    in_float32 = Item("frozen weights", f"{rest:,} x 4 B", rest * 4)
    if quantize == "nf4":
        return (Item("frozen 4-bit weights", f"{n:,} x {NF4_BITS:.9f} bit / 8", round(n * NF4_BITS / 8)), in_float32)
    if quantize == "int8":
        return (Item("frozen 8-bit weights", f"{n:,} B + {rows:,} x 4 B", n + 4 * rows), in_float32)
    return (Item("frozen 16-bit weights", f"{n:,} x 2 B", n * 2), in_float32) if parts else (in_float32,)


def stored_parts(architecture, quantize: str | None) -> list:  # -> WeightSpecs
    """The weights that are kept in fewer bits."""
    if quantize in ("nf4", "int8"):
        return [p for p in architecture.linears if not p.head]
    in_16_bits = quantize is not None
    return [p for p in architecture.parts if in_16_bits and p.kind in ("linear", "embedding") and not p.tied]


def block_of(part) -> int:
    """Numbers of a stored weight that are read at a time."""
    return min(part.weights, max(BLOCK // part.n_in, 1) * part.n_in)
