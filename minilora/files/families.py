"""What each family of models assumes where its config.json is silent, and which families can be loaded."""

# What transformers assumes where config.json is silent (configuration_<type>.py of transformers 5.23), for loading a
# model and for counting one. A flag that a family does not list is one that its model ignores, or false.
DEFAULTS = {
    "llama": {"max_position_embeddings": 2048, "attention_bias": False, "mlp_bias": False},
    "mistral": {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "sliding_window": 4096},
    "qwen3": {
        "max_position_embeddings": 32768, "num_key_value_heads": 32, "sliding_window": 4096, "head_dim": 128,
        "attention_bias": False,
    },
    "gemma": {"num_key_value_heads": 16, "head_dim": 256, "tie_word_embeddings": True, "attention_bias": False},
    "gemma2": {
        "num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True, "attention_bias": False,
        "max_position_embeddings": 8192, "sliding_window": 4096, "query_pre_attn_scalar": 256,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    },
    "gemma3_text": {
        "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "tie_word_embeddings": True, "attention_bias": False, "max_position_embeddings": 131072,
        "sliding_window": 4096, "query_pre_attn_scalar": 256,
    },
    "gemma3": {"tie_word_embeddings": True},
    "siglip_vision_model": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "image_size": 224, "patch_size": 16,
        "num_channels": 3, "vision_use_head": True,
    },
    "phi3": {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
    "olmo2": {"attention_bias": False},
    "smollm3": {"num_key_value_heads": 4, "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False},
    "granite": {"attention_bias": False, "mlp_bias": False},
    "starcoder2": {"num_key_value_heads": 2, "tie_word_embeddings": True, "use_bias": True},
    "mixtral": {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen3_moe": {
        "num_key_value_heads": 4, "attention_bias": False, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 768, "decoder_sparse_step": 1,
    },
    "gpt_oss": {
        "num_key_value_heads": 8, "head_dim": 64, "attention_bias": True, "num_local_experts": 128,
        "num_experts_per_tok": 4,
    },
    "phi": {},
    "gpt2": {"n_positions": 1024, "tie_word_embeddings": True},
    "gptj": {},
    "gpt_neox": {"attention_bias": True, "use_parallel_residual": True},
    "bloom": {"tie_word_embeddings": True},
    "opt": {
        "max_position_embeddings": 2048, "tie_word_embeddings": True, "enable_bias": True,
        "layer_norm_elementwise_affine": True, "do_layer_norm_before": True,
    },
    "falcon": {"tie_word_embeddings": True, "multi_query": True, "parallel_attn": True},
    "bert": {"max_position_embeddings": 512, "type_vocab_size": 2},
    "roberta": {"max_position_embeddings": 512, "type_vocab_size": 2},
    "deberta-v2": {
        "max_position_embeddings": 512, "type_vocab_size": 0, "position_biased_input": True, "norm_rel_ebd": "none",
        "max_relative_positions": -1, "position_buckets": -1, "conv_kernel_size": 0,
    },
    "xlm-roberta": {"max_position_embeddings": 512, "type_vocab_size": 2},
    "modernbert": {},
    "vit": {"image_size": 224, "patch_size": 16, "num_channels": 3, "qkv_bias": True},
    "whisper": {
        "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 448, "tie_word_embeddings": True,
    },
    "t5": {
        "d_kv": 64, "relative_attention_num_buckets": 32, "feed_forward_proj": "relu", "tie_word_embeddings": True,
    },
}  # fmt: skip
# The families that have a model file here.
LOADABLE = ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text", "gpt2")
