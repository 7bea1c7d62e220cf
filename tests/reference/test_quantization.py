"""The formats against bitsandbytes: codes, scales and the numbers that are read, to the bit.

bitsandbytes 0.50.2 has two faults on a CPU, which these tests avoid. Its AVX-512 kernel reads the wrong scales when a
row is not a whole number of blocks: the generic function reads here. Its 8-bit search of double quantization is not
exact: the codes are compared with a margin, and those that differ are counted.
"""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
bnb = pytest.importorskip("bitsandbytes")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")  # transformers asks for it

from bitsandbytes.backends.default import ops as generic  # noqa: E402
from bitsandbytes.functional import create_dynamic_map, dequantize_blockwise, quantize_4bit  # noqa: E402

from minilora.errors import FormatError  # noqa: E402
from minilora.models.pretrained import load_pretrained  # noqa: E402
from minilora.quantization.config import BitsAndBytesConfig  # noqa: E402
from minilora.quantization.double_quantization import dynamic_map  # noqa: E402
from minilora.quantization.int8 import Int8  # noqa: E402
from minilora.quantization.nf4 import SIZES, VALUES, FourBit  # noqa: E402
from minilora.quantization.sixteen_bit import SixteenBit  # noqa: E402
from minilora.rounding import round_to  # noqa: E402

pytestmark = [pytest.mark.reference, pytest.mark.slow]
SHAPES = [(1, 1), (1, 63), (1, 64), (1, 65), (1, 127), (3, 4095), (3, 4096), (3, 4097), (64, 64), (96, 160), (257, 130)]


