"""Trained rows of an embedding: the equation, its gradients, a tied head, merging, files, and what is refused."""

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora import LoraConfig, Tensor, get_peft_model
from minilora.adapters.inspect import read_adapter
from minilora.adapters.model import PeftModel
from minilora.errors import ConfigError
from minilora.files.safetensors import read_tensors
from minilora.gradcheck import gradcheck
from minilora.methods.trainable_tokens import NAME, replace_columns, replace_looked_up

IDS = random_ids()
TOKENS = [int(t) for t in np.unique(IDS)[[3, 0]]]  # in the batch, and not in order


def model_with(tokens=TOKENS, tied=True, **options):
    """A model whose q_proj has a LoRA and whose rows `tokens` are trained, moved away from their start."""
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj"], trainable_token_indices=tokens, **options)
    model = get_peft_model(tiny_llama(dtype=np.float64, tie_word_embeddings=tied), config, seed=1)
    rng = np.random.default_rng(7)
    for _, p in model.named_parameters():
        if p.requires_grad:
            p.data = p.data + rng.standard_normal(p.shape)
    return model


def plain_with_rows(model, paths, tied=True):
    """The base of `model` with the rows written into its own weights, and q_proj's updates merged."""
    plain = tiny_llama(dtype=np.float64, tie_word_embeddings=tied)
    for path in paths:
        method = model.base_model.adapters["default"].methods[path]
        plain.get_submodule(path).weight.data[method.tokens] = method.R.data
    for path, method in model.base_model.adapters["default"].methods.items():
        if "q_proj" in path:
            plain.get_submodule(path).weight.data += method.delta()
    return plain


def test_rows_that_are_looked_up_pass_the_gradient_check_with_a_token_that_occurs_twice():
    rng, ids = np.random.default_rng(0), np.array([[3, 1, 3], [0, 8, 1]])
    tensors = [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3, 4), (2, 4))]
    gradcheck(lambda y, R: replace_looked_up(y * 1.0, R, ids, np.array([3, 0]), 1.5), tensors)


def test_columns_of_a_head_pass_the_gradient_check():
    rng = np.random.default_rng(0)
    tensors = [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3, 9), (2, 3, 4), (2, 4))]
    gradcheck(lambda y, x, R: replace_columns(y * 1.0, x, R, np.array([3, 0])), tensors)


def test_a_new_adapter_changes_nothing():
    config = LoraConfig(target_modules=["q_proj"], trainable_token_indices=TOKENS)
    model = get_peft_model(tiny_llama(tie_word_embeddings=True), config)
    assert np.allclose(model(IDS).data, tiny_llama(tie_word_embeddings=True)(IDS).data, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_the_function_is_that_of_a_model_with_these_rows(tied):
    model = model_with(tied=tied)
    expected = plain_with_rows(model, ["model.embed_tokens"], tied)
    assert np.allclose(model(IDS).data, expected(IDS).data, rtol=1e-9)
    assert np.isclose(model.loss(IDS, IDS).item(), expected.loss(IDS, IDS).item(), rtol=1e-12)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_tied_head_reads_and_trains_the_rows_too_in_every_form_of_the_loss(chunked):
    model = model_with()
    model.get_base_model().chunked_loss = chunked
    [rows] = [p for n, p in model.named_parameters() if "trainable_tokens" in n]
    model.loss(IDS, IDS).backward()
    step = np.zeros(rows.shape)
    step[0, 2] = 1e-6
    start = rows.data
    values = []
    for sign in (1, -1):
        rows.data = start + sign * step
        values.append(model.loss(IDS, IDS).item())
    assert np.isclose(rows.grad[0, 2], (values[0] - values[1]) / 2e-6, rtol=1e-5)


def test_a_head_can_have_tokens_of_its_own():
    model = model_with({"lm_head": [5], "embed_tokens": TOKENS}, tied=False)
    expected = plain_with_rows(model, ["model.embed_tokens", "lm_head"], tied=False)
    assert np.allclose(model(IDS).data, expected(IDS).data, rtol=1e-9)


def test_the_count_is_a_row_of_the_width_for_each_token_once():
    with_rows, without = (model_with(t).get_nb_trainable_parameters()[0] for t in (TOKENS, None))
    assert with_rows - without == 2 * 16


def test_merged_it_is_the_same_function_with_a_tied_head_and_unmerged_every_bit_is_back():
    model = model_with()
    before, bits = model(IDS).data, {n: p.data.copy() for n, p in model.get_base_model().named_parameters()}
    model.merge_adapter()
    assert np.allclose(model(IDS).data, before, rtol=1e-9)
    base = model.get_base_model()
    assert base.lm_head.base_layer.weight is base.model.embed_tokens.base_layer.weight
    model.unmerge_adapter()
    assert np.array_equal(model(IDS).data, before)
    assert all(np.array_equal(p.data, bits[n]) for n, p in model.get_base_model().named_parameters())


def test_a_merged_model_is_saved_with_its_head_still_tied(tmp_path):
    model = model_with()
    before = model(IDS).data
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path)
    assert "lm_head.weight" not in read_tensors(tmp_path / "model.safetensors")
    assert np.allclose(merged(IDS).data, before, rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"init_lora_weights": "pissa"}])
