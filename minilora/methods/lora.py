"""LoRA itself: a frozen layer and, beside it, a low-rank update that learns (Hu et al. 2021, arXiv 2106.09685, 4.1).

    y = x Wᵀ + b + s · (x Aᵀ) Bᵀ        ΔW = s · B A        W (out, in) frozen, A (r, in), B (out, r), s = alpha / r

A starts random and B zero, so ΔW = 0: before the first step the adapted layer equals the frozen one exactly. (Unless
`init_lora_weights` asks for another start; an embedding's roles are exchanged.)
"""

import math
import re
from dataclasses import dataclass, field

from .. import ops
from ..autograd import record
from ..backend import narrow_product
from ..nn import Parameter, normal, uniform, zeros
from .fields import check_fields


def low_rank_update(y, x, A, B, s):  # (..., out), (..., in), (r, in), (out, r) -> (..., out)
    """y + s · (x Aᵀ) Bᵀ, written into y: the output that a layer has just made.

    with u = s · x Aᵀ and v = s · g B:   dB = gᵀ u        dA = vᵀ x        dx = v A        dy = g
    dW is missing here: nothing of size (out, in) is ever formed.
    """
    n_in, out = A.shape[1], B.shape[0]
    x2 = x.data.reshape(-1, n_in)  # (N, in)
    u = x2 @ A.data.T  # (N, r)
    u *= s  # on the narrow side, where it costs least
    y.data += narrow_product(u, B.data.T).reshape(y.shape)  # into y: a layer's fresh output, which nobody else reads
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


class LoraAdapter:
    """One adapter of one linear layer of `shape` (out, in): A (r, in), B (out, r) and the scale s.

    init: `init_lora_weights` of the configuration (True, False or "gaussian"; see LoraConfig).

    All that a layer asks of an adapter are `update`, `delta` and `tensors`. Another kind of adapter is another class.
    """

    def __init__(self, shape, r, scaling, dropout=0.0, init=True):
        out, n_in = shape
        # kaiming_uniform(a=√5) of A (r, in) is uniform in ±1/√in, as loralib and PEFT have it; the paper says Gaussian
        self.A = Parameter((r, n_in), normal(1 / r) if init == "gaussian" else uniform(1 / math.sqrt(n_in)))
        self.B = Parameter((out, r), uniform(1 / math.sqrt(r)) if init is False else zeros)
        self.r, self.scaling, self.dropout = r, scaling, dropout

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        """y + s B A x, given what the frozen layer `base` made of x; dropout acts on this branch only."""
        if context.training and self.dropout:
            x = ops.dropout(x, self.dropout, context.rng)
        return low_rank_update(y, x, self.A, self.B, self.scaling)

    def delta(self, base):  # -> array shaped as base.dense()
        """ΔW = s · B A"""
        return self.scaling * (self.B.data @ self.A.data)

    def tensors(self):
        """Parameter by its name in PEFT; {} stands for the adapter's name."""
        return {"lora_A.{}.weight": self.A, "lora_B.{}.weight": self.B}


class EmbeddingAdapter(LoraAdapter):
    """The same beside an embedding E (V, d), whose input is a one-hot row: A (r, V), B (d, r), ΔE = s · (B A)ᵀ.

    As in loralib and PEFT the roles are exchanged: A starts at zero and B random.
    """

    def __init__(self, shape, r, scaling, dropout=0.0, init=True):
        super().__init__(shape[::-1], r, scaling, dropout)
        self.A.fill, self.B.fill = normal(1) if init is False else zeros, normal(1)

    def update(self, y, ids, base, context):  # (..., d), (...) int -> (..., d)
        """y + s · Aᵀ[ids] Bᵀ: a one-hot x picks a column of A. There is no dropout of an index."""
        u = ops.embedding(self.A.transpose(1, 0), ids)  # (..., r)
        return y + ops.linear(u, self.B) * self.scaling

    def delta(self, base):  # -> array (V, d)
        return super().delta(base).T

    def tensors(self):
        return {"lora_embedding_A.{}": self.A, "lora_embedding_B.{}": self.B}


def scaling(lora_alpha, r, use_rslora=False):
    """s in y = W x + s B A x:  alpha / r (Hu et al. 2021, section 4.1), or alpha / √r (rsLoRA, arXiv 2312.03732)."""
    return lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r


@dataclass
class LoraConfig:
    """Fields as in PEFT 0.21; a value that is not supported here is refused by name.

    r                    rank of every update, unless rank_pattern says otherwise
    lora_alpha           numerator of the scale (see `scaling`)
    target_modules       list of names ("q_proj": that name or a path that ends with it), a regular expression for the
                         whole path, or "all-linear": every linear layer but the head; None: what PEFT takes for the
                         model (q_proj and v_proj; GPT-2's c_attn)
    exclude_modules      list or regular expression of what to leave out, checked first
    lora_dropout         probability, on the input of the adapter only, in training only
    rank_pattern         {pattern: r}, alpha_pattern {pattern: alpha}: the first key that the path ends with wins
    layers_to_transform  index or list of indices of the layers to adapt; layers_pattern: the name of the layer list
    modules_to_save      names of modules trained in full beside the adapter, and saved with it
    init_lora_weights    True: A uniform in ±1/√in, B zero; "gaussian": A normal with std 1/r, B zero;
                         False: B random too, so that the update is not zero at the start
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
    fan_in_fan_out: bool = False
    bias: str = "none"
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    def __post_init__(self):
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), set | tuple):
                setattr(self, name, sorted(getattr(self, name), key=str))
        check_fields(self)

    def rank(self, path):
        return first_match(self.rank_pattern, path, self.r)

    def alpha(self, path):
        return first_match(self.alpha_pattern, path, self.lora_alpha)

    def scaling(self, path):
        """s for the module at `path`."""
        return scaling(self.alpha(path), self.rank(path), self.use_rslora)


def first_match(patterns, path, default):
    """The value of the first key that `path` ends with (at a dot), as PEFT reads rank_pattern and alpha_pattern."""
    return next((v for key, v in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", path)), default)