def weight(shape, seed=0):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(shape).astype(np.float32) * np.float32(0.02)
    W[rng.random(shape) < 0.01] = 0
    W.reshape(-1)[: min(200, W.size // 2)] = 0  # whole blocks of zeros
    return W


def read_by_bitsandbytes(packed, state):
    """The generic function, in eager mode; absmax is dequantized first where it is nested."""
    absmax = state.absmax
    if state.nested:
        absmax = dequantize_blockwise(absmax, state.state2) + state.offset
    compute = getattr(generic._dequantize_4bit_compute, "_torchdynamo_orig_callable", None)
    compute = compute or generic._dequantize_4bit_compute.__wrapped__
    shape = tuple(state.shape)
    return compute(packed.reshape(-1), absmax, state.code, state.blocksize, shape, state.dtype).reshape(shape)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_4_bit_codes_and_scales_are_equal_to_the_bit(kind, size, shape):
    W = weight(shape)
    packed, state = quantize_4bit(torch.from_numpy(W), blocksize=size, quant_type=kind)
    W4 = FourBit.of(W, kind, size)
    np.testing.assert_array_equal(W4.packed, packed.numpy().reshape(-1))
    np.testing.assert_array_equal(W4.absmax, state.absmax.numpy())
    np.testing.assert_array_equal(VALUES[kind], state.code.numpy())


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape, size", [((64, 64), 64), ((96, 160), 64), ((3, 4097), 4096), ((257, 130), 32)])
def test_stored_4_bit_numbers_are_read_equal_to_the_bit(kind, double, dtype, shape, size):
    W = torch.from_numpy(weight(shape)).to(getattr(torch, dtype))
    packed, state = quantize_4bit(W, blocksize=size, quant_type=kind, compress_statistics=double)
    nested = (state.state2.absmax.numpy(), state.offset.numpy()) if double else ()
    ours = FourBit(
        shape, packed.numpy().reshape(-1), state.absmax.numpy(), *nested, kind=kind, size=size, rounded=dtype
    )
    np.testing.assert_array_equal(ours.dense(), read_by_bitsandbytes(packed, state).float().numpy())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_16_bit_weight_has_the_codes_of_bitsandbytes(dtype):
    W = weight((128, 96))
    packed, state = quantize_4bit(torch.from_numpy(W).to(getattr(torch, dtype)), quant_type="nf4")
    ours = FourBit.of(W, rounded=dtype)
    np.testing.assert_array_equal(ours.packed, packed.numpy().reshape(-1))
    np.testing.assert_array_equal(ours.absmax, state.absmax.numpy())


def test_the_map_of_double_quantization_is_equal_to_the_bit():
    np.testing.assert_array_equal(dynamic_map(), create_dynamic_map().numpy())


@pytest.mark.parametrize("shape", [(128, 192), (1000, 257), (512, 1024)])
def test_double_quantization_differs_by_the_approximate_search_of_a_cpu_alone(shape):
    W = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    packed, state = quantize_4bit(torch.from_numpy(W), quant_type="nf4", compress_statistics=True)
    ours = FourBit.of(W, double=True)
    np.testing.assert_array_equal(ours.packed, packed.numpy().reshape(-1))
    np.testing.assert_allclose(ours.offset, state.offset.numpy(), rtol=2e-7)  # the order of a sum is not fixed
    np.testing.assert_allclose(ours.absmax2, state.state2.absmax.numpy(), rtol=1e-5)
    difference = abs(ours.absmax.astype(int) - state.absmax.numpy().astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (96, 160), (257, 1030)])
def test_int8_is_equal_to_the_bit(shape):
    W = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    W[0, : shape[1] // 2] = 0
    codes, scale, _ = bnb.functional.int8_vectorwise_quant(torch.from_numpy(W).half())
    ours = Int8.of(W)
    np.testing.assert_array_equal(ours.codes, codes.numpy())
    np.testing.assert_array_equal(ours.scale, scale.numpy())
    np.testing.assert_array_equal(ours.dense(), bnb.functional.int8_vectorwise_dequant(codes, scale).numpy())


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_16_bits_are_rounded_as_torch_rounds_them(kind):
    W = np.random.default_rng(0).standard_normal((70, 90)).astype(np.float32)
    expected = torch.from_numpy(W).to(getattr(torch, kind)).float().numpy()
    np.testing.assert_array_equal(SixteenBit.of(W, kind).dense(), expected)
    np.testing.assert_array_equal(round_to(W, kind), expected)


# ---- checkpoints of transformers + bitsandbytes

BASES = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4, double": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4, stored as bfloat16": {"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"},
    "int8": {"load_in_8bit": True},
}
IDS = np.random.default_rng(3).integers(0, 60, (2, 12))


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    """A folder with a small random model of transformers: widths that are whole blocks, and others."""
    torch.manual_seed(0)
    if request.param == "llama":
        config = transformers.LlamaConfig(
            vocab_size=60, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, tie_word_embeddings=False,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.GPT2Config(vocab_size=60, n_positions=32, n_embd=64, n_layer=2, n_head=4)
        model = transformers.GPT2LMHeadModel(config)
    for p in model.parameters():
        p.data = torch.randn(p.shape) * (0.3 if p.ndim > 1 else 0.1) + (p.ndim == 1)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return folder


def quantized_by_transformers(folder, **quantization):
    options = {"quantization_config": transformers.BitsAndBytesConfig(**quantization)} if quantization else {}
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()


def dequantized(model):  # -> {path: (out, in) array} of the quantized layers
    weights = {}
    for path, m in model.named_modules():
        if isinstance(m, bnb.nn.Linear4bit):
            weights[path] = read_by_bitsandbytes(m.weight.data.view(torch.uint8), m.weight.quant_state).float().numpy()
        elif isinstance(m, bnb.nn.Linear8bitLt):
            weights[path] = bnb.functional.int8_vectorwise_dequant(m.weight.data, m.weight.SCB).numpy()
    return weights


def plain_twin(model):
    """The same function with ordinary layers: bitsandbytes' own products on a CPU have the faults named above."""
    twin = copy.deepcopy(model)
    for path, W in dequantized(model).items():
        layer = torch.nn.Linear(W.shape[1], W.shape[0], bias=model.get_submodule(path).bias is not None)
        layer.weight.data = torch.from_numpy(W)
        if layer.bias is not None:
            layer.bias.data = model.get_submodule(path).bias.data
        twin.set_submodule(path, layer)
    return twin.eval()


def logits(model):
    with torch.no_grad():
        return plain_twin(model)(torch.from_numpy(IDS)).logits.numpy()


def assert_same(ours, theirs):
    weights = dequantized(theirs)
    assert weights
    for path, W in weights.items():
        np.testing.assert_array_equal(ours.get_submodule(path).dense(), W)
    np.testing.assert_allclose(ours(IDS).numpy(), logits(theirs), atol=2e-4)


@pytest.mark.parametrize("name", BASES)
def test_a_checkpoint_of_transformers_and_bitsandbytes_opens_to_the_same_weights(base, tmp_path, name):
    theirs = quantized_by_transformers(base, **BASES[name])
    theirs.save_pretrained(tmp_path)
    assert_same(load_pretrained(tmp_path), theirs)


def test_a_checkpoint_saved_after_a_product_on_a_cpu_is_refused_as_its_scales_are_in_another_order(tmp_path):
    config = transformers.GPT2Config(vocab_size=60, n_positions=32, n_embd=64, n_layer=1, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    theirs = quantized_by_transformers(tmp_path / "base", **BASES["nf4"])
    with torch.no_grad():
        theirs(torch.from_numpy(IDS))
    theirs.save_pretrained(tmp_path / "out")
    if not any(v.dtype == torch.bfloat16 for k, v in theirs.state_dict().items() if k.endswith("absmax")):
        pytest.skip("bitsandbytes has no product of its own for this CPU")
    with pytest.raises(FormatError, match="save a model before it first computes$"):
        load_pretrained(tmp_path / "out")


@pytest.mark.parametrize("name", ["nf4", "fp4, stored as bfloat16", "int8"])
def test_a_base_that_is_quantized_here_has_the_weights_of_transformers(base, name):
    ours = load_pretrained(base, quantization_config=BitsAndBytesConfig(**BASES[name]))
    assert_same(ours, quantized_by_transformers(base, **BASES[name]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["nf4", "int8"])
def test_a_base_in_16_bits_is_quantized_as_transformers_quantizes_it(base, name, dtype):
    ours = load_pretrained(base, dtype=dtype, quantization_config=BitsAndBytesConfig(**BASES[name]))
    quantization = transformers.BitsAndBytesConfig(**BASES[name])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        base, dtype=getattr(torch, dtype), quantization_config=quantization
    )
    for path, W in dequantized(theirs).items():
        np.testing.assert_array_equal(ours.get_submodule(path).dense(), W)


@pytest.mark.parametrize("name", BASES)
def test_a_checkpoint_that_is_written_here_opens_in_transformers_to_the_same_weights(base, tmp_path, name):
    ours = load_pretrained(base, quantization_config=BitsAndBytesConfig(**BASES[name]))
    ours.save_pretrained(tmp_path)
    assert_same(ours, quantized_by_transformers(tmp_path))


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_a_base_in_16_bits_opens_in_transformers_to_the_same_weights(base, tmp_path, kind):
    ours = load_pretrained(base, dtype=kind)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert str(theirs.dtype) == f"torch.{kind}"
    np.testing.assert_allclose(ours(IDS).numpy(), logits(theirs.float()), atol=2e-4)
