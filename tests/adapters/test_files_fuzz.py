"""Adapter folders changed at random: only success or one of the project's own errors, in one line, model untouched."""

import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peft_cases import EXAMPLES, Q0, ROOT, saved
from tiny import random_ids, tiny_llama

from minilora import PeftModel
from minilora.errors import MiniloraError
from minilora.files.safetensors import read_tensors, write_tensors

IDS = random_ids()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A saved adapter with everything that a file can hold."""
    folder = tmp_path_factory.mktemp("adapter")
    saved(folder, ["q_proj", "embed_tokens"], modules_to_save=["lm_head"], rank_pattern={"layers.0.*": 2})
    return folder


def attempt(original, change):
    """Copy the folder, change it, load it: True when it loads, False when it is refused as it should be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "adapter"
        shutil.copytree(original, folder)
        change(folder)
        model = tiny_llama()
        before = {n: (p.data, p.requires_grad) for n, p in model.named_parameters()}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = PeftModel.from_pretrained(model, folder)
        except MiniloraError as error:
            assert str(error) and "\n" not in str(error)
            assert {n: (p.data, p.requires_grad) for n, p in model.named_parameters()} == before
            return False
        with np.errstate(all="ignore"):  # a changed byte can make a number of 1e38 out of a small one
            assert loaded(IDS).shape == (*IDS.shape, 29)
        return True


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "cut", "copy"]), st.integers(0, 2**31), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


def mutated(raw, steps):
    raw = bytearray(raw)
    for kind, place, value in steps:
        at = place % max(1, len(raw))
        if kind == "set":
            raw[at : at + 1] = bytes([value])
        elif kind == "insert":
            raw[at:at] = bytes([value])
        elif kind == "delete":
            del raw[at : at + value % 9]
        elif kind == "cut":
            del raw[at:]
        else:
            raw[at:at] = raw[at : at + value]
    return bytes(raw)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_with_bytes_changed_at_random_load_or_are_refused(original, name):
    @settings(max_examples=100)
    @given(MUTATIONS)
    def check(steps):
        raw = (original / name).read_bytes()
        attempt(original, lambda folder: (folder / name).write_bytes(mutated(raw, steps)))

    check()


KEYS = sorted(EXAMPLES["llama_default"]["config"]) + ["runtime_config", "a_key_of_next_year"]
NAMES = st.sampled_from(["q_proj", "lm_head", "embed_tokens", "norm", "all-linear", ".*proj", "(", "[", "", "0", "mlp"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | NAMES, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
def test_configs_with_values_changed_at_random_load_or_are_refused(original):
    outcomes = set()

    @settings(max_examples=200)
    @given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3))
    def check(values):
        def change(folder):
            path = folder / "adapter_config.json"
            data = json.loads(path.read_text(encoding="utf-8")) | values
            path.write_text(json.dumps(data), encoding="utf-8")

        outcomes.add(attempt(original, change))

    check()
    assert outcomes == {True, False}


PARTS = ["lora_A", "lora_B", "lora_embedding_A", "weight", "default", "base_layer", "modules_to_save", "bias", "x", ""]


def test_tensors_renamed_added_and_reshaped_at_random_load_or_are_refused(original):
    tensors = read_tensors(original / "adapter_model.safetensors")
    places = st.sampled_from([Q0, "lm_head", "model.embed_tokens", "model.norm", "nowhere", ""])
    names = st.builds(
        lambda p, parts: ROOT + ".".join([p, *parts]), places, st.lists(st.sampled_from(PARTS), max_size=4)
    )
    arrays = st.builds(
        lambda shape, dtype, value: np.full(shape, value, dtype=dtype),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
        st.sampled_from([np.float32, np.float16, np.float64, np.int32, np.bool_, np.uint8]),
        st.sampled_from([0, 1, 2]),
    )

    @settings(max_examples=100)
    @given(st.dictionaries(names, arrays, max_size=2), st.sets(st.sampled_from(sorted(tensors)), max_size=2))
    def check(added, removed):
        kept = {k: v for k, v in tensors.items() if k not in removed} | added
        loads = attempt(original, lambda folder: write_tensors(folder / "adapter_model.safetensors", kept))
        assert loads == (not removed and not added)

    check()
