"""minilora: LoRA rebuilt by hand in NumPy, on a GPU through CuPy.

In Python:

    import minilora as ml
    model = ml.load_pretrained(path)
    model = ml.get_peft_model(model, ml.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
"""

from .adapters.model import PeftModel, get_peft_model
from .autograd import Tensor, no_grad
from .files.shipped import shipped
from .gradcheck import gradcheck
from .methods.adalora import AdaLoraConfig
from .methods.ia3 import IA3Config
from .methods.lora import LoraConfig
from .methods.lora_plus import create_loraplus_optimizer
from .methods.vera import VeraConfig
from .models.context import Context
from .ops import cross_entropy
from .training.optim import SGD, AdamW

__version__ = "0.1.0"


def __getattr__(name):
    """What reads model files is imported when it is first used: it loads more than all the rest."""
    if name == "load_pretrained":
        from .models.pretrained import load_pretrained

        return load_pretrained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AdaLoraConfig",
    "AdamW",
    "Context",
    "IA3Config",
    "LoraConfig",
    "PeftModel",
    "SGD",
    "Tensor",
    "VeraConfig",
    "create_loraplus_optimizer",
    "cross_entropy",
    "get_peft_model",
    "gradcheck",
    "load_pretrained",
    "no_grad",
    "shipped",
]
