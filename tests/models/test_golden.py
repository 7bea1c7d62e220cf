"""The models beside recorded outputs of transformers, and what must hold of decoding: caches, padding, windows."""

import numpy as np
import pytest
from checkpoints import GOLDEN, MODELS, expected
from tiny import SIZES, random_ids, tiny_llama

import minilora as ml
from minilora.errors import ConfigError, ShapeError
from minilora.models.cache import KVCache
from minilora.models.gpt2 import Conv1D, GPT2Config, GPT2LMHeadModel
from minilora.models.llama import LlamaConfig
from minilora.ops import causal_bias

GPT2 = {"vocab_size": 29, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 32, "n_inner": 20}


def tiny_gpt2(seed=0, **sizes):
    model = GPT2LMHeadModel(GPT2Config(**GPT2 | sizes)).init(seed)
    rng = np.random.default_rng([seed, 1])
    for p in model.parameters():
        p.data = (p.data * 9 + rng.standard_normal(p.shape) * 0.1).astype(np.float32)
    return model


MAKERS = {
    "llama": lambda: tiny_llama(3),
    "qwen3": lambda: tiny_llama(3, qk_norm=True),
    "windows": lambda: tiny_llama(3, sliding_window=3, layer_types=["full_attention", "sliding_attention"]),
    "gpt2": tiny_gpt2,
}


@pytest.fixture(params=MAKERS)
def model(request):
    return MAKERS[request.param]()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["base", "base_sharded"])
def test_logits_are_those_that_transformers_computed(name, kind):
    golden = expected(name)
    logits = ml.load_pretrained(GOLDEN / name / kind)(golden["input_ids"]).numpy()
    assert abs(logits - golden["base_logits"]).max() <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_logits_in_float64_differ_by_rounding_only(name):
    golden = expected(name)
    model = ml.load_pretrained(GOLDEN / name / "base", dtype="float64")
    logits = model(golden["input_ids"]).numpy()
    assert logits.dtype == np.float64 and abs(logits - golden["base_logits"]).max() <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_the_mean_cross_entropy_of_the_next_tokens(name):
    golden = expected(name)
    ids, logits = golden["input_ids"], golden["base_logits"].astype(np.float64)
    shifted = logits[:, :-1] - np.log(np.exp(logits[:, :-1]).sum(axis=-1, keepdims=True))
    by_hand = -np.take_along_axis(shifted, ids[:, 1:, None], axis=-1).mean()
    loss = ml.load_pretrained(GOLDEN / name / "base").loss(ids, ids).item()
    assert abs(loss - by_hand) <= 1e-5


def test_a_forward_in_two_parts_with_a_cache_equals_one_forward(model):
    ids = random_ids(shape=(2, 9))
    cache = KVCache()
    with ml.no_grad():
        whole = model(ids).numpy()
        for part in (ids[:, :4], ids[:, 4:5], ids[:, 5:]):
            logits = model(part, cache=cache).numpy()
    assert abs(logits - whole[:, 5:]).max() <= 1e-5 * abs(whole).max()


def test_cached_decoding_gives_the_tokens_of_decoding_without_a_cache(model):
    ids = random_ids(shape=(1, 6))
    made = model.generate(ids, 12)[0]
    for _ in range(12):
        nxt = model(ids).numpy()[:, -1].argmax(axis=-1)
        ids = np.concatenate([ids, nxt[:, None]], axis=1)
    assert len(set(made[6:].tolist())) > 2  # the model does not say one token for ever
    np.testing.assert_array_equal(made, ids[0])


def test_what_follows_a_prompt_does_not_depend_on_its_neighbours(model):
    prompts = [random_ids(seed=n, shape=(n,)) for n in (2, 8, 5)]
    for prompt, made in zip(prompts, model.generate(prompts, 10), strict=True):
        np.testing.assert_array_equal(made, model.generate(prompt, 10)[0])


def test_logits_of_a_left_padded_row_are_those_of_the_row_alone(model):
    ids = random_ids(shape=(1, 6))
    padded = np.concatenate([np.zeros((1, 3), np.int64), ids], axis=1)
    mask = np.arange(9)[None] >= 3
    positions = np.maximum(np.arange(9) - 3, 0)[None]
    logits = model(padded, mask=mask, positions=positions).numpy()[:, 3:]
    alone = model(ids).numpy()
    assert abs(logits - alone).max() <= 1e-5 * abs(alone).max()


