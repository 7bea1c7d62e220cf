"""AdaLoRA: the rank is spent where it matters (Zhang et al. 2023, arXiv 2303.10512).

    ΔW = s · B diag(E) A        A (r, in), E (r, 1), B (out, r)        s = alpha / init_r, whatever r becomes

A triplet is a row of A, a number of E and a column of B: like a singular value with its two vectors. Training starts
with init_r triplets in each layer. After each step it scores them and sets E to zero in the weakest, until target_r per
layer are left on average; a layer that needs more keeps more. The formulas beside the code are Eq 3 and 8 to 12; the
budget falls as the authors' code has it (the cube of Eq 14 as printed exceeds the initial budget).

A and B are kept near orthogonal by a penalty, which is reported beside the loss and enters the backward once a step.
"""

from dataclasses import dataclass, replace

import numpy as np

from .. import ops
from ..autograd import record
from ..backend import array_module, inner_columns, like, narrow_product, to_host
from ..errors import ConfigError, FormatError, nearest
from ..nn import Parameter
from . import fields
from .base import Adapter, Method, PeftConfig, Product


def adalora_update(y, x, A, E, B, s):  # (..., out), (..., in), (r, in), (r, 1), (out, r) -> (..., out)
    """y + s · ((x Aᵀ) ⊙ E) Bᵀ, written into y: use the returned tensor.

    with u = x Aᵀ, w = s · u ⊙ E and v = s · g B:   dB = gᵀ w     dE = Σ v ⊙ u     dA = (v ⊙ E)ᵀ x     dx = (v ⊙ E) A
    """
    x2, e = x.data.reshape(-1, A.shape[1]), E.data[:, 0]  # (N, in), (r,)
    u = x2 @ A.data.T  # (N, r)
    w = u * (s * e)
    y.data += narrow_product(w, B.data.T).reshape(y.shape)
    to_y, to_x = y.requires_grad, x.shape if x.requires_grad else None

    def backward(g):
        g2 = g.reshape(-1, B.shape[0])  # (N, out)
        dB = g2.T @ w if B.requires_grad else None
        v = (g2 @ B.data) * s  # (N, r)
        dE = inner_columns(v, u)[:, None] if E.requires_grad else None
        v *= e
        dA = v.T @ x2 if A.requires_grad else None
        dx = None if to_x is None else narrow_product(v, A.data).reshape(to_x)
        return g if to_y else None, dx, dA, dE, dB

    return record(y.data, (y, x, A, E, B), backward)


def orthogonality(rows, weight):  # list of Tensors, each (r, n) or (n, r) -> ()
    """weight · mean over the matrices of ‖P Pᵀ - I‖_F, with P (r, n).        dP = 2 (P Pᵀ - I) P / ‖P Pᵀ - I‖_F

    rows: (Tensor, whether its rows are the vectors). The paper squares the norm (Eq 4); its code and PEFT do not.
    """
    xp, kept, total = array_module(rows[0][0].data), [], 0
    for tensor, by_row in rows:
        P = tensor.data if by_row else tensor.data.T
        C = P @ P.T - xp.eye(len(P), dtype=P.dtype)
        norm = xp.sqrt((C * C).sum())
        kept.append((C, norm))
        total = total + norm

    def backward(g):
        gradients = []
        for (tensor, by_row), (C, norm) in zip(rows, kept, strict=True):
            P = tensor.data if by_row else tensor.data.T
            dP = (C @ P) * (2 * weight / len(rows) * g / xp.where(norm > 0, norm, 1))
            gradients.append(dP if by_row else dP.T)
        return tuple(gradients)

    value = xp.asarray(total * (weight / len(rows)), dtype=rows[0][0].dtype)
    return record(value, tuple(tensor for tensor, _ in rows), backward)


