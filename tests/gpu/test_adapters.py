"""The life of adapters on a device."""

from places import assert_all_same_bits, assert_same_bits
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora import LoraConfig, PeftModel
from minilora.files.safetensors import read_tensors

IDS = random_ids()
CONFIG = {"r": 3, "lora_alpha": 5, "init_lora_weights": False}
TARGETS = ["q_proj", "down_proj", "embed_tokens", "lm_head"]


def life(model, folder):
    """What an adapter goes through, and the numbers that come out on the way."""
    numbers = []

    def note():
        numbers.append(model(IDS).numpy().copy())

    model = ml.get_peft_model(model, LoraConfig(target_modules=TARGETS, modules_to_save=["norm"], **CONFIG), seed=1)
    note()
    model.loss(IDS, IDS).backward()
    model.save_pretrained(folder)
    model.load_adapter(folder, "again")
    model.add_adapter("b", LoraConfig(target_modules=["v_proj", "lm_head"], **CONFIG), seed=2)
    for names in ("again", "b", ["again", "b"]):
        model.set_adapter(names)
        note()
    model.merge_adapter(["b"])
    note()
    model.unmerge_adapter()
    note()
    with model.disable_adapter():
        note()
    model.merge_and_unload(["again"])
    model = model.get_base_model()
    note()
    return numbers


def test_an_adapter_lives_on_a_device_as_on_the_cpu(device, tmp_path):
    expected = life(tiny_llama(), tmp_path / "cpu")
    found = life(tiny_llama().to(device), tmp_path / "device")
    for a, b in zip(found, expected, strict=True):
        assert abs(a - b).max() <= 1e-4 * abs(b).max()
    files = [read_tensors(tmp_path / where / "adapter_model.safetensors") for where in ("cpu", "device")]
    assert files[0] and files[0].keys() == files[1].keys()
    assert_all_same_bits(*([file[name] for name in files[0]] for file in files))


def test_an_adapter_is_loaded_to_where_the_base_is_and_moves_with_it(device, tmp_path):
    ml.get_peft_model(tiny_llama(), LoraConfig(target_modules=TARGETS, **CONFIG)).save_pretrained(tmp_path)
    expected = PeftModel.from_pretrained(tiny_llama(), tmp_path)(IDS).numpy()
    model = PeftModel.from_pretrained(tiny_llama().to(device), tmp_path)
    assert {ml.backend.device_of(p.data) for p in model.parameters()} == {"cuda:0"}
    model.merge_adapter()
    model.to("cpu")
    assert abs(model(IDS).numpy() - expected).max() <= 1e-4 * abs(expected).max()
    model.unmerge_adapter()
    assert {ml.backend.device_of(p.data) for p in model.parameters()} == {"cpu"}
    assert_same_bits(model(IDS).numpy(), expected)
