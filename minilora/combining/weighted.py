"""Weighted sums of updates, and the forms in which a sum of low-rank updates can be kept.

    Σ w τ                               task arithmetic (Ilharco et al. 2023, arXiv 2212.04089)
    Σ w s · B A = [w₁s₁ A₁; w₂s₂ A₂]    "cat": exact, and the ranks add up
                  under [B₁, B₂]
    Σ w s · B A ≈ U_r S_r V_rᵀ          "svd": the nearest matrix of rank r, kept as B = U_r S_r, A = V_rᵀ
    (Σ ±√(w s) B) (Σ √(w s) A)          "linear": cheap and rough, for the terms B₁ A₂ and B₂ A₁ are in it too

All of it is done once, on host arrays.
"""

from typing import NamedTuple

import numpy as np

from ..errors import ConfigError


class Factors(NamedTuple):
    """An update s · B A of one layer, with the weight that it is to have.

    A  (r, in)
    B  (out, r)
    """

    weight: float
    scaling: float
    A: np.ndarray
    B: np.ndarray

    @property
    def delta(self):  # -> (out, in)
        """ΔW = s · B A"""
        return self.scaling * (self.B @ self.A)


def task_arithmetic(tensors: list, weights: list[float]):  # arrays of one shape -> array
    """Σ w τ"""
    return np.sum([w * t for w, t in zip(weights, tensors, strict=True)], axis=0)


def roots(factors: list[Factors]) -> tuple[list[float], list[float]]:
    """The weights of the As and of the Bs, whose products are w s. The sign goes to A alone: in both it would be lost.

    As in PEFT, so that a rule for tensors can be applied to the As and to the Bs apart.
    """
    products = [f.weight * f.scaling for f in factors]
    return [float(np.sign(p)) * abs(p) ** 0.5 for p in products], [abs(p) ** 0.5 for p in products]


def cat(factors: list[Factors]):  # -> A (Σ r, in), B (out, Σ r)
    """The exact sum: A = [w₁s₁ A₁; w₂s₂ A₂], B = [B₁, B₂]."""
    return np.concatenate([f.weight * f.scaling * f.A for f in factors]), np.concatenate([f.B for f in factors], axis=1)


def svd(factors: list[Factors], r: int, clamp: float | None = None):  # -> A (r, in), B (out, r)
    """The nearest matrix of rank r to the sum, without forming the sum.

    With [B₁, B₂] = Q_B R_B and [A₁; A₂]ᵀ = Q_A R_A the sum is Q_B (R_B R_Aᵀ) Q_Aᵀ: the SVD of a small matrix is enough.
    """
    A, B = cat(factors)
    Q_A, R_A = np.linalg.qr(A.T)  # (in, k), (k, Σ r)
    Q_B, R_B = np.linalg.qr(B)  # (out, m), (m, Σ r)
    U, S, Vt = np.linalg.svd(R_B @ R_A.T, full_matrices=False)
    return _kept(Q_B @ U, S, Vt @ Q_A.T, r, clamp)


def low_rank(delta, r: int, clamp: float | None = None):  # (out, in) -> A (r, in), B (out, r)
    """The nearest matrix of rank r to any matrix."""
    return _kept(*np.linalg.svd(delta, full_matrices=False), r, clamp)


def _kept(U, S, Vt, r, clamp):  # (out, n), (n,), (n, in) -> A (r, in), B (out, r)
    A, B = Vt[:r], U[:, :r] * S[:r]
    if clamp is not None:  # PEFT's, after kohya-ss: no number of A and B is above this quantile of all of them
        bound = np.quantile(np.concatenate([A.ravel(), B.ravel()]), clamp)
        A, B = np.clip(A, -bound, bound), np.clip(B, -bound, bound)
    return padded(A, B, r)


def padded(A, B, r: int):  # (n, in), (out, n) -> (r, in), (out, r)
    """The same product with rank r: rows and columns of zeros."""
    more = r - len(A)
    return np.pad(A, ((0, more), (0, 0))), np.pad(B, ((0, 0), (0, more)))


# ---- weights, densities and seeds that can be


def is_number(value) -> bool:
    """Whether it is a number that float32 arrays can be multiplied by: neither nan nor huge."""
    is_real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return is_real and bool(abs(value) < 1e30)


def check_weights(weights, count: int) -> list[float]:
    """The weights as floats. Raises ConfigError unless there are `count` numbers."""
    given = list(weights) if isinstance(weights, list | tuple | np.ndarray) else weights
    if not isinstance(given, list) or len(given) != count:
        raise ConfigError(f"weights = {repr(weights)[:80]}: expected a list of {count}, one for each")
    if wrong := [w for w in given if not is_number(w)]:
        raise ConfigError(f"weights: {repr(wrong[0])[:80]} is not a finite number below 1e30")
    return [float(w) for w in given]


def check_density(density, who: str) -> None:
    """Raises ConfigError unless density is a number from 0 to 1."""
    if not is_number(density) or not 0 <= float(density) <= 1:
        raise ConfigError(f"density = {repr(density)[:80]}: {who} expects a number from 0 (drop all) to 1 (keep all)")


def check_seed(seed) -> None:
    """Raises ConfigError unless seed is a whole number of at least 0, or NumPy's Generator."""
    is_whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
    if not is_whole and not isinstance(seed, np.random.Generator):
        raise ConfigError(f"seed = {repr(seed)[:80]}: expected a whole number of at least 0, or NumPy's Generator")
