"""VeRA: the equation, its gradients, and the matrices that layers share."""

import numpy as np
import pytest
from peft_cases import edit_config
from tiny import random_ids, tiny_llama

from minilora import LoraConfig, PeftModel, Tensor, VeraConfig, get_peft_model
from minilora.errors import ConfigError, FormatError
from minilora.files.safetensors import read_tensors, write_tensors
from minilora.gradcheck import gradcheck
from minilora.methods.vera import vera_update

IDS = random_ids()


def model_of(**options):
    model = get_peft_model(tiny_llama(), VeraConfig(r=5, target_modules=["q_proj", "down_proj"], **options), seed=2)
    rng = np.random.default_rng(0)
    for p in model.parameters():
        if p.requires_grad:
            p.data = rng.standard_normal(p.shape).astype(p.dtype)
    return model


@pytest.mark.parametrize("r", [3, 1])
def test_the_update_passes_the_gradient_check(r):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((r, 4)), rng.standard_normal((6, r))
    tensors = [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3, 6), (2, 3, 4), (r,), (6,))]
    gradcheck(lambda y, x, d, b: vera_update(y * 1.0, x, d, b, A, B), tensors)


def test_every_layer_reads_a_corner_of_the_same_two_matrices():
    model = model_of()
    adapter = model.base_model.adapters["default"]
    assert [p.shape for p in adapter.parameters.values()] == [(5, 20), (24, 5)]  # q 16 -> 24, down 20 -> 16
    assert len({id(m.shared["vera_A"]) for m in adapter.methods.values()}) == 1


def test_two_vectors_a_layer_are_all_that_learns():
    model = model_of()
    model.loss(IDS, IDS).backward()
    assert model.get_nb_trainable_parameters()[0] == 2 * (24 + 5) + 2 * (16 + 5)
    adapter = model.base_model.adapters["default"]
    assert not any(p.requires_grad or p.grad is not None for p in adapter.parameters.values())


def test_the_same_key_gives_the_same_matrices_and_another_seed_other_vectors():
    one, two = (get_peft_model(tiny_llama(), VeraConfig(r=5), seed=seed) for seed in (1, 2))
    for name in ("vera_A", "vera_B"):
        a, b = (m.base_model.adapters["default"].parameters[name].data for m in (one, two))
        assert np.array_equal(a, b)


def test_a_file_without_the_projections_is_refused(tmp_path):
    model_of().save_pretrained(tmp_path)
    edit_config(tmp_path, save_projection=False)
    with pytest.raises(ConfigError, match="save_projection is false: A and B come from PyTorch's random generator"):
        PeftModel.from_pretrained(tiny_llama(), tmp_path)


def test_a_file_that_lost_a_projection_is_refused(tmp_path):
    model_of().save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = read_tensors(path)
    del tensors["base_model.vera_B"]
    write_tensors(path, tensors)
    with pytest.raises(FormatError, match="1 missing: vera_B"):
        PeftModel.from_pretrained(tiny_llama(), tmp_path)


def test_a_merged_model_computes_the_same():
    model = model_of()
    apart = model(IDS).data
    assert np.allclose(model.merge_and_unload()(IDS).data, apart, atol=1e-4)


def test_it_is_active_only_by_itself():
    model = model_of()
    model.add_adapter("b", LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(ConfigError, match=r"adapter 'default' \(VERA\) can be active only by itself"):
        model.set_adapter(["default", "b"])
    model.set_adapter("b")
