"""The names under which people know a model: each finds the preset of its sizes."""

import pytest

from minilora.counting.architectures.aliases import ALIASES, find
from minilora.counting.architectures.catalog import load
from minilora.counting.architectures.presets import PRESETS
from minilora.errors import UnknownNameError


@pytest.mark.parametrize(
    ("typed", "preset"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3-8B", "llama-3-8b"),
        ("meta-llama/Llama-2-13b-chat-hf", "llama-2-13b"),
        ("unsloth/Llama-3.2-3B-Instruct-bnb-4bit", "llama-3.2-3b"),
        ("codellama/CodeLlama-34b-Instruct-hf", "codellama-34b"),
        ("huggyllama/llama-30b", "llama-1-33b"),
        ("llama-13b", "llama-1-13b"),
        ("lmsys/vicuna-13b-v1.5", "llama-2-13b"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "qwen2.5-14b"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "deepseek-r1-distill-qwen-1.5b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
        ("mistralai/Mistral-Nemo-Instruct-2407", "mistral-nemo-12b"),
        ("mistralai/Mistral-Small-24B-Instruct-2501", "mistral-small-24b"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "qwen2.5-7b"),
        ("Qwen/Qwen2-1.5B", "qwen2.5-1.5b"),
        ("Qwen/QwQ-32B", "qwen2.5-32b"),
        ("Qwen/Qwen3-4B-Thinking-2507", "qwen3-4b"),
        ("Qwen/Qwen3-8B-Base", "qwen3-8b"),
        ("google/gemma-2-9b-it", "gemma-2-9b"),
        ("google/gemma-3-1b-pt", "gemma-3-1b"),
        ("microsoft/Phi-3-mini-128k-instruct", "phi-3-mini"),
        ("microsoft/Phi-3.5-mini-instruct", "phi-3-mini"),
        ("allenai/OLMo-2-1124-7B-Instruct", "olmo-2-7b"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama-1.1b"),
        ("HuggingFaceH4/zephyr-7b-beta", "mistral-7b"),
        ("openai-community/gpt2-xl", "gpt2-xl"),
        ("EleutherAI/pythia-1.4b-deduped", "pythia-1.4b"),
        ("FacebookAI/roberta-base", "roberta-base"),
        ("google-t5/t5-base", "t5-base"),
        ("google/vit-base-patch16-224-in21k", "vit-base"),
        ("openai/whisper-large-v2", "whisper-large"),
        ("ibm-granite/granite-3.3-8b-instruct", "granite-3.3-8b"),
        ("mistralai/Ministral-8B-Instruct-2410", "ministral-8b"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "qwen2.5-7b"),
        ("Qwen/Qwen3-8B-FP8", "qwen3-8b"),
    ],
)
def test_a_name_of_the_hub_finds_its_preset(typed, preset):
    assert find(typed) == preset
    assert load(typed).name == preset


def test_every_alias_leads_to_a_preset_and_hides_none():
    assert set(ALIASES.values()) <= set(PRESETS)
    assert not ALIASES.keys() & PRESETS.keys()
    assert all(name == name.lower() for name in [*PRESETS, *ALIASES])


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen2.5-VL-7B-Instruct", "google/vit-base-patch32-384", "base", "it", "/", "a/b/c", "bert-base"]
)
def test_a_name_that_says_something_else_finds_none(name):
    assert find(name) is None


def test_a_file_of_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "google").mkdir()
    (tmp_path / "google" / "gemma-2-9b-it").write_text(
        '{"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 4, "vocab_size": 5}',
        encoding="utf-8",
    )
    assert load("google/gemma-2-9b-it").model_type == "gpt2"


@pytest.mark.parametrize("name", ["", " "])
def test_no_name_is_no_model(name):
    with pytest.raises(UnknownNameError, match="no model"):
        load(name)


def test_a_name_that_is_not_known_is_answered_with_different_models():
    with pytest.raises(UnknownNameError, match="the nearest are gemma-3-4b, gemma-3-1b, gemma-3-27b, gemma-3-12b;"):
        load("google/gemma-3n-E4B-it")
