"""PiSSA and OLoRA: LoRA that starts from W itself instead of from noise and zero.

    PiSSA (Meng et al. 2024, arXiv 2404.02948):  W = U S Vᵀ        A0 = √(S_r / s) V_rᵀ      B0 = U_r √(S_r / s)
    OLoRA (Büyükakyüz 2024, arXiv 2406.01775):   W = Q R           A0 = R_r                  B0 = Q_r

    y = x Wᵀ + b + s · (x Aᵀ) Bᵀ - s · (x A0ᵀ) B0ᵀ        A, B start as A0, B0, which stay frozen

The papers take s · B0 A0 out of the base and keep the rest, W_res. Here the base is never changed: the frozen start is
kept beside the adapter and subtracted, which is the same function. So `disable_adapter` gives the true base, other
adapters are not disturbed, and what is saved is a plain LoRA of rank 2r for the base that everybody has:

    s · (B A - B0 A0) = s · [B, -B0] [A; A0]

On a base in 4 or 8 bits each layer's start is found as it is loaded, from the weight that is not quantized yet. W_res
alone is quantized, and s · B0 A0 stays beside it in float32 (quantization/residual.py). The true W is gone then:
`disable_adapter` gives Q(W_res) + s · B0 A0, the function before the first step. What is saved is a LoRA for the base
that everybody has, before its quantization.
"""

import math
import re
from dataclasses import replace

import numpy as np

from .. import ops
from ..backend import array_module, to_host
from ..errors import ConfigError
from ..nn import Parameter
from ..quantization.int8 import Int8
from ..quantization.nf4 import FourBit
from ..quantization.residual import Part, Residual
from . import trainable_tokens
from .base import Product
from .lora import EmbeddingLora, Lora, LoraAdapter, low_rank_update


def principal_part(W, r, passes=None):  # (out, in) -> U (out, r), S (r,), Vt (r, in)
    """The r largest singular values of W with their vectors.

    passes: how often a random subspace is sharpened by W Wᵀ before its small SVD (Halko et al. 2011, arXiv 0909.4061);
    None: the exact SVD.
    """
    if passes is None:
        U, S, Vt = np.linalg.svd(W, full_matrices=False)
        return U[:, :r], S[:r], Vt[:r]
    Q = W @ np.random.default_rng(0).standard_normal((W.shape[1], min(r + 8, *W.shape))).astype(W.dtype)
    for _ in range(passes):
        Q = W @ (W.T @ np.linalg.qr(Q)[0])
    Q = np.linalg.qr(Q)[0]  # (out, r + 8)
    U, S, Vt = np.linalg.svd(Q.T @ W, full_matrices=False)
    return (Q @ U)[:, :r], S[:r], Vt[:r]