def test_a_query_with_a_window_sees_that_many_keys_and_itself_among_them():
    seen = causal_bias(4, 6, window=3)[0, 0] == 0
    np.testing.assert_array_equal(seen, np.array([[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0],
                                                  [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]], bool))  # fmt: skip


@pytest.mark.parametrize("length, needed", [(3, False), (4, True)])
def test_one_new_token_needs_a_bias_only_when_a_key_has_left_the_window(length, needed):
    assert (causal_bias(1, length, window=3) is not None) == needed


def test_a_token_that_left_every_window_changes_nothing():
    model = tiny_llama(sliding_window=3, num_hidden_layers=2)
    ids = random_ids(shape=(1, 9))
    changed = ids.copy()
    changed[0, 0] = (ids[0, 0] + 1) % 29
    a, b = model(ids).numpy(), model(changed).numpy()
    np.testing.assert_array_equal(a[0, 5:], b[0, 5:])  # two layers reach back two windows: 2 · (3 - 1) places
    assert abs(a[0, 4] - b[0, 4]).max() > 0


def test_conv1d_is_a_linear_layer_that_stores_its_weight_transposed(rng):
    layer = Conv1D(4, 6)
    layer.init(0)
    layer.bias.data = rng.standard_normal(6).astype(np.float32)
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    assert layer.shape == (6, 4) == layer.dense().shape and layer.weight.shape == (4, 6)
    by_hand = x @ layer.weight.data + layer.bias.data
    assert abs(layer(ml.Tensor(x)).numpy() - by_hand).max() <= 1e-6


def test_replacing_the_weight_of_conv1d_takes_out_by_in_and_restoring_gives_back_the_bits(rng):
    layer = Conv1D(4, 6)
    layer.init(0)
    layer.weight.requires_grad = False
    original, new = layer.weight, rng.standard_normal((6, 4)).astype(np.float32)
    before = layer.replace_weight(new)
    assert before[0] is original and not layer.weight.requires_grad
    np.testing.assert_array_equal(layer.weight.data, new.T)
    np.testing.assert_array_equal(layer.dense(), new)
    layer.restore_weight(before)
    assert layer.weight is original


def test_a_frozen_conv1d_gets_no_gradient(rng):
    layer = Conv1D(4, 6)
    layer.init(0)
    layer.weight.requires_grad = layer.bias.requires_grad = False
    x = ml.Tensor(rng.standard_normal((3, 4)).astype(np.float32), requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is None and x.grad.shape == (3, 4)


def test_gpt2_refuses_more_tokens_than_it_has_positions():
    with pytest.raises(ShapeError, match="33 tokens.*32 positions"):
        tiny_gpt2()(random_ids(shape=(1, 33)))


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("shape", [(5,), (1, 2, 3)])
def test_ids_that_are_not_batch_by_tokens_are_refused(make, shape):
    with pytest.raises(ShapeError, match="batch, tokens"):
        make()(random_ids(shape=shape))


@pytest.mark.parametrize("change, word", [({"num_key_value_heads": 3}, "share"), ({"head_dim": 5}, "head_dim 5")])
def test_sizes_of_a_llama_that_do_not_fit_are_refused(change, word):
    with pytest.raises(ConfigError, match=word):
        LlamaConfig(**SIZES | change)


def test_heads_of_a_gpt2_that_do_not_divide_its_width_are_refused():
    with pytest.raises(ConfigError, match="n_embd 12 does not divide into 5 heads"):
        GPT2Config(**GPT2 | {"n_head": 5})


@pytest.mark.parametrize("name", ["llama3rope_tiny", "gpt2_tiny"])
def test_a_hidden_token_inside_a_prompt_is_skipped_as_transformers_skips_it(name):
    """The recorded tokens are the adapted model's, and token 0 of its prompt was taken for padding: mask = ids != 0."""
    golden = expected(name)
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(GOLDEN / name / "base"), GOLDEN / name / "adapter")
    recorded = golden["greedy_from_first8"]
    prompt = golden["input_ids"][:1, :8]
    mask = np.concatenate([prompt != 0, np.ones((1, 12), bool)], axis=1)
    positions = np.cumsum(mask, axis=1) - 1
    assert not mask.all()
    logits = model(recorded, mask=mask, positions=positions).numpy()
    np.testing.assert_array_equal(logits[0, 7:-1].argmax(axis=-1), recorded[0, 8:])
