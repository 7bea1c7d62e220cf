"""The closed formula: against counts taken from real PEFT, against published totals, and against its own laws."""

import json

import numpy as np
import pytest
from checkpoints import GOLDEN
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from minilora.adapters.targets import as_target_modules
from minilora.counting.architectures.catalog import load, one_matrix
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count, safetensors_bytes

ROWS = json.loads((GOLDEN / "peft_counts.json").read_text(encoding="utf-8"))["rows"]

# model: its parameters, then LoRA parameters per rank of q,v (or the fused matrix), q,k,v,o, all linear layers.
# From real PEFT on models without memory; the totals are also those that the makers of the models state.
PUBLISHED = {
    "distilgpt2": (81_912_576, 18_432, 27_648, 73_728),
    "gpt2": (124_439_808, 36_864, 55_296, 147_456),
    "gpt2-medium": (354_823_168, 98_304, 147_456, 393_216),
    "gpt2-large": (774_030_080, 184_320, 276_480, 737_280),
    "gpt2-xl": (1_557_611_200, 307_200, 460_800, 1_228_800),
    "gpt3-175b": (174_604_259_328, 4_718_592, 7_077_888, 18_874_368),
    "llama-1-7b": (6_738_415_616, 524_288, 1_048_576, 2_498_560),
    "llama-1-13b": (13_015_864_320, 819_200, 1_638_400, 3_911_680),
    "llama-1-33b": (32_528_943_616, 1_597_440, 3_194_880, 7_618_560),
    "llama-1-65b": (65_285_660_672, 2_621_440, 5_242_880, 12_492_800),
    "llama-2-70b": (68_976_648_192, 2_048_000, 4_096_000, 12_943_360),
    "llama-3-8b": (8_030_261_248, 425_984, 851_968, 2_621_440),
    "llama-3-70b": (70_553_706_496, 2_048_000, 4_096_000, 12_943_360),
    "llama-3.1-405b": (405_853_388_800, 6_322_176, 12_644_352, 38_965_248),
    "llama-3.2-1b": (1_235_814_400, 106_496, 212_992, 704_512),
    "llama-3.2-3b": (3_212_749_824, 286_720, 573_440, 1_519_616),
    "tinyllama-1.1b": (1_100_048_384, 140_800, 281_600, 788_480),
    "mistral-7b-v0.1": (7_241_732_096, 425_984, 851_968, 2_621_440),
    "mistral-7b-v0.3": (7_248_023_552, 425_984, 851_968, 2_621_440),
    "qwen2.5-0.5b": (494_032_768, 67_584, 135_168, 549_888),
    "qwen2.5-1.5b": (1_543_714_304, 136_192, 272_384, 1_154_048),
    "qwen2.5-3b": (3_085_938_688, 230_400, 460_800, 1_870_848),
    "qwen2.5-7b": (7_615_616_512, 315_392, 630_784, 2_523_136),
    "qwen2.5-14b": (14_770_033_664, 786_432, 1_572_864, 4_300_800),
    "qwen2.5-32b": (32_763_876_352, 1_048_576, 2_097_152, 8_388_608),
    "qwen2.5-72b": (72_706_203_648, 2_048_000, 4_096_000, 13_158_400),
    "qwen3-0.6b": (596_049_920, 143_360, 286_720, 630_784),
    "gemma-2b": (2_506_172_416, 115_200, 230_400, 1_225_728),
    "gemma-7b": (8_537_680_896, 401_408, 802_816, 3_125_248),
    "phi-2": (2_779_683_840, 327_680, 655_360, 1_474_560),
    "roberta-base": (124_645_632, 36_864, 73_728, 167_424),
    "roberta-large": (355_359_744, 98_304, 196_608, 444_416),
    "bert-base-uncased": (109_482_240, 36_864, 73_728, 167_424),
    "deberta-v2-xxlarge": (1_564_549_632, 294_912, 589_824, 1_327_104),
    "opt-125m": (125_239_296, 36_864, 73_728, 165_888),
    "opt-1.3b": (1_315_758_080, 196_608, 393_216, 884_736),
    "opt-6.7b": (6_658_473_984, 524_288, 1_048_576, 2_359_296),
    "pythia-70m": (70_426_624, 12_288, 18_432, 49_152),
    "gpt-j-6b": (6_050_882_784, 458_752, 917_504, 2_064_384),
    "bloom-560m": (559_214_592, 98_304, None, 393_216),
    "t5-small": (60_506_624, 36_864, 73_728, 135_168),
}
QV = {"gpt2": "c_attn", "gpt_neox": "query_key_value", "bloom": "query_key_value", "bert": "query,value",
      "roberta": "query,value", "deberta-v2": "query_proj,value_proj", "t5": "q,v"}  # fmt: skip
QKVO = {
    "gpt2": r".*attn\.(c_attn|c_proj)", "gpt_neox": r".*attention\.(query_key_value|dense)", "t5": "q,k,v,o",
    "bert": r".*attention\.(self\.(query|key|value)|output\.dense)", "phi": "q_proj,k_proj,v_proj,dense",
    "roberta": r".*attention\.(self\.(query|key|value)|output\.dense)", "opt": "q_proj,k_proj,v_proj,out_proj",
    "deberta-v2": r".*attention\.(self\.(query_proj|key_proj|value_proj)|output\.dense)",
    "gptj": "q_proj,k_proj,v_proj,out_proj",
}  # fmt: skip


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
        ("attn.c_proj", "attn.c_proj"),
    ],
)
def test_plain_names_are_a_list_and_anything_else_an_expression(text, meaning):
    assert as_target_modules(text) == meaning
