"""The little language of the ledger's formulas: numbers, + - * / **, and the functions below. Each function also says
how its number is made, so that a row can be redone with pencil and paper.

    evaluate("4 * trainable('gpt2-medium', 'c_attn', 4) / 2**20")
    -> 1.5, ["trainable('gpt2-medium', 'c_attn', 4) = 4 x (24 x (1024 + 3072)) = 393,216"]
"""

import ast
import operator
from collections import Counter
from functools import cache, lru_cache
from typing import Any

from ...display.numbers import number_text
from ...errors import FormatError, MiniloraError, nearest
from ..architectures.catalog import load
from ..count import count, count_method
from ..flops import flops
from ..memory import budget, four_bit
from .measured import best_rate, on_card, seeds_where, share


def power(base, exponent):
    if abs(exponent) > 64:
        raise ValueError(f"an exponent of {exponent}")
    return base**exponent


OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: power,
}
loaded = lru_cache(maxsize=None)(load)


@cache
def counted(model, targets, rank):
    return count(loaded(model), targets, rank)


def evaluate(formula: str) -> tuple[Any, list]:  # the number, [how each function's number is made]
    """Raises FormatError for anything but arithmetic and the known functions."""
    steps = []
    try:
        return _value(ast.parse(formula, mode="eval").body, steps), list(dict.fromkeys(steps))
    except (SyntaxError, ZeroDivisionError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, MiniloraError):
            raise
        raise FormatError(f"formula {formula!r}: {error}") from error


def _value(node, steps):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left, steps), _value(node.right, steps))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in FUNCTIONS:
            raise FormatError(f"no function {node.func.id!r}; the ledger has: {nearest(node.func.id, FUNCTIONS)}")
        arguments = [ast.literal_eval(argument) for argument in node.args]
        value, working = FUNCTIONS[node.func.id](*arguments)
        steps.append(f"{ast.unparse(node)} = {working} = {number_text(value, digits=6)}")
        return value
    raise FormatError(f"a formula has numbers, + - * / ** and functions; found {ast.unparse(node)!r}")


def _sum(parts, size):  # WeightSpecs, part -> (numbers, text) ; the same shapes once
    terms = Counter(size(p) for p in parts)
    value = sum(n * number for (number, _), n in terms.items())
    return value, " + ".join(f"{n} x ({text})" if n > 1 else text for (_, text), n in terms.items())


def _all_of(part):  # -> parameters of a part, "768 x 2304 + 2304"
    if part.tied:
        return part.bias, f"{part.bias}"
    weight = " x ".join(str(n) for n in part.shape)
    return part.size, f"{weight} + {part.bias}" if part.bias else weight


def base(model):
    """Parameters of the model."""
    return _sum([p for p in loaded(model).parts if p.size], _all_of)


def layer(model):
    """Parameters of one layer."""
    first = next(p.block for p in loaded(model).parts if p.block)
    return _sum([p for p in loaded(model).parts if p.block == first], _all_of)


def biases(model):
    """Bias values of the model, those of its norms too: what BitFit trains."""
    return _sum([p for p in loaded(model).parts if p.bias], lambda p: (p.bias, f"{p.bias}"))


def trainable(model, targets, rank):
    """Parameters of LoRA: Σ r (in + out)."""
    made = counted(model, targets, rank)
    return made.trainable, made.working


@cache
def by_method(model, method, targets, rank):
    return count_method(loaded(model), method, targets, rank, rank or 20)


def trained(model, method, targets, rank):
    """Parameters of another method. targets: None for PEFT's; rank: None without one, n of prefix and prompt tuning."""
    made = by_method(model, method, targets, rank)
    return made.trainable, made.working


def trained_percent(model, method, targets, rank):
    """100 trainable / (base + trainable) of another method."""
    made = by_method(model, method, targets, rank)
    return made.percent, f"100 x {made.trainable:,} / ({made.base:,} + {made.trainable:,})"


def file_bytes(model, method, targets, rank):
    """Bytes of the file of a method in float32, with its header."""
    made = by_method(model, method, targets, rank)
    numbers = made.trainable + made.frozen
    return made.file_bytes("F32"), f"4 x {numbers:,} + {made.file_bytes('F32') - 4 * numbers:,} of the header"


def percent(model, targets, rank):
    """100 trainable / (base + trainable), as PEFT prints it."""
    made = counted(model, targets, rank)
    return made.percent, f"100 x {made.trainable:,} / ({made.base:,} + {made.trainable:,})"


def nf4_bytes(model):
    """The model with its linear layers in 4 bit, double quantization, and the rest in 16 bit."""
    quantized, rest, _ = four_bit(loaded(model))
    return quantized.bytes + rest.bytes, f"{quantized.formula} + {rest.formula}"


def adapted_weights(model, targets):
    """Numbers in the matrices that `targets` chooses: what merging must read and write."""
    return _sum(counted(model, targets, 1).chosen, lambda p: (p.weights, f"{p.out} x {p.n_in}"))


@cache
def training_bytes(model, targets, rank, method, batch, length):
    """Memory of training at its peak, as `minilora params` has it: in bfloat16, activations recomputed."""
    peak = budget(method, counted(model, targets, rank), batch, length, "bfloat16").recomputed.peak
    return peak.bytes, " + ".join(i.formula for i in peak.items)


def training_bytes_chunked(model, targets, rank, method, batch, length):
    """The same with a chunked loss: no logits are kept."""
    counts = counted(model, targets, rank)
    peak = budget(method, counts, batch, length, "bfloat16").recomputed.with_chunked_loss.peak
    return peak.bytes, " + ".join(i.formula for i in peak.items)


def speedup(model, targets, rank, length):
    """Operations of full fine-tuning / of LoRA, for one token among `length`."""
    f = flops(counted(model, targets, rank), length)
    return f.ratio, f"{f.full:,} / {f.with_lora:,}"


def speedup_recomputed(model, targets, rank, length):
    """The same with the forward pass done twice."""
    f = flops(counted(model, targets, rank), length)
    return f.ratio_recomputed, f"{f.full_recomputed:,} / {f.with_lora_recomputed:,}"


FUNCTIONS = {
    f.__name__: f
    for f in (
        base, layer, biases, trainable, percent, trained, trained_percent, file_bytes,
        nf4_bytes, adapted_weights, training_bytes, training_bytes_chunked,
        speedup, speedup_recomputed, share, best_rate, seeds_where, on_card,
    )
}  # fmt: skip
