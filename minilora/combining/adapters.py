"""Several LoRA adapters of one model into a new one: PEFT's `add_weighted_adapter`.

    "linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"   the rule, of the As and of the Bs apart
    the same with "_svd" ("svd" is that of linear)                    the rule, of the ΔW; then the nearest of rank r
    "cat"                                                             the exact sum; the ranks add up
    "ties_paper" (not in PEFT)                                        the paper's TIES of the ΔW; then as "_svd"

The new adapter has the scale 1: lora_alpha = r without rsLoRA, the scales of the old ones are inside its numbers. (PEFT
0.21 keeps use_rslora from the first adapter, so that its result is √r too large.) Where ranks differ between layers the
new one says so in rank_pattern and alpha_pattern; it is on every layer that one of the old ones is on.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..backend import to_host
from ..errors import ConfigError, nearest
from ..methods.lora import Lora, LoraAdapter, LoraConfig
from ..methods.pissa import Pissa
from . import dare, ties, weighted
from .weighted import Factors

RULES = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
OF_DELTAS = {"svd": "linear"} | {f"{name}_svd": name for name in RULES[1:]}
TYPES = (*OF_DELTAS, *RULES, "cat", "ties_paper")  # values of combination_type


def combine(
    adapters: dict,
    weights,
    combination_type: str = "svd",
    svd_rank: int | None = None,
    svd_clamp: float | None = None,
    density: float | None = None,
    majority_sign_method: str = "total",
    seed: int | np.random.Generator = 0,
):  # -> LoraConfig, {(path, tensor name): host array}
    """The configuration and the values of the new adapter. adapters: {name: Adapter}, filled.

    One adapter is only weighted, whatever the type, as in PEFT. Raises ConfigError when they cannot be combined.
    """
    weights = weighted.check_weights(weights, len(adapters))
    for name, adapter in adapters.items():
        check_combinable(name, adapter)
    _check_type(combination_type, svd_rank, svd_clamp, majority_sign_method)
    kind = "linear" if len(adapters) == 1 else combination_type
    weighted.check_seed(seed)
    needs_density = kind not in ("linear", "svd", "cat")
    if needs_density or density is not None:
        weighted.check_density(density, f"combination_type {kind!r}")

    places = _places(adapters, weights)
    if kind in RULES:
        _check_equal_ranks(kind, places)
    largest = svd_rank or max(len(f.A) for factors in places.values() for f in factors.values())
    with np.errstate(over="ignore", invalid="ignore"):  # `_finite` refuses what overflows
        merge = _merge(kind, largest, svd_clamp, density, majority_sign_method, seed, places)
        values = {path: _finite(merge, path, list(factors.values())) for path, factors in places.items()}
    return _config(adapters, {path: len(A) for path, (A, _) in values.items()}), _named(adapters, values)


# ---- the layers


def _places(adapters, weights):  # -> {path: {adapter's name: Factors}}
    """What is to be combined on each layer, in the order of the paths: random numbers are drawn in this order."""
    paths = sorted({path for adapter in adapters.values() for path in adapter.methods})
    return {
        path: {
            name: _factors(adapter.methods[path], weight)
            for (name, adapter), weight in zip(adapters.items(), weights, strict=True)
            if path in adapter.methods
        }
        for path in paths
    }


def _factors(method, weight):
    A, B = method.plain() if isinstance(method, Pissa) else (to_host(method.A.data), to_host(method.B.data))
    return Factors(weight, method.scaling, A, B)


def _merge(kind, largest, clamp, density, majority, seed, places) -> Callable[[str, list], tuple]:
    """The function (path, [Factors]) -> A, B of one combination_type."""
    generator = np.random.default_rng(seed)
    rules: dict[str, Any] = {
        "linear": weighted.task_arithmetic,
        "ties": partial(ties.ties, density=density, majority_sign_method=majority),
        "dare_linear": partial(dare.dare_linear, density=density, generator=generator),
        "dare_ties": partial(dare.dare_ties, density=density, generator=generator, method=majority),
        "magnitude_prune": partial(ties.magnitude_prune, density=density),
    }

    def apart(path, factors):
        of_A, of_B = weighted.roots(factors)
        return rules[kind]([f.A for f in factors], of_A), rules[kind]([f.B for f in factors], of_B)

    def rank(factors):
        return min(largest, factors[0].A.shape[1], factors[0].B.shape[0])

    def of_deltas(path, factors):
        delta = rules[OF_DELTAS[kind]]([f.delta for f in factors], [f.weight for f in factors])
        return weighted.low_rank(delta, rank(factors), clamp)

    def of_paper(path, factors):
        task_vectors = [f.weight * f.delta for f in factors]
        delta = ties.paper_ties(task_vectors, [cutoffs[name] for name in places[path]])
        return weighted.low_rank(delta, rank(factors), clamp)

    if kind == "cat":
        return lambda path, factors: weighted.cat(factors)
    if kind == "svd":
        return lambda path, factors: weighted.svd(factors, rank(factors), clamp)
    if kind == "ties_paper":
        names = dict.fromkeys(name for factors in places.values() for name in factors)
        cutoffs = {name: ties.cutoff(partial(_task_vector, places, name), density) for name in names}
        return of_paper
    return apart if kind in RULES else of_deltas


def _finite(merge, path, factors):  # -> A, B
    """What `merge` makes of one layer. Raises ConfigError when numbers overflow, which an SVD may not survive."""
    try:
        pair = merge(path, factors)
        if all(np.isfinite(array).all() for array in pair):
            return pair
    except np.linalg.LinAlgError:
        pass
    raise ConfigError(f"the combination has numbers that are not finite on {path}")


def _task_vector(places, name):  # -> iterator of w · ΔW, layer by layer
    return (f[name].weight * f[name].delta for f in places.values() if name in f)


# ---- the new configuration


def _config(adapters, ranks) -> LoraConfig:
    """That of the first adapter, with these ranks {path: r} and the scale 1 everywhere."""
    first = next(iter(adapters.values()))
    r = max(ranks.values())
    others = {path: rank for path, rank in ranks.items() if rank != r}
    targets = {}
    if not all(first.methods.keys() == adapter.methods.keys() for adapter in adapters.values()):
        targets = {"target_modules": list(ranks), "exclude_modules": None}
        targets |= {"layers_to_transform": None, "layers_pattern": None}
    return replace(
        first.config,
        r=r,
        lora_alpha=r,
        rank_pattern=others,
        alpha_pattern=dict(others),
        use_rslora=False,
        init_lora_weights=True,
        **targets,
    )


def _named(adapters, values):  # {path: (A, B)} -> {(path, tensor name): array}
    methods = {path: method for adapter in adapters.values() for path, method in adapter.methods.items()}
    return {
        (path, name): array
        for path, pair in values.items()
        for name, array in zip(methods[path].names, pair, strict=True)
    }


# ---- what cannot be combined


def check_combinable(name: str, adapter) -> None:
    """Raises ConfigError, with the reason, for an adapter that is more than a sum of low-rank updates."""
    kind = adapter.config.peft_type
    if not isinstance(adapter, LoraAdapter):
        raise ConfigError(f"adapter {name!r} ({kind}) cannot be combined: only LoRA's updates B A can be added")
    own = {tensor: m for m in adapter.methods.values() for tensor in m.names[2 if isinstance(m, Lora) else 0 :]}
    if own or adapter.parameters:
        more = next(iter([*own, *adapter.parameters]))
        raise ConfigError(f"adapter {name!r} cannot be combined: it has {more}, which is no part of a sum of B A")
    if adapter.config.modules_to_save:
        saved = ", ".join(adapter.config.modules_to_save)
        raise ConfigError(f"adapter {name!r} cannot be combined: it has trained copies of modules ({saved})")
    if not all(p.is_filled for m in adapter.methods.values() for p in m.parameters.values()):
        raise ConfigError(f"adapter {name!r} cannot be combined: it has no values yet; fill the model with init()")
    for path, method in adapter.methods.items():
        if not all(np.isfinite(to_host(p.data)).all() for p in method.parameters.values()):
            raise ConfigError(f"adapter {name!r} cannot be combined: its numbers for {path} are not all finite")


def _check_type(combination_type, svd_rank, svd_clamp, majority_sign_method):
    if combination_type not in list(TYPES):
        known = nearest(combination_type, TYPES, limit=len(TYPES))
        raise ConfigError(f"combination_type {repr(combination_type)[:80]}: expected one of {known}")
    if svd_rank is not None and (isinstance(svd_rank, bool) or not isinstance(svd_rank, int) or svd_rank < 1):
        raise ConfigError(f"svd_rank = {repr(svd_rank)[:80]}: expected a whole number of at least 1, or None")
    if svd_clamp is not None and not (weighted.is_number(svd_clamp) and 0.5 < svd_clamp <= 1):
        raise ConfigError(f"svd_clamp = {repr(svd_clamp)[:80]}: expected a number above 0.5 and up to 1, or None")
    if majority_sign_method not in ["total", "frequency"]:
        raise ConfigError(f"majority_sign_method {repr(majority_sign_method)[:80]}: expected 'total' or 'frequency'")


def _check_equal_ranks(kind, places):
    for path, factors in places.items():
        ranks = {name: len(f.A) for name, f in factors.items()}
        if len(set(ranks.values())) > 1:
            has = ", ".join(f"{name} has {r}" for name, r in ranks.items())
            raise ConfigError(
                f"combination_type {kind!r} adds the As and the Bs, which needs equal ranks, but on {path} {has}; "
                "expected 'cat' or a type that ends in 'svd'"
            )
