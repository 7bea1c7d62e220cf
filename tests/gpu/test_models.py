"""Every kind of model on a device: logits, gradients of all weights, generation, files."""

import numpy as np
import pytest
from places import assert_all_close, assert_close, assert_same_bits, is_all_on
from tiny import SIZES, random_ids, tiny_gpt2, tiny_llama, with_lora

from minilora.autograd import no_grad
from minilora.backend import to_host
from minilora.models.gemma import GemmaConfig
from minilora.models.generation import Kept
from minilora.models.llama import LlamaConfig
from minilora.models.pretrained import load_pretrained, model_of

GEMMA = SIZES | {"head_dim": 4, "query_pre_attn_scalar": 6.0, "sliding_window": 3}
KINDS = {
    "llama": LlamaConfig(**SIZES),
    "llama, tied, far positions": LlamaConfig(
        **SIZES, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
    ),
    "mistral": LlamaConfig(**SIZES, model_type="mistral", sliding_window=3),
    "qwen2": LlamaConfig(**SIZES, model_type="qwen2", qkv_bias=True),
    "qwen3": LlamaConfig(**SIZES, model_type="qwen3", qk_norm=True),
    "biases": LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "phi3": LlamaConfig(**SIZES, model_type="phi3"),
    "gemma2": GemmaConfig(**GEMMA, model_type="gemma2", layer_types=["sliding_attention", "full_attention"],
                          attn_logit_softcapping=2.0, final_logit_softcapping=0.5),
    "gemma3": GemmaConfig(**GEMMA, model_type="gemma3_text", layer_types=["full_attention", "sliding_attention"],
                          qk_norm=True, local_rope_theta=50.0),
    "gpt2": None,
}  # fmt: skip
IDS = random_ids(shape=(2, 9))
PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6]]
each_kind = pytest.mark.parametrize("kind", KINDS)


def filled(kind):
    if KINDS[kind] is None:
        return tiny_gpt2()
    model, generator = model_of(KINDS[kind]), np.random.default_rng(0)
    for p in model.parameters():
        p.assign(generator.normal(0, 0.3, p.shape).astype(np.float32))
    return model.eval()


def one_backward(model):
    """The logits, the loss, and the gradient of every weight."""
    loss = model.loss(IDS, IDS)
    loss.backward()
    return [model(IDS).data, loss.data, *(p.grad for p in model.parameters())]


@each_kind
def test_logits_and_gradients_of_all_weights_are_those_of_the_cpu(device, kind):
    here, there = filled(kind), filled(kind).to(device)
    assert is_all_on(there, "cuda:0")
    assert_all_close(one_backward(there), one_backward(here), 2e-4)


@each_kind
def test_a_padded_batch_is_continued_by_the_tokens_of_the_cpu(device, kind):
    here, there = (filled(kind).to(to).generate(PROMPTS, 5) for to in ("cpu", device))
    assert [row.tolist() for row in there] == [row.tolist() for row in here]


SAMPLING = {
    "temperature": {"temperature": 0.8, "seed": 3},
    "top_k": {"temperature": 1.2, "top_k": 5, "seed": 1},
    "top_p": {"temperature": 0.9, "top_p": 0.7, "seed": 2},
    "an end mark": {"eos_token_id": [5, 11, 20]},
}


@pytest.mark.parametrize("name", SAMPLING)
def test_sampled_tokens_and_end_marks_are_those_of_the_cpu(device, name):
    here, there = (with_lora(tiny_llama()).to(to).generate(PROMPTS, 8, **SAMPLING[name]) for to in ("cpu", device))
    assert [row.tolist() for row in there] == [row.tolist() for row in here]


def test_a_conversation_goes_on_from_its_cache_on_a_device(device):
    model, kept = tiny_llama().to(device), Kept()
    first = model.generate([3, 1, 4], 4, kept=kept)[0].tolist()
    again = model.generate([*first, 7, 8], 4, kept=kept)[0].tolist()
    branched = model.generate([*first[:5], 9], 4, kept=kept)[0].tolist()
    assert again == tiny_llama().generate([*first, 7, 8], 4)[0].tolist()
    assert branched == tiny_llama().generate([*first[:5], 9], 4)[0].tolist()


def test_logits_with_a_cache_are_those_of_the_whole_sequence_on_a_device(device):
    from minilora.models.cache import KVCache

    model, cache = tiny_llama().to(device), KVCache()
    with no_grad():
        parts = [to_host(model(IDS[:, start : start + 3], cache=cache).data) for start in (0, 3, 6)]
    assert_close(np.concatenate(parts, axis=1), model(IDS).data)


def test_the_steps_of_a_long_sequence_with_a_window_are_those_of_the_cpu(device):
    ids = random_ids(2, (1, 150))  # several blocks of queries on the CPU, one on a device
    numbers = []
    for to in ("cpu", device):
        model = model_of(KINDS["mistral"]).init(3).to(to)
        loss = model.loss(ids, ids)
        loss.backward()
        numbers.append([loss.data, *(p.grad for p in model.parameters())])
    assert_all_close(numbers[1], numbers[0], 1e-3)


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_a_model_saved_on_a_device_is_loaded_with_the_same_bits(device, dtype, tmp_path):
    for to in ("cpu", device):
        tiny_gpt2().to(to).save_pretrained(tmp_path / to, dtype=dtype)
    read = [(tmp_path / to / "model.safetensors").read_bytes() for to in ("cpu", device)]
    assert read[0] == read[1]
    model = load_pretrained(tmp_path / device, device)
    assert is_all_on(model, "cuda:0")
    assert_close(model(IDS).data, load_pretrained(tmp_path / "cpu")(IDS).data)


def test_ids_on_the_device_give_the_same_logits(device):
    from minilora.backend import to_device

    model = tiny_llama().to(device)
    assert_same_bits(model(to_device(IDS, device)).data, model(IDS).data)
