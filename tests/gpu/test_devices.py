"""Which device computes: two of them at once, and one line for what cannot be."""

import sys

import numpy as np
import pytest
from places import assert_all_close, is_all_on
from tiny import random_ids, tiny_llama, with_lora

from minilora.autograd import Tensor
from minilora.backend import device_of, to_device, to_host, use_device
from minilora.errors import ConfigError
from minilora.quantization.stored import table
from minilora.training.optim import AdamW, clip_grad_norm_
from minilora.training.resume import trained

IDS = random_ids()


def test_two_models_train_and_merge_in_turns_each_on_its_device(device, second):
    models = [with_lora(tiny_llama(seed), "all-linear").to(to) for seed, to in ((0, device), (1, second))]
    alone = [with_lora(tiny_llama(seed), "all-linear") for seed in (0, 1)]
    assert is_all_on(models[0], "cuda:0") and is_all_on(models[1], "cuda:1")
    for model in (*models, *alone):
        model.losses = [model.loss(IDS, IDS)]
        model.optimizer = AdamW([p for _, p in trained(model)], lr=1e-2, eps=1e-2)
    for model in (*models, *alone):
        model.losses[0].backward()
    for model in (*models, *alone):
        clip_grad_norm_(model.optimizer.params, 1.0)
        model.optimizer.step()
    for model in (*models, *alone):
        model.merge_adapter()
    for there, here in zip(models, alone, strict=True):
        assert_all_close([p.data for p in there.parameters()], [p.data for p in here.parameters()])


def test_a_model_moves_from_one_device_to_the_other(device, second):
    model = with_lora(tiny_llama(), "all-linear").to(device)
    before = to_host(model(IDS).data)
    model.to(second)
    assert is_all_on(model, "cuda:1") and np.array_equal(to_host(model(IDS).data), before)


def test_arrays_are_made_on_the_device_that_a_thread_uses(device, second):
    use_device(second)
    assert device_of(sys.modules["cupy"].zeros(2)) == "cuda:1"
    use_device("cpu")  # changes nothing
    assert device_of(sys.modules["cupy"].zeros(2)) == "cuda:1"


def test_a_table_is_kept_on_the_device_of_its_codes_whatever_the_current_one_is(device, second):
    def make():
        return np.arange(16.0)

    there = to_device(np.zeros(3, np.uint8), second)
    use_device(device)
    assert device_of(table(make, beside=there)) == "cuda:1"


# ---- one line


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CUDA", "cuda:0:1", None])
def test_an_unknown_device_is_named(device, name):
    with pytest.raises(ConfigError, match="unknown device .*; expected cpu, cuda or cuda:n"):
        tiny_llama().to(name)


def test_a_device_that_is_not_there_is_named_with_how_many_there_are(device):
    with pytest.raises(ConfigError, match=r"device cuda:99 not found: CuPy sees [0-9]+ CUDA device\(s\)"):
        tiny_llama().to("cuda:99")


def test_arrays_of_the_host_and_of_a_device_in_one_operation_are_refused(device):
    here, there = np.ones(3, np.float32), to_device(np.ones(3, np.float32), device)
    for a, b in ((here, there), (there, here)):
        with pytest.raises(TypeError):
            Tensor(a) + Tensor(b)
