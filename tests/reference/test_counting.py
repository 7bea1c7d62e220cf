"""The counts beside real PEFT, on models of transformers built without memory: shapes, targets, ranks of all kinds."""

import random
import re

import pytest
from published_counts import PUBLISHED

from minilora.adapters.targets import as_target_modules
from minilora.counting.architectures.catalog import FAMILIES, default_targets, from_config, load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count, count_method
from minilora.errors import ConfigError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.reference

REPEATED = ("mistral-7b", "llama-2-7b", "llama-2-13b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.3-70b")  # other names
REGEX = r".*\.1\.(.*\.)?(q|query|\w+_proj|dense|wi|wi_1|fc1|fc_in|c_\w+|dense_h_to_4h|Wi)"  # in the second layer only
VARIANTS = {  # model_type -> what its config.json may say besides the sizes
    "llama": {"attention_bias": [True, False], "mlp_bias": [True, False], "tie_word_embeddings": [True, False],
              "head_dim": [None, 24]},
    "mistral": {"head_dim": [None, 24], "num_key_value_heads": [1, 2]},
    "qwen2": {"tie_word_embeddings": [True, False], "num_key_value_heads": [2]},
    "qwen3": {"tie_word_embeddings": [True, False], "num_key_value_heads": [2], "attention_bias": [True, False],
              "head_dim": [None, 24]},
    "gemma": {"tie_word_embeddings": [True, False], "head_dim": [None, 24], "attention_bias": [True, False]},
    "phi": {"qk_layernorm": [True, False], "num_key_value_heads": [None, 2], "tie_word_embeddings": [True, False]},
    "gpt2": {"n_inner": [None, 88], "tie_word_embeddings": [True, False]},
    "opt": {"word_embed_proj_dim": [None, 40], "do_layer_norm_before": [True, False], "enable_bias": [True, False],
            "layer_norm_elementwise_affine": [True, False], "tie_word_embeddings": [True, False]},
    "gptj": {"n_inner": [None, 88], "rotary_dim": [8]},
    "gpt_neox": {"attention_bias": [True, False], "tie_word_embeddings": [True, False]},
    "bloom": {"tie_word_embeddings": [True, False]},
    "bert": {"type_vocab_size": [2, 3]},
    "roberta": {"type_vocab_size": [1, 2]},
    "deberta-v2": {"relative_attention": [True, False], "share_att_key": [True, False],
                   "pos_att_type": [["c2p"], ["p2c", "c2p"], "p2c|c2p", []], "position_biased_input": [True, False],
                   "type_vocab_size": [0, 2], "position_buckets": [-1, 16], "norm_rel_ebd": ["none", "layer_norm"],
                   "conv_kernel_size": [0, 3], "embedding_size": [None, 32]},
    "gemma2": {"tie_word_embeddings": [True, False], "head_dim": [None, 24], "attention_bias": [True, False],
               "num_key_value_heads": [1, 2]},
    "gemma3_text": {"tie_word_embeddings": [True, False], "head_dim": [None, 24], "attention_bias": [True, False],
                    "num_key_value_heads": [1, 2]},
    "gemma3": {"tie_word_embeddings": [True, False], "image_size": [32, 24], "vision_use_head": [True, False]},
    "phi3": {"num_key_value_heads": [None, 2], "tie_word_embeddings": [True, False]},
    "olmo2": {"num_key_value_heads": [None, 2], "attention_bias": [True, False], "tie_word_embeddings": [True, False]},
    "smollm3": {"num_key_value_heads": [1, 2], "attention_bias": [True, False], "mlp_bias": [True, False],
                "tie_word_embeddings": [True, False]},
    "granite": {"attention_bias": [True, False], "mlp_bias": [True, False], "tie_word_embeddings": [True, False]},
    "starcoder2": {"use_bias": [True, False], "num_key_value_heads": [1, 2], "tie_word_embeddings": [True, False]},
    "mixtral": {"num_local_experts": [3, 4], "num_key_value_heads": [1, 2], "head_dim": [None, 24],
                "tie_word_embeddings": [True, False]},
    "qwen3_moe": {"num_experts": [8, 9], "num_key_value_heads": [2], "moe_intermediate_size": [20, 36],
                  "mlp_only_layers": [None, [], [1]], "decoder_sparse_step": [1, 2], "attention_bias": [True, False],
                  "head_dim": [None, 24]},
    "gpt_oss": {"num_local_experts": [4, 5], "num_key_value_heads": [1, 2], "head_dim": [None, 24],
                "attention_bias": [True, False]},
    "falcon": {"bias": [True, False], "new_decoder_architecture": [True, False], "multi_query": [True, False],
               "parallel_attn": [True, False], "num_ln_in_parallel_attn": [None, 1, 2], "num_kv_heads": [None, 2],
               "ffn_hidden_size": [None, 88], "tie_word_embeddings": [True, False]},
    "xlm-roberta": {"type_vocab_size": [1, 2]},
    "modernbert": {"norm_bias": [True, False], "attention_bias": [True, False], "mlp_bias": [True, False]},
    "vit": {"qkv_bias": [True, False], "image_size": [32, [32, 48]], "patch_size": [8, [4, 8]],
            "num_channels": [1, 3], "pooler_output_size": [None, 10]},
    "whisper": {"num_mel_bins": [80, 6], "tie_word_embeddings": [True, False], "max_source_positions": [50]},
    "t5": {"feed_forward_proj": ["relu", "gated-gelu"], "tie_word_embeddings": [True, False],
           "num_decoder_layers": [None, 1]},
}  # fmt: skip


