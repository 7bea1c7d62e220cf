"""Gemma: what it adds to Llama. Beside transformers: tests/reference/test_models.py."""

import numpy as np
import pytest
from tiny import SIZES, random_ids

import minilora as ml
from minilora import ops
from minilora.autograd import Tensor
from minilora.errors import ConfigError
from minilora.models.gemma import GemmaConfig, GemmaEmbedding, GemmaForCausalLM, GemmaNorm, capped_attention
from minilora.models.pretrained import config_from_json, config_to_json, model_of

SMALL = SIZES | {"head_dim": 4, "query_pre_attn_scalar": 6.0, "sliding_window": 3}
GEMMA2 = GemmaConfig(
    **SMALL | {"model_type": "gemma2", "layer_types": ["sliding_attention", "full_attention"]},
    attn_logit_softcapping=2.0, final_logit_softcapping=0.5,
)  # fmt: skip
GEMMA3 = GemmaConfig(
    **SMALL | {"model_type": "gemma3_text", "layer_types": ["full_attention", "sliding_attention"], "qk_norm": True},
    local_rope_theta=50.0,
)  # fmt: skip
each_config = pytest.mark.parametrize("config", [GEMMA2, GEMMA3], ids=lambda c: c.model_type)


def filled(config):
    model, generator = model_of(config), np.random.default_rng(0)
    for p in model.parameters():
        p.assign(generator.normal(0, 0.3, p.shape).astype(np.float32))
    return model.eval()


def test_logits_stay_within_their_cap():
    assert abs(filled(GEMMA2)(random_ids(shape=(2, 5))).numpy()).max() < 0.5


def test_the_loss_is_that_of_the_capped_logits_for_a_frozen_head_too():
    model, ids = filled(GEMMA2), random_ids(shape=(2, 6))
    before = float(model.loss(ids, ids).data)
    model.lm_head.weight.requires_grad = False
    expected = ops.cross_entropy(model(ids)[:, :-1].reshape(-1, 29), ids[:, 1:].reshape(-1))
    assert float(model.loss(ids, ids).data) == pytest.approx(before, rel=1e-6)
    assert before == pytest.approx(float(expected.data), rel=1e-5)


def test_a_cap_that_is_far_away_changes_nothing_in_attention():
    rng = np.random.default_rng(1)
    q, k, v = (Tensor(rng.standard_normal((2, 3, heads, 4))) for heads in (4, 2, 2))
    bias = ops.causal_bias(3, 3, None, np.float64)
    np.testing.assert_allclose(
        capped_attention(q, k, v, bias, 1e6).data, ops.attention(q, k, v, bias).data, rtol=1e-6, atol=1e-9
    )


def test_a_norm_of_zeros_is_the_identity_of_its_scale():
    norm = GemmaNorm(5, 1e-6)
    norm.init(0)
    x = Tensor(np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32))
    np.testing.assert_allclose(norm(x).data, ops.rms_norm(x, Tensor(np.ones(5, np.float32)), 1e-6).data)


def test_the_window_has_an_angle_of_its_own():
    ids, other = random_ids(shape=(1, 6)), GemmaConfig(**{**vars(GEMMA3), "local_rope_theta": 9000.0})
    assert abs(filled(GEMMA3)(ids).numpy() - filled(other)(ids).numpy()).max() > 1e-4


@each_config
def test_generation_with_a_cache_gives_the_tokens_of_the_whole_forward(config):
    model, ids = filled(config), random_ids(shape=(1, 4))
    made = model.generate(ids, 5, eos_token_id=None)[0]
    for _ in range(5):
        ids = np.concatenate([ids, model(ids).numpy()[:, -1:].argmax(-1)], axis=1)
    assert list(made) == ids[0].tolist()


@each_config
def test_its_configuration_is_stored_and_read_again(config):
    assert config_from_json(config_to_json(config)) == config


def test_an_adapter_beside_the_embedding_is_scaled_as_the_embedding_is():
    model = ml.get_peft_model(filled(GEMMA3), ml.LoraConfig(r=2, target_modules=["embed_tokens"]))
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.assign(np.random.default_rng(2).normal(0, 0.3, p.shape).astype(np.float32))
    ids = random_ids(shape=(1, 5))
    before = model(ids).numpy()
    np.testing.assert_allclose(model.merge_and_unload()(ids).numpy(), before, atol=1e-4)
    assert isinstance(model_of(GEMMA3).model.embed_tokens, GemmaEmbedding)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention True is not supported"),
        ({"hidden_activation": "relu"}, "hidden_activation 'relu' is not supported"),
        ({"layer_types": ["full_attention"]}, "layer_types must list"),
        ({"attn_logit_softcapping": 0}, "attn_logit_softcapping = 0, expected a finite number above 0"),
    ],
)
def test_what_it_does_not_compute_is_refused_by_name(change, said):
    with pytest.raises(ValueError, match=said):
        config_from_json(config_to_json(GEMMA2) | change)


@pytest.mark.parametrize(("kind", "pattern"), [("gemma2", "sf" * 4), ("gemma3_text", "sssssfss")])
def test_layers_take_turns_where_the_file_is_silent(kind, pattern):
    data = config_to_json(GEMMA2 if kind == "gemma2" else GEMMA3) | {"num_hidden_layers": 8, "layer_types": None}
    types = config_from_json(data).layer_types
    assert "".join(t[0] for t in types) == pattern


def test_a_rotary_setting_of_the_window_that_is_not_plain_is_refused():
    rope = {"full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}  # fmt: skip
    with pytest.raises(ConfigError, match="rotary settings of sliding_attention: rope_type 'linear' is not supported"):
        config_from_json(config_to_json(GEMMA3) | {"rope_parameters": rope})


def test_the_names_are_those_of_hugging_face():
    names = {name for name, _ in GemmaForCausalLM(GEMMA3).named_parameters()}
    assert "model.layers.1.post_feedforward_layernorm.weight" in names
    assert "model.layers.0.self_attn.q_norm.weight" in names
