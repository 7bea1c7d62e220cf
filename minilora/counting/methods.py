"""What each method trains and keeps, in closed form: independent of the shapes in methods/, which build the model.

LoRA, PiSSA, OLoRA, LoRA+   r (in + out) a matrix           Hu et al. 2021, section 5.1
DoRA, lora_bias             out more
AdaLoRA                     init_r (in + out + 1)           before pruning; target_r a matrix are left on average
VeRA                        r + out                         A and B are frozen, and shared by all layers
IA3                         out, or in where the input of a feedforward layer is scaled
prefix tuning               n times the keys and values that a cache holds for one token
prompt tuning, P-tuning     n times the width of the model  (the file of P-tuning)
"""

from ..errors import ConfigError

LABELS = {
    "lora": "LoRA", "dora": "DoRA", "pissa": "PiSSA", "olora": "OLoRA", "lora_plus": "LoRA+", "adalora": "AdaLoRA",
    "vera": "VeRA", "ia3": "IA3", "prefix_tuning": "prefix tuning", "prompt_tuning": "prompt tuning",
}  # fmt: skip
SUMS = {  # peft_type -> what the numbers of `Count.working` are
    "LORA": "r x sum of (in + out)",
    "ADALORA": "r x sum of (in + out + 1)",
    "VERA": "r for each matrix + sum of out",
    "IA3": "sum of out, or of in where the input is scaled",
    "PREFIX_TUNING": "n x keys and values of a token",
    "PROMPT_TUNING": "n x width",
    "P_TUNING": "n x width",
}
IN_FRONT = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")  # these adapt the sequence, and no matrix
DECODERS = ("ForCausalLM", "LMHeadModel")  # endings of the classes whose sequence can have places in front


def rank_at(config, part) -> int:
    """The rows of A beside a part; 0 for a method without A."""
    if config.peft_type == "LORA":
        return part.lora_rank(config.rank(part.path))
    return {"ADALORA": lambda: config.left(part.path), "VERA": lambda: config.r}.get(config.peft_type, lambda: 0)()


def numbers_at(config, part) -> int:
    """How many numbers are trained beside a part."""
    r, kind = rank_at(config, part), config.peft_type
    if kind == "LORA":
        return r * (part.n_in + part.out) + (config.use_dora + config.lora_bias) * part.out
    if kind == "ADALORA":
        return r * (part.n_in + part.out + 1)
    if kind == "VERA":
        return r + part.out
    return part.n_in if config.scales_input(part.path) else part.out  # IA3


def narrow_at(config, part) -> int:
    """Numbers per token that a step keeps beside the input, as narrow as the rank. At least 1: the part is adapted."""
    return max(1, rank_at(config, part) * (2 if config.peft_type == "ADALORA" else 1))


def wide_at(config, part) -> int:
    """Numbers per token that a step keeps as wide as an output: for the gradient of a scale of every output."""
    if config.peft_type == "IA3":
        return numbers_at(config, part)
    return part.out if config.peft_type == "VERA" or getattr(config, "use_dora", False) else 0


def products_at(config, part) -> int:
    """Multiplications per token, forward and backward. VeRA's frozen A and B need no gradients of their own."""
    r, width = rank_at(config, part), part.out + (part.kind != "embedding") * part.n_in
    return (2 if config.peft_type == "VERA" else 3) * r * width * part.times


def shared_numbers(config, chosen) -> int:
    """Frozen numbers beside the base: VeRA's A (r, largest in) and B (largest out, r)."""
    if config.peft_type != "VERA":
        return 0
    return config.r * (max(p.n_in for p in chosen) + max(p.out for p in chosen))


def places_in_front(architecture, config) -> tuple[int, int]:
    """n and the numbers that each of the n places has; 0, 0 for a method on layers. Raises ConfigError."""
    if config.peft_type not in IN_FRONT:
        return 0, 0
    if not architecture.model_class.endswith(DECODERS):
        name = f"{architecture.name} ({architecture.model_class})"
        raise ConfigError(f"{config.peft_type} is counted for decoders, and {name} is none")
    if config.peft_type == "PREFIX_TUNING":
        if architecture.model_type == "falcon":
            raise ConfigError(
                "PREFIX_TUNING is not counted for Falcon: PEFT gives each head keys, and its heads share them"
            )
        return config.num_virtual_tokens, sum(p.cached for p in architecture.parts)
    return config.num_virtual_tokens, next(p.n_in for p in architecture.parts if p.block and p.kind == "linear")