def sizes(kind, rng):
    H, depth, vocabulary, m = rng.choice([2, 4, 6]), rng.randint(2, 4), rng.randint(60, 200), rng.randint(30, 150)
    d = H * 2 * rng.randint(2, 9)
    if kind in ("gpt2", "gptj"):
        return {"n_embd": d, "n_layer": depth, "n_head": H, "n_positions": m, "vocab_size": vocabulary}
    if kind == "falcon":
        return {"hidden_size": d, "num_hidden_layers": depth, "num_attention_heads": H, "vocab_size": vocabulary}
    if kind == "bloom":
        return {"hidden_size": d, "n_layer": depth, "n_head": H, "vocab_size": vocabulary}
    if kind == "t5":
        return {"d_model": d, "d_ff": m, "num_layers": depth, "num_heads": H, "d_kv": 10, "vocab_size": vocabulary}
    if kind == "whisper":
        deep = {
            "encoder_layers": depth,
            "decoder_layers": 2,
            "encoder_attention_heads": H,
            "decoder_attention_heads": H,
        }
        return deep | {"d_model": d, "encoder_ffn_dim": m, "decoder_ffn_dim": m + 1, "vocab_size": vocabulary}
    usual = {"hidden_size": d, "num_hidden_layers": depth, "num_attention_heads": H, "vocab_size": vocabulary}
    return usual | ({"ffn_dim": m} if kind == "opt" else {"intermediate_size": m, "num_key_value_heads": H})


def random_config(kind, seed):
    rng = random.Random(f"{kind} {seed}")
    config = {"model_type": kind} | sizes(kind, rng)
    config |= {key: rng.choice(values) for key, values in VARIANTS[kind].items()}
    config = {key: value for key, value in config.items() if value is not None}
    return with_images(config, rng) if kind == "gemma3" else config


def with_images(config, rng):
    """The same, of a model that is two: what is said of the text, and of images of patches of 8 x 8."""
    sight = {
        "hidden_size": 24,
        "num_attention_heads": 2,
        "intermediate_size": 30,
        "num_hidden_layers": rng.choice([1, 3]),
    }
    sight |= {"patch_size": 8} | {key: config.pop(key) for key in ("image_size", "vision_use_head")}
    whole = {key: config.pop(key) for key in ("model_type", "tie_word_embeddings")}
    return whole | {"text_config": config | {"head_dim": 12}, "vision_config": sight}


