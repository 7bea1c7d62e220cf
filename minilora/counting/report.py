"""One configuration with all its numbers, as the dictionary that `minilora params --json` prints."""

from .cards import CARDS, GIB, OVERHEAD, cards_needed, smallest_card, verdict
from .engine import OVERHEAD as OWN_OVERHEAD
from .engine import own_budgets
from .flops import flops
from .memory import NF4_BITS, budgets, gathered
from .methods import SUMS
from .serving import serving

VERSION = 2  # of the keys; it grows when one of them changes its meaning or goes
ENGINES = ("huggingface", "minilora")
ASSUMED = {
    "huggingface": "transformers and PEFT on one card, AdamW that is fused (the Trainer's default; with foreach, "
    "PyTorch's own, it needs a copy more of what is trained), SDPA attention, a padded batch, the loss over all "
    f"tokens; {OVERHEAD} GiB on top for the CUDA context and the allocator",
    "minilora": "minilora on one machine or card, AdamW, everything in float32 but for a base with --quantize, nothing "
    "recomputed unless said, "
    f"the loss over all tokens; on top {OWN_OVERHEAD} GiB for Python and its libraries, on a card {OVERHEAD} GiB",
}


def row(
    count, counted: str, batch: int, length: int, dtype: str, adapters: int, engine: str = ENGINES[0],
    quantize: str | None = None,
) -> dict:  # fmt: skip
    """All numbers of a Count.

    counted: how the count was confirmed; batch and length: of the training batch and of the cache, in sequences and
    tokens; dtype: of the frozen base; adapters: served at the same time. Bytes are whole numbers; percent is of base +
    trainable, as PEFT prints it; reduction is base / trainable. One matrix alone has no memory, no operations and no
    serving. engine: whose memory is predicted, one of ENGINES; quantize: how minilora keeps the base, see stored.py.
    """
    narrow = "F16" if dtype == "float16" else "BF16"
    found = {
        "version": VERSION,
        "model": count.architecture.name,
        "model_class": count.architecture.model_class,
        "method": count.method,
        "targets": count.targets,
        "rank": count.rank,
        "matrices": len(count.chosen),
        "base": count.base,
        "trainable": count.trainable,
        "total": count.total,
        "percent": count.percent,
        "reduction": count.reduction,
        "sum": SUMS[count.config.peft_type],
        "working": count.working,
        "counted": counted,
        "notes": count.notes,
        "adapter_bytes_fp32": count.adapter_bytes(4),
        "adapter_bytes_16bit": count.adapter_bytes(2),
        "file_bytes_fp32": count.file_bytes("F32"),
        "file_bytes_16bit": count.file_bytes(narrow),
        "dtype": dtype,
        "batch": batch,
        "length": length,
    }
    if not count.architecture.model_type:
        return found
    own = engine == "minilora"
    return found | {
        "engine": engine,
        "quantize": quantize,
        "assumed": ASSUMED[engine] + places(count.architecture, length),
        "memory": own_memory(count, batch, length, quantize) if own else memory(count, batch, length, dtype),
        "flops_per_token": _flops(flops(count, length)),
        "serving": _serving(serving(count, adapters, batch, length, dtype)),
    }


def places(architecture, length: int) -> str:
    """What to know where the places of a sequence are not simply `length`; "" otherwise."""
    read = {"vit": ("position_embeddings", "an image"), "whisper": ("encoder.embed_positions", "a sound")}
    if architecture.model_type not in read:
        return ""
    table, what = read[architecture.model_type]
    count = next(part.shape[-2] for part in architecture.parts if part.path.endswith(table))
    return f"; {what} has {count:,} places, " + (f"its text {length:,}" if what == "a sound" else "whatever the length")


def memory(count, batch: int, length: int, dtype: str) -> dict:  # {method: {...}}
    """What each method needs, and the leaner variants of it."""
    lean = {b.method: b for b in budgets(count, batch, length, dtype, flash=True)}
    return {b.method: _budget(b, lean[b.method], count, dtype) for b in budgets(count, batch, length, dtype)}


def own_memory(count, batch: int, length: int, quantize: str | None = None) -> dict:  # {method: {...}}
    """The same for minilora's engine. Raises ConfigError for a family that it cannot train."""
    chunked = {b.method: b for b in own_budgets(count, batch, length, True, quantize)}
    return {
        b.method: {
            "assumes": OWN_ASSUMES[quantize or b.method],
            "states": _items(b.states),
            "peak": {"kept": _peak(b.kept)},
            "variants": {
                "kept": _own_variant(b.kept),
                "kept, chunked loss": _own_variant(chunked[b.method].kept),
                "recomputed": _own_variant(b.recomputed),
                "recomputed, chunked loss": _own_variant(chunked[b.method].recomputed),
            },
            "cards": _cards(b.total),
        }
        for b in own_budgets(count, batch, length, quantize=quantize)
    }


