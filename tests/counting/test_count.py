"""The closed formula: against counts taken from real PEFT, against published totals, and against its own laws."""

import json

import numpy as np
import pytest
from checkpoints import GOLDEN
from hypothesis import given
from hypothesis import strategies as st
from published_counts import PUBLISHED
from safetensors.numpy import save_file

from minilora.adapters.targets import as_target_modules
from minilora.counting.architectures.catalog import from_config, load, one_matrix
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.build import cross_check
from minilora.counting.count import count, count_config, count_method, safetensors_bytes
from minilora.errors import ConfigError
from minilora.methods.lora import LoraConfig

ROWS = json.loads((GOLDEN / "peft_counts.json").read_text(encoding="utf-8"))["rows"]

QV = {"gpt2": "c_attn", "gpt_neox": "query_key_value", "bloom": "query_key_value", "bert": "query,value",
      "roberta": "query,value", "deberta-v2": "query_proj,value_proj", "t5": "q,v"}  # fmt: skip
QKVO = {
    "gpt2": r".*attn\.(c_attn|c_proj)", "gpt_neox": r".*attention\.(query_key_value|dense)", "t5": "q,k,v,o",
    "bert": r".*attention\.(self\.(query|key|value)|output\.dense)", "phi": "q_proj,k_proj,v_proj,dense",
    "roberta": r".*attention\.(self\.(query|key|value)|output\.dense)", "opt": "q_proj,k_proj,v_proj,out_proj",
    "deberta-v2": r".*attention\.(self\.(query_proj|key_proj|value_proj)|output\.dense)",
    "gptj": "q_proj,k_proj,v_proj,out_proj",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['model'].split('/')[0]} {r['target_set']} r{r['rank']}")
def test_a_count_equals_the_one_taken_from_real_peft(row):
    name = row["model"].split("/")[0].partition("(")[0]
    targets = row["target_modules"]
    made = count(load(name), targets if isinstance(targets, str) else ",".join(targets), row["rank"])
    assert (made.base, made.trainable, made.total) == (row["base_params"], row["trainable"], row["total"])
    assert len(made.chosen) == row["num_adapted_modules"]
    assert made.percent == pytest.approx(row["trainable_pct"], rel=1e-12)
    assert (made.adapter_bytes(4), made.adapter_bytes(2)) == (row["adapter_bytes_fp32"], row["adapter_bytes_16bit"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_and_counts_per_rank_are_the_published_ones(name):
    architecture = load(name)
    kind = architecture.model_type
    sets = (QV.get(kind, "q_proj,v_proj"), QKVO.get(kind, "q_proj,k_proj,v_proj,o_proj"), "all-linear")
    base, *per_rank = PUBLISHED[name]
    assert architecture.base == base
    for targets, expected in zip(sets, per_rank, strict=True):
        if expected:
            assert count(architecture, targets, 1).trainable == expected


@pytest.mark.parametrize(
    ("formula_of", "exact"),
    [
        (("roberta-base", "query,value", 8), 294_912),
        (("roberta-large", "query,value", 8), 786_432),
        (("deberta-v2-xxlarge", "query_proj,value_proj", 16), 4_718_592),
        (("deberta-v2-xxlarge", "query_proj,value_proj", 8), 2_359_296),
        (("gpt2-medium", "c_attn", 4), 393_216),
        (("gpt2-large", "c_attn", 4), 737_280),
        (("gpt3-175b", "c_attn", 1), 4_718_592),
        (("gpt3-175b", "c_attn", 2), 9_437_184),
        (("gpt3-175b", "c_attn", 4), 18_874_368),
        (("gpt3-175b", "c_attn", 8), 37_748_736),
        (("gpt3-175b", "c_attn", 64), 301_989_888),
        (("4096x4096", "all-linear", 16), 131_072),
        (("llama-3-8b", "q_proj,v_proj", 16), 6_815_744),
        (("llama-3-8b", "gate_proj,up_proj,down_proj", 16), 28_311_552),
        (("llama-3-70b", "all-linear", 16), 207_093_760),
        (("llama-3-70b", "all-linear", 4), 51_773_440),
        (("llama-1-65b", "all-linear", 64), 799_539_200),
        (("llama-1-7b", "q_proj,k_proj,v_proj,up_proj,down_proj", 32), 56_098_816),
        (("deberta-v3-base", "all-linear", 8), 1_327_104),
    ],
)
def test_the_exact_integers_behind_published_figures(formula_of, exact):
    name, targets, rank = formula_of
    assert count(load(name), targets, rank).trainable == exact


def test_one_matrix_of_4096_at_rank_16_is_128_times_smaller():
    made = count(load("4096x4096"), "all-linear", 16)
    assert (made.base, made.trainable, made.reduction) == (16_777_216, 131_072, 128.0)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 300))
def test_a_matrix_trains_r_times_the_sum_of_its_sides(out, n_in, r):
    made = count(one_matrix(out, n_in), "all-linear", r)
    assert made.trainable == r * (out + n_in)
    assert made.total == out * n_in + r * (out + n_in)