def on_meta(config):
    """The model of transformers for a config.json, in the class that is counted; it takes no memory."""
    settings = {key: value for key, value in config.items() if key != "model_type"}
    if config["model_type"] in ("phi3", "smollm3", "modernbert", "whisper"):
        settings["pad_token_id"] = 0  # theirs is above the tiny vocabularies here
    made = transformers.AutoConfig.for_model(config["model_type"], **settings)
    with torch.device("meta"):
        model = getattr(transformers, FAMILIES[config["model_type"]].model_class)(made)
        if config["model_type"] == "t5" and config.get("tie_word_embeddings") is False:  # as loading a checkpoint does
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    return model


def peft_counts(config, targets, rank):  # -> base, trainable, total, number of adapted modules
    model = on_meta(config)
    base = sum(p.numel() for p in model.parameters())
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=rank, target_modules=as_target_modules(targets)))
    trainable, total = wrapped.get_nb_trainable_parameters()
    adapted = len(wrapped.targeted_module_names) + len(getattr(wrapped, "targeted_parameter_names", []))
    return base, trainable, total, adapted


def ours(config, targets, rank):
    made = count(from_config(config, "config.json"), targets, rank)
    return made.base, made.trainable, made.total, len(made.chosen)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", FAMILIES)
def test_counts_equal_those_of_real_peft(kind, seed):
    config = random_config(kind, seed)
    architecture = from_config(config, kind)
    names = sorted({p.path.rpartition(".")[2] for p in architecture.linears} - experts_of(architecture))
    rng = random.Random(seed)
    two = ",".join(rng.sample(names, 2))
    embeddings = [
        p.path.rpartition(".")[2] for p in architecture.parts if p.kind == "embedding" and "position" not in p.path
    ]
    heads = [p.path for p in architecture.parts if p.head]
    with_embedding = ",".join([names[0], *(path.rpartition(".")[2] for path in embeddings[:1])])
    target_sets = ["all-linear", default_targets(architecture), two, REGEX, with_embedding, *heads]
    for targets, rank in zip(target_sets, rng.sample(range(1, 41), len(target_sets)), strict=True):
        assert ours(config, targets, rank) == peft_counts(config, targets, rank), (config, targets, rank)


def experts_of(architecture):
    return {name for p in architecture.parts for name in p.names}


@pytest.mark.parametrize(
    ("kind", "targets"),
    [("mixtral", t) for t in ("w1,w3", "w2", "gate", "q_proj,w1,w2,w3", r".*(gate|\.w1|\.w3|v_proj)")]
    + [("qwen3_moe", t) for t in ("gate_proj,up_proj", "down_proj", "gate,k_proj", r".*\.(up|gate)_proj", r".*down.*")],
)
def test_experts_are_adapted_by_the_names_that_peft_takes(kind, targets):
    for seed in range(3):
        config = random_config(kind, seed)
        assert ours(config, targets, 3 + seed) == peft_counts(config, targets, 3 + seed), config


@pytest.mark.parametrize(("kind", "targets"), [("mixtral", "w1"), ("qwen3_moe", "up_proj,q_proj")])
def test_half_of_a_fused_matrix_is_refused_as_by_peft(kind, targets):
    with pytest.raises(ConfigError, match="needs '(w3|gate_proj)' beside it"):
        ours(random_config(kind, 0), targets, 3)
    with pytest.raises(ValueError, match="without also targeting"):
        peft_counts(random_config(kind, 0), targets, 3)


