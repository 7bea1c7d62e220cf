"""Published models by name: the keys of their config.json that decide a count.

From the files that their makers published; the parameter counts that they state are tested in tests/test_counting_*.py.
"""


def _llama(hidden, inner, layers, heads, kv_heads=None, vocabulary=32000, tied=False, kind="llama", **more):
    config = {
        "model_type": kind, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads or heads, "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }  # fmt: skip
    return config | more


def _llama3(*sizes, **more):
    return _llama(*sizes, vocabulary=128256, **more)


def _qwen2(*sizes, vocabulary=151936, **more):
    return _llama(*sizes, vocabulary=vocabulary, kind="qwen2", **more)


def _qwen3(*sizes, **more):
    return _llama(*sizes, vocabulary=151936, kind="qwen3", head_dim=128, **more)


def _gemma(*sizes):
    return _llama(*sizes, vocabulary=256000, kind="gemma", head_dim=256, tied=True)


def _gpt2(width, layers, heads, context=1024):
    return {
        "model_type": "gpt2", "n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": context,
        "vocab_size": 50257,
    }  # fmt: skip


def _phi(width, inner, layers, heads):
    return _llama(width, inner, layers, heads, vocabulary=51200, kind="phi")


def _opt(width, inner, layers, heads, **more):
    return {
        "model_type": "opt", "hidden_size": width, "ffn_dim": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "vocab_size": 50272, "max_position_embeddings": 2048, **more,
    }  # fmt: skip


def _neox(width, inner, layers, heads, vocabulary=50304):
    return {
        "model_type": "gpt_neox", "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "vocab_size": vocabulary,
    }  # fmt: skip


def _bloom(width, layers, heads):
    return {
        "model_type": "bloom", "hidden_size": width, "n_layer": layers, "n_head": heads, "vocab_size": 250880,
    }  # fmt: skip


def _bert(width, layers, heads, kind="bert", vocabulary=30522, positions=512, segments=2):
    return {
        "model_type": kind, "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "vocab_size": vocabulary, "max_position_embeddings": positions,
        "type_vocab_size": segments,
    }  # fmt: skip


def _roberta(width, layers, heads):
    return _bert(width, layers, heads, "roberta", 50265, 514, 1)


def _deberta(width, layers, heads, **more):
    return _bert(width, layers, heads, "deberta-v2", 128100, segments=0) | {
        "relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": "p2c|c2p", "position_biased_input": False, "max_relative_positions": -1, **more,
    }  # fmt: skip


def _t5(width, inner, layers, heads, head_width=64, **more):
    return {
        "model_type": "t5", "d_model": width, "d_ff": inner, "num_layers": layers, "num_heads": heads,
        "d_kv": head_width, "vocab_size": 32128, **more,
    }  # fmt: skip


_V11 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}

