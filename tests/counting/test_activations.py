"""Memory of training: the activations beside what PyTorch keeps, and the sums that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.counting.activations import activations
from minilora.counting.architectures.catalog import from_config, load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count
from minilora.counting.memory import CARDS, budgets, four_bit, verdict

LLAMA = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 256, "vocab_size": 512,
        "resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0}  # fmt: skip
NEOX = {key: LLAMA[key] for key in LLAMA if key != "num_key_value_heads"} | {"model_type": "gpt_neox"}


def budget(name, targets, rank, method, **settings):
    made = count(load(name), targets, rank)
    return {b.method: b for b in budgets(made, **{"batch": 1, "length": 512, "dtype": "bfloat16"} | settings)}[method]


def total(items):
    return sum(i.bytes for i in items)


@pytest.mark.reference
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("config", [LLAMA, GPT2, NEOX], ids=lambda c: c["model_type"])
def test_pytorch_keeps_between_nine_tenths_and_twice_of_what_the_formula_says(config, dtype):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")
    kind = config["model_type"]
    narrow = {"llama": "q_proj,v_proj", "gpt2": "c_attn", "gpt_neox": "query_key_value"}[kind]
    architecture, width = from_config(config, kind), np.dtype("f4").itemsize if dtype == "float32" else 2
    ids = torch.arange(512).reshape(2, 256)
    for targets in ("full", "all-linear", narrow):
        made = transformers.AutoConfig.for_model(kind, **{k: v for k, v in config.items() if k != "model_type"})
        model = transformers.AutoModelForCausalLM.from_config(made, attn_implementation="sdpa")
        model = model.to(getattr(torch, dtype)).train()
        trains, rank = {p.path for p in architecture.parts}, 0
        if targets != "full":
            counted, rank = count(architecture, targets, 8), 8
            trains = {p.path for p in counted.chosen}
            names = targets if targets == "all-linear" else targets.split(",")
            model = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=names), autocast_adapter_dtype=False)
        kept, _ = activations(architecture, trains, rank, 2, 256, width)
        assert 0.9 < saved_bytes(torch, model, ids) / total(kept) < 2.2, targets


def saved_bytes(torch, model, ids):
    """Bytes of all floating arrays that the forward pass keeps for the backward pass, parameters apart."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept, alive = {}, []

    def pack(t):
        storage = t.untyped_storage()
        if t.is_floating_point() and storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(t)  # so that no later array gets its address
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model(input_ids=ids, labels=ids)
    return sum(kept.values())


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
    assert total(budget("gpt2", "c_attn", 8, "full", dtype=dtype).states) == each * 124_439_808


def test_a_frozen_parameter_costs_its_own_bytes_and_a_trained_one_16():
    made = budget("llama-3-8b", "q_proj,v_proj", 16, "LoRA")
    assert total(made.states) == 2 * 8_030_261_248 + 16 * 6_815_744


def test_lora_on_two_matrices_keeps_fewer_inputs_than_full_fine_tuning():
    full, lora = (total(budget("llama-3-8b", "q_proj,v_proj", 16, m).kept) for m in ("full", "LoRA"))
    assert lora < 0.8 * full


@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 64), st.integers(1, 4096))
def test_every_item_equals_its_formula_and_recomputing_never_keeps_more(name, batch, length):
    made = budgets(count(load(name), "all-linear", 8), batch, length, "bfloat16")
    assert made
    for b in made:
        assert b.states and b.kept and b.recomputed
        for item in (*b.states, *b.kept, *b.recomputed):
            numbers = item.formula.replace(",", "").replace("bit / 8", "/ 8")
            assert item.bytes == pytest.approx(eval(numbers.replace(" B", "").replace("x", "*")), rel=1e-6)
        inputs_of_layers = sum(i.bytes for i in b.recomputed if i.name == "input of each layer")
        assert b.total_recomputed <= b.total + inputs_of_layers


def test_twice_the_tokens_keep_twice_the_activations():
    one, two = (budget("gpt2", "c_attn", 8, "LoRA", batch=b) for b in (1, 2))
    assert total(two.kept) == 2 * total(one.kept)


def test_a_card_holds_what_is_smaller_and_is_tight_for_the_last_fifth():
    assert [verdict(x * 2**30, 24) for x in (20.0, 20.1, 24.0, 24.1)] == ["fits", "tight", "tight", "no"]


def test_65b_in_4_bit_fits_48_gb_and_70b_does_not_fit_24():
    assert budget("llama-1-65b", "all-linear", 64, "4-bit + LoRA").cards[48] == "tight"
    assert budget("llama-3-70b", "q_proj,v_proj", 1, "4-bit + LoRA").cards[24] == "no"
    assert list(budget("gpt2", "c_attn", 1, "full").cards) == list(CARDS)
