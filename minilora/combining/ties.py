"""TIES: trim, elect a sign, and average what agrees (Yadav et al. 2023, arXiv 2306.01708).

Task vectors τ_t, one for each adapter or model; `density` is the share of their numbers that is kept.

    trim     τ̂_t = τ_t where |τ_t| is among the largest, 0 elsewhere
    elect    γ   = sgn(Σ_t τ̂_t), for each number
    merge    τ   = the mean of the τ̂_t whose sign is γ

Two readings are here. **The paper's** trims over the whole of a task vector, all layers together; a weight w makes w τ
the task vector, which then votes with its weight. **PEFT's** trims every tensor for itself, elects the sign before it
weights, and counts a sum of exactly 0 as positive; its "ties" does so with the As and the Bs of LoRA apart, which is
not TIES of ΔW = s · B A.
"""

from collections.abc import Callable, Iterable

import numpy as np

from .weighted import task_arithmetic

# ---- one tensor for itself, as in PEFT


def trim(tensor, density: float):  # -> array
    """The int(density · size) numbers of largest magnitude, and 0 elsewhere."""
    size = tensor.size
    dropped = np.argpartition(abs(tensor).ravel(), size - int(density * size) - 1)[: size - int(density * size)]
    kept = tensor.ravel().copy()
    kept[dropped] = 0
    return kept.reshape(tensor.shape)


def magnitude_prune(tensors: list, weights: list[float], density: float):  # arrays of one shape -> array
    """Σ w τ̂: trimmed, but without a vote."""
    return task_arithmetic([trim(t, density) for t in tensors], weights)


def ties(tensors: list, weights: list[float], density: float, majority_sign_method: str = "total"):  # -> array
    """PEFT's TIES."""
    return elected_mean([trim(t, density) for t in tensors], weights, majority_sign_method)


def elected_mean(tensors: list, weights: list[float], majority_sign_method: str = "total"):  # -> array
    """The mean of the w τ̂ whose τ̂ has the elected sign.

    majority_sign_method: "total" elects the sign of Σ τ̂, "frequency" that of most τ̂.
    """
    signs = [np.sign(t) for t in tensors]
    votes = sum(tensors if majority_sign_method == "total" else signs)
    elected = np.where(votes >= 0, 1, -1)
    return _mean_of_agreeing(tensors, weights, [s == elected for s in signs])


def _mean_of_agreeing(tensors, weights, agree):
    total = task_arithmetic([t * a for t, a in zip(tensors, agree, strict=True)], weights)
    return total / np.maximum(np.sum(agree, axis=0, dtype=total.dtype), 1)


# ---- all tensors of a task vector together, as in the paper


def paper_ties(tensors: list, cutoffs: list[float]):  # arrays of one shape -> array
    """TIES of one tensor of each (weighted) task vector. cutoffs: of each task vector, see `cutoff`."""
    trimmed = [np.where(abs(t) >= c, t, 0) for t, c in zip(tensors, cutoffs, strict=True)]
    elected = np.sign(sum(trimmed))
    return _mean_of_agreeing(trimmed, [1] * len(trimmed), [np.sign(t) == elected for t in trimmed])


def cutoff(tensors: Callable[[], Iterable], density: float) -> float:
    """The smallest magnitude that is kept, when int(density · size) numbers of a whole task vector are.

    tensors: gives the tensors of the task vector one by one; it is called twice, so that one of them is in memory.
    Nothing is sorted: the bits of a float32 of at least 0, read as a whole number, are in the order of the floats. The
    first pass counts their upper halves, the second the lower halves of those that share the upper half sought.
    """
    uppers = _counts(_bits(t) >> 16 for t in tensors())
    upper, left = _find(uppers, int(density * uppers.sum()))
    if left == 0:
        return np.inf
    lowers = _counts(bits[bits >> 16 == upper] & 0xFFFF for bits in map(_bits, tensors()))
    lower, _ = _find(lowers, left)
    return float(np.array(upper << 16 | lower, np.uint32).view(np.float32))


def _bits(tensor):  # -> (n,) whole numbers
    return abs(tensor).astype(np.float32).ravel().view(np.uint32)


def _counts(halves):  # iterator of (n,) whole numbers below 2¹⁶ -> (2¹⁶,), how often each occurs
    counts = np.zeros(2**16, np.int64)
    for half in halves:
        counts += np.bincount(half, minlength=2**16)
    return counts


def _find(counts, k):  # (n,), k -> the place where the k-th from above is counted, and which it is there
    above = np.cumsum(counts[::-1])  # how many are at a place or above it
    place = min(int(np.searchsorted(above, k)), len(counts) - 1)
    return len(counts) - 1 - place, k - int(above[place] - counts[::-1][place])