def test_the_file_has_the_rows_once_and_gives_the_function_back(options, tmp_path):
    model = model_with(**options)
    model.save_pretrained(tmp_path)
    names = [n for n in read_tensors(tmp_path / "adapter_model.safetensors") if NAME in n]
    assert names == ["base_model.model.model.embed_tokens." + NAME]
    again = PeftModel.from_pretrained(tiny_llama(dtype=np.float64, tie_word_embeddings=True), tmp_path)
    assert np.allclose(again(IDS).data, model(IDS).data, rtol=1e-3, atol=1e-3)  # files are in float32


def test_an_adapters_folder_tells_how_many_tokens_are_trained(tmp_path):
    model = model_with()
    model.save_pretrained(tmp_path)
    found = read_adapter(tmp_path)
    assert {path: rows.shape for path, rows in found.tokens.items()} == {"model.embed_tokens": (2, 16)}
    assert found.parameters == model.get_nb_trainable_parameters()[0]


def test_of_two_adapters_with_tokens_one_can_be_active():
    model = model_with()
    model.add_adapter("b", LoraConfig(r=3, target_modules=["q_proj"], trainable_token_indices=[1]), seed=2)
    model.set_adapter("b")
    with pytest.raises(ConfigError, match="replaces rows: only one can be active"):
        model.set_adapter(["default", "b"])


def test_the_scale_of_an_adapter_leaves_the_rows():
    model = model_with()
    model.set_scale("default", 0)
    expected = plain_with_rows(model, ["model.embed_tokens"])
    assert np.allclose(model(IDS).data, expected(IDS).data, rtol=1e-9)


def test_an_adapter_with_rows_is_not_combined():
    with pytest.raises(ConfigError, match="cannot be combined: it has token_adapter"):
        model_with().add_weighted_adapter(["default"], [1.0], "c", "linear")


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        ([3, 3], {}, r"trainable_token_indices = \[3, 3\]: expected a list of token ids of at least 0, each once"),
        ([-1], {}, r"trainable_token_indices = \[-1\]: expected"),
        ([True], {}, r"trainable_token_indices = \[True\]: expected"),
        ({"embed_tokens": []}, {}, "trainable_token_indices = .*: expected"),
        ([29], {}, "token 29 is outside the 29 rows of model.embed_tokens"),
        ({"q_proj": [1]}, {}, "'q_proj' is no embedding or head; the model has: embed_tokens, lm_head"),
        ([1], {"modules_to_save": ["embed_tokens"]}, "cannot be both adapted and in modules_to_save"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tokens, options, message):
    with pytest.raises(ConfigError, match=message):
        model_with(tokens, **options)


def test_an_adapted_embedding_has_no_trained_rows_besides():
    config = LoraConfig(target_modules=["embed_tokens"], trainable_token_indices=[1])
    with pytest.raises(ConfigError, match="embed_tokens cannot be both in target_modules and in trainable_token_ind"):
        get_peft_model(tiny_llama(), config)
