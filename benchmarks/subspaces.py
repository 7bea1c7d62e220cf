"""Section 7 of the paper: what the learned updates have in common, and what they amplify in W."""

from dataclasses import replace

import numpy as np

from minilora.course.lab.low_rank import similarity

from .runs import tune

MOST = 8  # directions compared
RANKS = (4, 64)  # of Table 7


def amplification(W, D, r, rng):  # (out, in), (out, in), int, Generator -> dict
    """Table 7: how much of W lies in the r directions of the update D, and how much larger D is there.

    inside      ‖Uᵀ W Vᵀ‖_F with U, V the first r singular directions of D
    top         the same with W's own directions: the most that r directions can hold
    random      the same with the directions of a random matrix
    factor      ‖D‖_F / inside
    """

    def inside(M):
        U, _, Vh = np.linalg.svd(M, full_matrices=False)
        return float(np.linalg.norm(U[:, :r].T @ W @ Vh[:r].T))

    update = float(np.linalg.norm(D))
    norms = {
        "inside": inside(D), "top": inside(W), "random": inside(rng.standard_normal(W.shape)),
        "update": update, "weight": float(np.linalg.norm(W)),
    }  # fmt: skip
    return norms | {"factor": update / norms["inside"]}


def layers(model, name):  # -> [AdaptedLayer] of that name, one for each block
    return [m for path, m in model.named_modules() if path.endswith(name) and hasattr(m, "adapters")]


def study(run):  # Run on q and v -> dict
    """Train it with rank 8 and, from two seeds, with rank 64; and with the ranks of Table 7. All means over blocks."""
    models = {r: tune(replace(run, r=r)) for r in {8, *RANKS}}
    other = tune(replace(run, r=64, seed=run.seed + 50))
    rng = np.random.default_rng(run.seed)
    grids = {}
    for name in ("q_proj", "v_proj"):
        pairs = {
            "ranks 8 and 64": (models[8], models[64]),
            "two seeds, rank 64": (models[64], other),
        }
        for what, both in pairs.items():
            A = [[layer.adapters["default"].A.data for layer in layers(model, name)] for model in both]
            grids[f"{name}, {what}"] = mean_grid(similarity(a, b, MOST) for a, b in zip(*A, strict=True))
    random = (similarity(*rng.standard_normal((2, 64, 128)), MOST) for _ in range(4))
    grids["random, rank 64"] = mean_grid(random)
    table = {}
    for r in RANKS:
        by_block = []
        for layer in layers(models[r], "q_proj"):
            W, D = layer.base_layer.dense(), layer.adapters["default"].delta()
            by_block.append(amplification(W, D, r, rng))
        table[str(r)] = {key: round(float(np.mean([norms[key] for norms in by_block])), 4) for key in by_block[0]}
    return {"similarity": grids, "amplification": table}


def mean_grid(grids):
    return np.mean(list(grids), axis=0).round(4).tolist()
