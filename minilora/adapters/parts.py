"""What an adapter takes out of a base that is quantized while it is loaded: see methods/pissa.py."""

import warnings
from collections.abc import Callable

from ..methods.pissa import Pissa
from .inject import AdaptedModel


def parts_of(config) -> Callable:  # PeftConfig -> function (unfilled model) -> {path: function (out, in) -> Part}
    """The option `parts` of `load_pretrained` for an adapter with this configuration; other methods take nothing.

    >>> import minilora as ml
    >>> config = ml.LoraConfig(r=2, lora_alpha=4, init_lora_weights="pissa")
    >>> nf4 = ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    >>> base = ml.load_pretrained(ml.shipped("base"), quantization_config=nf4, parts=ml.parts_of(config))
    >>> model = ml.get_peft_model(base, config)

    The function raises ConfigError when the configuration cannot be applied to the model.
    """

    def parts(model):
        adapted = AdaptedModel(model)
        with warnings.catch_warnings():  # get_peft_model gives them
            warnings.simplefilter("ignore")
            methods = adapted.make(adapted.complete(config)).methods
        return {path: method.part_of for path, method in methods.items() if isinstance(method, Pissa)}

    return parts