@pytest.mark.slow
@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 2000))
def test_the_count_grows_in_proportion_to_the_rank(name, rank):
    architecture = load(name)
    assert count(architecture, "all-linear", rank).trainable == rank * count(architecture, "all-linear", 1).trainable


@pytest.mark.parametrize("name", ["gpt2", "llama-3-8b", "t5-small", "deberta-v2-xxlarge"])
def test_the_printed_sum_gives_the_count(name):
    made = count(load(name), "all-linear", 7)
    assert eval(made.working.replace("x", "*")) == made.trainable


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
                       min_size=1, max_size=12))  # fmt: skip
def test_the_size_of_a_safetensors_file_is_that_of_the_file(tmp_path_factory, shapes):
    shapes.pop("__metadata__", None)
    path = tmp_path_factory.mktemp("file") / "a.safetensors"
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    assert safetensors_bytes(shapes, "F32") == path.stat().st_size


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("q_proj,v_proj", ["q_proj", "v_proj"]),
        ("q_proj", ["q_proj"]),
        ("all-linear", "all-linear"),
        (r".*\.q_proj", r".*\.q_proj"),
        ("q_proj|v_proj", "q_proj|v_proj"),
        ("attn.c_proj", ["attn.c_proj"]),
    ],
)
def test_plain_names_are_a_list_and_anything_else_an_expression(text, meaning):
    assert as_target_modules(text) == meaning


@pytest.mark.parametrize(
    "options",
    [{"lora_bias": True}, {"trainable_token_indices": [7, 0]}, {"trainable_token_indices": {"lm_head": [3]}},
     {"trainable_token_indices": {"lm_head": [3], "embed_tokens": [1, 2]}, "lora_bias": True}],
)  # fmt: skip
@pytest.mark.parametrize("tied", [True, False])
def test_biases_of_b_and_rows_of_tokens_are_counted_as_in_the_model_that_trains(options, tied):
    sizes = {"vocab_size": 61, "hidden_size": 24, "intermediate_size": 28, "num_hidden_layers": 2}
    config = {"model_type": "llama", "num_attention_heads": 4, "tie_word_embeddings": tied} | sizes
    counted = count_config(from_config(config, "a"), LoraConfig(target_modules=["q_proj"], **options))
    assert cross_check(counted).endswith("equal")
    assert safetensors_bytes(counted.tensors, "F32") > 4 * counted.trainable


# ---- the relatives of LoRA


METHODS = ("dora", "pissa", "olora", "lora_plus", "adalora", "vera", "ia3", "prefix_tuning", "prompt_tuning")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", ["llama-3.2-1b", "qwen3-0.6b", "gpt2", "gemma-2-2b"])
def test_a_method_is_counted_as_in_the_model_that_trains(model, method):
    assert cross_check(count_method(load(model), method)).endswith("equal")


@pytest.mark.parametrize(
    ("method", "trainable", "file"),
    [  # PEFT's method_comparison of Llama-3.2-3B: numbers and bytes of the files that it recorded
        ("dora", 9_289_728, 37_181_760), ("adalora", 18_353_664, None), ("vera", 129_024, 6_821_968),
        ("ia3", 286_720, None), ("prefix_tuning", 11_468_800, 45_875_328), ("prompt_tuning", 614_400, None),
    ],
)  # fmt: skip
def test_the_counts_are_those_that_peft_recorded_on_llama_3_2_3b(method, trainable, file):
    rank = {"dora": 32, "adalora": 64, "vera": 256}.get(method)
    counted = count_method(load("llama-3.2-3b"), method, rank=rank, virtual_tokens=200)
    assert counted.trainable == trainable
    assert file is None or counted.file_bytes("F32") == file


def test_the_sum_that_is_shown_gives_the_count():
    for method in METHODS:
        counted = count_method(load("gpt2"), method)
        words = counted.working.replace(" magnitudes", "").replace("x", "*")
        assert eval(words, {"__builtins__": {}}) == counted.trainable, method


def test_what_has_no_count_is_refused_by_name():
    with pytest.raises(ConfigError, match="PROMPT_TUNING is counted for decoders, and roberta-base.*is none"):
        count_method(load("roberta-base"), "prompt_tuning")
    with pytest.raises(ConfigError, match="PEFT has no targets of IA3 for"):
        count_method(load("phi-3-mini"), "ia3")
    with pytest.raises(ConfigError, match="adapts linear layers"):
        count_method(load("gpt2"), "vera", "wte")


def test_a_tensor_for_every_number_of_the_adapter():
    for method in METHODS:
        counted = count_method(load("gpt2"), method)
        numbers = sum(int(np.prod(shape)) for shape in counted.tensors.values())
        twice = 2 if method in ("pissa", "olora") else 1  # saved as a LoRA of rank 2r
        assert numbers == twice * counted.trainable + counted.frozen, method
