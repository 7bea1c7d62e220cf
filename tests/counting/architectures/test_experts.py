"""Mixtures of experts: which targets adapt what, and what is said about it. Beside real PEFT: tests/reference."""

import pytest

from minilora.counting.architectures.catalog import from_config, load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count
from minilora.counting.flops import flops
from minilora.errors import ConfigError


def test_every_expert_has_an_adapter_of_its_own():
    d, m, E, r = 4096, 14336, 8, 5
    assert count(load("mixtral-8x7b"), "w2", r).trainable == 32 * E * r * (m + d)


def test_gate_and_up_are_adapted_together_with_twice_the_rank():
    d, m, E, r = 4096, 14336, 8, 5
    assert count(load("mixtral-8x7b"), "w1,w3", r).trainable == 32 * E * 2 * r * (d + 2 * m)


def test_all_linear_leaves_the_experts_of_gpt_oss_out_and_says_so():
    made = count(load("gpt-oss-20b"), "all-linear", 8)
    assert {p.path.rpartition(".")[2] for p in made.chosen} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert made.notes[0].startswith("no target adapts the experts")


def test_the_count_with_linear_layers_for_each_expert_is_said():
    d, m, E, r = 4096, 14336, 8, 4
    attention_and_router = r * 32 * (2 * (d + d) + 2 * (d + 1024) + d + E)
    apart = attention_and_router + 32 * E * r * (2 * (d + m) + (m + d))
    assert f"LoRA trains {apart:,} parameters" in count(load("mixtral-8x7b"), "all-linear", r).notes[0]


def test_experts_that_nobody_asked_for_are_mentioned_for_4_bit_alone():
    (note,) = count(load("mixtral-8x7b"), "q_proj,v_proj", 8).notes
    assert note.startswith("in 4 bit only linear layers are stored so")


def test_gpt_oss_is_trained_in_16_bit_and_that_is_said():
    assert any("MXFP4" in note for note in count(load("gpt-oss-20b"), "all-linear", 8).notes)
    assert not any("MXFP4" in note for note in count(load("mixtral-8x7b"), "all-linear", 8).notes)


def test_a_model_without_experts_has_no_such_note():
    assert count(load("mistral-7b"), "all-linear", 8).notes == []


def test_the_sum_to_redo_by_hand_has_every_expert():
    made = count(load("mixtral-8x7b"), "w2,w1,w3", 2)
    assert made.working == "2 x (512 x (4096 + 28672) + 256 x (14336 + 4096))"
    assert made.trainable == 2 * (512 * (4096 + 28672) + 256 * (14336 + 4096))


def test_a_token_is_multiplied_by_the_experts_that_it_is_sent_to_alone():
    forward = flops(count(load("mixtral-8x7b"), "q_proj", 1), 1).forward
    d, m = 4096, 14336
    per_layer = 2 * d * d + 2 * d * 1024 + 8 * d + 2 * 3 * d * m
    assert forward == 2 * (32 * per_layer + 32000 * d)


@pytest.mark.parametrize("targets", ["w1", "q_proj,w3"])
def test_one_half_of_a_fused_matrix_is_refused(targets):
    with pytest.raises(
        ConfigError, match=r"target 'w[13]' needs 'w[13]' beside it: both are one matrix, model\.layers"
    ):
        count(load("mixtral-8x7b"), targets, 8)


@pytest.mark.parametrize("targets", ["gate_up_proj", "experts", r".*experts\.down_proj"])
def test_the_parameters_of_experts_are_no_modules(targets):
    with pytest.raises(ConfigError, match="no module matches|no linear layer"):
        count(load("gpt-oss-20b"), targets, 8)


def test_a_layer_may_have_an_ordinary_mlp_instead():
    config = PRESETS["qwen3-30b-a3b"] | {"mlp_only_layers": [0, 3], "decoder_sparse_step": 2}
    parts = from_config(config, "config.json").parts
    dense = [int(p.path.split(".")[2]) for p in parts if p.path.endswith("mlp.gate_proj")]
    assert dense == [0, 2, 3, *range(4, 48, 2)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_experts_per_tok": 9}, "num_experts_per_tok 9 is more than the 8 experts"),
        ({"num_local_experts": 0}, "num_local_experts = 0, expected a whole number"),
    ],
)
def test_experts_that_cannot_be_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        from_config(PRESETS["mixtral-8x7b"] | change, "config.json")
