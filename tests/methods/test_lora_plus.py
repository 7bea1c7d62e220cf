"""LoRA+: every trainable number is in one group, with the rate that the paper gives it."""

import pytest
from tiny import random_ids, tiny_llama

from minilora import AdamW, LoraConfig, create_loraplus_optimizer, get_peft_model
from minilora.errors import ConfigError
from minilora.methods.lora_plus import loraplus_groups

IDS = random_ids()


def model_of(**options):
    config = LoraConfig(r=3, target_modules=["q_proj", "embed_tokens"], modules_to_save=["norm"], **options)
    return get_peft_model(tiny_llama(), config)


def test_the_groups_hold_every_trainable_parameter_once():
    model = model_of()
    grouped = [id(p) for group in loraplus_groups(model, 1e-3, 16) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_every_kind_has_its_rate_and_no_group_is_empty():
    model = model_of()
    names = {id(p): name for name, p in model.named_parameters()}
    groups = loraplus_groups(model, 1e-3, 16, weight_decay=0.1)
    rates = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert {r for n, r in rates.items() if "lora_A" in n} == {(1e-3, 0.1)}
    assert {r for n, r in rates.items() if "lora_B" in n} == {(1.6e-2, 0.1)}
    assert {r for n, r in rates.items() if "lora_embedding" in n} == {(1e-6, 0.1)}
    assert {r for n, r in rates.items() if "norm" in n} == {(1.6e-2, 0.0)}
    assert all(g["params"] for g in groups) and len(groups) == 4


def test_a_step_moves_b_ratio_times_as_far_as_a():
    model = get_peft_model(tiny_llama(), LoraConfig(r=3, init_lora_weights=False), seed=1)
    before = {n: p.data.copy() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = create_loraplus_optimizer(model, AdamW, lr=1e-4, loraplus_lr_ratio=8, loraplus_weight_decay=0.0)
    model.loss(IDS, IDS).backward()
    optimizer.step()
    moved = {n: abs(p.data - before[n]).max() for n, p in model.named_parameters() if p.requires_grad}
    for name, distance in moved.items():  # Adam's first step is the learning rate, whatever the gradient
        assert distance == pytest.approx(8e-4 if "lora_B" in name else 1e-4, rel=0.02), name


@pytest.mark.parametrize("ratio", [0, -1, float("nan")])
def test_a_ratio_that_cannot_be_is_refused(ratio):
    with pytest.raises(ConfigError, match="loraplus_lr_ratio"):
        loraplus_groups(model_of(), 1e-3, ratio)


def test_the_decay_of_the_groups_has_pefts_name_and_the_optimizers_own_is_refused():
    model = model_of()
    optimizer = create_loraplus_optimizer(model, AdamW, lr=1e-4, loraplus_lr_ratio=8, loraplus_weight_decay=0.2)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.2, 0.0}
    with pytest.raises(ConfigError, match="weight_decay has no effect on the groups of LoRA"):
        create_loraplus_optimizer(model, AdamW, lr=1e-4, loraplus_lr_ratio=8, weight_decay=0.2)
