"""Every key that transformers knows of config.json, changed: the model here follows, or the key is refused by name."""

import json
import logging
import re

import numpy as np
import pytest

import minilora as ml
from minilora.errors import MiniloraError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

SIZES = {"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 128, "use_cache": False}  # fmt: skip
FAMILIES = {
    "llama": SIZES,
    "mistral": SIZES | {"sliding_window": 9},
    "qwen2": {k: v for k, v in SIZES.items() if k != "head_dim"},
    "qwen3": SIZES,
    "gpt2": {"vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64},
}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 1e4}  # fmt: skip
ROTARY = [
    {"rope_type": "default", "rope_theta": 500.0},
    {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0},
    {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 3.0},
    {"rope_type": "yarn", "rope_theta": 1e4, "factor": 3.0, "original_max_position_embeddings": 8},
    {"rope_type": "longrope", "rope_theta": 1e4, "factor": 3.0, "short_factor": [2.0] * 3, "long_factor": [3.0] * 3,
     "original_max_position_embeddings": 8},
    LLAMA3, LLAMA3 | {"factor": 9.0}, LLAMA3 | {"high_freq_factor": 40.0}, LLAMA3 | {"low_freq_factor": 0.1},
    LLAMA3 | {"original_max_position_embeddings": 8},
    {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    {"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
]  # fmt: skip
TYPES = [["sliding_attention", "full_attention"], ["full_attention"] * 2, ["sliding_attention"] * 2]
OTHERS = {  # key -> values to try; any other key: values of its own kind
    "rope_parameters": ROTARY,
    "rope_scaling": [{k: v for k, v in rope.items() if k != "rope_theta"} for rope in ROTARY[1:5]],
    "rope_theta": [500.0],
    "hidden_act": ["gelu", "relu", "swish", "gelu_pytorch_tanh"],
    "activation_function": ["gelu", "relu", "gelu_pytorch_tanh", "silu"],
    "layer_types": TYPES,
    "partial_rotary_factor": [0.5],
    "attn_implementation": ["eager"],
}
ROTARY_WORDS = "rotary settings|rope_type|partial_rotary_factor|freq_factor"
NAMED_AS = {"rope_parameters": ROTARY_WORDS, "rope_scaling": ROTARY_WORDS}  # what a refusal calls them; others: the key
UNLISTED = ["rope_scaling", "rope_theta", "partial_rotary_factor", "layer_types", "sliding_window", "attention_bias",
            "mlp_bias", "head_dim", "max_window_layers", "use_sliding_window", "tie_word_embeddings"]  # fmt: skip
TOGETHER = [{"use_sliding_window": True, "sliding_window": 5, "max_window_layers": n} for n in (0, 1)]
TOGETHER += [{"use_sliding_window": True, "sliding_window": 5, "layer_types": types} for types in TYPES]
TOGETHER += [{"rope_theta": 700.0, "rope_scaling": {"type": "linear", "factor": 2.0}}]
IDS = np.random.default_rng(2).integers(0, 61, (2, 15))


def others(key, value):
    if key in OTHERS:
        return OTHERS[key]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value * 2 or 1] if isinstance(value, int) else [value + 1]
    return [True, 5] if value is None or value is ... else []


def changes(config):
    for key in [*config, *UNLISTED]:
        for other in others(key, config.get(key, ...)):
            if other != config.get(key, ...):
                yield {key: other}
    yield from TOGETHER


@pytest.fixture(autouse=True)
def quiet():
    """transformers says much about keys that it does not like."""
    progress, level = transformers.utils.logging.is_progress_bar_enabled(), logging.getLogger("transformers").level
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("transformers").setLevel(level)
    if progress:
        transformers.utils.logging.enable_progress_bar()


def there(folder):
    """transformers' logits, or None when it cannot open the folder with every weight in its place."""
    try:
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, attn_implementation="eager"
        )
        if any(report.values()):
            return None
        with torch.no_grad():
            return model(torch.tensor(IDS)).logits.numpy()
    except Exception:
        return None


def here(folder):
    """Our logits, or the line that refuses the folder."""
    try:
        return ml.load_pretrained(folder)(IDS).numpy()
    except MiniloraError as error:
        return str(error)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_that_changes_what_transformers_computes_changes_it_here_too_or_is_refused_by_name(family, tmp_path):
    torch.manual_seed(4)
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family], initializer_range=0.3)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    original = json.loads(path.read_text(encoding="utf-8"))
    plain, seen = there(tmp_path), {"honoured": set(), "refused": set(), "no matter": set()}
    assert abs(here(tmp_path) - plain).max() < 1e-4
    for change in changes(original):
        path.write_text(json.dumps(original | change), encoding="utf-8")
        wanted, found = there(tmp_path), here(tmp_path)
        if wanted is None:  # what transformers cannot open may be refused in any words, or be of no matter here
            if not isinstance(found, str):
                assert abs(found - plain).max() < 1e-4, change
            continue
        matters = abs(wanted - plain).max() > 1e-4
        if isinstance(found, str):
            assert any(re.search(NAMED_AS.get(key, key), found) for key in change), (change, found)
            seen["refused"] |= set(change)
        else:
            assert abs(found - wanted).max() < 1e-4, change
            seen["honoured" if matters else "no matter"] |= set(change)
    expected = {"gpt2": {"layer_norm_epsilon"}}.get(family, {"rms_norm_eps", "rope_parameters"})
    assert expected <= seen["honoured"] and len(seen["refused"]) >= 2, seen
