"""What a family assumes where its config.json is silent, and which families can be loaded."""

import pytest

from minilora.errors import ConfigError
from minilora.files.config_json import fields_from_json
from minilora.files.families import DEFAULTS, LOADABLE
from minilora.models.pretrained import FAMILIES


def test_the_families_that_can_be_read_are_those_with_a_model_file():
    assert set(LOADABLE) == set(FAMILIES)


@pytest.mark.parametrize("kind", sorted(DEFAULTS.keys() - set(LOADABLE)))
def test_a_family_that_is_only_counted_is_refused_by_name(kind):
    with pytest.raises(ConfigError, match=f"model_type '{kind}' is not supported; known: "):
        fields_from_json({"model_type": kind})


SILENT = {  # written out: a number changed in the table must be changed here too
    "llama": {"max_position_embeddings": 2048},
    "mistral": {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "sliding_window": 4096},
    "qwen3": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "sliding_window": 4096, "head_dim": 128},
    "phi3": {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
    "gemma2": {"max_position_embeddings": 8192, "num_key_value_heads": 4, "sliding_window": 4096, "head_dim": 256},
    "gpt2": {"n_positions": 1024, "tie_word_embeddings": True},
}


@pytest.mark.parametrize("kind", SILENT)
def test_a_family_that_is_loaded_assumes_what_transformers_does(kind):
    assert DEFAULTS[kind] | SILENT[kind] == DEFAULTS[kind]
