"""The counts beside real PEFT, on models of transformers built without memory: shapes, targets, ranks of all kinds."""

import random

import pytest
from published_counts import PUBLISHED

from minilora.adapters.targets import as_target_modules
from minilora.counting.architectures.catalog import FAMILIES, default_targets, from_config, load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.reference

REPEATED = ("mistral-7b", "llama-2-7b", "llama-2-13b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.3-70b")  # other names
REGEX = r".*\.1\.(.*\.)?(q|query|\w+_proj|dense|wi|wi_1|fc1|fc_in|c_\w+|dense_h_to_4h)"  # in the second layer only
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
    "t5": {"feed_forward_proj": ["relu", "gated-gelu"], "tie_word_embeddings": [True, False],
           "num_decoder_layers": [None, 1]},
}  # fmt: skip


def sizes(kind, rng):
    H, depth, vocabulary, m = rng.choice([2, 4, 6]), rng.randint(2, 4), rng.randint(60, 200), rng.randint(30, 150)
    d = H * 2 * rng.randint(2, 9)
    if kind in ("gpt2", "gptj"):
        return {"n_embd": d, "n_layer": depth, "n_head": H, "n_positions": m, "vocab_size": vocabulary}
    if kind == "bloom":
        return {"hidden_size": d, "n_layer": depth, "n_head": H, "vocab_size": vocabulary}
    if kind == "t5":
        return {"d_model": d, "d_ff": m, "num_layers": depth, "num_heads": H, "d_kv": 10, "vocab_size": vocabulary}
    usual = {"hidden_size": d, "num_hidden_layers": depth, "num_attention_heads": H, "vocab_size": vocabulary}
    return usual | ({"ffn_dim": m} if kind == "opt" else {"intermediate_size": m, "num_key_value_heads": H})


def random_config(kind, seed):
    rng = random.Random(f"{kind} {seed}")
    config = {"model_type": kind} | sizes(kind, rng)
    config |= {key: rng.choice(values) for key, values in VARIANTS[kind].items()}
    return {key: value for key, value in config.items() if value is not None}


def on_meta(config):
    """The model of transformers for a config.json, in the class that is counted; it takes no memory."""
    settings = {key: value for key, value in config.items() if key != "model_type"}
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
    return base, trainable, total, len(wrapped.targeted_module_names)


def ours(config, targets, rank):
    made = count(from_config(config, "config.json"), targets, rank)
    return made.base, made.trainable, made.total, len(made.chosen)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", FAMILIES)
def test_counts_equal_those_of_real_peft(kind, seed):
    config = random_config(kind, seed)
    architecture = from_config(config, kind)
    names = sorted({p.path.rpartition(".")[2] for p in architecture.linears})
    rng = random.Random(seed)
    two = ",".join(rng.sample(names, 2))
    embedding = next(p.path.rpartition(".")[2] for p in architecture.parts if p.kind == "embedding")
    heads = [p.path for p in architecture.parts if p.head]
    target_sets = ["all-linear", default_targets(architecture), two, REGEX, f"{names[0]},{embedding}", *heads]
    for targets, rank in zip(target_sets, rng.sample(range(1, 41), len(target_sets)), strict=True):
        assert ours(config, targets, rank) == peft_counts(config, targets, rank), (config, targets, rank)


def test_a_convolution_counts_as_in_peft():
    config = random_config("deberta-v2", 0) | {"conv_kernel_size": 3}
    assert ours(config, r".*\.conv\.conv", 5) == peft_counts(config, r".*\.conv\.conv", 5)


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
