"""The second way of counting: the model that trains, built by shape, holds what the formula says."""

import json
import time
import tracemalloc

import pytest
from checkpoints import GOLDEN
from tiny import tiny_llama

import minilora as ml
from minilora.counting.architectures.catalog import load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.build import count_by_building, cross_check
from minilora.counting.count import count
from minilora.files.families import LOADABLE
from minilora.files.safetensors import read_tensors, write_tensors

SMALL = [n for n in PRESETS if load(n).model_type in LOADABLE and load(n).base < 9e9]
TARGETS = {
    "gpt2": ["c_attn", "all-linear", "wte,lm_head"],
    "phi3": ["qkv_proj", "all-linear", "lm_head,embed_tokens", r".*\.[1-3]\..*(gate_up|down)_proj"],
}
USUAL = ["q_proj,v_proj", "all-linear", "lm_head,embed_tokens", r".*\.[1-3]\..*(gate|down)_proj"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_built_model_holds_what_the_formula_says(name):
    architecture = load(name)
    for targets in TARGETS.get(architecture.model_type, USUAL):
        made = count(architecture, targets, 5)
        assert count_by_building(made) == (made.trainable, made.base)


@pytest.mark.slow
def test_a_model_of_405_billion_is_built_in_seconds_and_without_memory():
    made = count(load("llama-3.1-405b"), "q_proj,v_proj", 16)
    tracemalloc.start()
    began = time.perf_counter()
    assert count_by_building(made) == (made.trainable, 405_853_388_800)
    seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 60
    assert peak < 50e6


def test_one_matrix_is_built_too():
    assert count_by_building(count(load("20x12"), "all-linear", 3)) == (3 * (20 + 12), 20 * 12)


def test_what_cannot_be_built_says_that_the_formula_stands_alone():
    assert cross_check(count(load("opt-125m"), "all-linear", 4)) == "closed formula alone: opt has no model file here"
    assert "rank 800 is above" in cross_check(count(load("gpt2"), "c_attn", 800))


def test_both_ways_agreeing_is_said():
    assert cross_check(count(load("gpt2"), "c_attn", 8)).endswith("equal")


@pytest.mark.parametrize("folder", ["gpt2_tiny", "llama3rope_tiny", "qwen2tied_tiny"])
def test_a_config_json_of_either_spelling_counts_the_checkpoint_beside_it(folder):
    architecture = load(str(GOLDEN / folder / "base"))
    model = ml.load_pretrained(GOLDEN / folder / "base")
    assert architecture.base == sum(p.data.size for p in model.parameters())
    assert json.loads((GOLDEN / folder / "base" / "config.json").read_text(encoding="utf-8")) == architecture.config


def test_the_size_of_the_file_is_that_of_the_file_written_here(tmp_path):
    model = tiny_llama()
    model.save_pretrained(tmp_path / "base")
    config = ml.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"])
    ml.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    write_tensors(path, read_tensors(path))  # as PEFT writes it: without the mark of the base in its metadata
    made = count(load(str(tmp_path / "base")), "q_proj,down_proj", 3)
    assert made.file_bytes("F32") == path.stat().st_size
