"""Adapters combined, without a model around them: PEFT's stored results, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from minilora.combining.adapters import TYPES, combine
from minilora.errors import ConfigError
from minilora.methods.adalora import AdaLoraAdapter, AdaLoraConfig
from minilora.methods.base import Place
from minilora.methods.dora import DoraAdapter
from minilora.methods.ia3 import IA3Adapter, IA3Config
from minilora.methods.lora import LoraAdapter, LoraConfig
from minilora.methods.prompt_tuning import PromptTuningAdapter, PromptTuningConfig
from minilora.methods.vera import VeraAdapter, VeraConfig

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "compose_meta.json").read_text(encoding="utf-8"))
PLACE = Place("layer", "linear", (20, 12))
UPPER = Place("upper", "linear", (5, 6))


def adapter(values=None, places=(PLACE,), seed=0, kind=LoraAdapter, **options):
    """An adapter with random values, or with those given {tensor name: array}."""
    config = options.pop("config", None) or LoraConfig(
        **{"r": 4, "lora_alpha": 6, "target_modules": ["layer"]} | options
    )
    made, rng = kind(config, places, None), np.random.default_rng(seed)
    for method in made.methods.values():
        for name, p in method.parameters.items():
            p.assign((rng.standard_normal(p.shape) if values is None else values[name]).astype(np.float32))
    return made


def deltas(adapters, weights, *arguments, **options):  # -> {path: ΔW}, config
    config, values = combine(adapters, weights, *arguments, **options)
    paths = dict.fromkeys(path for path, _ in values)
    pairs = {path: [values[path, f"lora_{side}.weight"] for side in "AB"] for path in paths}
    assert all(len(A) == config.rank(path) for path, (A, _) in pairs.items())
    return {path: config.scaling(path) * B @ A for path, (A, B) in pairs.items()}, config


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "compose.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", CASES)
def test_the_update_is_the_one_that_peft_computed(golden, name):
    case = CASES[name]
    adapters = {}
    for a in case["adapters"]:
        A, B, scaling = (golden[f"{a}/{part}"] for part in ("A", "B", "scaling"))
        values = {"lora_A.weight": A, "lora_B.weight": B}
        adapters[a] = adapter(values, r=len(A), lora_alpha=float(scaling) * len(A))
    found, config = deltas(adapters, case["weights"], case["combination_type"], **case["kwargs"])
    np.testing.assert_allclose(found["layer"], golden[f"{name}/delta"], rtol=1e-5, atol=1e-5)
    assert (config.r, config.lora_alpha, config.scaling("layer")) == (case["r"], case["alpha"], case["scaling"])


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True}, {"rank_pattern": {"layer": 2}, "alpha_pattern": {"upper": 3}}]
)
def test_one_adapter_of_weight_1_is_itself(kind, options):
    one = adapter(places=(PLACE, UPPER), **options)
    found, _ = deltas({"a": one}, [1.0], kind, density=0.3)
    for path, method in one.methods.items():
        np.testing.assert_allclose(found[path], method.delta(), atol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_one_adapter_of_weight_minus_1_is_its_opposite(kind):
    one = adapter(use_rslora=True)
    found, _ = deltas({"a": one}, [-1.0], kind)
    np.testing.assert_allclose(found["layer"], -one.methods["layer"].delta(), atol=1e-5)


@pytest.mark.parametrize("kind", [k for k in TYPES if k not in ("linear", "svd", "cat")])
def test_with_density_0_nothing_is_left(kind):
    found, _ = deltas({"a": adapter(), "b": adapter(seed=1)}, [1, 1], kind, density=0)
    np.testing.assert_array_equal(found["layer"], np.zeros((20, 12)))


@pytest.mark.parametrize("kind", ["dare_linear_svd", "magnitude_prune_svd"])
def test_with_density_1_the_sum_is_whole(kind):
    a, b = adapter(), adapter(seed=1)
    found, _ = deltas({"a": a, "b": b}, [0.7, -2], kind, density=1, svd_rank=8)
    np.testing.assert_allclose(
        found["layer"], 0.7 * a.methods["layer"].delta() - 2 * b.methods["layer"].delta(), atol=1e-5
    )


def test_the_ties_of_the_paper_is_not_that_of_peft():
    # ΔW of a is [[4, 2]], that of b is [[-3, 2]]: with density 1/2 the paper keeps 4 and -3, and 4 wins
    a = adapter(
        {"lora_A.weight": np.array([[4, 2]]), "lora_B.weight": np.array([[1]])},
        [Place("layer", "linear", (1, 2))],
        r=1,
        lora_alpha=1,
    )
    b = adapter(
        {"lora_A.weight": np.array([[3, -2]]), "lora_B.weight": np.array([[-1]])},
        [Place("layer", "linear", (1, 2))],
        r=1,
        lora_alpha=1,
    )
    both = {"a": a, "b": b}
    paper, _ = deltas(both, [1, 1], "ties_paper", density=0.5)
    np.testing.assert_allclose(paper["layer"], [[4, 0]], atol=1e-6)
    peft, _ = deltas(both, [1, 1], "ties", density=0.5)  # A: (4 + 3) / 2; B: int(0.5 · 1) = 0 numbers are kept
    np.testing.assert_allclose(peft["layer"], [[0, 0]], atol=1e-6)
    peft, _ = deltas(both, [1, 1], "ties", density=1)  # signs of A and B apart: the 4 of a and the 3 of b are averaged
    np.testing.assert_allclose(peft["layer"], [[3.5, 2]], atol=1e-6)
    paper, _ = deltas(both, [1, 1], "ties_paper", density=1)
    np.testing.assert_allclose(paper["layer"], [[4, 2]], atol=1e-6)


def test_the_paper_trims_all_layers_of_an_adapter_together():
    one, other = adapter(places=(PLACE, UPPER)), adapter(places=(PLACE, UPPER), seed=1)
    for a in (one, other):
        a.methods["upper"].A.data *= np.float32(1e-4)
    found, _ = deltas({"a": one, "b": other}, [1, 1], "ties_paper", density=0.5)
    assert abs(found["upper"]).max() == 0 and abs(found["layer"]).max() > 0


def test_the_same_seed_drops_the_same():
    both = {"a": adapter(), "b": adapter(seed=1)}
    one, same, other = (deltas(both, [1, 1], "dare_linear", density=0.5, seed=s)[0]["layer"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_layer_that_one_adapter_is_on_gets_the_update_of_that_one():
    a, b = adapter(places=(PLACE, UPPER)), adapter(seed=1, layers_to_transform=[0])
    found, config = deltas({"b": b, "a": a}, [0.5, 2], "cat")
    np.testing.assert_allclose(found["upper"], 2 * a.methods["upper"].delta(), rtol=1e-5)
    assert config.target_modules == ["layer", "upper"] and config.layers_to_transform is None
    assert config.rank_pattern == config.alpha_pattern == {"upper": 4} and config.r == config.lora_alpha == 8


def test_adapters_on_the_same_layers_keep_the_targets_of_the_first():
    _, config = deltas({"a": adapter(lora_dropout=0.1), "b": adapter(seed=1, target_modules="layer")}, [1, 1])
    assert config.target_modules == ["layer"] and config.lora_dropout == 0.1 and not config.use_rslora


def test_a_rank_above_the_sides_of_a_matrix_is_the_smaller_side():
    _, config = deltas({"a": adapter(), "b": adapter(seed=1)}, [1, 1], "svd", svd_rank=10**9)
    assert config.r == config.lora_alpha == 12


# ---- what is refused

BOTH = {"a": adapter(), "b": adapter(seed=1)}
LAYER = {"target_modules": ["layer"]}
NOT_COMBINED = {
    "is a DoRA": (adapter(kind=DoraAdapter, use_dora=True), "lora_magnitude_vector"),
    "is an AdaLoRA": (adapter(kind=AdaLoraAdapter, config=AdaLoraConfig(total_step=9, **LAYER)), "ADALORA"),
    "is an IA3": (adapter(kind=IA3Adapter, config=IA3Config(feedforward_modules=[], **LAYER)), "IA3"),
    "is a VeRA": (adapter(kind=VeraAdapter, config=VeraConfig(r=2, **LAYER)), "VERA"),
    "has trained copies": (adapter(modules_to_save=["lm_head"]), "trained copies of modules \\(lm_head\\)"),
    "has no values": (LoraAdapter(LoraConfig(r=4, **LAYER), [PLACE], None), "no values yet"),
    "has a nan": (
        adapter({"lora_A.weight": np.full((4, 12), np.nan), "lora_B.weight": np.ones((20, 4))}),
        "not all finite",
    ),
}


@pytest.mark.parametrize("name", NOT_COMBINED)
def test_an_adapter_that_is_no_sum_of_products_is_refused_by_name(name):
    wrong, says = NOT_COMBINED[name]
    with pytest.raises(
        ConfigError, match=f"^adapter 'b' .*cannot be combined: .*{says}|^adapter 'b' .*{says}.*cannot be combined"
    ):
        combine({"a": adapter(), "b": wrong}, [1, 1], "svd")


def test_prompt_tuning_is_refused_by_name():
    config = PromptTuningConfig(num_virtual_tokens=2, token_dim=4)
    prompt = PromptTuningAdapter(config, [], None)
    with pytest.raises(ConfigError, match=r"adapter 'b' \(PROMPT_TUNING\) cannot be combined"):
        combine({"a": adapter(), "b": prompt}, [1, 1])


@pytest.mark.parametrize(
    "weights",
    [
        [1],
        [1, 2, 3],
        1,
        None,
        "ab",
        {0: 1, 1: 1},
        [1, np.nan],
        [1, np.inf],
        [1, 10**400],
        [1, 1e308],
        [1, "x"],
        [1, None],
        [True, 1],
        [[1], [1]],
    ],
)
def test_weights_that_are_not_one_number_for_each_are_refused(weights):
    with pytest.raises(ConfigError, match="^weights"):
        combine(BOTH, weights)


@pytest.mark.parametrize("weights", [(0.7, 1), np.array([0.7, 1]), [np.float32(0.7), 1]])
def test_weights_may_be_any_sequence_of_numbers(weights):
    found, _ = deltas(BOTH, weights, "cat")
    np.testing.assert_allclose(found["layer"], deltas(BOTH, [0.7, 1.0], "cat")[0]["layer"], rtol=1e-5)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"combination_type": "tie"}, "combination_type 'tie': expected one of ties, "),
        ({"combination_type": None}, "combination_type None: expected one of"),
        ({"combination_type": ["svd"]}, "combination_type .*: expected one of"),
        ({"combination_type": "linear_svd"}, "combination_type 'linear_svd': expected one of"),
        ({"svd_rank": 0}, "svd_rank = 0: expected a whole number of at least 1"),
        ({"svd_rank": -3}, "svd_rank = -3"),
        ({"svd_rank": 2.5}, "svd_rank = 2.5"),
        ({"svd_rank": True}, "svd_rank = True"),
        ({"svd_clamp": 0.2}, "svd_clamp = 0.2: expected a number above 0.5"),
        ({"svd_clamp": np.nan}, "svd_clamp = nan"),
        ({"svd_clamp": 99}, "svd_clamp = 99"),
        ({"combination_type": "ties"}, "density = None: combination_type 'ties' expects a number from 0"),
        ({"combination_type": "ties", "density": 1.5}, "density = 1.5"),
        ({"combination_type": "dare_linear", "density": -0.1}, "density = -0.1"),
        ({"combination_type": "dare_ties", "density": np.nan}, "density = nan"),
        ({"density": "half"}, "density = 'half'"),
        ({"seed": -1}, "seed = -1: expected a whole number of at least 0"),
        ({"seed": None}, "seed = None"),
        ({"seed": 1.5}, "seed = 1.5"),
        ({"majority_sign_method": "mean"}, "majority_sign_method 'mean': expected 'total' or 'frequency'"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, says):
    with pytest.raises(ConfigError, match=f"^{says}"):
        combine(BOTH, [1, 1], **options)


@pytest.mark.parametrize("kind", ["linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"])
def test_a_rule_for_the_factors_refuses_other_ranks(kind):
    with pytest.raises(ConfigError, match="on layer a has 4, c has 6; expected 'cat' or a type that ends in 'svd'"):
        combine({"a": adapter(), "c": adapter(r=6)}, [1, 1], kind, density=0.5)


@pytest.mark.parametrize("kind", ["cat", "svd", "ties_paper"])
def test_a_result_that_is_not_finite_is_refused(kind):
    with pytest.raises(ConfigError, match="not finite on layer"):
        combine({"a": adapter(lora_alpha=1e20), "b": adapter(seed=1, lora_alpha=1e20)}, [1e29, 1], kind, density=0.5)


def test_a_generator_of_numpy_goes_on_where_it_is():
    generator = np.random.default_rng(1)
    one, other = (deltas(BOTH, [1, 1], "dare_linear", density=0.5, seed=generator)[0]["layer"] for _ in range(2))
    np.testing.assert_array_equal(one, deltas(BOTH, [1, 1], "dare_linear", density=0.5, seed=1)[0]["layer"])
    assert (one != other).any()
