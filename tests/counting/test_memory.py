"""Memory of training: known sums, the laws of a step, and the libraries' own peaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.counting.architectures.catalog import default_targets, from_config, load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count, count_config, count_method
from minilora.counting.engine import own_budget
from minilora.counting.memory import LOGITS, LOSS, METHODS, budget, budgets, four_bit, gathered
from minilora.methods.lora import LoraConfig

TINY = {
    "model_type": "llama", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50,
}  # fmt: skip


def made(name, method, targets="all-linear", rank=16, batch=1, length=512, dtype="bfloat16", **more):
    return budget(method, count(load(name), targets, rank), batch, length, dtype, **more)


def total(items):
    return sum(i.bytes for i in items)


def sizes(moment):
    return {i.name: i.bytes for i in moment.items}


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("llama-3-70b", 39.517), ("llama-2-70b", 36.363), ("llama-1-65b", 34.459), ("llama-1-33b", 17.414),
     ("llama-1-7b", 3.866)],
)  # fmt: skip
def test_a_4_bit_base_has_the_known_size(name, gigabytes):
    quantized, rest, _ = four_bit(load(name))
    assert round((quantized.bytes + rest.bytes) / 1e9, 3) == gigabytes


def test_llama_3_70b_splits_into_linear_layers_and_the_rest_as_known():
    quantized, rest, _ = four_bit(load("llama-3-70b"))
    assert quantized.formula.startswith("68,451,041,280 x 4.126953125 bit")
    assert rest.bytes == 2 * (2_101_346_304 + 1_318_912)


@pytest.mark.parametrize(("dtype", "each"), [("bfloat16", 16), ("float16", 16), ("float32", 16)])
def test_a_parameter_trained_in_full_costs_16_bytes(dtype, each):
    assert total(made("gpt2", "full", "c_attn", 8, dtype=dtype).states) == each * 124_439_808


def test_a_parameter_trained_all_in_bfloat16_costs_8_bytes():
    assert total(made("gpt2", "full, 16-bit").states) == 8 * 124_439_808


def test_a_frozen_parameter_costs_its_own_bytes_and_a_trained_one_16():
    states = made("llama-3-8b", "LoRA", "q_proj,v_proj").states
    assert total(states) == 2 * 8_030_261_248 + 16 * 6_815_744


def test_what_peft_prepares_has_the_rest_in_float32():
    plain, prepared = (made("llama-3-8b", m).states for m in ("4-bit + LoRA", "4-bit + LoRA, prepared"))
    assert total(prepared) - total(plain) == 2 * 1_050_939_392


def test_modules_to_save_are_trained_in_the_type_of_the_base():
    config = LoraConfig(r=16, target_modules=["q_proj", "v_proj"], modules_to_save=["embed_tokens"])
    saved = count_config(load("llama-3-8b"), config)
    states = budget("LoRA", saved, 1, 512, "bfloat16").states
    assert total(states) == 2 * 8_030_261_248 + 16 * 6_815_744 + 8 * 128_256 * 4096


def test_full_fine_tuning_keeps_nothing_of_an_adapter():
    assert "x A of the adapters" in sizes(made("llama-3-8b", "LoRA").kept.peak)
    assert "x A of the adapters" not in sizes(made("llama-3-8b", "full").kept.peak)


def test_the_loss_takes_14_bytes_for_each_token_and_entry_of_the_vocabulary():
    peak = made("llama-3-8b", "LoRA").recomputed.peak
    assert peak.name == "in the loss" and sizes(peak)[LOSS] == 14 * 512 * 128_256


@pytest.mark.parametrize(
    ("model", "method", "dtype", "each"),
    [("llama-3.2-1b", "LoRA", "float32", 16), ("t5-base", "LoRA", "bfloat16", 8), ("t5-base", "full", "bfloat16", 14),
     ("gemma-2-2b", "LoRA", "bfloat16", 16)],
)  # fmt: skip
def test_the_bytes_of_the_loss_follow_its_type(model, method, dtype, each):
    classes = next(p.out for p in load(model).parts if p.head)
    moment = next(m for m in made(model, method, dtype=dtype).kept.moments if m.name == "in the loss")
    assert sizes(moment)[LOSS] == each * 512 * classes


def test_a_chunked_loss_keeps_no_logits():
    plan = made("llama-3-8b", "LoRA").recomputed
    assert all(not {LOSS, LOGITS} & sizes(m).keys() for m in plan.with_chunked_loss.moments)
    assert plan.peak.bytes - plan.with_chunked_loss.peak.bytes <= 14 * 512 * 128_256


def test_the_activations_of_a_small_llama_by_hand():
    """Three layers, d = 24, m = 40, 4 heads of width 8; q and v adapted with rank 5; 2 sequences of 6 tokens."""
    counted = count(from_config(TINY, "tiny"), "q_proj,v_proj", 5)
    kept = sizes(budget("LoRA", counted, 2, 6, "bfloat16").kept.peak)
    tokens, width = 2 * 6, 4 * 8
    assert kept["norms"] == tokens * 4 * 24 * (2 * 3 + 1)
    assert kept["inputs of trained matrices"] == tokens * 3 * 2 * 4 * 24  # a float32 copy for q, one for v
    assert kept["attention: q, k, v, output"] == tokens * 3 * 4 * 2 * width
    assert kept["activation functions"] == tokens * 3 * 3 * 2 * 40  # gate, silu(gate) and up
    assert kept["x A of the adapters"] == tokens * 3 * 2 * 4 * 5
    assert kept["attention mask"] == tokens * (3 * 2 * 6 + 6)


def test_lora_on_two_matrices_keeps_fewer_inputs_than_full_fine_tuning():
    full, lora = (made("llama-3-8b", m, "q_proj,v_proj").kept.moments[0] for m in ("full, 16-bit", "LoRA"))
    assert total(lora.rest) < 0.9 * total(full.rest)


@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 64), st.integers(1, 4096))
@pytest.mark.slow
def test_every_item_equals_its_formula_and_recomputing_never_keeps_more(name, batch, length):
    architecture = load(name)
    for b in budgets(count(architecture, default_targets(architecture), 8), batch, length, "bfloat16"):
        for moment in (*b.kept.moments, *b.recomputed.moments):
            for item in moment.items:
                numbers = item.formula.replace(",", "").replace("bit / 8", "/ 8")
                assert item.bytes == pytest.approx(eval(numbers.replace(" B", "").replace("x", "*")), rel=1e-6)
        inputs_of_layers = sum(i.bytes for i in b.recomputed.moments[1].items if i.name == "input of each layer")
        assert b.total_recomputed <= b.total + inputs_of_layers


def test_twice_the_tokens_keep_twice_the_activations():
    one, two = (made("gpt2", "LoRA", "c_attn", 8, batch=b).kept.moments[0] for b in (1, 2))
    assert total(two.rest) == 2 * total(one.rest)


@pytest.mark.parametrize(
    "name", ["gpt2", "bert-base-uncased", "bloom-560m", "deberta-v3-base", "t5-small", "gemma-2-2b"]
)
def test_a_flash_kernel_saves_the_scores(name):
    plain, flash = (made(name, "LoRA", length=500, flash=f).kept for f in (False, True))
    assert sizes(plain.peak)["attention scores, T x T"] > 0
    assert "attention scores, T x T" not in sizes(flash.peak)
    assert flash.peak.bytes < plain.peak.bytes


def test_without_dropout_gpt2_keeps_no_scores():
    without = from_config(PRESETS["gpt2"] | {"attn_pdrop": 0.0}, "gpt2")
    assert "attention scores, T x T" not in sizes(
        budget("LoRA", count(without, "c_attn", 8), 1, 64, "bfloat16").kept.peak
    )


def test_the_methods_that_do_not_exist_are_left_out():
    assert [b.method for b in budgets(count(load("gpt2"), "c_attn", 8), 1, 8, "float32")] == [
        m for m in METHODS if m != "full, 16-bit"
    ]
    falcon = budgets(count(load("falcon-7b"), "query_key_value", 8), 1, 8, "bfloat16")
    assert [b.method for b in falcon] == ["full", "full, 16-bit", "LoRA"]


def test_gradients_fill_up_while_activations_go():
    moments = made("llama-3.2-1b", "full, 16-bit", batch=8, length=2048).kept.moments
    assert [m.name.split(" of ")[0] for m in moments] == [
        "in the loss",
        "in the backward pass",
        "in the optimizer's step",
    ]
    assert sizes(moments[2])["gradients"] == 2 * 1_235_814_400
    assert sizes(moments[1])["gradients of the layers above"] < sizes(moments[2])["gradients"]


def test_65b_in_4_bit_fits_48_gb_and_70b_does_not_fit_24():
    assert made("llama-1-65b", "4-bit + LoRA", rank=64).cards[48] == "fits"
    assert made("llama-3-70b", "4-bit + LoRA", "q_proj,v_proj", 1).cards[24] == "no"


def test_text_alone_passes_the_vision_tower_by():
    parts = count(load("gemma-3-4b"), "q_proj,v_proj", 8)
    kept = budget("LoRA", parts, 1, 512, "bfloat16").kept
    assert "model.language_model" in kept.moments[1].name


def adapted(model, **fields):
    config = LoraConfig(r=16, target_modules=["q_proj", "v_proj"], **fields)
    return budget("LoRA", count_config(load(model), config), 2, 512, "bfloat16")


def test_layers_below_the_lowest_adapter_keep_nothing():
    all_layers, last = adapted("llama-3.2-1b"), adapted("llama-3.2-1b", layers_to_transform=[15])
    kept = [sizes(b.kept.moments[0])["activation functions"] for b in (all_layers, last)]
    assert kept[0] == 16 * kept[1]
    assert sizes(last.recomputed.moments[1])["input of each layer"] == 16 * 2 * 512 * 2 * 2048


def test_a_trained_embedding_makes_every_layer_keep_its_activations():
    saved = adapted("llama-3.2-1b", layers_to_transform=[15], modules_to_save=["embed_tokens"])
    kept = [sizes(b.kept.moments[0])["activation functions"] for b in (saved, adapted("llama-3.2-1b"))]
    assert kept[0] == kept[1]


def test_dora_keeps_both_outputs_and_needs_dense_matrices_for_its_norms():
    dora = adapted("llama-3.2-1b", use_dora=True)
    assert sizes(dora.kept.moments[1])["outputs for the magnitudes"] == 16 * 2 * 512 * (2048 + 512) * (2 + 4)
    assert sizes(dora.kept.moments[0])["norms of DoRA"] == 2048 * (2048 + 4 * 2048) * 4


def test_dropout_of_an_adapter_keeps_an_input_and_a_mask_for_each():
    kept = [
        sizes(adapted("llama-3.2-1b", lora_dropout=p).kept.moments[0])["inputs of trained matrices"] for p in (0.0, 0.1)
    ]
    assert kept[1] == 2 * kept[0]


def test_each_of_several_cards_holds_two_layers_and_what_is_outside_of_the_layers():
    model = load("llama-3.1-70b")
    layer, outside = 855_654_400, 2 * 128_256 * 8192 + 8192
    assert gathered(model, "LoRA") == 2 * (2 * layer + outside)
    assert gathered(model, "full") == 2 * (3 * layer + outside)
    assert gathered(model, "4-bit + LoRA") < 2 * layer + 2 * outside


@pytest.mark.parametrize(
    ("targets", "recomputed", "peak"),
    [("q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", False, 16.84), ("q_proj,v_proj", False, 8.13),
     ("q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", True, 5.17)],
)  # fmt: skip
def test_dora_with_dropout_keeps_w_x_and_w_in_float32(targets, recomputed, peak):
    """peak: GiB of transformers and PEFT, by benchmarks/fake_step.py."""
    config = LoraConfig(r=16, target_modules=targets.split(","), use_dora=True, lora_dropout=0.05)
    made = budget("LoRA", count_config(load("qwen2.5-0.5b"), config), 4, 512, "bfloat16")
    ours = (made.recomputed if recomputed else made.kept).peak.bytes / 2**30
    assert -0.02 <= ours / peak - 1 <= 0.15


def of_method(method, engine="huggingface"):
    counted = count_method(load("llama-3.2-1b"), method)
    made = own_budget("LoRA", counted, 2, 512) if engine == "minilora" else budget("LoRA", counted, 2, 512, "bfloat16")
    return sizes(made.kept.moments[0]), made


@pytest.mark.parametrize("engine", ["huggingface", "minilora"])
def test_every_method_has_its_own_arrays(engine):
    arrays = 2 if engine == "minilora" else 3
    assert of_method("adalora", engine)[0]["scores of AdaLoRA"] == arrays * 4 * 852_224
    assert of_method("vera", engine)[0]["A and B of VeRA"] == 4 * 256 * (2048 + 2048)
    each = 4 if engine == "minilora" else 6
    for method in ("dora", "vera", "ia3"):
        outputs = 16 * (512 + 512 + 8192 if method == "ia3" else 2048 + 512)
        assert of_method(method, engine)[0]["outputs for the magnitudes"] == 2 * 512 * outputs * each


@pytest.mark.parametrize("engine", ["huggingface", "minilora"])
def test_places_in_front_of_a_sequence_take_memory_as_its_tokens_do(engine):
    kinds = [name for name in of_method("lora", engine)[0] if name.startswith("activation")]
    lora, prompt = (of_method(method, engine)[0][kinds[0]] for method in ("lora", "prompt_tuning"))
    assert prompt * 512 == lora * (512 + 20)
