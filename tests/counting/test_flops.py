"""Operations: LoRA saves the dW products and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.counting.architectures.catalog import from_config, load, one_matrix
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count, count_config
from minilora.counting.flops import flops
from minilora.methods.lora import LoraConfig


def counted(name, targets="all-linear", rank=8):
    return count(load(name), targets, rank)


def test_a_square_matrix_takes_6_n_squared_in_full_and_4_n_squared_plus_12_n_r_with_lora():
    n, r = 4096, 16
    f = flops(count(one_matrix(n, n), "all-linear", r), 512)
    assert (f.full, f.with_lora) == (6 * n * n, 4 * n * n + 12 * n * r)


def test_the_difference_is_the_dw_products_less_the_adapters():
    f = flops(counted("llama-3-8b"), 512)
    assert f.full - f.with_lora == f.dw_full - f.lora
    assert f.dw_full == f.forward == f.dx


def test_recomputation_does_the_forward_pass_of_base_and_adapter_once_more():
    """One matrix of 20 x 12, rank 3, one token: forward 2 · 240, of the adapter 2 · 3 · 32."""
    f = flops(count(one_matrix(20, 12), "all-linear", 3), 1)
    forward, adapter = 2 * 20 * 12, 2 * 3 * (20 + 12)
    assert f.with_lora == 2 * forward + 3 * adapter
    assert f.with_lora_recomputed == 3 * forward + 4 * adapter
    assert f.full_recomputed == 4 * forward


def test_a_module_that_is_saved_costs_its_dw():
    saved = LoraConfig(r=8, target_modules=["q_proj"], modules_to_save=["lm_head"])
    with_it, without = (
        flops(count_config(load("llama-3-8b"), c), 512) for c in (saved, replace(saved, modules_to_save=None))
    )
    assert with_it.with_lora - without.with_lora == 2 * 128_256 * 4096


@pytest.mark.slow
@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 8192))
def test_no_rank_and_no_length_makes_lora_more_than_one_and_a_half_times_cheaper(name, length):
    f = flops(counted(name, rank=1), length)
    assert 1 < f.ratio < 1.5
    assert 1 < f.ratio_recomputed < 4 / 3


LLAMA = {
    "model_type": "llama", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 32, "vocab_size": 50}


@pytest.mark.reference
@pytest.mark.parametrize(
    ("config", "targets"),
    [(LLAMA, "all-linear"), (LLAMA, "down_proj,q_proj"), (GPT2, "all-linear"), (GPT2, "c_attn")],
    ids=lambda value: value if isinstance(value, str) else value["model_type"],
)
def test_operations_are_those_that_pytorch_counts(config, targets):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    peft, counter = pytest.importorskip("peft"), pytest.importorskip("torch.utils.flop_counter")
    kind, rank, tokens = config["model_type"], 5, 16
    made = transformers.AutoConfig.for_model(kind, **{k: v for k, v in config.items() if k != "model_type"})
    ids = torch.arange(tokens)[None]

    def measured(adapted):
        model = transformers.AutoModelForCausalLM.from_config(made, attn_implementation="eager").train()
        if adapted:
            model.enable_input_require_grads()  # else nothing below the lowest adapter is computed
            names = targets if targets == "all-linear" else targets.split(",")
            model = peft.get_peft_model(model, peft.LoraConfig(r=rank, target_modules=names))
        with counter.FlopCounterMode(display=False) as seen:
            model(input_ids=ids, labels=ids).loss.backward()
        return seen.get_total_flops()

    f = flops(count(from_config(config, kind), targets, rank), tokens)
    assert measured(adapted=False) == f.full * tokens
    assert measured(adapted=True) == f.with_lora * tokens


def test_the_a_beside_an_embedding_is_looked_up_and_costs_nothing():
    f = flops(counted("gpt2", "wte", 4), 512)
    assert f.lora == 3 * 2 * 4 * 768


def test_attention_grows_with_the_length_and_the_matrices_do_not():
    short, long = (flops(counted("gpt2"), n) for n in (128, 256))
    assert long.attention_forward == 2 * short.attention_forward == 2 * 4 * 128 * 12 * 768
    assert long.forward == short.forward


def test_the_forward_pass_is_two_operations_for_each_weight_that_multiplies():
    f = flops(counted("gpt2"), 1)
    assert f.forward == 2 * (12 * 12 * 768 * 768 + 50257 * 768)  # the tied head multiplies; the embedding does not
