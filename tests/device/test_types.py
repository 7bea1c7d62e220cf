"""No float64 appears in a float32 computation on a device: a card computes it at half the speed and below."""

import sys
import warnings

import numpy as np
import pytest
import strict_cupy
from engine_cases import CASES
from launches import count_launches
from tiny import SIZES, random_ids, tiny_llama

import minilora as ml
from minilora.autograd import Tensor
from minilora.models.gemma import GemmaConfig
from minilora.models.llama import LlamaConfig
from minilora.models.pretrained import model_of
from minilora.training.optim import AdamW, clip_grad_norm_

LAYERS = {"target_modules": ["q_proj", "v_proj", "down_proj"]}
METHODS = {
    "dropout": ml.LoraConfig(**LAYERS, lora_dropout=0.3, lora_alpha=5, r=3),
    "rank 1 and a bias": ml.LoraConfig(**LAYERS, r=1, lora_bias=True),
    "embedding and head": ml.LoraConfig(target_modules=["embed_tokens", "lm_head"], r=3),
    "dora": ml.LoraConfig(target_modules=[*LAYERS["target_modules"], "embed_tokens"], r=3, use_dora=True),
    "pissa": ml.LoraConfig(**LAYERS, r=3, init_lora_weights="pissa"),
    "trained tokens": ml.LoraConfig(**LAYERS, trainable_token_indices=[3, 7]),
    "adalora": ml.AdaLoraConfig(**LAYERS, init_r=4, target_r=2, total_step=4, tfinal=1),
    "ia3": ml.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "vera": ml.VeraConfig(**LAYERS, r=5),
    "prompt tuning": ml.PromptTuningConfig(num_virtual_tokens=3),
    "prefix tuning": ml.PrefixTuningConfig(num_virtual_tokens=3),
}
MODELS = {
    "qwen3": LlamaConfig(**SIZES, model_type="qwen3", qk_norm=True),
    "mistral": LlamaConfig(**SIZES, model_type="mistral", sliding_window=3),
    "phi3": LlamaConfig(**SIZES, model_type="phi3"),
    "gemma2": GemmaConfig(**SIZES | {"head_dim": 4}, model_type="gemma2", sliding_window=3, query_pre_attn_scalar=6.0,
                          attn_logit_softcapping=2.0, final_logit_softcapping=0.5,
                          layer_types=["sliding_attention", "full_attention"]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operation_on_float32_computes_in_float32(case):
    inputs = [Tensor(strict_cupy.asarray(a.astype(np.float32)), requires_grad=True) for a in case.arrays]
    with count_launches() as found:
        y = case.f(*inputs)
        y.backward(strict_cupy.asarray(np.ones(y.shape, np.float32)))
    assert found.float64 == []
    assert {t.grad.dtype.name for t in inputs} == {"float32"}


def steps_of(model):
    model.to("cuda").train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer, ids, rng = AdamW(params), random_ids(), np.random.default_rng(0)
    with count_launches() as found:
        for step in range(2):
            loss = model.loss(ids, ids, rng=rng)
            loss.backward()
            if (penalty := model.penalty()) is not None:
                penalty.backward()
            clip_grad_norm_(params, 1.0)
            optimizer.step()
            model.after_step(step + 1)
            optimizer.zero_grad()
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_step_of_a_method_computes_in_float32(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has no bias, so this adapter cannot be merged")
        model = ml.get_peft_model(tiny_llama(), METHODS[name])
    assert steps_of(model).float64 == []


@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_a_model_computes_in_float32(name):
    assert steps_of(model_of(MODELS[name]).init(0)).float64 == []
