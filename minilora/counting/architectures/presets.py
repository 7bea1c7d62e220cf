"""Published models by name: the keys of their config.json that decide a count.

From the files that their makers published; tests/counting checks the parameter counts that they state. Other names of
these models are in aliases.py.
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


def _gemma(*sizes, kind="gemma", vocabulary=256000, head_dim=256):
    return _llama(*sizes, vocabulary=vocabulary, kind=kind, head_dim=head_dim, tied=True)


def _gemma3(*sizes, head_dim=256):
    """Those that read images, with SigLIP 400M."""
    sight = {
        "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "image_size": 896, "patch_size": 14,
        "vision_use_head": False,
    }  # fmt: skip
    text = _gemma(*sizes, kind="gemma3_text", vocabulary=262208, head_dim=head_dim)
    return {"model_type": "gemma3", "text_config": text, "vision_config": sight}


def _mistral(*sizes, **more):
    return _llama(*sizes, kind="mistral", **more)


def _falcon3(*sizes):
    return _llama(*sizes, vocabulary=131072, head_dim=256)


def _phi3(*sizes, vocabulary=32064, **more):
    return _llama(*sizes, vocabulary=vocabulary, kind="phi3", **more)


def _olmo2(*sizes):
    return _llama(*sizes, vocabulary=100352, kind="olmo2")


def _granite(*sizes):
    return _llama(*sizes, kind="granite", tied=True)


def _mixtral(*sizes):
    return _llama(*sizes, kind="mixtral", num_local_experts=8, num_experts_per_tok=2)


def _qwen3_moe(*sizes, expert):
    experts = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": expert}
    return _llama(*sizes, vocabulary=151936, kind="qwen3_moe", head_dim=128, **experts)


def _gpt_oss(layers, experts):
    more = {"head_dim": 64, "num_local_experts": experts, "num_experts_per_tok": 4}
    return _llama(2880, 2880, layers, 64, 8, 201088, kind="gpt_oss", **more)


def _falcon(width, layers, heads, **more):
    return {
        "model_type": "falcon", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "vocab_size": 65024, **more,
    }  # fmt: skip


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


def _modernbert(width, inner, layers, heads):
    return _bert(width, layers, heads, "modernbert", 50368) | {"intermediate_size": inner}


def _vit(width, layers, heads, patch=16, image=224):
    return {
        "model_type": "vit", "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "image_size": image, "patch_size": patch,
    }  # fmt: skip


def _whisper(width, layers, heads, decoder_layers=None, bands=80, vocabulary=51865):
    return {
        "model_type": "whisper", "d_model": width, "encoder_layers": layers, "encoder_ffn_dim": 4 * width,
        "decoder_layers": decoder_layers or layers, "decoder_ffn_dim": 4 * width, "encoder_attention_heads": heads,
        "decoder_attention_heads": heads, "num_mel_bins": bands, "vocab_size": vocabulary,
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
    "codellama-7b": _llama(4096, 11008, 32, 32, vocabulary=32016),
    "codellama-13b": _llama(5120, 13824, 40, 40, vocabulary=32016),
    "codellama-34b": _llama(8192, 22016, 48, 64, 8),
    "codellama-70b": _llama(8192, 28672, 80, 64, 8, 32016),
    "tinyllama-1.1b": _llama(2048, 5632, 22, 32, 4),
    "smollm2-135m": _llama(576, 1536, 30, 9, 3, 49152, tied=True),
    "smollm2-360m": _llama(960, 2560, 32, 15, 5, 49152, tied=True),
    "smollm2-1.7b": _llama(2048, 8192, 24, 32, 32, 49152, tied=True),
    "smollm3-3b": _llama(2048, 11008, 36, 16, 4, 128256, kind="smollm3", tied=True),
    "yi-6b": _llama(4096, 11008, 32, 32, 4, 64000),
    "yi-9b": _llama(4096, 11008, 48, 32, 4, 64000),
    "yi-34b": _llama(7168, 20480, 60, 56, 8, 64000),
    "falcon3-1b": _falcon3(2048, 8192, 18, 8, 4),
    "falcon3-3b": _falcon3(3072, 9216, 22, 12, 4),
    "falcon3-7b": _falcon3(3072, 23040, 28, 12, 4),
    "falcon3-10b": _falcon3(3072, 23040, 40, 12, 4),
    "mistral-7b": _mistral(4096, 14336, 32, 32, 8),
    "mistral-7b-v0.1": _mistral(4096, 14336, 32, 32, 8),
    "mistral-7b-v0.3": _mistral(4096, 14336, 32, 32, 8, 32768),
    "mistral-nemo-12b": _mistral(5120, 14336, 40, 32, 8, 131072, head_dim=128),
    "ministral-8b": _mistral(4096, 12288, 36, 32, 8, 131072, head_dim=128),
    "mistral-small-24b": _mistral(5120, 32768, 40, 32, 8, 131072, head_dim=128),
    "mistral-large-123b": _mistral(12288, 28672, 88, 96, 8, 32768),
    "mixtral-8x7b": _mixtral(4096, 14336, 32, 32, 8),
    "mixtral-8x22b": _mixtral(6144, 16384, 56, 48, 8, 32768),
    "qwen2.5-0.5b": _qwen2(896, 4864, 24, 14, 2, tied=True),
    "qwen2.5-1.5b": _qwen2(1536, 8960, 28, 12, 2, tied=True),
    "qwen2.5-3b": _qwen2(2048, 11008, 36, 16, 2, tied=True),
    "qwen2.5-7b": _qwen2(3584, 18944, 28, 28, 4, vocabulary=152064),
    "qwen2.5-14b": _qwen2(5120, 13824, 48, 40, 8, vocabulary=152064),
    "qwen2.5-32b": _qwen2(5120, 27648, 64, 40, 8, vocabulary=152064),
    "qwen2.5-72b": _qwen2(8192, 29568, 80, 64, 8, vocabulary=152064),
    "deepseek-r1-distill-qwen-1.5b": _qwen2(1536, 8960, 28, 12, 2),
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, 8, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, 8, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, 8, tied=True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, 8),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, 8),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64, 8),
    "qwen3-30b-a3b": _qwen3_moe(2048, 6144, 48, 32, 4, expert=768),
    "qwen3-235b-a22b": _qwen3_moe(4096, 12288, 94, 64, 4, expert=1536),
    "gpt-oss-20b": _gpt_oss(24, 32),
    "gpt-oss-120b": _gpt_oss(36, 128),
    "gemma-2b": _gemma(2048, 16384, 18, 8, 1),
    "gemma-7b": _gemma(3072, 24576, 28, 16, 16),
    "gemma-2-2b": _gemma(2304, 9216, 26, 8, 4, kind="gemma2"),
    "gemma-2-9b": _gemma(3584, 14336, 42, 16, 8, kind="gemma2"),
    "gemma-2-27b": _gemma(4608, 36864, 46, 32, 16, kind="gemma2", head_dim=128),
    "gemma-3-270m": _gemma(640, 2048, 18, 4, 1, kind="gemma3_text", vocabulary=262144),
    "gemma-3-1b": _gemma(1152, 6912, 26, 4, 1, kind="gemma3_text", vocabulary=262144),
    "gemma-3-4b": _gemma3(2560, 10240, 34, 8, 4),
    "gemma-3-12b": _gemma3(3840, 15360, 48, 16, 8),
    "gemma-3-27b": _gemma3(5376, 21504, 62, 32, 16, head_dim=128),
    "phi-1.5": _phi(2048, 8192, 24, 32),
    "phi-2": _phi(2560, 10240, 32, 32),
    "phi-3-mini": _phi3(3072, 8192, 32, 32),
    "phi-3-medium": _phi3(5120, 17920, 40, 40, 10),
    "phi-4": _phi3(5120, 17920, 40, 40, 10, vocabulary=100352),
    "phi-4-mini": _phi3(3072, 8192, 32, 24, 8, vocabulary=200064, tied=True),
    "olmo-2-1b": _olmo2(2048, 8192, 16, 16),
    "olmo-2-7b": _olmo2(4096, 11008, 32, 32),
    "olmo-2-13b": _olmo2(5120, 13824, 40, 40),
    "olmo-2-32b": _olmo2(5120, 27648, 64, 40, 8),
    "granite-3.1-2b": _granite(2048, 8192, 40, 32, 8, 49155),
    "granite-3.1-8b": _granite(4096, 12800, 40, 32, 8, 49155),
    "granite-3.3-2b": _granite(2048, 8192, 40, 32, 8, 49159),
    "granite-3.3-8b": _granite(4096, 12800, 40, 32, 8, 49159),
    "starcoder2-3b": _llama(3072, 12288, 30, 24, 2, 49152, kind="starcoder2", tied=True),
    "starcoder2-7b": _llama(4608, 18432, 32, 36, 4, 49152, kind="starcoder2", tied=True),
    "falcon-7b": _falcon(4544, 32, 71),
    "falcon-40b": _falcon(8192, 60, 128, new_decoder_architecture=True, num_kv_heads=8),
    "falcon-180b": _falcon(14848, 80, 232, new_decoder_architecture=True, num_kv_heads=8, tie_word_embeddings=False),
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
    "bert-base-cased": _bert(768, 12, 12, vocabulary=28996),
    "bert-large-uncased": _bert(1024, 24, 16),
    "roberta-base": _roberta(768, 12, 12),
    "roberta-large": _roberta(1024, 24, 16),
    "xlm-roberta-base": _bert(768, 12, 12, "xlm-roberta", 250002, 514, 1),
    "xlm-roberta-large": _bert(1024, 24, 16, "xlm-roberta", 250002, 514, 1),
    "deberta-v3-small": _deberta(768, 6, 12),
    "deberta-v3-base": _deberta(768, 12, 12),
    "deberta-v3-large": _deberta(1024, 24, 16),
    "deberta-v2-xlarge": _deberta(1536, 24, 24, conv_kernel_size=3),
    "deberta-v2-xxlarge": _deberta(1536, 48, 24, conv_kernel_size=3),
    "modernbert-base": _modernbert(768, 1152, 22, 12),
    "modernbert-large": _modernbert(1024, 2624, 28, 16),
    "vit-base": _vit(768, 12, 12),
    "vit-large": _vit(1024, 24, 16),
    "vit-huge": _vit(1280, 32, 16, patch=14),
    "t5-small": _t5(512, 2048, 6, 8),
    "t5-base": _t5(768, 3072, 12, 12),
    "t5-large": _t5(1024, 4096, 24, 16),
    "t5-3b": _t5(1024, 16384, 24, 32, 128),
    "t5-11b": _t5(1024, 65536, 24, 128, 128),
    "flan-t5-small": _t5(512, 1024, 8, 6, **_V11),
    "flan-t5-base": _t5(768, 2048, 12, 12, **_V11),
    "flan-t5-large": _t5(1024, 2816, 24, 16, **_V11),
    "flan-t5-xl": _t5(2048, 5120, 24, 32, **_V11),
    "flan-t5-xxl": _t5(4096, 10240, 24, 64, **_V11),
    "whisper-tiny": _whisper(384, 4, 6),
    "whisper-base": _whisper(512, 6, 8),
    "whisper-small": _whisper(768, 12, 12),
    "whisper-medium": _whisper(1024, 24, 16),
    "whisper-large": _whisper(1280, 32, 20),
    "whisper-large-v3": _whisper(1280, 32, 20, bands=128, vocabulary=51866),
    "whisper-large-v3-turbo": _whisper(1280, 32, 20, 4, 128, 51866),
}
