"""Bases in 4, 8 and 16 bits on a device: the same codes as on the host, products, gradients to adapters."""

import numpy as np
import pytest
from places import assert_all_close, assert_all_same_bits, assert_close, assert_same_bits, is_all_on, slow_but
from tiny import random_ids, tiny_gpt2, tiny_llama
from training_cases import labelled

import minilora as ml
from minilora.autograd import Tensor
from minilora.backend import to_device, to_host
from minilora.errors import FormatError
from minilora.models.pretrained import load_pretrained
from minilora.quantization import stored
from minilora.quantization.int8 import Int8
from minilora.quantization.linear import stored_linear
from minilora.quantization.nf4 import FourBit
from minilora.quantization.sixteen_bit import SixteenBit
from minilora.rounding import round_to
from minilora.training.loop import train
from minilora.training.optim import AdamW
from minilora.training.precision import precision_named
from minilora.training.resume import trained

FORMATS = {
    "nf4": FourBit.of,
    "fp4, blocks of 32, bfloat16": lambda W: FourBit.of(W, "fp4", 32, rounded="bfloat16"),
    "nf4, double": lambda W: FourBit.of(W, double=True),
    "int8": Int8.of,
    "int8 of bfloat16": lambda W: Int8.of(W, "bfloat16"),
    "bfloat16": lambda W: SixteenBit.of(W, "bfloat16"),
    "float16": lambda W: SixteenBit.of(W, "float16"),
}
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
BASES = {
    "nf4": {"quantization_config": ml.BitsAndBytesConfig(**NF4)},
    "nf4, double": {"quantization_config": ml.BitsAndBytesConfig(**NF4, bnb_4bit_use_double_quant=True)},
    "nf4, computing in bfloat16": {
        "quantization_config": ml.BitsAndBytesConfig(**NF4, bnb_4bit_compute_dtype="bfloat16")
    },
    "fp4 of bfloat16": {"quantization_config": ml.BitsAndBytesConfig(load_in_4bit=True), "dtype": "bfloat16"},
    "int8": {"quantization_config": ml.BitsAndBytesConfig(load_in_8bit=True)},
    "bfloat16": {"dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
}
LORA = ml.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", init_lora_weights=False)
STORAGE = {"quantization_config": ml.BitsAndBytesConfig(**NF4, bnb_4bit_quant_storage="bfloat16")}
SAVED = {name: BASES[name] for name in ("nf4, double", "int8", "bfloat16", "float16")} | {"nf4 as bfloat16": STORAGE}
IDS = random_ids()
each_format = pytest.mark.parametrize("format", FORMATS)
each_base = pytest.mark.parametrize("name", slow_but(("nf4, double", "int8", "bfloat16"), BASES))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_llama().save_pretrained(folder / "llama")
    tiny_gpt2().save_pretrained(folder / "gpt2")
    return folder


@each_format
@pytest.mark.parametrize("block", [2**20, 1000])
def test_a_weight_stored_on_a_device_has_the_bits_of_the_host(device, format, block, monkeypatch):
    monkeypatch.setattr(stored, "BLOCK", block)
    W = normal(37, 70)
    here, there = FORMATS[format](W), FORMATS[format](to_device(W, device))
    assert there.device == "cuda:0"
    for name in here.arrays:
        a, b = to_host(getattr(there, name)), getattr(here, name)
        assert a.dtype == b.dtype
        if "double" in format and name != "packed":  # the mean of the scales is a sum, whose last bit has no order
            assert_close(a.astype(np.float32), b.astype(np.float32), 2 / 255 if name == "absmax" else 1e-5)
        else:
            assert_same_bits(a, b)


@each_format
@pytest.mark.parametrize("shape", [(37, 70), (256, 192)], ids=["a part of a block", "whole blocks"])
def test_a_weight_stored_on_the_host_is_read_with_the_same_bits_on_a_device(device, format, shape):
    here, there = FORMATS[format](normal(*shape)), FORMATS[format](normal(*shape))
    there.move(device)
    assert_same_bits(there.dense(), here.dense())
    half = there.rows(0, shape[0], "float16")
    assert half.dtype == np.float16
    assert_same_bits(to_host(half).astype(np.float32), here.rows(0, shape[0], "float16"))
    there.move("cpu")
    assert_all_same_bits(*([getattr(stored, name) for name in here.arrays] for stored in (there, here)))


@each_format
@pytest.mark.parametrize("compute", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("n_in", "block"), [(70, 1000), (64, 1000), (64, 2**20)])
def test_a_product_with_a_stored_weight_and_its_gradients_are_those_of_the_cpu(
    device, format, compute, n_in, block, monkeypatch
):
    monkeypatch.setattr(stored, "BLOCK", block)
    monkeypatch.setattr(stored, "GPU_BLOCK", block)
    numbers = []
    for to in ("cpu", device):
        W, x, b = FORMATS[format](normal(40, n_in)), to_device(normal(3, n_in), to), to_device(normal(40), to)
        W.move(to)
        x, b = Tensor(x, requires_grad=True), Tensor(b, requires_grad=True)
        y = stored_linear(x, W, b, compute)
        y.backward(to_device(normal(3, 40, seed=2), to))
        numbers.append([y.data, x.grad, b.grad])
    assert_all_close(numbers[1], numbers[0], 1e-5 if compute == "float32" else 2e-2)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_numbers_of_16_bits_are_rounded_on_a_device_as_on_the_host(device, kind):
    upper = np.arange(2**16, dtype=np.uint32)
    upper = upper[(upper & 0x7F80) != 0x7F80]  # finite ones, with lower halves around the ties
    x = np.concatenate([(upper << 16 | low).view(np.float32) for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)])
    x = np.concatenate([x, np.array([np.inf, -np.inf], np.float32)])
    assert_same_bits(round_to(to_device(x, device), kind), round_to(x, kind))


