"""A whole model: logits and loss beside recorded ones of transformers, gradients, caches, padding, labels."""

import numpy as np
import pytest
from checkpoints import GOLDEN, MODELS, expected
from tiny import random_ids, tiny_gpt2, tiny_llama, with_lora

import minilora as ml
from minilora import autograd, ops
from minilora.autograd import Tensor
from minilora.errors import MiniloraError, ShapeError
from minilora.gradcheck import gradcheck
from minilora.models.cache import KVCache

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


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("shape", [(5,), (1, 2, 3)])
def test_ids_that_are_not_batch_by_tokens_are_refused(make, shape):
    with pytest.raises(ShapeError, match="batch, tokens"):
        make()(random_ids(shape=shape))


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


@pytest.mark.parametrize("make", [tiny_llama, lambda: with_lora(tiny_llama(), "all-linear", dropout=0.1)])
def test_every_activation_and_gradient_of_a_step_is_float32(make, monkeypatch):
    model = make()
    model.train()
    activations, gradients = [], []
    init, arrive = Tensor.__init__, autograd._add_gradient

    def noting_init(self, data, *args, **kwargs):
        activations.append(data)
        init(self, data, *args, **kwargs)

    def noting_add_gradient(arrived, owned, key, pg, g):
        gradients.append(pg)
        arrive(arrived, owned, key, pg, g)

    monkeypatch.setattr(Tensor, "__init__", noting_init)
    monkeypatch.setattr(autograd, "_add_gradient", noting_add_gradient)
    model.loss(random_ids(), random_ids(), rng=np.random.default_rng(0)).backward()
    assert len(activations) > 40 and len(gradients) > 40
    assert {a.dtype for a in activations + gradients} == {np.dtype(np.float32)}
    assert all(p.grad.dtype == np.float32 for p in model.parameters() if p.requires_grad)


def test_the_loss_is_the_cross_entropy_of_the_shifted_logits_and_has_the_same_gradient():
    ids = random_ids(shape=(3, 6))
    labels = np.where(np.random.default_rng(1).random((3, 6)) < 0.4, -100, ids)
    short, full = tiny_llama(dtype=np.float64), tiny_llama(dtype=np.float64)
    a = short.loss(ids, labels)
    b = ops.cross_entropy(full(ids)[:, :-1], labels[:, 1:])
    a.backward()
    b.backward()
    np.testing.assert_allclose(a.item(), b.item(), rtol=1e-13)
    for p, q in zip(short.parameters(), full.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-9, atol=1e-13)


def test_a_whole_model_with_adapters_passes_the_gradient_check_in_float64():
    model = with_lora(tiny_llama(dtype=np.float64, spread=3.0), "all-linear")
    ids = random_ids(shape=(2, 4))
    labels = np.where(np.arange(4) < 2, -100, ids)
    parameters = [p for n, p in model.named_parameters() if "layers.1" in n and p.requires_grad][:6]
    gradcheck(lambda *_: model.loss(ids, labels), parameters)


def test_running_the_model_twice_on_one_graph_with_adapters_gives_exact_gradients():
    # the update is written into the frozen layer's output in place: a retained graph must not notice
    model, once = (with_lora(tiny_llama(dtype=np.float64), "all-linear") for _ in range(2))
    ids = random_ids()
    once.loss(ids, ids).backward()
    loss = model.loss(ids, ids)
    loss.backward(retain_graph=True)
    model(ids)  # another forward in between
    loss.backward()
    for (name, p), q in zip(model.named_parameters(), once.parameters(), strict=True):
        if p.requires_grad:
            assert np.array_equal(p.grad, 2 * q.grad), name


def test_labels_that_do_not_fit_or_count_nowhere_are_refused():
    with pytest.raises(MiniloraError, match=r"labels of shape \(2, 6\) for ids of shape \(2, 7\)"):
        tiny_llama().loss(random_ids(), random_ids(shape=(2, 6)))
    with pytest.raises(MiniloraError, match="no position has a label"):
        tiny_llama().loss(random_ids(), np.full((2, 7), -100))
