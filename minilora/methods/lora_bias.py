"""LoRA whose B has a bias c (out,), scaled as B is: LoraConfig(lora_bias=True), PEFT's `lora_bias`.

    y = x Wᵀ + b + s · (B A x + c)        dc = s · Σ g over the rows        c starts at zero

Merged, c goes into the bias of the base: b + s · c. A base without a bias has no place for it.
"""

import numpy as np

from ..autograd import record
from ..errors import ConfigError
from . import trainable_tokens
from .lora import Lora, LoraAdapter


def add_scaled_bias(y, c, s):  # (..., out), (out,) -> (..., out)
    """y + s · c, written into y: use the returned tensor.        dy = g        dc = s · Σ g"""
    y.data += s * c.data
    to_y = y.requires_grad

    def backward(g):
        dc = s * g.reshape(-1, g.shape[-1]).sum(axis=0) if c.requires_grad else None
        return g if to_y else None, dc

    return record(y.data, (y, c), backward)


class LoraWithBias(Lora):
    """LoRA on one linear layer, with A (r, in), B (out, r) and the bias c (out,) of B."""

    names = (*Lora.names, "lora_B.bias")

    def __init__(self, place, config):
        super().__init__(place, config)
        self.c, self.path = self.parameters["lora_B.bias"], place.path

    @staticmethod
    def shapes(place, config):
        return Lora.shapes(place, config) | {"lora_B.bias": place.shape[:1]}

    def start(self, base, generator):
        """A and B as LoRA's, c zero; with init_lora_weights=False c is uniform in ±1/√r, as the bias of a new layer."""
        bound = 1 / np.sqrt(self.r)
        c = generator.uniform(-bound, bound, self.c.shape) if self.init is False else np.zeros(self.c.shape)
        return super().start(base, generator) | {"lora_B.bias": c}

    def stacked(self, base):
        return None  # the bias is no part of B A

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        return add_scaled_bias(super().update(y, x, base, context), self.c, self.scaling)

    def merged(self, weight, bias, base):
        """W + s · B A, b + s · c"""
        if bias is None:
            raise ConfigError(f"lora_bias cannot be merged into {self.path}, which has no bias of its own")
        weight, bias = super().merged(weight, bias, base)
        return weight, bias + (self.scaling * self.c.data).astype(bias.dtype, copy=False)


class LoraBiasAdapter(LoraAdapter):
    """LoRA with a bias of B on a whole model."""

    kinds = {"linear": LoraWithBias, "conv": LoraWithBias} | trainable_tokens.KINDS
    adapts = "LoRA with lora_bias adapts linear layers"
