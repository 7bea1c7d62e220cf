"""What loading a model takes in memory the machine really gives: counted by the system, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes  # noqa: F401  its types register themselves with NumPy
import numpy as np
import pytest

from minilora.files.safetensors import read_tensors, write_tensors
from minilora.models.llama import LlamaConfig
from minilora.models.pretrained import config_to_json, model_of

STATUS = Path("/proc/self/status")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.is_file(), reason="only Linux tells the peak of a process by itself"),
]
# VmHWM is the most that was ever resident. It counts the anonymous memory, of which the claims speak, and the pages of
# mapped files beside it: a bound from above. The libraries are loaded first, so that they are no part of it.
CODE = """
import sys
import ml_dtypes, safetensors
import minilora as ml
from minilora.models import pretrained
def resident(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))
def whole(file, dtype, names):  # a reader without slices: a tensor as stored and its float32 copy at once
    with safetensors.safe_open(file, "numpy") as opened:
        for name in names:
            yield name, opened.get_tensor(name).astype(dtype)
if "whole" in sys.argv:
    pretrained.iterate_tensors = whole
options = {}
if "nf4" in sys.argv:
    options["quantization_config"] = ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
if "bfloat16" in sys.argv:
    options["dtype"] = "bfloat16"
before = resident("VmRSS")
model = ml.load_pretrained(sys.argv[1], **options)
print(resident("VmHWM") - before, sum(p.data.nbytes for p in model.parameters()))
"""
SIZES = {
    "many layers": LlamaConfig(4000, 512, 1536, 5, 8),
    "mostly vocabulary, tied": LlamaConfig(40000, 512, 1024, 1, 8, tie_word_embeddings=True),
}


def write_model(folder, config, stored, shards):
    rng = np.random.default_rng(0)
    tensors = {n: rng.standard_normal(p.shape, dtype=np.float32) for n, p in model_of(config).named_parameters()}
    parts = [dict(list(tensors.items())[i::shards]) for i in range(shards)]
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    names = names if shards > 1 else ["model.safetensors"]
    for name, part in zip(names, parts, strict=True):
        write_tensors(folder / name, {n: a.astype(stored) for n, a in part.items()})
    if shards > 1:
        index = {"weight_map": {n: name for name, part in zip(names, parts, strict=True) for n in part}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config_to_json(config)), encoding="utf-8")


def peak_and_size(folder, *options):
    done = subprocess.run([sys.executable, "-c", CODE, folder, *options], capture_output=True, text=True, check=True)
    return map(int, done.stdout.split())


@pytest.mark.parametrize(
    ("sizes", "stored", "shards"),
    [("many layers", "bfloat16", 2), ("mostly vocabulary, tied", "float32", 1),
     *(pytest.param(*case, marks=pytest.mark.slow)
       for case in [("many layers", "float32", 3), ("many layers", "float8_e4m3fn", 1),
                    ("mostly vocabulary, tied", "float16", 1), ("mostly vocabulary, tied", "bfloat16", 1)])],
)  # fmt: skip
def test_loading_takes_at_most_1_1_times_the_memory_of_the_model(tmp_path, sizes, stored, shards):
    write_model(tmp_path, SIZES[sizes], stored, shards)
    peak, size = peak_and_size(tmp_path)
    assert size > 80e6
    assert 0.99 * size < peak < 1.1 * size, f"{peak / size:.2f} times the model"


def test_a_reader_that_converts_whole_tensors_would_be_found_out(tmp_path):
    write_model(tmp_path, SIZES["mostly vocabulary, tied"], "bfloat16", 1)
    peak, size = peak_and_size(tmp_path, "whole")
    assert peak > 1.3 * size


def test_a_tied_head_that_the_file_holds_again_takes_no_memory(tmp_path):
    write_model(tmp_path, SIZES["mostly vocabulary, tied"], "float32", 1)
    tensors = read_tensors(tmp_path / "model.safetensors")
    write_tensors(tmp_path / "model.safetensors", tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]})
    peak, size = peak_and_size(tmp_path)
    assert 0.99 * size < peak < 1.1 * size, f"{peak / size:.2f} times the model"


@pytest.mark.parametrize("options", [("nf4",), ("bfloat16",), ("nf4", "bfloat16")])
@pytest.mark.parametrize("sizes", SIZES)
def test_storing_in_fewer_bits_takes_one_float32_copy_of_the_largest_tensor_and_64_mib(tmp_path, sizes, options):
    write_model(tmp_path, SIZES[sizes], "float32", 1)
    peak, size = peak_and_size(tmp_path, *options)
    largest = max(4 * p.size for p in model_of(SIZES[sizes]).parameters())
    assert peak - size < largest + 64 * 2**20
