"""LoRA+: a larger learning rate for B than for A (Hayou et al. 2024, arXiv 2402.12354).

    lr of A = lr        lr of B = ratio · lr

With one rate for both, A and B cannot both move usefully in a wide layer: B starts at zero, and its gradient has
another size than A's. Only the optimizer changes; the file and the function are LoRA's.
"""

from ..errors import ConfigError

EMBEDDING_RATE = 1e-6  # of the A and B of an adapted embedding, as in the paper's code and PEFT


def loraplus_groups(
    model, lr: float, loraplus_lr_ratio: float, loraplus_lr_embedding: float = EMBEDDING_RATE, weight_decay: float = 0.0
) -> list:
    """The groups of parameters for an optimizer: A, B, embeddings, and vectors without weight decay.

    model: a PeftModel. The groups hold every trainable parameter once; empty ones are left out. Raises ConfigError.
    """
    if not loraplus_lr_ratio > 0:
        raise ConfigError(f"loraplus_lr_ratio {loraplus_lr_ratio}: expected a number above 0, 1 is plain LoRA")
    groups = {  # rate, weight decay
        "A": (lr, weight_decay),
        "embedding": (loraplus_lr_embedding, weight_decay),
        "B": (lr * loraplus_lr_ratio, weight_decay),
        "B, vectors": (lr * loraplus_lr_ratio, 0.0),
    }
    members = {name: [] for name in groups}
    for name, p in model.named_parameters():
        if p.requires_grad:
            if "lora_embedding_" in name:
                members["embedding"].append(p)
            elif "lora_B" in name or p.ndim == 1:
                members["B" if p.ndim > 1 else "B, vectors"].append(p)
            else:
                members["A"].append(p)
    return [
        {"params": params, "lr": groups[name][0], "weight_decay": groups[name][1]}
        for name, params in members.items()
        if params
    ]


def create_loraplus_optimizer(
    model,
    optimizer_cls,
    lr: float,
    loraplus_lr_ratio: float,
    loraplus_lr_embedding: float = EMBEDDING_RATE,
    loraplus_weight_decay: float = 0.0,
    **settings,
):
    """An optimizer with LoRA+'s groups; PEFT's name and arguments.

    optimizer_cls: AdamW, say. settings: the optimizer's own. Raises ConfigError for `weight_decay`, which every group
    has already (PEFT takes it and does nothing with it).
    """
    if "weight_decay" in settings:
        raise ConfigError("weight_decay has no effect on the groups of LoRA+; pass loraplus_weight_decay")
    groups = loraplus_groups(model, lr, loraplus_lr_ratio, loraplus_lr_embedding, loraplus_weight_decay)
    return optimizer_cls(groups, lr=lr, **settings)