@dataclass
class AdaLoraConfig(PeftConfig):
    """Fields as in PEFT 0.21.

    target_r        triplets that are left in each layer on average
    init_r          triplets in each layer before the first step
    tinit, tfinal   steps at the start without pruning, and at the end with the ranks fixed
    deltaT          steps between two prunings
    beta1, beta2    how slowly importance and its uncertainty follow
    orth_reg_weight factor of the penalty
    total_step      steps of the whole training, needed to train
    rank_pattern    which triplets are left, {"<path>.lora_E": [bool, ...]}; written by training
    lora_alpha, lora_dropout, target_modules, exclude_modules, layers_to_transform, modules_to_save: as in LoraConfig
    """

    target_r: int = 8
    init_r: int = 12
    tinit: int = 0
    tfinal: int = 0
    deltaT: int = 1
    beta1: float = 0.85
    beta2: float = 0.85
    orth_reg_weight: float = 0.5
    total_step: int | None = None
    rank_pattern: dict | None = None
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    target_modules: list | str | None = None
    exclude_modules: list | str | None = None
    layers_to_transform: int | list | None = None
    layers_pattern: list | str | None = None
    modules_to_save: list | None = None
    init_lora_weights: bool = True
    fan_in_fan_out: bool = False
    bias: str = "none"
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    peft_type = "ADALORA"
    rules = fields.SHARED_RULES | {
        "target_r": fields.RANK,
        "init_r": fields.RANK,
        "tinit": fields.COUNT,
        "tfinal": fields.COUNT,
        "deltaT": fields.RANK,
        "beta1": fields.SHARE,
        "beta2": fields.SHARE,
        "orth_reg_weight": fields.NOT_NEGATIVE,
        "total_step": (lambda v: v is None or fields.RANK[0](v), fields.RANK[1]),
        "lora_alpha": fields.NUMBER,
        "lora_dropout": fields.PROBABILITY,
        "init_lora_weights": fields.FLAG,
        "rank_pattern": (
            lambda v: (
                v is None
                or isinstance(v, dict)
                and all(isinstance(m, list) and all(type(b) is bool for b in m) for m in v.values())
            ),
            "{path of a lora_E: list of true and false}",
        ),
    }
    required = ("init_r", "lora_alpha", "target_modules")
    harmless = frozenset(
        "peft_type peft_version auto_mapping revision inference_mode runtime_config megatron_core r loftq_config "
        "eva_config corda_config lora_ga_config qalora_group_size".split()
    )

    def __post_init__(self):
        super().__post_init__()
        if self.target_r > self.init_r:
            raise ConfigError(f"target_r {self.target_r} is above init_r {self.init_r}: ranks only fall")
        if self.total_step is not None and self.tinit + self.tfinal >= self.total_step:
            raise ConfigError(
                f"tinit {self.tinit} and tfinal {self.tfinal} leave no step of the {self.total_step} to prune in"
            )
        for name, mask in (self.rank_pattern or {}).items():
            if len(mask) != self.init_r:
                raise ConfigError(f"rank_pattern {name!r} has {len(mask)} values: expected init_r, {self.init_r}")

    def mask(self, path: str):  # -> list of bool, or None when nothing was pruned
        """Which of the init_r triplets of the module at `path` are left."""
        return (self.rank_pattern or {}).get(f"{path}.lora_E")

    def left(self, path: str) -> int:
        """How many triplets the module at `path` has. 0 is possible."""
        mask = self.mask(path)
        return self.init_r if mask is None else sum(mask)


