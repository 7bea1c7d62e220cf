"""Take an update apart: its best part of rank r, a random part, and the number of directions that hold its energy."""

import numpy as np


def matrices(model) -> dict:  # {name: Parameter}: the projections of all blocks, which LoRA adapts
    return {name: p for name, p in model.named_parameters() if name.endswith("_proj.weight")}


def train_only(model, chosen: dict) -> None:
    """Freeze every parameter that is not among `chosen`, a dict of Parameters."""
    wanted = {id(p) for p in chosen.values()}
    for p in model.parameters():
        p.requires_grad = id(p) in wanted


def best_part(D, r: int):  # (out, in), int -> (out, in)
    """The matrix of rank r that comes closest to D (Eckart and Young 1936)."""
    U, s, Vh = np.linalg.svd(D, full_matrices=False)
    return ((U[:, :r] * s[:r]) @ Vh[:r]).astype(D.dtype)


def random_part(D, r: int, rng: np.random.Generator):  # (out, in), int, Generator -> (out, in)
    """The effect of D on a random subspace of r directions of its input, and zero elsewhere: D Q Qᵀ."""
    Q, _ = np.linalg.qr(rng.standard_normal((D.shape[1], r)))
    return (D @ Q @ Q.T).astype(D.dtype)


def directions_for(singular_values, share: float) -> int:  # (n,) the largest first
    """The smallest k for which the first k directions hold that share of the energy Σ σ²."""
    energy = np.cumsum(singular_values.astype(np.float64) ** 2)
    return int(np.argmax(energy >= share * energy[-1])) + 1


def set_weights(weights: dict, values: dict) -> None:  # {name: Parameter}, {name: array}
    """Set each weight to its value."""
    for name, p in weights.items():
        p.data = values[name]


def similarity(A1, A2, most: int):  # (r1, in), (r2, in), int -> (min(r1, most), min(r2, most))
    """φ(i, j) = ‖U_iᵀ V_j‖² / min(i, j): the share that the first i right singular directions of A1 and the first j of
    A2 have in common, 0 to 1 (Hu et al. 2021, section 7.2, equation 4)."""
    U, V = (np.linalg.svd(A, full_matrices=False)[2][:most] for A in (A1, A2))  # directions are rows
    within = ((U @ V.T) ** 2).cumsum(axis=0).cumsum(axis=1)
    return within / np.minimum.outer(np.arange(1, len(U) + 1), np.arange(1, len(V) + 1))