PRESETS = {
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "distilgpt2": _gpt2(768, 6, 12),
    "gpt3-175b": _gpt2(12288, 96, 96, 2048),  # GPT-2's design at the sizes of the GPT-3 paper
    "llama-1-7b": _llama(4096, 11008, 32, 32),
    "llama-1-13b": _llama(5120, 13824, 40, 40),
    "llama-1-33b": _llama(6656, 17920, 60, 52),
    "llama-1-65b": _llama(8192, 22016, 80, 64),
    "llama-2-7b": _llama(4096, 11008, 32, 32),
    "llama-2-13b": _llama(5120, 13824, 40, 40),
    "llama-2-70b": _llama(8192, 28672, 80, 64, 8),
    "llama-3-8b": _llama3(4096, 14336, 32, 32, 8),
    "llama-3-70b": _llama3(8192, 28672, 80, 64, 8),
    "llama-3.1-8b": _llama3(4096, 14336, 32, 32, 8),
    "llama-3.1-70b": _llama3(8192, 28672, 80, 64, 8),
    "llama-3.1-405b": _llama3(16384, 53248, 126, 128, 8),
    "llama-3.2-1b": _llama3(2048, 8192, 16, 32, 8, tied=True),
    "llama-3.2-3b": _llama3(3072, 8192, 28, 24, 8, tied=True),
    "llama-3.3-70b": _llama3(8192, 28672, 80, 64, 8),
    "tinyllama-1.1b": _llama(2048, 5632, 22, 32, 4),
    "smollm2-135m": _llama(576, 1536, 30, 9, 3, 49152, tied=True),
    "smollm2-360m": _llama(960, 2560, 32, 15, 5, 49152, tied=True),
    "smollm2-1.7b": _llama(2048, 8192, 24, 32, 32, 49152, tied=True),
    "mistral-7b": _llama(4096, 14336, 32, 32, 8, kind="mistral"),
    "mistral-7b-v0.1": _llama(4096, 14336, 32, 32, 8, kind="mistral"),
    "mistral-7b-v0.3": _llama(4096, 14336, 32, 32, 8, 32768, kind="mistral"),
    "qwen2.5-0.5b": _qwen2(896, 4864, 24, 14, 2, tied=True),
    "qwen2.5-1.5b": _qwen2(1536, 8960, 28, 12, 2, tied=True),
    "qwen2.5-3b": _qwen2(2048, 11008, 36, 16, 2, tied=True),
    "qwen2.5-7b": _qwen2(3584, 18944, 28, 28, 4, vocabulary=152064),
    "qwen2.5-14b": _qwen2(5120, 13824, 48, 40, 8, vocabulary=152064),
    "qwen2.5-32b": _qwen2(5120, 27648, 64, 40, 8, vocabulary=152064),
    "qwen2.5-72b": _qwen2(8192, 29568, 80, 64, 8, vocabulary=152064),
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, 8, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, 8, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, 8, tied=True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, 8),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, 8),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64, 8),
    "gemma-2b": _gemma(2048, 16384, 18, 8, 1),
    "gemma-7b": _gemma(3072, 24576, 28, 16, 16),
    "phi-1.5": _phi(2048, 8192, 24, 32),
    "phi-2": _phi(2560, 10240, 32, 32),
    "opt-125m": _opt(768, 3072, 12, 12),
    "opt-350m": _opt(1024, 4096, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": _opt(2048, 8192, 24, 32),
    "opt-2.7b": _opt(2560, 10240, 32, 32),
    "opt-6.7b": _opt(4096, 16384, 32, 32),
    "opt-13b": _opt(5120, 20480, 40, 40),
    "opt-30b": _opt(7168, 28672, 48, 56),
    "opt-66b": _opt(9216, 36864, 64, 72),
    "gpt-j-6b": _gpt2(4096, 28, 16, 2048) | {"model_type": "gptj", "vocab_size": 50400},
    "gpt-neox-20b": _neox(6144, 24576, 44, 64, 50432),
    "pythia-70m": _neox(512, 2048, 6, 8),
    "pythia-160m": _neox(768, 3072, 12, 12),
    "pythia-410m": _neox(1024, 4096, 24, 16),
    "pythia-1b": _neox(2048, 8192, 16, 8),
    "pythia-1.4b": _neox(2048, 8192, 24, 16),
    "pythia-2.8b": _neox(2560, 10240, 32, 32),
    "pythia-6.9b": _neox(4096, 16384, 32, 32, 50432),
    "pythia-12b": _neox(5120, 20480, 36, 40, 50688),
    "bloom-560m": _bloom(1024, 24, 16),
    "bloom-1b1": _bloom(1536, 24, 16),
    "bloom-1b7": _bloom(2048, 24, 16),
    "bloom-3b": _bloom(2560, 30, 32),
    "bloom-7b1": _bloom(4096, 30, 32),
    "bloom-176b": _bloom(14336, 70, 112),
    "bert-base-uncased": _bert(768, 12, 12),
    "bert-large-uncased": _bert(1024, 24, 16),
    "roberta-base": _roberta(768, 12, 12),
    "roberta-large": _roberta(1024, 24, 16),
    "deberta-v3-base": _deberta(768, 12, 12),
    "deberta-v2-xlarge": _deberta(1536, 24, 24, conv_kernel_size=3),
    "deberta-v2-xxlarge": _deberta(1536, 48, 24, conv_kernel_size=3),
    "t5-small": _t5(512, 2048, 6, 8),
    "t5-base": _t5(768, 3072, 12, 12),
    "t5-large": _t5(1024, 4096, 24, 16),
    "t5-3b": _t5(1024, 16384, 24, 32, 128),
    "t5-11b": _t5(1024, 65536, 24, 128, 128),
    "flan-t5-base": _t5(768, 2048, 12, 12, **_V11),
    "flan-t5-large": _t5(1024, 2816, 24, 16, **_V11),
}
