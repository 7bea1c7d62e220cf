"""Published models by their config.json, as their makers wrote it: the parameters they describe are the known numbers.

Sizes are those of the hub's files (from memory: the totals would not come out with a wrong one); totals are what PEFT
0.21.2 counts on transformers' models of these sizes, for SmolLM2 what its files hold. Nothing is allocated.
"""

import pytest

from minilora.models.pretrained import config_from_json, config_to_json, model_of

LLAMA3_ROPE = {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
               "original_max_position_embeddings": 8192, "rope_type": "llama3"}  # fmt: skip
COMMON = {"hidden_act": "silu", "initializer_range": 0.02, "use_cache": True, "torch_dtype": "bfloat16",
          "transformers_version": "4.40.0", "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip


def sizes(kind, vocab, d, m, layers, heads, kv, **more):
    widths = {"model_type": kind, "vocab_size": vocab, "hidden_size": d, "intermediate_size": m}
    counts = {"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv}
    return COMMON | widths | counts | more


def qwen(kind, vocab, d, m, layers, heads, kv, **more):
    window = {"use_sliding_window": False, "sliding_window": 32768, "max_window_layers": layers, "rope_theta": 1e6}
    return sizes(kind, vocab, d, m, layers, heads, kv, **window | more)


PUBLISHED = {
    "Llama-2-7b": (
        sizes("llama", 32000, 4096, 11008, 32, 32, 32, pretraining_tp=1, rms_norm_eps=1e-5, rope_scaling=None,
              max_position_embeddings=4096, tie_word_embeddings=False),
        6_738_415_616,
    ),
    "Meta-Llama-3-8B": (
        sizes("llama", 128256, 4096, 14336, 32, 32, 8, rope_theta=500000.0, attention_bias=False,
              max_position_embeddings=8192),
        8_030_261_248,
    ),
    "Llama-3.1-70B": (
        sizes("llama", 128256, 8192, 28672, 80, 64, 8, rope_theta=500000.0, mlp_bias=False,
              rope_scaling=LLAMA3_ROPE | {"factor": 8.0}, eos_token_id=[128001, 128008, 128009]),
        70_553_706_496,
    ),
    "Llama-3.2-1B": (
        sizes("llama", 128256, 2048, 8192, 16, 32, 8, head_dim=64, rope_theta=500000.0, rope_scaling=LLAMA3_ROPE,
              max_position_embeddings=131072, tie_word_embeddings=True),
        1_235_814_400,
    ),
    "TinyLlama-1.1B": (
        sizes("llama", 32000, 2048, 5632, 22, 32, 4, rms_norm_eps=1e-5, rope_theta=10000.0, pretraining_tp=1),
        1_100_048_384,
    ),
    "SmolLM2-135M": (
        sizes("llama", 49152, 576, 1536, 30, 9, 3, rope_theta=100000, rope_interleaved=False, is_llama_config=True,
              tie_word_embeddings=True, **{"transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}}}),
        134_515_008,
    ),
    "Mistral-7B-v0.1": (
        sizes("mistral", 32000, 4096, 14336, 32, 32, 8, sliding_window=4096, rope_theta=10000.0),
        7_241_732_096,
    ),
    "Mistral-7B-v0.3": (
        sizes("mistral", 32768, 4096, 14336, 32, 32, 8, sliding_window=None, rope_theta=1e6, head_dim=128),
        7_248_023_552,
    ),
    "Qwen2.5-0.5B": (
        qwen("qwen2", 151936, 896, 4864, 24, 14, 2, tie_word_embeddings=True, use_mrope=False),
        494_032_768,
    ),
    "Qwen2.5-7B": (qwen("qwen2", 152064, 3584, 18944, 28, 28, 4, tie_word_embeddings=False), 7_615_616_512),
    "Qwen3-0.6B": (
        qwen("qwen3", 151936, 1024, 3072, 28, 16, 8, head_dim=128, attention_bias=False, tie_word_embeddings=True),
        596_049_920,
    ),
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "activation_function": "gelu_new", "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1,
    "n_ctx": 1024, "n_positions": 1024, "vocab_size": 50257, "layer_norm_epsilon": 1e-5, "bos_token_id": 50256,
    "eos_token_id": 50256, "summary_type": "cls_index", "summary_use_proj": True, "summary_first_dropout": 0.1,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}  # fmt: skip
PUBLISHED |= {
    "gpt2": (GPT2 | {"n_embd": 768, "n_layer": 12, "n_head": 12}, 124_439_808),
    "gpt2-medium": (GPT2 | {"n_embd": 1024, "n_layer": 24, "n_head": 16, "n_special": 0}, 354_823_168),
    "gpt2-xl": (GPT2 | {"n_embd": 1600, "n_layer": 48, "n_head": 25, "output_past": True}, 1_557_611_200),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_describes_the_published_number_of_parameters(name):
    data, total = PUBLISHED[name]
    assert sum(p.size for p in model_of(config_from_json(data)).parameters()) == total


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_says_the_same_when_written_by_us(name):
    config = config_from_json(PUBLISHED[name][0])
    assert config_from_json(config_to_json(config)) == config
