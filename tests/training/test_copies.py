"""checkpoint-STEP: the last adapters of a training, each in a folder of its own."""

import numpy as np
import pytest
from commands import folder_bytes, make_base

from minilora.errors import ConfigError
from minilora.files.safetensors import read_tensors
from minilora.finetuning import finetune

PAIRS = [{"prompt": f"apple {i}", "response": "cake"} for i in range(40)]
SHORT = {"examples": PAIRS, "steps": 8, "batch_size": 4, "eval_every": 2, "progress": False, "plot": False}


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base", spread=1)


def copies(folder):
    return sorted(path.name for path in folder.glob("checkpoint-*"))


def test_only_the_last_copies_are_kept_each_with_the_adapter_of_its_step(base, tmp_path):
    finetune(base, out=tmp_path / "out", save_total_limit=2, **SHORT)
    assert copies(tmp_path / "out") == ["checkpoint-6", "checkpoint-8"]
    file = "adapter_model.safetensors"
    result, last, before = (
        read_tensors(tmp_path / "out" / place / file) for place in (".", "checkpoint-8", "checkpoint-6")
    )
    assert all(np.array_equal(result[name], last[name]) for name in result)
    assert not all(np.array_equal(result[name], before[name]) for name in result)


def test_a_copy_is_the_adapter_that_a_shorter_training_ends_with(base, tmp_path):
    settings = SHORT | {"schedule": "constant"}
    finetune(base, out=tmp_path / "out", save_total_limit=1, **settings | {"steps": 6})
    finetune(base, out=tmp_path / "again", save_total_limit=2, **settings)
    first, second = (
        read_tensors(tmp_path / place / "checkpoint-6/adapter_model.safetensors") for place in ("out", "again")
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_run_that_goes_on_counts_the_copies_of_its_first_part(base, tmp_path):
    settings = SHORT | {"out": tmp_path / "out", "save_total_limit": 3}
    finetune(base, **settings | {"steps": 4})
    finetune(base, resume=True, **settings)
    assert copies(tmp_path / "out") == ["checkpoint-4", "checkpoint-6", "checkpoint-8"]


def test_copies_of_another_run_are_replaced_only_when_that_is_asked_for(base, tmp_path):
    settings = SHORT | {"out": tmp_path / "out", "save_total_limit": 3}
    other = tmp_path / "out/checkpoint-500"
    other.mkdir(parents=True)
    (other / "mine").write_bytes(b"x")
    with pytest.raises(ConfigError, match="already contains checkpoint-500; choose another folder or pass overwrite"):
        finetune(base, **settings)
    finetune(base, **SHORT | {"out": tmp_path / "out"})  # without copies nothing is counted, and nothing removed
    assert folder_bytes(other) == {"mine": b"x"}
    finetune(base, overwrite=True, **settings)
    assert copies(tmp_path / "out") == ["checkpoint-4", "checkpoint-6", "checkpoint-8"]


def test_copies_need_a_folder_and_are_at_least_one(base, tmp_path):
    with pytest.raises(ConfigError, match="save_total_limit needs out"):
        finetune(base, save_total_limit=2, **SHORT)
    with pytest.raises(ConfigError, match="save_total_limit 0: expected at least 1"):
        finetune(base, out=tmp_path / "out", save_total_limit=0, **SHORT)
