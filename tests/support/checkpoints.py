"""Where the golden models are, and copies of them that a test may damage.

tests/golden/*_tiny were written by transformers 5.23.0 and PEFT 0.21.2 on PyTorch 2.13.0, with tiny random weights;
expected.npz holds ids, logits and gradients computed there.
"""

import json
import shutil
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = ("llama3rope_tiny", "qwen2tied_tiny", "gpt2_tiny")


def read_npz(path):  # -> {name: array}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def expected(name):
    return read_npz(GOLDEN / name / "expected.npz")


def copy_of(name, target, kind="base"):
    """A copy of a golden model in the folder `target`."""
    shutil.copytree(GOLDEN / name / kind, target)
    return target


def edit_json(path, **changes):
    """Change keys of a JSON file; a value of ... removes the key."""
    data = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not ...}), encoding="utf-8")


def safetensors_bytes(header, data=b""):
    """A file with any header: a dict, or the raw bytes of something that pretends to be one."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8")
    return len(text).to_bytes(8, "little") + text + data
