"""lessons/peft.md says what happens here: its lines, its names and its conversions of other notations."""

import os
import shutil

import numpy as np
import page_peft
import pytest
from commands import refused
from peft_cases import edit_config, saved
from peft_traps import TRAPS
from tiny import tiny_llama, with_lora

import minilora as ml
from minilora.adapters.registry import ADAPTERS
from minilora.errors import MiniloraError, shortened
from minilora.files import safetensors


@pytest.fixture
def trapped(tmp_path, monkeypatch):
    """trapped(heading): the folders of the page, the adapter changed as the trap of that name changes it."""

    def lay(heading):
        tiny_llama().save_pretrained(tmp_path / "my-base")
        with_lora(tiny_llama(), ["q_proj", "down_proj"]).save_pretrained(tmp_path / "my-adapter")
        TRAPS[heading][0](tmp_path / "my-adapter")

    monkeypatch.chdir(tmp_path)
    return lay


def test_the_page_and_the_tests_know_the_same_traps():
    assert list(page_peft.traps()) == list(TRAPS)


@pytest.mark.parametrize("heading", TRAPS)
def test_the_line_on_the_page_is_the_one_that_is_printed(minilora, trapped, heading):
    trapped(heading)
    result = minilora("merge", "--base", "my-base", "--adapter", "my-adapter", "--out", "my-model")
    assert refused(result)
    assert result.err.replace(os.sep, "/") == page_peft.traps()[heading][1] + "\n"


@pytest.mark.parametrize("heading", TRAPS)
def test_the_library_says_the_same_and_inspect_refuses_too(minilora, trapped, heading):
    trapped(heading)
    line = page_peft.traps()[heading][1]
    with pytest.raises(MiniloraError) as caught:
        ml.PeftModel.from_pretrained(tiny_llama(), "my-adapter")
    assert f"error: {shortened(str(caught.value))}".replace(os.sep, "/") == line
    assert refused(minilora("inspect", "my-adapter", "--base", "my-base"), "my-adapter")


def test_every_name_of_the_first_column_is_there():
    model = with_lora(tiny_llama())
    for row in page_peft.table("Names"):
        for name in page_peft.calls(row[0]):
            place, last = (ml, name[3:]) if name.startswith("ml.") else (model, name.removeprefix("model."))
            for part in last.split("."):
                place = getattr(place, part)


def test_the_tensors_of_the_page_are_those_of_an_adapter(tmp_path):
    model = saved(tmp_path, ["q_proj", "embed_tokens"], modules_to_save=["lm_head"])
    names = set(safetensors.read_header(tmp_path / "adapter_model.safetensors")[0])
    listed = [w for w in page_peft.PAGE.split() if w.startswith("base_model.model.") and w.count(".") > 2]
    assert len(listed) == 5 and set(listed) <= names
    assert model.get_nb_trainable_parameters()[0] > 0


@pytest.fixture
def notations():
    """The functions of the page."""
    namespace = {}
    exec(page_peft.code("notations"), namespace)
    return namespace


def update(A, B, alpha, x):
    """s · (x Aᵀ) Bᵀ, s = alpha / r."""
    return alpha / A.shape[0] * (x @ A.T) @ B.T


def test_row_vectors_and_a_plain_scale_become_our_notation(notations, rng):
    a, b, x = rng.normal(size=(7, 3)), rng.normal(size=(3, 5)), rng.normal(size=(4, 7))
    np.testing.assert_allclose(update(*notations["from_row_vectors"](a, b, 20.0), x), 20.0 * (x @ a) @ b)


@pytest.mark.parametrize("enable", [[True, False, True], [True, True, True], [False, True, False], [True, False]])
def test_a_merged_linear_becomes_one_adapter_of_higher_rank(notations, rng, enable):
    n, rows, r, alpha = sum(enable), 5, 3, 7
    lora_A, lora_B, x = rng.normal(size=(n * r, 8)), rng.normal(size=(n * rows, r)), rng.normal(size=(4, 8))
    A, B, wide = notations["from_merged_linear"](lora_A, lora_B, enable, alpha)
    wanted, group = [], 0
    for on in enable:  # each enabled part has its own A and B; the others get nothing
        part = np.zeros((4, rows))
        if on:
            part = alpha / r * (x @ lora_A[group * r : (group + 1) * r].T) @ lora_B[group * rows : (group + 1) * rows].T
            group += 1
        wanted.append(part)
    np.testing.assert_allclose(update(A, B, wide, x), np.concatenate(wanted, axis=1))


def test_a_fused_adapter_splits_into_one_for_each_part(notations, rng):
    A, B, x = rng.normal(size=(3, 8)), rng.normal(size=(15, 3)), rng.normal(size=(4, 8))
    parts = [update(a, b, 7, x) for a, b in notations["split_fused"](A, B)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), update(A, B, 7, x))


def test_the_page_names_every_peft_type_that_is_supported():
    *some, last = sorted(ADAPTERS)
    assert f"every `peft_type` but {', '.join(f'`{name}`' for name in some)} and `{last}`" in " ".join(
        page_peft.PAGE.split()
    )


@pytest.mark.parametrize(
    "key, value",
    [("bias", "all"), ("target_parameters", ["x"]), ("layer_replication", [[0, 1]]), ("peft_type", "LOHA")]
    + [("init_lora_weights", kind) for kind in ("pissa", "olora", "corda", "loftq", "lora_ga")],
)  # fmt: skip
def test_what_the_page_calls_refused_is_refused_by_name(tmp_path, key, value):
    assert f"`{key}`" in page_peft.PAGE
    if key == "init_lora_weights":
        assert f'`"{value}"`' in page_peft.PAGE
    saved(tmp_path)
    edit_config(tmp_path, **{key: value})
    with pytest.raises(MiniloraError, match=key):
        ml.PeftModel.from_pretrained(tiny_llama(), tmp_path)
    shutil.rmtree(tmp_path)
