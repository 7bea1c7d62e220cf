"""Head and loss a few positions at a time: equal to the whole, with the gradient of every kind of head."""

import tracemalloc

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora import ops
from minilora.autograd import Tensor
from minilora.gradcheck import gradcheck
from minilora.methods.lora import low_rank_update
from minilora.models.chunked_loss import chunked_cross_entropy
from minilora.models.context import Context
from minilora.models.gemma import GemmaConfig, GemmaForCausalLM
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.ops.loss import ROW_BLOCK

N = ROW_BLOCK + 5
RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, 3, N)


def leaf(*shape):
    return Tensor(RNG.standard_normal(shape), requires_grad=True)


def test_the_gradients_of_states_and_head_are_those_of_central_differences():
    def loss(h, W):
        return chunked_cross_entropy(h, lambda x, _: ops.linear(x, W), [W], TARGETS, Context())

    gradcheck(loss, [leaf(N, 2), leaf(3, 2)])


def test_the_gradients_of_an_adapter_on_a_frozen_head_are_those_of_central_differences():
    W, h = Tensor(RNG.standard_normal((3, 2))), Tensor(RNG.standard_normal((N, 2)))

    def loss(A, B):
        def head(x, _):
            return low_rank_update(ops.linear(x, W), x, A, B, 0.7)

        return chunked_cross_entropy(h, head, [W, A, B], TARGETS, Context())

    gradcheck(loss, [leaf(1, 2), leaf(3, 1)])


def adapted(**fields):
    fields = {"r": 2, "lora_alpha": 5, "init_lora_weights": False, "target_modules": ["q_proj"]} | fields
    return lambda dtype: ml.get_peft_model(tiny_llama(3, dtype), ml.LoraConfig(**fields), seed=1)


def gemma(dtype):
    return GemmaForCausalLM(GemmaConfig(29, 16, 20, 2, 4, final_logit_softcapping=3.0)).init(0, dtype)


def with_prompt(dtype):
    return ml.get_peft_model(gemma(dtype), ml.PromptTuningConfig(num_virtual_tokens=3), seed=1)


MODELS = {
    "own head": lambda dtype: tiny_llama(3, dtype),
    "tied head": lambda dtype: tiny_llama(3, dtype, tie_word_embeddings=True),
    "tied head of gpt2": lambda dtype: GPT2LMHeadModel(GPT2Config(29, 12, 2, 3, 99)).init(3, dtype),
    "capped head": gemma,
    "capped head behind a prompt": with_prompt,
    "copy of the head": adapted(modules_to_save=["lm_head"]),
    "lora on the head": adapted(target_modules=["q_proj", "lm_head"], lora_dropout=0.3),
}


def step_of(model, chunked):
    base = model.get_base_model() if isinstance(model, ml.PeftModel) else model
    base.chunked_loss = chunked
    ids = random_ids(0, (4, 90))  # 356 labels: two blocks
    loss = model.train().loss(ids, ids, rng=np.random.default_rng(0))
    loss.backward(np.asarray(0.7, loss.dtype))
    return loss, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "rounding"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_loss_and_gradients_are_those_of_the_whole_logits_up_to_rounding(name, dtype, rounding):
    (loss, whole), (again, chunked) = (step_of(MODELS[name](dtype), on) for on in (False, True))
    assert again.item() == pytest.approx(loss.item(), rel=rounding) and again.dtype == dtype
    for path, gradient in whole.items():
        assert chunked[path].dtype == dtype
        assert abs(gradient - chunked[path]).max() <= rounding * max(abs(gradient).max(), 1e-3), path


def test_a_second_backward_through_a_kept_graph_gives_the_same_gradients_again():
    model = tiny_llama(3)
    model.chunked_loss = True
    loss = model.loss(random_ids(), random_ids())
    loss.backward(retain_graph=True)
    once = model.lm_head.weight.grad
    loss.backward()
    assert np.array_equal(model.lm_head.weight.grad, 2 * once)


def test_full_fine_tuning_holds_the_logits_of_a_few_rows_only():
    def peak(vocab, chunked):
        model = LlamaForCausalLM(LlamaConfig(vocab, 8, 8, 1, 1)).init(0)
        model.chunked_loss = chunked
        ids = random_ids(0, (8, 257), vocab)
        tracemalloc.start()
        model.loss(ids, ids).backward()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    logits = 2048 * 2000 * 4
    assert peak(3000, False) - peak(1000, False) > 1.9 * logits
    assert peak(3000, True) - peak(1000, True) < 0.6 * logits