OF_ADAPTERS = "16 B for each number of the adapters"
OWN_ASSUMES = {
    "full": "weights, gradients, m and v: 16 B a parameter",
    "LoRA": f"a frozen base, 4 B a parameter; {OF_ADAPTERS}",
    "nf4": f"linear layers in NF4, double quantization, the rest in float32; {OF_ADAPTERS}",
    "int8": f"linear layers in 8 bits, the rest in float32; {OF_ADAPTERS}",
    "bf16": f"matrices in bfloat16, vectors in float32; {OF_ADAPTERS}",
    "fp16": f"matrices in float16, vectors in float32; {OF_ADAPTERS}",
}


def _budget(budget, lean, count, dtype):
    whole = gathered(count.architecture, budget.method)
    cases = {"recomputed": budget.recomputed, "recomputed, chunked loss": budget.recomputed.with_chunked_loss,
             "kept": budget.kept, "kept, chunked loss": budget.kept.with_chunked_loss}  # fmt: skip
    if lean.total != budget.total:
        cases |= {"recomputed, flash attention": lean.recomputed,
                  "recomputed, flash attention, chunked loss": lean.recomputed.with_chunked_loss}  # fmt: skip
    return {
        "assumes": assumes(budget.method, dtype, count),
        "states": _items(budget.states),
        "peak": {"recomputed": _peak(budget.recomputed), "kept": _peak(budget.kept)},
        "variants": {name: _variant(plan, whole) for name, plan in cases.items()},
        "cards": _cards(budget.total_recomputed),
    }


def _cards(total):
    return [{"gb": gb, "gib": gib, "verdict": verdict(total, gb)} for gb, gib in CARDS.items()]


def _peak(plan):
    return {
        "moment": plan.peak.name,
        "items": _items(plan.peak.items),
        "total": plan.peak.bytes,
        "moments": {m.name: m.bytes for m in plan.moments},
    }


def _variant(plan, whole):
    total = plan.peak.bytes
    card = smallest_card(total)
    return {"total": total, "card": card, "cards_of_80": 1 if card else cards_needed(plan, whole)}


def _own_variant(plan):
    """Several cards do not share a training of minilora."""
    card = smallest_card(plan.peak.bytes)
    return {"total": plan.peak.bytes, "card": card, "cards_of_80": 1 if card else None}


def assumes(method: str, dtype: str, count) -> str:
    """How a method trains, in words."""
    if method == "full":
        return "weights, gradients and AdamW in float32: 16 B a parameter" + _autocast(dtype)
    if method == "full, 16-bit":
        return f"weights, gradients and AdamW all in {dtype}: 8 B a parameter"
    adapters = "adapters, their gradients and AdamW in float32, as PEFT makes them: 16 B a number"
    if method == "LoRA":
        return f"base in {dtype}; {adapters}"
    prepared = "float32, as PEFT's prepare_model_for_kbit_training leaves it, with autocast"
    single = sum(p.weights for p in count.architecture.linears) * (4.5 - NF4_BITS) / 8 / GIB
    return (
        f"linear layers in NF4, double quantization (without it, bitsandbytes' default: {single:.2f} GiB more), the "
        f"rest in {prepared if method.endswith('prepared') else 'bfloat16'}; {adapters} (TRL makes them in bfloat16: "
        f"8 B, {8 * count.in_adapter / GIB:.2f} GiB less)"
    )


def _autocast(dtype):
    return "" if dtype == "float32" else f"; products in {dtype} (autocast)"


def _items(items):
    return [{"name": i.name, "formula": i.formula, "bytes": i.bytes} for i in items]


def _flops(f):
    return {
        "forward": f.forward,
        "attention_forward": f.attention_forward,
        "backward_dx": f.dx,
        "attention_backward": f.attention_backward,
        "backward_dW": f.dw_full,
        "backward_dW_saved": f.dw_saved,
        "lora": f.lora,
        "full": f.full,
        "with_lora": f.with_lora,
        "full_over_lora": f.ratio,
        "full_over_lora_recomputed": f.ratio_recomputed,
    }


def _serving(s):
    return {
        "memory": _items(s.memory),
        "total": s.total,
        "total_4bit": s.total_4bit,
        "base_4bit": s.base_4bit,
        "switch_resident": s.switch_resident,
        "switch_load": s.switch_load,
        "switch_merge": s.switch_merge,
    }