@pytest.mark.parametrize("format", ["nf4", "int8", "bfloat16"])
def test_a_weight_that_is_not_finite_is_refused_on_a_device_too(device, format):
    W = normal(4, 64)
    W[1, 2] = np.inf
    with pytest.raises(FormatError, match="not finite"):
        FORMATS[format](to_device(W, device))


def steps(folder, to, options, precision="float32", recompute=False, config=LORA):
    """-> losses and trained arrays after three steps on a base in fewer bits; the model."""
    model = ml.get_peft_model(load_pretrained(folder, to, parts=ml.parts_of(config), **options), config, seed=1)
    if recompute:
        model.gradient_checkpointing_enable()
    optimizer = AdamW([p for _, p in trained(model)], lr=1e-2, eps=1e-2)
    losses = []
    train(model, (labelled(i) for i in range(9)), optimizer, 3, rng=np.random.default_rng(0),
          precision=precision_named(precision), callbacks=[lambda run: losses.append(run.loss)])  # fmt: skip
    return [*losses[1:], *(p.data for p in optimizer.params)], model


@each_base
def test_an_adapter_learns_on_a_base_in_fewer_bits_as_on_the_cpu(device, folder, name):
    (here, _), (there, model) = (steps(folder / "llama", to, BASES[name]) for to in ("cpu", device))
    assert is_all_on(model, "cuda:0")
    assert_all_close(there, here, 1e-3 if "computing" in name else 1e-4)


@pytest.mark.parametrize("precision", slow_but(["float16"], ["float16", "bfloat16"]))
def test_mixed_precision_on_a_base_in_4_bits_learns_as_on_the_cpu(device, folder, precision):
    (here, _), (there, _) = (steps(folder / "llama", to, BASES["nf4"], precision) for to in ("cpu", device))
    assert_all_close(there, here, 2e-2)


MORE = {
    "pissa": {"init_lora_weights": "pissa"},  # a residual in 4 bits, and a part in float32
    "olora": {"init_lora_weights": "olora"},
    "dora": {"use_dora": True},
}


@pytest.mark.parametrize("name", slow_but(["pissa"], MORE))
def test_a_relative_of_lora_learns_on_a_base_in_4_bits_as_on_the_cpu(device, folder, name):
    config = ml.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", **MORE[name])
    (here, _), (there, model) = (steps(folder / "llama", to, BASES["nf4"], config=config) for to in ("cpu", device))
    assert is_all_on(model, "cuda:0")
    assert_all_close(there, here)


def test_gpt2_in_4_bits_computes_on_a_device_what_it_does_on_the_cpu(device, folder):
    here, there = (load_pretrained(folder / "gpt2", to, **BASES["nf4"]) for to in ("cpu", device))
    assert_close(there(IDS).data, here(IDS).data)
    assert [r.tolist() for r in there.generate(IDS, 4)] == [r.tolist() for r in here.generate(IDS, 4)]


@pytest.mark.slow
@each_base
def test_merging_into_a_base_in_fewer_bits_gives_the_function_of_the_cpu(device, folder, name):
    def merged(to):
        model = ml.get_peft_model(load_pretrained(folder / "llama", to, **BASES[name]), LORA, seed=1)
        model.merge_adapter()
        found = [to_host(model(IDS).data)]
        model.unmerge_adapter()
        return [*found, to_host(model(IDS).data)]

    assert_all_close(merged(device), merged("cpu"), 1e-3 if "computing" in name else 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["llama", "gpt2"])
@pytest.mark.parametrize("name", SAVED)
def test_a_quantized_base_is_saved_on_a_device_with_the_bits_of_the_cpu(device, folder, model, name, tmp_path):
    for to in ("cpu", device):
        load_pretrained(folder / model, to, **SAVED[name]).save_pretrained(tmp_path / to)
    here, there = ((tmp_path / to / "model.safetensors").read_bytes() for to in ("cpu", device))
    assert there == here
    model = load_pretrained(tmp_path / "cpu", device)
    assert is_all_on(model, "cuda:0")
    assert_close(model(IDS).data, load_pretrained(tmp_path / "cpu")(IDS).data)
