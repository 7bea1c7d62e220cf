r"""LoRA: a frozen matrix W and, beside it, two narrow matrices A and B that learn (Hu et al. 2021, arXiv 2106.09685).

             y  (out)
             ^
        ,----+----.              y = W x + b + s · B (A x)        s = alpha / r
        |         | · s
        |     .---+---.
    .---+---.  \  B  /  (out, r)   starts at zero: before the first step ΔW = s · B A = 0
    |       |   '---'                                                              (W is frozen)
    |   W   |   .---.
    |       |  /  A  \  (r, in)    starts random
    '---+---' '---+---'
        |         |
        '----+----'
             |
             x  (in)

On one matrix (in rows: y = x Wᵀ + s · (x Aᵀ) Bᵀ):

    >>> from minilora.autograd import Tensor
    >>> from minilora.models.context import Context
    >>> from minilora.nn import Linear
    >>> W, x = Linear(512, 512).init(seed=0), Tensor(np.ones((1, 512), np.float32))
    >>> lora = Lora.beside(W, LoraConfig(r=8, lora_alpha=16))     # 262,144 frozen numbers, 8,192 that learn
    >>> y = lora.update(W(x), x, W, Context())                    # W x + s · B A x
    >>> lora.scaling, np.array_equal(y.data, W(x).data)           # s, and ΔW = 0 at the start
    (2.0, True)

An embedding is adapted too: its input is a one-hot row, so A x is a column of A, and the roles at the start are
exchanged (A zero, B random), as in loralib and PEFT.
"""

import math
import re
from dataclasses import dataclass, field

import numpy as np

from .. import ops
from ..autograd import record
from ..backend import narrow_product
from ..errors import ConfigError
from ..files import patterns
from . import fields, trainable_tokens
from .base import Adapter, Method, PeftConfig, Product


def scaling(lora_alpha: float, r: int, use_rslora: bool = False) -> float:
    """s in y = W x + s B A x:  alpha / r (Hu et al. 2021, section 4.1), or alpha / √r (rsLoRA, arXiv 2312.03732)."""
    return lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r


def low_rank_update(y, x, A, B, s):  # (..., out), (..., in), (r, in), (out, r) -> (..., out)
    """y + s · (x Aᵀ) Bᵀ, written into y, which must be an array that nobody else reads. Use the returned tensor.

    with u = s · x Aᵀ and v = s · g B:   dB = gᵀ u        dA = vᵀ x        dx = v A        dy = g
    dW is missing here: nothing of size (out, in) is ever formed.
    """
    n_in, out = A.shape[1], B.shape[0]
    x2 = x.data.reshape(-1, n_in)  # (N, in)
    u = x2 @ A.data.T  # (N, r)
    u *= s  # on the narrow side, where it costs least
    y.data += narrow_product(u, B.data.T).reshape(y.shape)
    to_y, to_x = y.requires_grad, x.shape if x.requires_grad else None  # not y and x themselves: y need not stay

    def backward(g):
        g2 = g.reshape(-1, out)  # (N, out)
        dB = g2.T @ u if B.requires_grad else None  # (out, r)
        v = g2 @ B.data  # (N, r)
        v *= s
        dA = v.T @ x2 if A.requires_grad else None  # (r, in)
        dx = None if to_x is None else narrow_product(v, A.data).reshape(to_x)
        return g if to_y else None, dx, dA, dB

    return record(y.data, (y, x, A, B), backward)


# init_lora_weights of a saved adapter: two only chose the starting values; three also changed the base, which then is
# not this base (PEFT can convert such an adapter when it saves). loftq and lora_ga change it too, mica never trains B.
ONLY_A_START = ("eva", "orthogonal")
CHANGED_BASE = ("pissa", "olora", "corda")


