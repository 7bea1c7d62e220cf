"""Prompt tuning: against PEFT's recorded logits, its starts, and where its loss is taken."""

import numpy as np
import pytest
from checkpoints import GOLDEN, edit_json, read_npz
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora import PeftModel, PromptTuningConfig, get_peft_model
from minilora.errors import ConfigError
from minilora.files.atomic import read_json
from minilora.files.shipped import shipped
from minilora.gradcheck import gradcheck
from minilora.models.gemma import GemmaConfig, GemmaForCausalLM
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minilora.text.tokenizer import load_tokenizer
from minilora.training.loop import count_labels

IDS = random_ids()
N = 3


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=29, n_embd=16, n_layer=2, n_head=4, n_positions=32)).init(
        0, np.float64
    )


def llama():
    return tiny_llama(dtype=np.float64)


def prompted(model, **options):
    return get_peft_model(model, PromptTuningConfig(num_virtual_tokens=N, **options), seed=4)


def adapter_of(model):
    return model.base_model.adapters["default"]


@pytest.mark.parametrize("name", ["gpt2_tiny", "llama3rope_tiny"])
def test_an_adapter_from_peft_gives_pefts_logits_n_positions_longer(name):
    expected = read_npz(GOLDEN / name / "prompt_expected.npz")
    model = PeftModel.from_pretrained(ml.load_pretrained(GOLDEN / name / "base"), GOLDEN / name / "prompt")
    logits = model(expected["input_ids"]).data
    assert logits.shape == expected["logits"].shape and abs(logits - expected["logits"]).max() <= 1e-5


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_gradient_is_that_of_central_differences(make):
    model = prompted(make())

    def f(P):
        adapter_of(model).parameters["prompt_embeddings"] = P
        return model.loss(IDS, IDS)

    gradcheck(f, [adapter_of(model).prompt])


@pytest.mark.parametrize("make", [gpt2, llama])
def test_embeddings_of_a_text_give_the_logits_and_the_loss_behind_that_text(make):
    text = np.random.default_rng(1).integers(0, 29, N)
    model, plain = prompted(make()), make()
    adapter_of(model).prompt.data = plain.get_input_embeddings().dense()[text]
    whole = np.concatenate([np.tile(text, (len(IDS), 1)), IDS], axis=1)
    assert np.allclose(model(IDS).data, plain(whole).data, atol=1e-10)
    labels = np.concatenate([np.full((len(IDS), N), -100), IDS], axis=1)  # the last place predicts the first token
    assert np.isclose(model.loss(IDS, IDS).item(), plain.loss(whole, labels).item(), rtol=1e-12)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_a_row_of_a_padded_batch_is_generated_as_if_alone(make):
    model = prompted(make())
    prompts = [IDS[0], IDS[1, :2], IDS[0, :5]]
    for prompt, row in zip(prompts, model.generate(prompts, 6), strict=True):
        assert row.tolist() == model.generate(prompt, 6)[0].tolist()


def test_sample_vocab_starts_from_rows_of_the_embedding():
    model = prompted(llama(), prompt_tuning_init="SAMPLE_VOCAB")
    rows = model.get_base_model().get_input_embeddings().dense()
    assert all((row == rows).all(axis=1).any() for row in adapter_of(model).prompt.data)


def test_a_text_is_repeated_or_cut_to_the_number_of_places():
    base = ml.load_pretrained(shipped("base"))
    ids = load_tokenizer(shipped("base")).inner.encode("Where does Bess Moss live?").ids
    rows = base.get_input_embeddings().dense()
    for n in (2, len(ids), 2 * len(ids) + 1):
        config = PromptTuningConfig(
            num_virtual_tokens=n,
            prompt_tuning_init="TEXT",
            prompt_tuning_init_text="Where does Bess Moss live?",
            tokenizer_name_or_path=str(shipped("base")),
        )
        model = get_peft_model(ml.load_pretrained(shipped("base")), config)
        assert np.array_equal(adapter_of(model).prompt.data, rows[[ids[i % len(ids)] for i in range(n)]])


def test_a_text_start_without_a_text_is_refused():
    with pytest.raises(ConfigError, match="needs prompt_tuning_init_text and tokenizer_name_or_path"):
        PromptTuningConfig(num_virtual_tokens=2, prompt_tuning_init="TEXT")


def test_the_file_of_p_tuning_is_read_as_its_finished_vectors(tmp_path):
    model = prompted(tiny_llama())
    model.save_pretrained(tmp_path)
    edit_json(tmp_path / "adapter_config.json", peft_type="P_TUNING", encoder_hidden_size=8, prompt_tuning_init=None)
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert np.array_equal(again(IDS).data, model(IDS).data)
    again.save_pretrained(tmp_path / "again")
    assert not [key for key in read_json(tmp_path / "again" / "adapter_config.json") if key.startswith("prompt_tuning")]


def test_merging_is_refused_by_name():
    with pytest.raises(ConfigError, match="PROMPT_TUNING cannot be merged"):
        prompted(tiny_llama()).merge_adapter()


def test_a_start_from_the_vocabulary_is_what_the_model_looks_up_also_where_it_scales_it():
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2}
    gemma = GemmaForCausalLM(GemmaConfig(vocab_size=29, head_dim=8, model_type="gemma2", **sizes)).init(0)
    embedded = gemma.get_input_embeddings()(np.arange(29), None).data
    prompt = adapter_of(prompted(gemma, prompt_tuning_init="SAMPLE_VOCAB")).prompt.data
    assert all(any(np.allclose(row, e) for e in embedded) for row in prompt)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused():
    text = {"prompt_tuning_init_text": "zebra", "tokenizer_name_or_path": str(shipped("base"))}
    with pytest.raises(ConfigError, match="the model has 29 tokens"):
        prompted(llama(), prompt_tuning_init="TEXT", **text)


def test_as_many_labels_are_counted_as_have_a_loss():
    """The last place in front predicts the first token, so its label counts; without a prompt it does not."""
    plain = tiny_llama(dtype=np.float64)
    model = get_peft_model(plain, PromptTuningConfig(num_virtual_tokens=3))
    logits = model(IDS).data[:, 2:-1]  # of the places that predict a token
    target = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = np.take_along_axis(target / target.sum(axis=-1, keepdims=True), IDS[..., None], axis=-1)
    assert np.isclose(model.loss(IDS, IDS).item(), -np.log(shares).mean(), rtol=1e-9)
    assert shares.size == count_labels(IDS, model) == IDS.size
    assert count_labels(IDS, plain) == IDS.size - len(IDS)