class AdaLora(Method):
    """AdaLoRA on one linear layer."""

    names = ("lora_A", "lora_B", "lora_E")

    def __init__(self, place, config):
        super().__init__(place, config)
        self.A, self.B, self.E = (self.parameters[name] for name in self.names)
        self.scaling = (config.lora_alpha if config.lora_alpha > 0 else config.init_r) / (config.init_r + 1e-5)
        self.dropout, self.random = config.lora_dropout, not config.init_lora_weights

    @staticmethod
    def shapes(place, config):
        r, (out, n_in) = config.left(place.path), place.shape
        return {"lora_A": (r, n_in), "lora_B": (out, r), "lora_E": (r, 1)}

    def start(self, base, generator):
        std = 1 if self.random else 0.02
        A, B = (generator.standard_normal(p.shape) * std for p in (self.A, self.B))
        E = generator.standard_normal(self.E.shape) if self.random else np.zeros(self.E.shape)
        return {"lora_A": A, "lora_B": B, "lora_E": E}

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        if context.training and self.dropout:
            x = ops.dropout(x, self.dropout, context.rng)
        return adalora_update(y, x, self.A, self.E, self.B, self.scaling)

    def stacked(self, base):
        return Product(self.E.data * self.A.data, self.B.data, self.scaling)

    def merged(self, weight, bias, base):
        """W + s · B diag(E) A"""
        delta = self.scaling * (self.B.data @ (self.A.data * self.E.data))
        return weight + delta.astype(weight.dtype, copy=False), bias