class Pissa(Lora):
    """PiSSA on one linear layer: A, B and their frozen start A0, B0."""

    def __init__(self, place, config):
        super().__init__(place, config)
        if self.scaling <= 0:
            raise ConfigError(
                f"lora_alpha must be above 0 for PiSSA and OLoRA, for {place.path} it gives {self.scaling:g}"
            )
        self.frozen = {name: Parameter(self.parameters[name].shape) for name in self.names}
        self.A0, self.B0 = self.frozen.values()
        for parameter in self.frozen.values():
            parameter.requires_grad = False

    def start(self, base, generator):
        stored = getattr(getattr(base, "weight", None), "data", None)  # a base may keep its weight in another way
        if isinstance(stored, Residual):
            return self._start_of(stored)
        if isinstance(stored, FourBit | Int8):
            raise ConfigError(
                "PiSSA and OLoRA start from weights that are not quantized yet, and these are in 4 or 8 bits: load a "
                "base in 16 or 32 bits with quantization_config=... and parts=ml.parts_of(config)"
            )
        return dict(zip(self.names, self.part_of(to_host(base.dense()))[:2], strict=True))

    def _start_of(self, stored):
        """What was taken out of the base when it was loaded."""
        found, own = (stored.start, len(stored.A), stored.scaling), (self.init, self.r, self.scaling)
        if found != own:
            what = "init_lora_weights {!r}, rank {}, scale {:g}".format
            raise ConfigError(f"the base was loaded for {what(*found)}, not for {what(*own)}: use one config for both")
        return dict(zip(self.names, map(to_host, (stored.A, stored.B)), strict=True))

    def part_of(self, W):  # (out, in) -> Part
        """s · B0 A0, the part of W to start from."""
        passes = re.fullmatch(r"pissa_niter_(\d+)", self.init)
        U, S, Vt = principal_part(W, self.r, passes and int(passes[1]))
        root = np.sqrt(S / self.scaling)
        return Part(root[:, None] * Vt, U * root, self.scaling, self.init)

    def update(self, y, x, base, context):  # (..., out), (..., in) -> (..., out)
        """W_res x + s · B A x; dropout acts on the trained branch only."""
        if not (context.training and self.dropout):  # the same, faster: one update of rank 2r
            A, B = ops.concat([self.A, self.A0]), ops.concat([self.B, -self.B0], axis=1)
            return low_rank_update(y, x, A, B, self.scaling)
        y = low_rank_update(y, x, self.A0, self.B0, -self.scaling)
        return low_rank_update(y, self.drop(x, context), self.A, self.B, self.scaling)

    def delta(self):  # -> array (out, in)
        """ΔW = s · (B A - B0 A0)"""
        return self.scaling * (self.B.data @ self.A.data - self.B0.data @ self.A0.data)

    def plain(self):  # -> A (2r, in), B (out, 2r), arrays
        """The same update as a LoRA of twice the rank."""
        A, A0, B, B0 = (to_host(p.data) for p in (self.A, self.A0, self.B, self.B0))
        return np.concatenate([A, A0]), np.concatenate([B, -B0], axis=1)

    def stacked(self, base):
        xp = array_module(self.A.data)
        A, B = xp.concatenate([self.A.data, self.A0.data]), xp.concatenate([self.B.data, -self.B0.data], axis=1)
        return Product(A, B, self.scaling)


class Olora(Pissa):
    """OLoRA on one linear layer."""

    def part_of(self, W):
        Q, R = np.linalg.qr(W)
        return Part(R[: self.r], Q[:, : self.r], self.scaling, self.init)


class PissaAdapter(LoraAdapter):
    """PiSSA on a whole model: LoraConfig(init_lora_weights="pissa" or "pissa_niter_4"). Embeddings start as LoRA's."""

    kinds = {"linear": Pissa, "embedding": EmbeddingLora} | trainable_tokens.KINDS
    adapts = "PiSSA adapts linear layers and embeddings"

    def exported(self):
        """A LoRA for the pristine base: rank 2r, and twice the alpha (√2 times with rsLoRA), so s is the same."""
        tensors = {}
        for path, method in self.methods.items():
            if not isinstance(method, Lora):  # trained rows of the embedding
                tensors |= {(path, name): p for name, p in method.parameters.items()}
                continue
            A, B = (
                method.plain()
                if isinstance(method, Pissa)
                else _padded(*(to_host(p.data) for p in (method.A, method.B)))
            )
            tensors |= {(path, name): Parameter(a.shape, data=a) for name, a in zip(method.names, (A, B), strict=True)}
        config, more = self.config, math.sqrt(2) if self.config.use_rslora else 2
        config = replace(
            config,
            r=2 * config.r,
            lora_alpha=more * config.lora_alpha,
            rank_pattern={key: 2 * r for key, r in (config.rank_pattern or {}).items()},
            alpha_pattern={key: more * alpha for key, alpha in (config.alpha_pattern or {}).items()},
            init_lora_weights=True,
        )
        return tensors, config


class OloraAdapter(PissaAdapter):
    """OLoRA on a whole model: LoraConfig(init_lora_weights="olora")."""

    kinds = {"linear": Olora, "embedding": EmbeddingLora} | trainable_tokens.KINDS
    adapts = "OLoRA adapts linear layers and embeddings"


def _padded(A, B):  # (r, in), (out, r) -> (2r, in), (out, 2r): the same product
    return np.concatenate([A, np.zeros_like(A)]), np.concatenate([B, np.zeros_like(B)], axis=1)
