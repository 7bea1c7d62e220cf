"""minilora: LoRA rebuilt by hand in NumPy, on a GPU through CuPy.

    import minilora as ml
    model = ml.load_pretrained(path)
    model = ml.get_peft_model(model, ml.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
"""

from .autograd import Tensor, no_grad
from .call import Call
from .checkpoint import load_pretrained, save_pretrained
from .gradcheck import gradcheck
from .lora.config import LoraConfig
from .lora.model import PeftModel, get_peft_model
from .ops import cross_entropy
from .optim import SGD, AdamW
from .shipped import shipped

__version__ = "0.1.0"

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
