"""VeRA: random matrices that all layers share, and two trained vectors for each layer.

    y = x Wᵀ + b + λb ⊙ (B (λd ⊙ (A x)))        A (r, in), B (out, r) frozen; λd (r,), λb (out,) trained

Kopiczko et al. 2024, arXiv 2310.11454. A and B are made once, as large as the largest adapted layer; every layer reads
a corner of them. λb starts at zero, so before the first step the update is zero. PEFT draws A and B from PyTorch's
generator, which NumPy cannot repeat: a file is read only when they are saved in it.
"""

import math
from dataclasses import dataclass

import numpy as np

from .. import ops
from ..autograd import record
from ..backend import inner_columns, narrow_product
from ..errors import ConfigError
from . import fields
from .base import Adapter, Between, Method, PeftConfig


def vera_update(y, x, d, b, A, B):  # (..., out), (..., in), (r,), (out,), arrays (r, in), (out, r) -> (..., out)
    """y + b ⊙ ((d ⊙ (x Aᵀ)) Bᵀ), written into y: use the returned tensor.

    with u = x Aᵀ, z = (d ⊙ u) Bᵀ and w = (dy ⊙ b) B:   dλb = Σ dy ⊙ z        dλd = Σ w ⊙ u        dx = (w ⊙ d) A
    """
    x2 = x.data.reshape(-1, A.shape[1])  # (N, in)
    u = x2 @ A.T  # (N, r)
    z = narrow_product(u * d.data, B.T)  # (N, out)
    y.data += (z * b.data).reshape(y.shape)
    to_y, to_x = y.requires_grad, x.shape if x.requires_grad else None

    def backward(g):
        g2 = g.reshape(-1, len(B))  # (N, out)
        db = inner_columns(g2, z) if b.requires_grad else None
        w = g2 @ (b.data[:, None] * B)  # (N, r); b on the small side, where it costs least
        dd = inner_columns(w, u) if d.requires_grad else None
        dx = None if to_x is None else narrow_product(w * d.data, A).reshape(to_x)
        return g if to_y else None, dx, dd, db

    return record(y.data, (y, x, d, b), backward)


@dataclass
class VeraConfig(PeftConfig):
    """Fields as in PEFT 0.21.

    r                    rows of A and columns of B, for all layers
    target_modules, layers_to_transform, layers_pattern, modules_to_save: as in LoraConfig
    projection_prng_key  seed of A and B
    save_projection      whether A and B are saved; False is refused
    vera_dropout         probability, on the input of the adapter, in training only
    d_initial            every λd before the first step
    init_weights         True: λd = d_initial and λb = 0; False: λd random and λb = 1
    """

    r: int = 256
    target_modules: list | str | None = None
    projection_prng_key: int = 0
    save_projection: bool = True
    vera_dropout: float = 0.0
    d_initial: float = 0.1
    init_weights: bool = True
    layers_to_transform: int | list | None = None
    layers_pattern: list | str | None = None
    modules_to_save: list | None = None
    fan_in_fan_out: bool = False
    bias: str = "none"
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    peft_type = "VERA"
    rules = fields.rules_without("exclude_modules") | {
        "r": fields.RANK,
        "projection_prng_key": (lambda v: type(v) is int and v >= 0, "a whole number of at least 0"),
        "save_projection": fields.FLAG,
        "vera_dropout": fields.PROBABILITY,
        "d_initial": fields.NUMBER,
        "init_weights": fields.FLAG,
    }
    required = ("r", "target_modules")
    harmless = frozenset("peft_type peft_version auto_mapping revision inference_mode".split())

    def __post_init__(self):
        super().__post_init__()
        if not self.save_projection:
            raise ConfigError(
                "save_projection is false: A and B come from PyTorch's random generator and cannot be made again here; "
                "save the adapter with save_projection=True"
            )


class Vera(Method):
    """VeRA on one linear layer. The adapter gives it the shared A and B."""

    names = ("vera_lambda_b", "vera_lambda_d")

    def __init__(self, place, config):
        super().__init__(place, config)
        self.b, self.d = (self.parameters[name] for name in self.names)
        self.config, self.shared = config, {}

    @staticmethod
    def shapes(place, config):
        return {"vera_lambda_b": place.shape[:1], "vera_lambda_d": (config.r,)}

    def start(self, base, generator):
        if self.config.init_weights:
            return {
                "vera_lambda_b": np.zeros(self.b.shape),
                "vera_lambda_d": np.full(self.d.shape, self.config.d_initial),
            }
        return {"vera_lambda_b": np.ones(self.b.shape), "vera_lambda_d": generator.standard_normal(self.d.shape)}

    def corners(self, base):  # -> A (r, in), B (out, r)
        """The parts of the shared matrices that this layer reads."""
        out, n_in = base.shape
        return self.shared["vera_A"].data[:, :n_in], self.shared["vera_B"].data[:out]

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        if context.training and self.config.vera_dropout:
            x = ops.dropout(x, self.config.vera_dropout, context.rng)
        return vera_update(y, x, self.d, self.b, *self.corners(base))

    def stacked(self, base):
        return Between(*self.corners(base), self.d.data, self.b.data)

    def merged(self, weight, bias, base):
        """W + diag(λb) B diag(λd) A"""
        A, B = self.corners(base)
        return weight + ((self.b.data[:, None] * B) @ (self.d.data[:, None] * A)).astype(weight.dtype, copy=False), bias


class VeraAdapter(Adapter):
    """VeRA on a whole model: the shared A and B."""

    config_class = VeraConfig
    kinds = {"linear": Vera}
    adapts = "VeRA adapts linear layers"
    shared_names = ("vera_A", "vera_B")
    shared_prefix = "base_model."
    shared_is_frozen = True

    def __init__(self, config, places, model_config):
        super().__init__(config, places, model_config)
        for method in self.methods.values():
            method.shared = self.parameters

    @staticmethod
    def shared(places, model_config, config):
        out, n_in = (max((p.shape[axis] for p in places), default=0) for axis in (0, 1))
        return {"vera_A": (config.r, n_in), "vera_B": (out, config.r)}

    def start(self, model, generator):
        """A and B uniform in ±√(6 / n) for n inputs, from their own seed: the same for every adapter of this key."""
        own = np.random.default_rng(self.config.projection_prng_key)
        shapes = [(name, self.parameters[name].shape) for name in self.shared_names]
        return {name: own.uniform(-math.sqrt(6 / s[1]), math.sqrt(6 / s[1]), s) for name, s in shapes}
