"""Prefix tuning: against PEFT's recorded logits, its closed forms, and in generation."""

import numpy as np
import pytest
from checkpoints import GOLDEN, read_npz
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora import PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from minilora.errors import ConfigError, FormatError
from minilora.files.safetensors import read_tensors, write_tensors
from minilora.gradcheck import gradcheck
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel

IDS = random_ids()
N = 3


def gpt2(dtype=np.float64):
    return GPT2LMHeadModel(GPT2Config(vocab_size=29, n_embd=16, n_layer=2, n_head=4, n_positions=32)).init(0, dtype)


def llama():  # head_dim · heads != width, fewer key/value heads than heads
    return tiny_llama(dtype=np.float64)


def prefixed(model, **options):
    return get_peft_model(model, PrefixTuningConfig(num_virtual_tokens=N, **options), seed=4)


def prompt_of(model):
    return model.base_model.adapters["default"].prompt


@pytest.mark.parametrize("name", ["gpt2_tiny", "llama3rope_tiny"])
def test_an_adapter_from_peft_gives_pefts_logits(name):
    expected = read_npz(GOLDEN / name / "prefix_expected.npz")
    model = PeftModel.from_pretrained(ml.load_pretrained(GOLDEN / name / "base"), GOLDEN / name / "prefix")
    assert abs(model(expected["input_ids"]).data - expected["logits"]).max() <= 1e-5


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_gradient_through_cached_keys_and_values_is_that_of_central_differences(make):
    model = prefixed(make())
    prompt = prompt_of(model)

    def f(P):
        model.base_model.adapters["default"].parameters["prompt_embeddings"] = P
        return model.loss(IDS, IDS)

    gradcheck(f, [prompt])


@pytest.mark.parametrize("make", [gpt2, llama])
def test_a_prefix_from_a_text_gives_the_logits_behind_that_text(make):
    """The keys and values of the first tokens, put into the cache, are those tokens."""
    text = np.random.default_rng(1).integers(0, 29, N)
    model = prefixed(make())
    model.base_model.adapters["default"].init_from_text(model.get_base_model(), text)
    behind = make()(np.concatenate([np.tile(text, (len(IDS), 1)), IDS], axis=1)).data[:, N:]
    assert np.allclose(model(IDS).data, behind, atol=1e-10)


def test_a_text_of_another_length_is_refused():
    model = prefixed(llama())
    with pytest.raises(ConfigError, match="expected the 3 tokens of a text"):
        model.base_model.adapters["default"].init_from_text(model.get_base_model(), np.arange(4))


def test_a_prefix_of_zeros_takes_its_share_of_every_softmax():
    """One token with key k and query q: its value comes out times e^s / (n + e^s), not whole."""
    from minilora import Tensor, ops

    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 1, 1, 4)) for _ in range(3))
    zeros = np.zeros((1, N, 1, 4))
    keys, values = (Tensor(np.concatenate([zeros, a], axis=1)) for a in (k, v))
    out = ops.attention(Tensor(q), keys, values, None).data
    s = (q * k).sum() / np.sqrt(4)
    assert np.allclose(out, v * np.exp(s) / (N + np.exp(s)), atol=1e-12)
    model = prefixed(llama(), init_weights="zero")
    assert not prompt_of(model).data.any() and not np.allclose(model(IDS).data, llama()(IDS).data, atol=1e-3)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_a_row_of_a_padded_batch_is_generated_as_if_alone(make):
    model = prefixed(make())
    prompts = [IDS[0], IDS[1, :2], IDS[0, :5]]
    together = model.generate(prompts, 6)
    for prompt, row in zip(prompts, together, strict=True):
        assert row.tolist() == model.generate(prompt, 6)[0].tolist()
        whole = model(row[None, :-1]).data[0, len(prompt) - 1 :].argmax(-1)
        assert row[len(prompt) :].tolist() == whole.tolist()


def test_only_the_prefix_learns_and_it_is_counted_by_the_key_and_value_heads():
    model = prefixed(llama())
    c = model.config
    assert model.get_nb_trainable_parameters()[0] == N * c.num_hidden_layers * 2 * c.num_key_value_heads * c.head_dim
    model.loss(IDS, IDS).backward()
    assert [p.grad is not None for p in model.parameters() if p.requires_grad] == [True]


def test_saving_and_loading_gives_the_same_bits_and_other_sizes_are_refused(tmp_path):
    model = prefixed(tiny_llama())
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert np.array_equal(again(IDS).data, model(IDS).data)
    with pytest.raises(ConfigError, match="num_layers is 2; this model needs 3"):
        PeftModel.from_pretrained(tiny_llama(num_hidden_layers=3), tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    write_tensors(path, {"prompt_embeddings": read_tensors(path)["prompt_embeddings"][:2]})
    with pytest.raises(FormatError, match="1 of the wrong shape .*: prompt_embeddings"):
        PeftModel.from_pretrained(tiny_llama(), tmp_path)


def test_several_are_loaded_and_switched_and_never_active_together():
    model = prefixed(tiny_llama())
    first = model(IDS).data
    model.add_adapter("b", PromptTuningConfig(num_virtual_tokens=2), seed=9)
    model.set_adapter("b")
    assert model(IDS).shape[1] == IDS.shape[1] + 2
    model.set_adapter("default")
    assert np.array_equal(model(IDS).data, first)
    with model.disable_adapter():
        assert np.array_equal(model(IDS).data, tiny_llama()(IDS).data)
    with pytest.raises(ConfigError, match="can be active only by itself"):
        model.set_adapter(["default", "b"])


def test_merging_is_refused_by_name():
    model = prefixed(tiny_llama())
    for act in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ConfigError, match="PREFIX_TUNING cannot be merged"):
            act()


@pytest.mark.parametrize("n", [0, -1, None, "3", True])
def test_a_number_of_places_that_cannot_be_is_refused(n):
    with pytest.raises(ConfigError, match="num_virtual_tokens"):
        PrefixTuningConfig(num_virtual_tokens=n)
