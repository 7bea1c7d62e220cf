"""minilora's own memory: what is predicted beside what NumPy takes in a real training step."""

import tracemalloc
import warnings

import numpy as np
import pytest

import minilora as ml
from minilora.counting.architectures.catalog import from_config, load
from minilora.counting.count import count
from minilora.counting.engine import own_budget, own_budgets
from minilora.counting.stored import frozen_weights
from minilora.errors import ConfigError
from minilora.models.pretrained import config_from_json, load_pretrained, model_of, storage_named
from minilora.quantization.config import QUANTIZE
from minilora.training.optim import AdamW

pytestmark = pytest.mark.slow

LLAMA = {
    "model_type": "llama", "hidden_size": 192, "intermediate_size": 520, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 1500, "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 192, "n_layer": 3, "n_head": 6, "n_positions": 1024, "vocab_size": 1500}
MODELS = {
    "llama": LLAMA, "gpt2": GPT2,
    "qwen2": LLAMA | {"model_type": "qwen2", "tie_word_embeddings": False, "num_key_value_heads": 6},
    "qwen3": LLAMA | {"model_type": "qwen3", "head_dim": 48, "vocab_size": 9000},
    "mistral": LLAMA | {"model_type": "mistral", "intermediate_size": 300},
    "phi3": LLAMA | {"model_type": "phi3", "tie_word_embeddings": False, "pad_token_id": 0},
    "gemma3_text": LLAMA | {"model_type": "gemma3_text", "head_dim": 32},
}  # fmt: skip


def measured(config, targets, batch, length, checkpointing=False, chunked=False, stored=None):
    """Bytes that NumPy holds at the peak of two training steps. stored: (folder of the base, value of --quantize)."""
    tracemalloc.start()
    if stored:
        model = load_pretrained(stored[0], **storage_named(stored[1]))
    else:
        model = model_of(config_from_json(config, "config.json")).init(0)
    if targets:
        with warnings.catch_warnings():  # GPT-2 stores its weights transposed
            warnings.simplefilter("ignore")
            model = ml.get_peft_model(model, ml.LoraConfig(r=8, lora_alpha=16, target_modules=targets))
    if checkpointing:
        model.gradient_checkpointing_enable()
    for _, module in model.named_modules():
        if chunked and hasattr(module, "chunked_loss"):
            module.chunked_loss = True
    optimizer = AdamW([p for p in model.train().parameters() if p.requires_grad])
    ids = np.random.default_rng(0).integers(0, config["vocab_size"], (batch, length))
    tracemalloc.reset_peak()
    for _ in range(2):
        model.loss(ids, ids).backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(("batch", "length"), [(6, 100), (1, 500)])
@pytest.mark.parametrize("method", ["all-linear", "default", "full"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_prediction_is_within_10_percent_of_what_a_step_takes(kind, method, batch, length):
    names = {"gpt2": "c_attn", "phi3": "qkv_proj"}.get(kind, "q_proj,v_proj") if method == "default" else "all-linear"
    counted = count(from_config(MODELS[kind], kind), names, 8)
    predicted = own_budget("full" if method == "full" else "LoRA", counted, batch, length).total
    targets = None if method == "full" else names if names == "all-linear" else names.split(",")
    assert abs(predicted / measured(MODELS[kind], targets, batch, length) - 1) <= 0.10


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("batch", "length"), [(6, 100), (1, 500)])
@pytest.mark.parametrize("method", ["all-linear", "full"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "gemma3_text"])
def test_a_step_with_checkpointing_is_predicted(kind, method, batch, length, chunked):
    counted = count(from_config(MODELS[kind], kind), "all-linear", 8)
    plan = own_budget("full" if method == "full" else "LoRA", counted, batch, length, chunked).recomputed
    targets = None if method == "full" else method
    real = measured(MODELS[kind], targets, batch, length, checkpointing=True, chunked=chunked)
    assert -0.02 <= plan.peak.bytes / real - 1 <= (0.20 if kind == "gemma3_text" else 0.10)  # it has twice the norms


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3"])
def test_a_chunked_loss_of_a_trained_head_is_predicted_within_10_percent(kind):
    counted = count(from_config(MODELS[kind], kind), "all-linear", 8)
    real = measured(MODELS[kind], None, 6, 100, chunked=True)
    assert abs(own_budget("full", counted, 6, 100, chunked=True).total / real - 1) <= 0.10


@pytest.fixture(scope="module", params=["llama", "qwen3", "mistral", "gpt2"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / request.param
    model_of(config_from_json(MODELS[request.param], "config.json")).init(0).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("batch", "length", "checkpointing"), [(6, 100, False), (6, 100, True), (1, 500, True)])
@pytest.mark.parametrize("quantize", ["nf4", "int8", "bf16"])
def test_a_base_in_fewer_bits_is_predicted(folder, quantize, batch, length, checkpointing):
    kind = folder.name
    counted = count(from_config(MODELS[kind], kind), "all-linear", 8)
    budget = own_budget("LoRA", counted, batch, length, quantize=quantize)
    plan = budget.recomputed if checkpointing else budget.kept
    real = measured(MODELS[kind], "all-linear", batch, length, checkpointing, stored=(folder, quantize))
    most = 0.17 if kind == "gpt2" else 0.10  # its activations are counted high, and the weights are smaller here
    assert -0.02 <= plan.peak.bytes / real - 1 <= most


@pytest.mark.parametrize("quantize", QUANTIZE)
def test_the_weights_of_a_base_in_fewer_bits_are_counted_to_the_byte_or_nearly(folder, quantize):
    model = load_pretrained(folder, **storage_named(quantize))
    real = sum(p.data.nbytes for p in model.parameters())
    counted = sum(i.bytes for i in frozen_weights(from_config(MODELS[folder.name], folder.name), quantize))
    assert abs(counted - real) <= (0 if quantize != "nf4" else 64 * len(model.parameters()))


def test_a_base_in_fewer_bits_is_not_trained_in_full():
    assert [b.method for b in own_budgets(count(load("smollm2-135m"), "q_proj", 8), 1, 8, quantize="int8")] == ["LoRA"]


def test_nf4_of_smollm2_takes_an_eighth_of_its_linear_layers():
    small, rest = frozen_weights(load("smollm2-135m"), "nf4")
    assert (small.bytes, rest.bytes) == (54_768_960, 4 * 28_346_688)  # 106,168,320 x 4.126953125 / 8


def test_full_fine_tuning_takes_16_bytes_a_parameter_and_lora_4():
    full, lora = own_budgets(count(load("smollm2-135m"), "q_proj,v_proj", 8), 1, 64)
    assert sum(i.bytes for i in full.states) == 16 * 134_515_008
    assert sum(i.bytes for i in lora.states) == 4 * 134_515_008 + 16 * 460_800


def test_a_frozen_head_keeps_the_logits_of_a_few_rows_only():
    few, many = (own_budget("LoRA", count(load("smollm2-135m"), "q_proj", 8), 1, n).kept.moments[0] for n in (256, 512))
    logits = [next(i.bytes for i in m.items if i.name.startswith("loss")) for m in (few, many)]
    assert logits == [256 * 49_152 * 4] * 2


def test_a_family_that_minilora_cannot_train_is_refused():
    with pytest.raises(ConfigError, match="minilora has no model file for opt; it trains gpt2"):
        own_budgets(count(load("opt-125m"), "q_proj", 8), 1, 8)