@pytest.mark.parametrize(("kind", "targets"), [("mixtral", "all-linear"), ("mixtral", "w1,w3"), ("qwen3_moe", "gate")])
def test_the_tensors_of_adapted_experts_are_named_as_in_the_file_of_peft(kind, targets):
    config = random_config(kind, 1)
    wrapped = peft.get_peft_model(on_meta(config), peft.LoraConfig(r=3, target_modules=as_target_modules(targets)))
    expected = {name: tuple(t.shape) for name, t in peft.get_peft_model_state_dict(wrapped).items()}
    assert count(from_config(config, "config.json"), targets, 3).tensors == expected


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("deberta-v2", r".*\.conv\.conv"),
        ("vit", "projection"),
        ("vit", "q_proj,projection"),
        ("whisper", "conv1,conv2"),
    ],
)
def test_a_convolution_counts_as_in_peft(kind, targets):
    config = random_config(kind, 0) | ({"conv_kernel_size": 3} if kind == "deberta-v2" else {})
    assert ours(config, targets, 5) == peft_counts(config, targets, 5)


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - PUBLISHED.keys() - set(REPEATED)))
def test_a_preset_counts_as_the_model_of_transformers(name):
    assert ours(PRESETS[name], "all-linear", 3) == peft_counts(PRESETS[name], "all-linear", 3)


@pytest.mark.parametrize("targets", ["c_attn", "all-linear", "wte,c_fc"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_size_of_the_file_is_that_of_the_file_peft_writes(targets, dtype, tmp_path):
    config = random_config("gpt2", 1)
    settings = {key: value for key, value in config.items() if key != "model_type"}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings)).to(getattr(torch, dtype))
    wrapped = peft.get_peft_model(
        model, peft.LoraConfig(r=7, target_modules=as_target_modules(targets)), autocast_adapter_dtype=False
    )
    wrapped.save_pretrained(tmp_path, save_embedding_layers=False)
    name = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]
    expected = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert count(from_config(config, "gpt2"), targets, 7).file_bytes(name) == expected


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_config_json_that_transformers_writes_is_counted(kind, tmp_path):
    config = random_config(kind, 7) | ({"tie_word_embeddings": True} if kind == "t5" else {})
    made = transformers.AutoConfig.for_model(kind, **{k: v for k, v in config.items() if k != "model_type"})
    made.save_pretrained(tmp_path)
    assert load(str(tmp_path)).base == sum(p.numel() for p in on_meta(config).parameters())


RELATIVES = {  # method -> PEFT's config of it
    "dora": lambda **own: peft.LoraConfig(r=5, use_dora=True, **own),
    "adalora": lambda **own: peft.AdaLoraConfig(init_r=5, target_r=3, total_step=9, **own),
    "vera": lambda **own: peft.VeraConfig(r=5, **own),
    "ia3": lambda **own: peft.IA3Config(),
    "prefix_tuning": lambda **own: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6),
    "prompt_tuning": lambda **own: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6),
}
NO_RELATIVES = ("mixtral", "qwen3_moe", "gpt_oss", "gemma3")  # experts; and a model of two


@pytest.mark.parametrize("method", RELATIVES)
@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind not in NO_RELATIVES])
def test_the_relatives_of_lora_count_as_in_peft(kind, method):
    config = {key: value for key, value in random_config(kind, 3).items() if key != "word_embed_proj_dim"}
    architecture = from_config(config, kind)
    rank = None if method in ("ia3", "prefix_tuning", "prompt_tuning") else 5
    try:
        mine = count_method(architecture, method, None, rank, 6)
    except ConfigError as error:
        assert re.search("is counted for decoders|is not counted for Falcon|has no targets of IA3", str(error))
        return
    targets = as_target_modules(default_targets(architecture))
    wrapped = peft.get_peft_model(on_meta(config), RELATIVES[method](target_modules=targets))
    trainable, total = wrapped.get_nb_trainable_parameters()
    ranknums = [p for name, p in wrapped.named_parameters() if "ranknum" in name]  # AdaLoRA's init_r, never trained
    trainable -= sum(p.requires_grad for p in ranknums)  # on the meta device it is marked as trainable
    assert (mine.trainable, mine.total) == (trainable, total - len(ranknums))
