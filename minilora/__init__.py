"""minilora: LoRA rebuilt by hand in NumPy, on a GPU through CuPy.

In Python:

    import minilora as ml
    model = ml.load_pretrained(path)
    model = ml.get_peft_model(model, ml.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))

or the whole way, from files to a trained adapter:

    result = ml.finetune(task="style-json", out="my-adapter")
"""

from typing import TYPE_CHECKING

from . import launcher  # noqa: F401  (first: it sets the number of threads, which NumPy reads when it is imported)

# isort: split
from .adapters.model import PeftModel, get_peft_model
from .autograd import Tensor, no_grad
from .files.shipped import shipped
from .gradcheck import gradcheck
from .methods.adalora import AdaLoraConfig
from .methods.ia3 import IA3Config
from .methods.lora import LoraConfig
from .methods.lora_plus import create_loraplus_optimizer
from .methods.prefix_tuning import PrefixTuningConfig
from .methods.prompt_tuning import PromptTuningConfig
from .methods.vera import VeraConfig
from .models.context import Context
from .ops import cross_entropy
from .training.optim import SGD, AdamW

if TYPE_CHECKING:  # for editors; at run time `__getattr__` imports these
    from .adapters.parts import parts_of
    from .adapters.publish import push_adapter
    from .finetuning import finetune
    from .models.pretrained import load_pretrained
    from .pretraining import pretrain
    from .quantization.config import BitsAndBytesConfig

__version__ = "0.1.0"

LATE = {  # name -> module: imported when first used, because reading model files loads more than all the rest
    "BitsAndBytesConfig": "quantization.config",
    "finetune": "finetuning",
    "load_pretrained": "models.pretrained",
    "parts_of": "adapters.parts",
    "pretrain": "pretraining",
    "push_adapter": "adapters.publish",
}


def __getattr__(name):
    if name in LATE:
        from importlib import import_module

        return getattr(import_module(f".{LATE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AdaLoraConfig",
    "AdamW",
    "BitsAndBytesConfig",
    "Context",
    "IA3Config",
    "LoraConfig",
    "PeftModel",
    "PrefixTuningConfig",
    "PromptTuningConfig",
    "SGD",
    "Tensor",
    "VeraConfig",
    "create_loraplus_optimizer",
    "cross_entropy",
    "finetune",
    "get_peft_model",
    "gradcheck",
    "load_pretrained",
    "no_grad",
    "parts_of",
    "pretrain",
    "push_adapter",
    "shipped",
]