@dataclass
class LoraConfig(PeftConfig):
    """Fields as in PEFT 0.21; a value that is not supported here is refused by name.

    r                    rank of every update, unless rank_pattern says otherwise
    lora_alpha           numerator of the scale (see `scaling`)
    target_modules       list of names ("q_proj": that name or a path that ends with it), a regular expression for the
                         whole path, or "all-linear": every linear layer but the head; None: PEFT's default for the
                         model (q_proj and v_proj; GPT-2's c_attn)
    exclude_modules      list or regular expression of modules to leave out, checked first
    lora_dropout         probability, on the input of the adapter only, in training only
    rank_pattern         {pattern: r}, alpha_pattern {pattern: alpha}: the first key that the path ends with wins
    layers_to_transform  index or list of indices of the layers to adapt; layers_pattern: the name of the layer list
    modules_to_save      names of modules trained in full beside the adapter, and saved with it
    init_lora_weights    True: A uniform in ±1/√in, B zero; "gaussian": A normal with std 1/r, B zero;
                         False: B random too, so that the update is not zero at the start;
                         "pissa", "pissa_niter_4" or "olora": see methods/pissa.py; saved as a plain LoRA of rank 2r
    use_dora             True: DoRA, see methods/dora.py
    lora_bias            True: B has a bias that learns, see methods/lora_bias.py
    trainable_token_indices  tokens whose rows of the embedding are trained too: a list, or {name of an embedding or of
                         the head: list}; see methods/trainable_tokens.py
    """

    r: int = 8
    lora_alpha: float = 8
    target_modules: list | str | None = None
    exclude_modules: list | str | None = None
    lora_dropout: float = 0.0
    use_rslora: bool = False
    rank_pattern: dict = field(default_factory=dict)
    alpha_pattern: dict = field(default_factory=dict)
    layers_to_transform: int | list | None = None
    layers_pattern: list | str | None = None
    modules_to_save: list | None = None
    init_lora_weights: bool | str = True
    use_dora: bool = False
    lora_bias: bool = False
    trainable_token_indices: list | dict | None = None
    fan_in_fan_out: bool = False
    bias: str = "none"
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    peft_type = "LORA"
    rules = fields.SHARED_RULES | {
        "r": fields.RANK,
        "lora_alpha": fields.NUMBER,
        "lora_dropout": fields.PROBABILITY,
        "rank_pattern": fields.pattern_of(fields.RANK),
        "alpha_pattern": fields.pattern_of(fields.NUMBER),
        "init_lora_weights": (
            lambda v: (
                fields.one_of(True, False, "gaussian", "pissa", "olora")[0](v)
                or isinstance(v, str)
                and re.fullmatch(r"pissa_niter_[1-9]\d{0,3}", v) is not None
            ),
            "True, False, 'gaussian', 'pissa', 'pissa_niter_4' or 'olora'",
        ),
        "use_rslora": fields.FLAG,
        "use_dora": fields.FLAG,
        "lora_bias": fields.FLAG,
        "trainable_token_indices": fields.TOKENS,
    }
    required = ("r", "lora_alpha", "target_modules")
    # where an adapter comes from, how it was started, sizes of features that are off
    harmless = frozenset(
        "peft_type peft_version auto_mapping revision inference_mode runtime_config megatron_core qalora_group_size "
        "loftq_config eva_config corda_config lora_ga_config".split()
    )

    def __post_init__(self):
        super().__post_init__()
        if self.use_dora and isinstance(self.init_lora_weights, str) and self.init_lora_weights != "gaussian":
            raise ConfigError(
                f"use_dora with init_lora_weights {self.init_lora_weights!r}: DoRA's norm needs the whole "
                "base, so the two cannot be one adapter"
            )
        if self.lora_bias and (self.use_dora or isinstance(self.init_lora_weights, str)):
            other = "use_dora" if self.use_dora else f"init_lora_weights {self.init_lora_weights!r}"
            raise ConfigError(f"lora_bias with {other}: it belongs to plain LoRA, with init_lora_weights True or False")

    @classmethod
    def from_file(cls, values):
        start = values.get("init_lora_weights")
        if isinstance(start, str):
            if start.lower().startswith(CHANGED_BASE):
                raise ConfigError(
                    f"init_lora_weights {start!r} changed the base that it was trained on: save it in PEFT with "
                    "path_initial_model_for_weight_conversion, then it fits the original"
                )
            values = values | {"init_lora_weights": True if start.lower() in ONLY_A_START else start.lower()}
        return cls(**values)

    def rank(self, path: str) -> int:
        """r of the module at `path`."""
        return first_match(self.rank_pattern, path, self.r)

    def alpha(self, path: str) -> float:
        """lora_alpha of the module at `path`."""
        return first_match(self.alpha_pattern, path, self.lora_alpha)

    def scaling(self, path: str) -> float:
        """s of the module at `path`."""
        return scaling(self.alpha(path), self.rank(path), self.use_rslora)


