"""A saved run goes on as if it had never stopped; a file that is not a saved run is refused in one line."""

import functools
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import SIZES, tiny_llama, with_lora

from minilora.errors import FormatError, MiniloraError, MissingFileError
from minilora.files.safetensors import read_header, read_tensors, write_tensors
from minilora.text.batches import TextBatches
from minilora.training.callbacks import History, Saving
from minilora.training.loop import train
from minilora.training.optim import AdamW, cosine
from minilora.training.resume import FILE, load_state, read_settings, save_state, trained

STEPS = 9
TEXT = np.random.default_rng(7).integers(0, SIZES["vocab_size"], 300)


class Killed(Exception):
    """Stands for a power cut."""


def build(full=False, r=3):
    """Everything a run is made of, fresh: model with dropout, optimizer, batches, generator, history."""
    model = tiny_llama() if full else with_lora(tiny_llama(), targets="all-linear", r=r, dropout=0.3)
    optimizer = AdamW([p for _, p in trained(model)], lr=1e-2)
    batches = TextBatches(TEXT, 2, 8, np.random.default_rng(3))
    return model, optimizer, batches, np.random.default_rng(4), History(every=2)


def run_on(parts, start=0, callbacks=()):
    model, optimizer, batches, rng, history = parts
    train(model, batches, optimizer, STEPS, cosine(STEPS, 2), accumulate=2, rng=rng, start=start,
          callbacks=[history, *callbacks])  # fmt: skip


def saving(parts, folder, every=1):
    return Saving(lambda run: save_state(folder, run, parts[-1], {"seed": 3}), every)


def killed_after(step):
    def callback(run):
        if run.step == step and run.loss is not None:
            raise Killed

    return callback


def values(parts):
    return {name: p.data for name, p in parts[0].named_parameters()}


@pytest.mark.parametrize("full", [False, True], ids=["lora", "full"])
@pytest.mark.parametrize("killed", [1, 4, 8])
@pytest.mark.parametrize("every", [1, 3])
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits_as_one_that_was_not(full, killed, every, tmp_path):
    straight = build(full)
    run_on(straight)

    first = build(full)
    with pytest.raises(Killed):
        run_on(first, callbacks=[saving(first, tmp_path, every), killed_after(killed)])
    second = build(full)
    if (tmp_path / FILE).exists():
        run_on(second, load_state(tmp_path, *second))
    else:
        run_on(second)

    assert all(np.array_equal(values(second)[name], value) for name, value in values(straight).items())
    assert second[-1].loss == straight[-1].loss
    assert second[-1].lr == straight[-1].lr


def saved_run(folder):
    (folder / FILE).write_bytes(saved_bytes())
    return folder / FILE


@functools.cache
def saved_bytes():
    """The file of a run that was killed after step 4."""
    with tempfile.TemporaryDirectory() as name:
        return make_run(Path(name)).read_bytes()


def make_run(folder):
    parts = build()
    with pytest.raises(Killed):
        run_on(parts, callbacks=[saving(parts, folder), killed_after(4)])
    return folder / FILE


@pytest.mark.parametrize("name", ["optimizer/0.step", "weights/"])
def test_a_tensor_that_is_missing_or_too_many_is_named_with_what_to_do(tmp_path, name):
    path = saved_run(tmp_path)
    tensors, metadata = read_tensors(path), read_header(path)[1]
    gone = next(n for n in sorted(tensors) if n.startswith(name))
    for changed, why in (
        ({n: a for n, a in tensors.items() if n != gone}, f"{gone} is missing"),
        (tensors | {"x": tensors[gone]}, "x was not saved by the run"),
    ):
        write_tensors(path, changed, metadata)
        with pytest.raises(FormatError, match=f"is damaged: {re.escape(why)}; start the training again"):
            load_state(tmp_path, *build())


def test_the_settings_come_back_as_they_were_given(tmp_path):
    saved_run(tmp_path)
    assert read_settings(tmp_path) == ({"seed": 3}, 4)


def test_a_folder_without_a_run_says_what_is_missing(tmp_path):
    with pytest.raises(MissingFileError, match=FILE):
        read_settings(tmp_path)


def test_a_run_of_another_rank_or_method_is_refused_and_nothing_is_changed(tmp_path):
    saved_run(tmp_path)
    for other in (build(r=2), build(full=True)):
        before = {name: value.copy() for name, value in values(other).items()}
        with pytest.raises(FormatError, match="another run.*lora_A"):
            load_state(tmp_path, *other)
        assert all(np.array_equal(values(other)[name], value) for name, value in before.items())


def test_a_safetensors_file_that_is_no_run_is_refused(tmp_path):
    write_tensors(tmp_path / FILE, {"weights/x": np.zeros(3)})
    with pytest.raises(FormatError, match="not a training state"):
        load_state(tmp_path, *build())


def rewritten(path, change):
    """The file at `path` with its description changed by `change(facts)`."""
    metadata = read_header(path)[1]
    facts = json.loads(metadata["run"])
    change(facts)
    write_tensors(path, read_tensors(path), {**metadata, "run": json.dumps(facts)})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50)
@given(key=st.sampled_from(["step", "rng", "batches", "history"]), junk=JUNK)
def test_a_damaged_description_is_refused_by_name(key, junk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    path = saved_run(folder)
    if key == "step" and isinstance(junk, int) and not isinstance(junk, bool) and junk >= 0:
        junk = None
    rewritten(path, lambda facts: facts.update({key: junk}))
    with pytest.raises(FormatError, match="damaged"):
        load_state(folder, *build())


@settings(max_examples=50)
@given(data=st.data())
def test_a_file_with_changed_or_missing_bytes_is_refused_or_read_never_crashes(data, tmp_path_factory):
    path = saved_run(tmp_path_factory.mktemp("run"))
    raw = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(raw[:8], "little")
    if data.draw(st.booleans(), "cut"):
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        step = load_state(path.parent, *build())
    except MiniloraError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(step, int)
