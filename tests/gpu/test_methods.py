"""Every method of the family on a device: it trains, merges, is saved and loaded as on the CPU."""

import warnings

import numpy as np
import pytest
from places import assert_all_close, assert_all_same_bits, assert_close, assert_same_bits, is_all_on
from tiny import random_ids, tiny_gpt2, tiny_llama
from training_cases import labelled

import minilora as ml
from minilora.backend import to_host
from minilora.errors import ConfigError
from minilora.files.safetensors import read_tensors
from minilora.methods.lora_plus import create_loraplus_optimizer
from minilora.training.loop import train
from minilora.training.optim import AdamW
from minilora.training.resume import trained

LORA = {"r": 3, "lora_alpha": 5, "init_lora_weights": False}
LAYERS = {"target_modules": ["q_proj", "v_proj", "down_proj"]}
METHODS = {
    "lora": ml.LoraConfig(**LORA, target_modules="all-linear"),
    "lora with dropout": ml.LoraConfig(**LORA, **LAYERS, lora_dropout=0.3),
    "rank 1": ml.LoraConfig(**LORA | {"r": 1}, **LAYERS),
    "rslora and patterns": ml.LoraConfig(**LORA, **LAYERS, use_rslora=True, rank_pattern={"v_proj": 2}),
    "lora of embedding and head": ml.LoraConfig(**LORA, target_modules=["embed_tokens", "lm_head"]),
    "lora and copies": ml.LoraConfig(**LORA, **LAYERS, modules_to_save=["norm", "lm_head"]),
    "lora with a bias": ml.LoraConfig(**LORA, **LAYERS, lora_bias=True),
    "trained tokens": ml.LoraConfig(**LORA, **LAYERS, trainable_token_indices=[3, 7, 11]),
    "trained tokens of the head": ml.LoraConfig(**LORA, **LAYERS, trainable_token_indices={"lm_head": [3, 7]}),
    "dora": ml.LoraConfig(**LORA, target_modules=[*LAYERS["target_modules"], "embed_tokens"], use_dora=True),
    "dora with dropout": ml.LoraConfig(**LORA, **LAYERS, use_dora=True, lora_dropout=0.3),
    "pissa": ml.LoraConfig(**LORA | {"init_lora_weights": "pissa"}, **LAYERS),
    "pissa, some passes, dropout": ml.LoraConfig(**LORA | {"init_lora_weights": "pissa_niter_4"}, **LAYERS,
                                                 lora_dropout=0.3),
    "olora": ml.LoraConfig(**LORA | {"init_lora_weights": "olora"}, **LAYERS),
    "adalora": ml.AdaLoraConfig(init_r=4, target_r=2, total_step=4, tfinal=1, **LAYERS, init_lora_weights=False),
    "ia3": ml.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "vera": ml.VeraConfig(r=5, **LAYERS, init_weights=False, vera_dropout=0.2),
    "prompt tuning": ml.PromptTuningConfig(num_virtual_tokens=3),
    "prompt of the vocabulary": ml.PromptTuningConfig(num_virtual_tokens=3, prompt_tuning_init="SAMPLE_VOCAB"),
    "prefix tuning": ml.PrefixTuningConfig(num_virtual_tokens=3),
}  # fmt: skip
IDS = random_ids()
each_method = pytest.mark.parametrize("name", METHODS)


def adapted(name, device, make=tiny_llama):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has no bias, so this adapter cannot be merged")
        return ml.get_peft_model(make(), METHODS[name], seed=1).to(device)


def after_steps(name, device, optimizer=AdamW, steps=4):
    """-> losses, norms, every trained array after these steps; the model."""
    model, losses, norms = adapted(name, device), [], []
    parameters = [p for _, p in trained(model)]
    if optimizer is AdamW:
        optimizer = AdamW(parameters, lr=1e-2, eps=1e-2)  # an eps so large that no rounding turns a step
    else:
        optimizer = optimizer(model)

    def note(run):
        if run.loss is not None:
            losses.append(to_host(run.loss)), norms.append(to_host(run.norm))

    batches = (labelled(i, ignored=i % 3) for i in range(99))
    train(model, batches, optimizer, steps, rng=np.random.default_rng(2), callbacks=[note])
    return [*losses, *norms, *(to_host(p.data) for p in parameters)], model


@each_method
def test_a_method_trains_as_on_the_cpu(device, name):
    (here, _), (there, model) = after_steps(name, "cpu"), after_steps(name, device)
    assert is_all_on(model, "cuda:0")
    assert_all_close(there, here)


@each_method
def test_merging_on_a_device_keeps_the_function_and_unmerging_the_bits(device, name):
    model = adapted(name, device)
    before = to_host(model(IDS).data)
    try:
        model.merge_adapter()
    except ConfigError as error:
        assert "cannot be merged" in str(error)
        return
    assert_close(model(IDS).data, before, 2e-4)
    model.unmerge_adapter()
    assert_same_bits(model(IDS).data, before)


@pytest.mark.slow
@each_method
def test_what_is_saved_on_a_device_is_what_the_cpu_saves_and_loads(device, name, tmp_path):
    model = adapted(name, device)
    model.save_pretrained(tmp_path / "there")
    adapted(name, "cpu").save_pretrained(tmp_path / "here")
    there, here = (read_tensors(tmp_path / at / "adapter_model.safetensors") for at in ("there", "here"))
    assert there.keys() == here.keys()
    assert_all_same_bits(there.values(), [here[name] for name in there])
    for to in ("cpu", device):
        loaded = ml.PeftModel.from_pretrained(tiny_llama().to(to), tmp_path / "there")
        assert_close(loaded(IDS).data, model(IDS).data)


def test_lora_plus_moves_b_faster_on_a_device_too(device):
    def optimizer(model):
        return create_loraplus_optimizer(model, AdamW, lr=1e-3, loraplus_lr_ratio=8, eps=1e-2)

    assert_all_close(after_steps("lora", device, optimizer)[0], after_steps("lora", "cpu", optimizer)[0])


def test_a_prefix_starts_from_a_text_on_a_device(device):
    models = [adapted("prefix tuning", to) for to in ("cpu", device)]
    for model in models:
        model.base_model.adapters["default"].init_from_text(model.get_base_model(), [4, 1, 5])
    assert_close(models[1](IDS).data, models[0](IDS).data)


def test_adapters_of_gpt2_train_on_its_transposed_layers_on_a_device(device):
    config = ml.LoraConfig(**LORA, target_modules=["c_attn", "mlp.c_proj", "wte"], fan_in_fan_out=True)
    numbers = []
    for to in ("cpu", device):
        model = ml.get_peft_model(tiny_gpt2(), config, seed=1).to(to)
        loss = model.loss(IDS, IDS)
        loss.backward()
        numbers.append([loss.data, *(p.grad for _, p in trained(model))])
    assert_all_close(numbers[1], numbers[0], 1e-3)


def test_two_adapters_act_together_at_other_strengths_and_one_is_switched_off(device):
    numbers = []
    for to in ("cpu", device):
        model = adapted("lora", to)
        model.add_adapter("b", METHODS["dora"], seed=2)
        model.set_adapter(["default", "b"])
        found = [model(IDS).data]
        model.set_scale("default", 0.5)
        found.append(model(IDS).data)
        with model.disable_adapter():
            found.append(model(IDS).data)
        model.delete_adapter("b")
        found += [model(IDS).data, *model.get_delta_weight("default").values()]
        numbers.append(found)
    assert_all_close(numbers[1], numbers[0])
