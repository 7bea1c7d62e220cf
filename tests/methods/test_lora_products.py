"""A frozen weight costs nothing: the matrix products of a training step, counted and compared with a formula."""

import gc
import tracemalloc

import numpy as np
import pytest
from tiny import SIZES, random_ids, tiny_llama, with_lora

from minilora.adapters.model import get_peft_model
from minilora.course.lab.products import count_products, counted
from minilora.methods.lora import LoraConfig
from minilora.models.llama import LlamaConfig, LlamaForCausalLM

LAYERS = 3
ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")


def block_products(adapted, x_needed):
    """The products of one block's backward. adapted: names; x_needed: does the block's input want a gradient?

    A frozen layer costs one product when its input wants a gradient (dx = g W). An adapter costs dB, g B, dA and, when
    its input wants a gradient, one more.
    """
    total = 0

    def layer(name, needed):  # counts, and says whether the output carries a gradient
        nonlocal total
        total += needed + ((3 + needed) if name in adapted else 0)
        return needed or name in adapted

    q, k, v = (layer(name, x_needed) for name in ("q_proj", "k_proj", "v_proj"))
    total += v + (q or k) + q + k  # dv, dP, dq, dk
    h = layer("o_proj", q or k or v) or x_needed
    gate, up = layer("gate_proj", h), layer("up_proj", h)
    out = layer("down_proj", gate or up) or h
    return total, out


def backward_products(targets, layers):
    """Σ over the blocks. The head's dx is made in the forward, beside the loss."""
    total, needed = 0, False
    for i in range(LAYERS):
        products, needed = block_products(targets if i in layers else (), needed)
        total += products
    return total


def counted_step(model, **fields):
    for p in model.parameters():
        p.data = counted(p.data)
    ids = random_ids(shape=(3, 6))
    loss = model.loss(ids, ids, **fields)
    with count_products() as products:
        loss.backward()
    return products


def adapted(targets, layers):
    model = tiny_llama(num_hidden_layers=LAYERS)
    config = LoraConfig(
        r=3, lora_alpha=5, target_modules=list(targets), layers_to_transform=list(layers), init_lora_weights=False
    )
    return get_peft_model(model, config)


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        (("q_proj", "v_proj"), (0, 1, 2)),
        (ATTENTION + MLP, (0, 1, 2)),
        (("q_proj",), (0, 1, 2)),
        (("k_proj",), (1,)),
        (("v_proj",), (0, 2)),
        (("o_proj",), (2,)),
        (("down_proj",), (2,)),
        (("q_proj", "v_proj"), (2,)),
    ],
)
def test_a_lora_step_makes_exactly_the_products_of_the_formula(targets, layers):
    products = counted_step(adapted(targets, layers))
    assert len(products) == backward_products(targets, layers)


def test_the_formula_gives_the_numbers_worked_out_by_hand_for_q_and_v():
    # first block: 2 adapters of 3; dv, dP, dq; dx of o, gate, up, down. Each later one: 7 dx, 2 adapters of 4, 4
    assert backward_products(("q_proj", "v_proj"), (0, 1, 2)) == (6 + 3 + 4) + 2 * (7 + 8 + 4)
    # only the last block's down_proj: dB, g B, dA
    assert backward_products(("down_proj",), (2,)) == 3


def weight_shapes(model):
    found = {shape for p in model.parameters() if p.ndim == 2 for shape in (p.shape, p.shape[::-1])}
    assert found
    return found


def test_no_product_of_a_lora_step_has_the_shape_of_a_frozen_weight():
    model = tiny_llama(num_hidden_layers=LAYERS)
    shapes = weight_shapes(model)
    products = counted_step(with_lora(model, "all-linear"))
    assert products
    for left, right in products:
        assert (left[-2], right[-1]) not in shapes


def test_full_training_does_form_a_product_for_every_weight():  # so the counter would see one
    model = tiny_llama(num_hidden_layers=LAYERS)
    shapes = weight_shapes(model)
    products = counted_step(model)
    assert sum((left[-2], right[-1]) in shapes for left, right in products) == 7 * LAYERS + 1


def test_with_every_adapter_frozen_a_step_records_nothing():
    model = with_lora(tiny_llama())
    model.set_adapter("default", inference_mode=True)
    loss = model.loss(random_ids(), random_ids())
    assert loss.node is None


def test_only_adapters_get_gradients_and_no_frozen_array_changes():
    model = with_lora(tiny_llama(), "all-linear")
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    model.loss(random_ids(), random_ids()).backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) == ("lora_" in name), name
        assert np.array_equal(p.data, before[name])


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ATTENTION + MLP])
def test_the_trainable_count_comes_from_shapes_of_a_model_that_was_never_filled(targets):
    r, d, m = 5, SIZES["hidden_size"], SIZES["intermediate_size"]
    H, K, hd = (SIZES[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    sides = {  # in + out
        "q_proj": d + H * hd, "k_proj": d + K * hd, "v_proj": d + K * hd, "o_proj": H * hd + d,
        "gate_proj": d + m, "up_proj": d + m, "down_proj": m + d,
    }  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    model = get_peft_model(model, LoraConfig(r=r, lora_alpha=7, target_modules=list(targets)))
    assert not any(p.is_filled for p in model.parameters())
    trainable, _ = model.get_nb_trainable_parameters()
    assert trainable == SIZES["num_hidden_layers"] * r * sum(sides[t] for t in targets)


@pytest.mark.parametrize("kind", ["q_proj,v_proj", "all-linear"])
def test_what_a_step_keeps_is_what_its_backward_reads(kind):
    """Bytes kept between forward and backward, against the sum of what the equations need."""
    model = with_lora(tiny_llama(), kind if kind == "all-linear" else kind.split(","))
    config, (B, T) = model.config, (32, 16)
    ids = random_ids(shape=(B, T))
    model.loss(ids, ids).backward()
    gc.collect()
    tracemalloc.start()
    loss = model.loss(ids, ids)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    loss.backward()
    d, m, H, K, hd = (config.hidden_size, config.intermediate_size, config.num_attention_heads,
                      config.num_key_value_heads, config.head_dim)  # fmt: skip
    a_token = 2 * d  # what both norms read
    a_token += 2 * H * hd + 2 * K * hd + H * T  # q, k, v, the output of attention, its scores
    a_token += 2 * m  # gate and up
    a_token += 2 * 3 + d if kind != "all-linear" else 7 * 3 + 2 * d + H * hd + m  # x Aᵀ, and what adapted layers read
    assert kept < 1.06 * 4 * B * T * (config.num_hidden_layers * a_token + 2 * d)
