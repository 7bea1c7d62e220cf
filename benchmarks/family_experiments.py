"""The runs of the experiments about LoRA's relatives; see experiments.py for how a learning rate is chosen."""

from .experiments import LORA_RATES, TASK, Setting
from .family_runs import FamilyRun

LADDER = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1, 1.0, 2.0)
GRID = (1e-3, 4e-3, 1.6e-2, 6.4e-2)  # of the map of LoRA+; two steps from the diagonal is the ratio 16


def around(rate, below=1, above=1):  # -> learning rates: this one and its neighbours on the ladder
    at = LADDER.index(rate)
    return LADDER[at - below : at + above + 1]


def setting(label, rates, method, targets="", r=0, x=None, **more):
    return Setting(label, x, FamilyRun(TASK, targets, r, method=method, **more), rates)


def dora():
    """LoRA and DoRA on all linear layers, over the rank. At rank 2 their rates differ: LoRA at DoRA's is a control."""
    methods, ranks = {"LoRA": "lora", "DoRA": "dora"}, (1, 2, 4, 8, 32)
    settings = [setting(label, LORA_RATES, methods[label], "all", r, x=r) for label in methods for r in ranks]
    return [*settings, setting("LoRA at DoRA's rate", (1e-2,), "lora", "all", 2, x=2)]


def equal_budget():
    """1,792 trained numbers, as near as each method can."""
    return [
        setting("LoRA, q,v, r=1", around(2e-2), "lora", "q,v", 1),
        setting("LoRA+, q,v, r=1", around(2e-3), "lora_plus", "q,v", 1, lr_ratio=16.0),
        setting("PiSSA, q,v, r=1", around(1e-2, below=2), "pissa", "q,v", 1),
        setting("OLoRA, q,v, r=1", around(5e-3), "olora", "q,v", 1),
        setting("AdaLoRA, q,v, 2 to 1", around(5e-2), "adalora", "q,v", 1, init_r=2),
        setting("LoRA, v, r=2", around(5e-2, below=2), "lora", "v", 2),
        setting("DoRA, v, r=2", around(2e-2), "dora", "v", 2),
        setting("VeRA, q,v, r=128", around(1e-1, below=2), "vera", "q,v", 128),
        setting("IA3, k,v,down", around(5e-1, below=3), "ia3", "k,v,down"),
        setting("prefix, 4 places", around(5e-1, below=3), "prefix_tuning", r=4, start="text"),
        setting("prompt, 14 places", around(1e-1), "prompt_tuning", r=14),
    ]


def tiny_budget():
    """Fewer numbers than the smallest LoRA on query and value has, 1,792. On value alone LoRA has 768."""
    return [
        setting("LoRA, v, r=1", around(5e-2, below=2), "lora", "v", 1),
        setting("VeRA, q,v, r=16", around(2e-1, 2, 2), "vera", "q,v", 16),
        setting("VeRA, q,v, r=1", around(2e-1, 2, 2), "vera", "q,v", 1),
        setting("VeRA, v, r=128", around(2e-1, 2, 2), "vera", "v", 128),
        setting("VeRA, v, r=16", around(2e-1, 2, 2), "vera", "v", 16),
        setting("IA3, down", around(5e-1, 2), "ia3", "down"),
        setting("IA3, k,v", around(5e-1, 2), "ia3", "k,v"),
        setting("IA3, v", around(1.0, 3), "ia3", "v"),
        setting("prompt, 6 places", around(1e-1), "prompt_tuning", r=6),
        setting("prompt, 2 places", around(1e-1), "prompt_tuning", r=2),
    ]


def adalora():
    """Four triplets a layer at the end: found from six, from six without the penalty, and four from the start."""
    return [
        setting("AdaLoRA, 6 to 4", around(5e-2, below=2), "adalora", "all", 4, init_r=6),
        setting("AdaLoRA, 6 to 4, no penalty", around(2e-2), "adalora", "all", 4, init_r=6, orthogonality=0.0),
        setting("4 triplets", around(2e-2), "adalora", "all", 4, init_r=4),
        setting("4 triplets, no penalty", around(2e-2), "adalora", "all", 4, init_r=4, orthogonality=0.0),
    ]


def lora_plus():
    """A map: the rate of A by the rate of B. Equal rates are plain LoRA."""
    return [setting("LoRA, r=8", (a,), "lora_plus", "q,v", 8, x=b, lr_ratio=b / a) for a in GRID for b in GRID]


def prefix():
    """The start of a prefix and its length; random tokens are a control for the text."""
    rates = {
        ("text", 4): around(5e-1, 3), ("random tokens", 4): around(1.0, 4), ("zero", 4): around(5e-1),
        ("random", 4): around(1.0, 2), ("text", 16): around(5e-1, 3), ("random tokens", 16): around(2e-1, 1, 2),
        ("zero", 16): around(5e-1), ("random", 16): around(2e-1, 1, 2),
    }  # fmt: skip
    return [
        setting(f"{start}, {n} places", some, "prefix_tuning", r=n, start=start) for (start, n), some in rates.items()
    ]


FAMILY = {
    "dora": dora, "equal-budget": equal_budget, "tiny-budget": tiny_budget, "adalora": adalora, "lora-plus": lora_plus,
    "prefix": prefix,
}  # fmt: skip
