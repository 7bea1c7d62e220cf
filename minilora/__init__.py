"""minilora: LoRA rebuilt by hand in NumPy, on a GPU through CuPy.

In Python:

    import minilora as ml
    model = ml.load_pretrained(path)
    model = ml.get_peft_model(model, ml.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
"""

from .autograd import Tensor, no_grad
from .call import Call
from .gradcheck import gradcheck
from .lora.config import LoraConfig
from .lora.model import PeftModel, get_peft_model
from .ops import cross_entropy
from .optim import SGD, AdamW
from .shipped import shipped

__version__ = "0.1.0"


def __getattr__(name):
    """What reads and writes model files is imported when it is first used: it loads more than all the rest."""
    if name in ("load_pretrained", "save_pretrained"):
        from . import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AdamW",
    "Call",
    "LoraConfig",
    "PeftModel",
    "SGD",
    "Tensor",
    "cross_entropy",
    "get_peft_model",
    "gradcheck",
    "load_pretrained",
    "no_grad",
    "save_pretrained",
    "shipped",
]
