"""One configuration with all its numbers, as the dictionary that `minilora params --json` prints."""

from .flops import flops
from .memory import budgets
from .serving import serving


def row(count, counted, batch, length, dtype, adapters):  # Count, how it was confirmed, ... -> dict
    """batch and length are for the activations and the cache, dtype is the frozen base's, adapters are served at once.

    Bytes are whole numbers; percent is of base + trainable, as PEFT prints it; reduction is base / trainable.
    """
    narrow = "F16" if dtype == "float16" else "BF16"
    return {
        "model": count.architecture.name,
        "model_class": count.architecture.model_class,
        "targets": count.targets,
        "rank": count.rank,
        "matrices": len(count.chosen),
        "base": count.base,
        "trainable": count.trainable,
        "total": count.total,
        "percent": count.percent,
        "reduction": count.reduction,
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
        "memory": {b.method: _budget(b) for b in budgets(count, batch, length, dtype)},
        "flops_per_token": _flops(flops(count, length)),
        "serving": _serving(serving(count, adapters, batch, length, dtype)),
    }


def _budget(budget):
    return {
        "states": _items(budget.states),
        "activations": _items(budget.kept),
        "activations_recomputed": _items(budget.recomputed),
        "total": budget.total,
        "total_recomputed": budget.total_recomputed,
        "cards": budget.cards,
    }


def _items(items):
    return [{"name": i.name, "formula": i.formula, "bytes": i.bytes} for i in items]


def _flops(f):
    return {
        "forward": f.forward,
        "attention_forward": f.attention_forward,
        "backward_dx": f.dx,
        "attention_backward": f.attention_backward,
        "backward_dW": f.dw_full,
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
        "base_4bit": s.base_4bit,
        "switch_resident": s.switch_resident,
        "switch_load": s.switch_load,
        "switch_merge": s.switch_merge,
    }