def first_match(values, path, default):
    """The value of the first key that `path` ends with (at a dot), as PEFT reads rank_pattern and alpha_pattern."""
    return next((v for key, v in (values or {}).items() if patterns.match(rf"(.*\.)?({key})$", path)), default)


class Lora(Method):
    """LoRA on one linear layer: A (r, in), B (out, r) and the scale s."""

    names = ("lora_A.weight", "lora_B.weight")

    def __init__(self, place, config):
        super().__init__(place, config)
        self.r, self.scaling = config.rank(place.path), config.scaling(place.path)
        self.dropout, self.init = config.lora_dropout, config.init_lora_weights
        self.A, self.B = (self.parameters[name] for name in self.names[:2])

    @staticmethod
    def shapes(place, config):
        r, (out, n_in, *window) = (
            config.rank(place.path),
            place.shape,
        )  # a convolution: A has its window, B a window of 1
        return {"lora_A.weight": (r, n_in, *window), "lora_B.weight": (out, r, *(1 for _ in window))}

    def start(self, base, generator):
        A, B = self.A.shape, self.B.shape
        # uniform in ±1/√in: loralib's and PEFT's kaiming_uniform(a=√5) of A (r, in); the paper says Gaussian
        start_of_A = generator.standard_normal(A) * (1 / self.r) if self.init == "gaussian" else _uniform(generator, A)
        return {self.names[0]: start_of_A, self.names[1]: _uniform(generator, B) if self.init is False else np.zeros(B)}

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        """y + s B A x; dropout acts on this branch only."""
        return low_rank_update(y, self.drop(x, context), self.A, self.B, self.scaling)

    def stacked(self, base):
        return Product(self.A.data, self.B.data, self.scaling)

    def drop(self, x, context):
        """x with dropout, in training."""
        return ops.dropout(x, self.dropout, context.rng) if context.training and self.dropout else x

    def delta(self):  # -> array (out, in)
        """ΔW = s · B A"""
        return self.scaling * (self.B.data @ self.A.data)

    def merged(self, weight, bias, base):
        """W + ΔW"""
        return weight + self.delta().astype(weight.dtype, copy=False), bias


class EmbeddingLora(Lora):
    """The same beside an embedding E (V, d), whose input is a one-hot row: A (r, V), B (d, r), ΔE = s · (B A)ᵀ."""

    names = ("lora_embedding_A", "lora_embedding_B")

    @staticmethod
    def shapes(place, config):
        r, (rows, width) = config.rank(place.path), place.shape
        return {"lora_embedding_A": (r, rows), "lora_embedding_B": (width, r)}

    def start(self, base, generator):
        A, B = self.A.shape, self.B.shape
        start_of_A = generator.standard_normal(A) if self.init is False else np.zeros(A)
        return {self.names[0]: start_of_A, self.names[1]: generator.standard_normal(B)}

    def update(self, y, ids, base, context):  # (..., d), (...) int -> (..., d)
        """y + s · Aᵀ[ids] Bᵀ: a one-hot x picks a column of A. There is no dropout of an index."""
        u = ops.embedding(self.A.transpose(1, 0), ids)  # (..., r)
        scale = getattr(base, "scale", 1)  # an embedding that multiplies its rows (Gemma) does so to what is added
        return y + ops.linear(u, self.B) * (self.scaling * scale)

    def stacked(self, base):
        return None  # its input is an index

    def delta(self):  # -> array (V, d)
        return super().delta().T


class LoraAdapter(Adapter):
    """LoRA on a whole model."""

    config_class = LoraConfig
    alone = False
    kinds = {"linear": Lora, "embedding": EmbeddingLora, "conv": Lora} | trainable_tokens.KINDS
    adapts = "LoRA adapts linear layers and embeddings"

    def __init__(self, config, places, model_config):
        super().__init__(config, places, model_config)
        trainable_tokens.share_rows(self.methods)


def _uniform(generator, shape):
    """Uniform in ±1/√n for n inputs: (out, in) -> n = in."""
    bound = 1 / math.sqrt(shape[1])
    return generator.uniform(-bound, bound, shape)
