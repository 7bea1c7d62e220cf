"""The 27 adapters as PEFT 0.21.2 writes them: each loads with every tensor in place, or is refused by name."""

import json

import numpy as np
import pytest
from peft_cases import EXAMPLES, ROOT, base

from minilora import PeftModel
from minilora.errors import MiniloraError
from minilora.files.safetensors import read_tensors, write_tensors
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minilora.models.llama import LlamaConfig, LlamaForCausalLM

REFUSED = {
    "llama_bias_lora_only": "bias",
    "gpt2_bias_all": "bias",
    "gpt2_bias_lora_only": "bias",
    "roberta_seqcls": "target_modules",  # a model that is not here
}


def example_base(name):
    """The base of an example: 97 tokens, width 32, two layers."""
    if name == "gpt2_prefix":  # the one example with two heads
        return GPT2LMHeadModel(GPT2Config(97, n_embd=32, n_layer=2, n_head=2, n_positions=64)).init(0)
    if name.startswith("gpt2"):
        return base("gpt2_tiny")
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": "tied" in name}
    return LlamaForCausalLM(LlamaConfig(97, 32, 48, 2, **sizes)).init(0)


def write_example(name, model, folder):
    """The example's files with random values; what PEFT copies from the base comes from `model`."""
    rng, tensors = np.random.default_rng(0), {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for key, (shape, _) in EXAMPLES[name]["tensors"].items():
        own = key.removeprefix(ROOT).replace(".base_layer", "")
        is_copy = ".base_layer.weight" in key and own in parameters
        tensors[key] = parameters[own].data if is_copy else rng.standard_normal(shape).astype(np.float32)
    write_tensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps(EXAMPLES[name]["config"]), encoding="utf-8")
    return tensors


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(REFUSED)))
def test_every_lora_that_peft_writes_on_these_models_loads_with_every_tensor_in_place(name, tmp_path):
    model = example_base(name)
    tensors = write_example(name, model, tmp_path)
    wrapped = PeftModel.from_pretrained(model, tmp_path, is_trainable=True)
    trainable, total = EXAMPLES[name]["trainable"]
    ranknums = sum(n.endswith("lora_E") for n in tensors)  # PEFT keeps init_r of each module as a frozen parameter
    if not EXAMPLES[name]["config"].get("prefix_projection"):  # PEFT counts the network that it does not save
        assert wrapped.get_nb_trainable_parameters() == (trainable, total - ranknums)
    adapter = {n for n in tensors if ".base_layer." not in n}
    wrapped.save_pretrained(tmp_path / "again")
    again = read_tensors(tmp_path / "again" / "adapter_model.safetensors")
    assert adapter and set(again) == adapter
    assert all(np.array_equal(again[n], tensors[n]) for n in adapter)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_every_other_example_is_refused_by_naming_what_it_is(name, tmp_path):
    model = example_base(name)
    write_example(name, model, tmp_path)
    with pytest.raises(MiniloraError, match=REFUSED[name]):
        PeftModel.from_pretrained(model, tmp_path)


def test_all_27_examples_are_covered():
    assert len(EXAMPLES) == 27 and set(REFUSED) < set(EXAMPLES)
