"""The second way to count: build the very model that trains, its weights of shape only, put LoRA into it with the same
`get_peft_model`, and add up what it then holds. No memory is taken: 405 billion parameters take seconds."""

import math
import warnings

from ..adapters.model import get_peft_model
from ..errors import ConfigError, FormatError
from ..files.families import LOADABLE
from ..models.pretrained import config_from_json, model_of
from ..nn import Linear, Module
from .count import Count


class OneMatrix(Module):
    """A model that is a single linear layer."""

    def __init__(self, out, n_in):
        self.matrix = Linear(n_in, out)


def count_by_building(count: Count) -> tuple[int, int]:
    """The trainable and the base's numbers of the same configuration. Raises ConfigError or FormatError when it cannot
    be trained here."""
    architecture = count.architecture
    if architecture.config is None:
        model = OneMatrix(*architecture.parts[0].shape)
    elif architecture.model_type in LOADABLE:
        model = model_of(config_from_json(architecture.config, architecture.name))
    else:
        raise ConfigError(f"{architecture.model_type} has no model file here")
    with warnings.catch_warnings():  # that some weights are stored (in, out) changes no count
        warnings.simplefilter("ignore")
        wrapped = get_peft_model(model, count.config)
    sizes = [(math.prod(p.shape), p.requires_grad) for _, p in wrapped.named_parameters()]
    trainable = sum(size for size, trains in sizes if trains)
    return trainable, sum(size for size, _ in sizes) - trainable


def cross_check(count: Count) -> str:
    """How `count` was confirmed, in one line. Raises ArithmeticError if the two ways disagree: that would be a bug."""
    try:
        built = count_by_building(count)
    except (ConfigError, FormatError) as reason:
        return f"closed formula alone: {reason}"
    if built != (count.trainable, count.base):
        raise ArithmeticError(f"closed formula: {count.trainable}, {count.base}; the model that was built: {built}")
    return "closed formula, and the model that trains (built by shape): equal"