class AdaLoraAdapter(Adapter):
    """AdaLoRA on a whole model: it scores all triplets together and prunes the weakest.

    importance, uncertainty  {(path, name): array} of the smoothed |p · dp| and how much it varies (Eq 10, 11)
    pattern                  {path: (init_r,) array of bool}, the triplets that are left; None before the first pruning
    is_final                 whether the ranks are fixed
    """

    config_class = AdaLoraConfig
    kinds = {"linear": AdaLora}
    adapts = "AdaLoRA adapts linear layers"

    def __init__(self, config, places, model_config):
        super().__init__(config, places, model_config)
        names = [f"{path}.lora_E" for path in self.methods]
        if strange := sorted(set(config.rank_pattern or {}) - set(names)):
            raise ConfigError(f"rank_pattern {strange[0]!r} is not an adapted module: {nearest(strange[0], names)}")
        self.importance, self.uncertainty, self.pattern = {}, {}, None
        self.is_final = config.rank_pattern is not None  # read from a file: its triplets are those that were left

    def penalty(self):
        """The orthogonality term; None when its weight is 0 or nothing is trained."""
        rows = [(p, by_row) for m in self.methods.values() for p, by_row in ((m.A, True), (m.B, False))]
        if not self.config.orth_reg_weight or not any(p.requires_grad for p, _ in rows):
            return None
        return orthogonality(rows, self.config.orth_reg_weight)

    def budget(self, step: int) -> int:
        """b(t) = b(T) + (b(0) - b(T)) (1 - (t - tinit) / (T - tfinal - tinit))³, triplets left in the whole model.

        b(0) = init_r and b(T) = target_r per layer; b(0) until tinit, and b(T) from T - tfinal on.
        """
        c, n = self.config, len(self.methods)
        first, last, end = c.init_r * n, c.target_r * n, c.total_step - c.tfinal
        if step <= c.tinit:
            return first
        if step >= end:
            return last
        return int((first - last) * (1 - (step - c.tinit) / (end - c.tinit)) ** 3 + last)

    def after_step(self, step):
        """Update the scores and prune. Call it after the optimizer's step, while the gradients are there.

        The ranks are fixed at the first step that reaches total_step - tfinal, even when steps are skipped. Raises
        ConfigError without total_step.
        """
        c = self.config
        if c.total_step is None:
            raise ConfigError("AdaLoRA needs total_step: how many steps the whole training takes")
        if self.is_final:
            self._apply()
        elif step >= c.total_step - c.tfinal:
            if not self.importance:  # a training too short for any other step: without scores all would tie, and fall
                self._score()
            self.is_final = True
            self._prune(self.budget(step))
        else:
            self._score()
            if step > c.tinit and step % c.deltaT == 0:
                self._prune(self.budget(step))

    def _score(self):
        """I = |p · dp|        Ī = β1 Ī + (1 - β1) I        Ū = β2 Ū + (1 - β2) |I - Ī|        (Eq 8, 10, 11)"""
        c = self.config
        for path, method in self.methods.items():
            for name, p in method.parameters.items():
                if p.grad is None:
                    continue
                now = abs(p.data * p.grad)
                old, doubt = (kept.get((path, name), 0 * now) for kept in (self.importance, self.uncertainty))
                smooth = c.beta1 * old + (1 - c.beta1) * now
                self.importance[path, name] = smooth
                self.uncertainty[path, name] = c.beta2 * doubt + (1 - c.beta2) * abs(now - smooth)

    def triplet_scores(self):  # -> {path: (r,) host array}
        """S_i = s(E_i) + mean of s over row i of A + mean of s over column i of B, with s = Ī · Ū (Eq 9, 12)."""
        scores = {}
        for path, method in self.methods.items():
            A, B, E = (
                to_host(self.importance[path, n] * self.uncertainty[path, n])
                if (path, n) in self.importance
                else np.zeros(method.parameters[n].shape)
                for n in method.names
            )
            scores[path] = E[:, 0] + A.mean(axis=1) + B.mean(axis=0)
        return scores

    def _prune(self, budget):
        """Keep the triplets above the k-th smallest score, k = all - budget. Ties fall together: never above budget."""
        scores = self.triplet_scores()
        every = np.concatenate(list(scores.values()))
        k = len(every) - budget
        threshold = np.partition(every, k - 1)[k - 1] if k > 0 else -np.inf
        self.pattern = {path: s > threshold for path, s in scores.items()}
        self._apply()

    def _apply(self):
        for path, left in (self.pattern or {}).items():
            E = self.methods[path].E
            E.data *= like(left[:, None], E.data)  # in place: on a GPU it is a part of the optimizer's array

    def ranks(self):  # -> {path: int}
        """How many triplets each layer has now."""
        return {
            p: m.E.shape[0] if self.pattern is None else int(self.pattern[p].sum()) for p, m in self.methods.items()
        }

    def exported(self):
        """Only the triplets that are left, and rank_pattern, which says which they were. The scale stays init_r's."""
        if self.pattern is None:
            return super().exported()
        tensors = {}
        for path, method in self.methods.items():
            left = self.pattern[path]
            A, B, E = (to_host(p.data) for p in (method.A, method.B, method.E))
            arrays = {"lora_A": A[left], "lora_B": B[:, left], "lora_E": E[left]}
            tensors |= {(path, name): Parameter(a.shape, data=a) for name, a in arrays.items()}
        pattern = {f"{path}.lora_E": left.tolist() for path, left in self.pattern.items()}
        return tensors, replace(self.config, rank_pattern=pattern)

    def state(self):
        """Scores and pattern: with them a training goes on to the same bits (PEFT keeps them in no file)."""
        found = {f"importance/{path}/{name}": a for (path, name), a in self.importance.items()}
        found |= {f"uncertainty/{path}/{name}": a for (path, name), a in self.uncertainty.items()}
        found |= {f"pattern/{path}": left for path, left in (self.pattern or {}).items()}
        return found | {"final": np.array(self.is_final)}

    def restore(self, state):
        found = {"importance": {}, "uncertainty": {}, "pattern": {}}
        for key, array in state.items():
            kind, _, rest = key.partition("/")
            if kind == "pattern":
                E = self.methods[rest].E
                found[kind][rest] = _like_that(key, array, E.shape[:1], np.dtype(bool))
            elif kind in found:
                path, _, name = rest.rpartition("/")
                p = self.methods[path].parameters[name]
                found[kind][path, name] = like(_like_that(key, array, p.shape, p.dtype), p.data)
        self.is_final = bool(state["final"])
        self.importance, self.uncertainty = found["importance"], found["uncertainty"]
        self.pattern = found["pattern"] or None


def _like_that(key, array, shape, dtype):  # -> the array itself
    if (array.shape, array.dtype) != (shape, dtype):
        raise FormatError(f"{key} is {array.shape} {array.dtype}, expected {shape} {dtype}")
    return array
