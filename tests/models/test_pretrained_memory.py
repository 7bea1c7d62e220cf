"""What loading a model takes in memory the machine really gives: counted by the system, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peft_cases import write_bfloat16

from minilora.files.safetensors import read_tensors, write_tensors
from minilora.models.llama import LlamaConfig
from minilora.models.pretrained import config_to_json, model_of

STATUS = Path("/proc/self/status")
pytestmark = pytest.mark.skipif(not STATUS.is_file(), reason="only Linux tells the peak of a process by itself")
# VmHWM: the most that was ever resident, mapped files included; unlike ru_maxrss it knows nothing of the parent.
CODE = """
import sys
from pathlib import Path
import minilora as ml
from minilora.models import pretrained
def peak():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
before = peak()
model = ml.load_pretrained(sys.argv[1])
print(peak() - before, sum(p.data.nbytes for p in model.parameters()))
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
        if stored == "bfloat16":
            write_bfloat16(folder / name, part)
        else:
            write_tensors(folder / name, {n: a.astype(stored) for n, a in part.items()})
    if shards > 1:
        index = {"weight_map": {n: name for name, part in zip(names, parts, strict=True) for n in part}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config_to_json(config)), encoding="utf-8")


def peak_and_size(folder):
    done = subprocess.run([sys.executable, "-c", CODE, folder], capture_output=True, text=True, check=True)
    return map(int, done.stdout.split())


@pytest.mark.parametrize(
    ("sizes", "stored", "shards"),
    [("many layers", "float32", 3), ("many layers", "bfloat16", 2),
     ("mostly vocabulary, tied", "float32", 1), ("mostly vocabulary, tied", "float16", 1)],
)  # fmt: skip
def test_the_peak_of_resident_memory_stays_below_1_3_times_the_model(tmp_path, sizes, stored, shards):
    write_model(tmp_path, SIZES[sizes], stored, shards)
    peak, size = peak_and_size(tmp_path)
    assert size > 80e6
    assert 0.99 * size < peak < 1.3 * size, f"{peak / size:.2f} times the model"


def test_a_tied_head_that_the_file_holds_again_takes_no_memory(tmp_path):
    write_model(tmp_path, SIZES["mostly vocabulary, tied"], "float32", 1)
    tensors = read_tensors(tmp_path / "model.safetensors")
    write_tensors(tmp_path / "model.safetensors", tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]})
    peak, size = peak_and_size(tmp_path)
    assert 0.99 * size < peak < 1.1 * size, f"{peak / size:.2f} times the model"
