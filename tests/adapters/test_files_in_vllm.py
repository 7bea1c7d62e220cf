"""Folders that are written here under the published rules of vLLM: vllm/lora/peft_helper.py, vllm/config/lora.py."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from tiny import tiny_llama

import minilora as ml
from minilora.files.shipped import shipped

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # values of --max-lora-rank
DOCS = Path(__file__).parents[2] / "docs" / "serving.md"


def refusals(folder, max_lora_rank=64):
    """What vLLM's PEFTHelper says against an adapter, in its words."""
    assert max_lora_rank in RANKS
    config = json.loads((folder / "adapter_config.json").read_text())
    said = [f"Missing {name}" for name in ("r", "lora_alpha", "target_modules") if config.get(name) is None]
    if config.get("r", 0) > max_lora_rank:
        said.append(f"LoRA rank {config['r']} is greater than max_lora_rank {max_lora_rank}.")
    if config.get("bias", "none") != "none":
        said.append("Adapter bias is not supported.")
    if config.get("modules_to_save"):
        said.append("vLLM only supports modules_to_save being None.")
    if config.get("use_dora"):
        said.append("vLLM does not yet support DoRA.")
    with safe_open(folder / "adapter_model.safetensors", "numpy") as tensors:
        for name in tensors.keys():
            parts = name.split(".")
            if parts[:2] != ["base_model", "model"] or parts[-2:] not in (["lora_A", "weight"], ["lora_B", "weight"]):
                said.append(f"{name} is unsupported LoRA weight")
    return said


def saved(folder, config):
    ml.get_peft_model(tiny_llama(), config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["style-json", "style-crier"])
def test_the_shipped_adapters_are_served_by_vllm_too(name):
    assert refusals(shipped(f"adapters/{name}")) == []


@pytest.mark.parametrize("fields", [{}, {"use_rslora": True}, {"init_lora_weights": "pissa"}, {"r": 3}])
def test_lora_of_any_rank_up_to_the_limit_is(tmp_path, fields):
    config = ml.LoraConfig(**{"r": 8, "target_modules": ["q_proj", "v_proj"], **fields})
    assert refusals(saved(tmp_path, config), max_lora_rank=16) == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ml.LoraConfig(target_modules=["q_proj"], use_dora=True), "vLLM does not yet support DoRA."),
        (ml.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]),
         "vLLM only supports modules_to_save being None."),
        (ml.LoraConfig(r=9, target_modules=["q_proj"]), "LoRA rank 9 is greater than max_lora_rank 8."),
        (ml.VeraConfig(r=4, target_modules=["q_proj"]), "Missing lora_alpha"),
        (ml.IA3Config(target_modules=["k_proj"], feedforward_modules=[]), "Missing r"),
    ],
)  # fmt: skip
def test_the_rest_is_refused_by_vllm_and_named_in_the_docs(tmp_path, config, said):
    assert said in refusals(saved(tmp_path, config), max_lora_rank=8)
    page = " ".join(DOCS.read_text(encoding="utf-8").split())
    assert f"({', '.join(map(str, RANKS))} in late versions)" in page
    assert all(
        word in page.partition("## The same folder in vLLM")[2] for word in ("DoRA", "VeRA", "IA3", "modules_to_save")
    )
