"""lessons/peft.md says what PEFT does: its code runs in both, its traps catch PEFT, its differences are there."""

import numpy as np
import page_peft
import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")

from peft_reference import close, logits, ours, peft, quietly, theirs, torch, transformers  # noqa: E402
from peft_traps import TRAPS  # noqa: E402
from tiny import random_ids, tiny_llama, with_lora  # noqa: E402

import minilora as ml  # noqa: E402


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The folder my-base, and my-adapter for it."""
    tiny_llama().save_pretrained(tmp_path / "my-base")
    with_lora(tiny_llama(), ["q_proj", "down_proj"]).save_pretrained(tmp_path / "my-adapter")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened():
    return quietly(peft.PeftModel.from_pretrained, theirs("my-base"), "my-adapter")


def test_the_code_of_the_page_runs_and_gives_the_same_logits_there_and_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"BASE": str(ml.shipped("base"))}
    for part in ("here", "there", "back"):
        quietly(exec, page_peft.code(part), names)
    mine, there, again = names["model"](names["ids"]).numpy(), names["logits"].numpy(), names["same"]
    plain = ours(ml.shipped("base"))(names["ids"]).numpy()
    assert abs(mine - there).max() < 1e-4 and abs(again - there).max() < 1e-4
    assert abs(mine - plain).max() > 0.1


@pytest.mark.parametrize("heading", TRAPS)
def test_peft_loads_what_is_refused_here_with_or_without_a_warning_as_the_page_says(work, heading):
    change, warns, differs = TRAPS[heading]
    _, usual = opened()
    sound = logits(opened()[0].eval(), random_ids())
    change(work / "my-adapter")
    model, said = opened()
    text = page_peft.traps()[heading][0]
    assert warns == (len(said) > len(usual)) == ("warns" in text) != ("silently" in text)
    found = logits(model.eval(), random_ids())
    assert differs == (not (np.isfinite(found).all() and close(found, sound)))


def test_the_head_of_another_base_stays_in_the_base_when_the_adapter_is_switched_off(work):
    TRAPS["The head of another base"][0](work / "my-adapter")
    model = opened()[0].eval()
    with model.disable_adapter():
        assert not close(logits(model, random_ids()), logits(theirs("my-base"), random_ids()), 0.1)


def test_every_name_of_the_second_column_is_there(work):
    model = opened()[0]
    for row in page_peft.table("Names"):
        for name in page_peft.calls(row[1]):
            first, _, rest = name.partition(".")
            place = {"transformers": transformers, "peft": peft, "model": model}.get(first, model)
            for part in (rest or first).split(".") if rest or first != "model" else ():
                place = getattr(place, part)


def test_merging_an_end_of_a_tied_matrix_changes_pefts_model_and_not_ours(tmp_path):
    tiny_llama(tie_word_embeddings=True).save_pretrained(tmp_path / "base")
    with_lora(tiny_llama(tie_word_embeddings=True), ["lm_head"]).save_pretrained(tmp_path / "adapter")
    there = quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), tmp_path / "adapter")[0].eval()
    here = ml.PeftModel.from_pretrained(ours(tmp_path / "base"), tmp_path / "adapter")
    before = logits(there, random_ids())
    assert close(logits(here, random_ids()), before)
    assert close(logits(here.merge_and_unload(), random_ids()), before)
    assert not close(logits(quietly(there.merge_and_unload)[0], random_ids()), before, 0.1)


def test_gpt2_has_dropout_of_its_own_in_transformers():
    config = transformers.GPT2Config()
    assert config.resid_pdrop == config.embd_pdrop == config.attn_pdrop == 0.1


def test_torchs_grouped_convolution_of_loralib_is_what_the_page_converts(rng):
    """loralib's MergedLinear, as its forward has it: after_A is split into groups, each with its own B."""
    names = {}
    exec(page_peft.code("notations"), names)
    n, rows, r, alpha = 2, 5, 3, 7
    lora_A, lora_B, x = rng.normal(size=(n * r, 8)), rng.normal(size=(n * rows, r)), rng.normal(size=(4, 8))
    narrow = torch.tensor(x @ lora_A.T).T[None]  # (1, n r, 4)
    wide = torch.nn.functional.conv1d(narrow, torch.tensor(lora_B)[:, :, None], groups=n)[0].T.numpy()  # (4, n rows)
    wanted = np.zeros((4, 15))
    wanted[:, np.repeat([True, False, True], rows)] = alpha / r * wide
    A, B, grown = names["from_merged_linear"](lora_A, lora_B, [True, False, True], alpha)
    np.testing.assert_allclose(grown / A.shape[0] * (x @ A.T) @ B.T, wanted)


def test_fused_q_k_v_of_rank_r_counts_as_q_and_v_of_rank_r_each():
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1))
        fused = quietly(peft.get_peft_model, model, peft.LoraConfig(r=4, target_modules=["c_attn"]))[0]
    d, r = 768, 4
    assert fused.get_nb_trainable_parameters()[0] == r * (d + 3 * d) == 2 * 2 * r * d
