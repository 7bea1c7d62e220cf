"""The model card beside a trained adapter: what the hub reads, what was measured, and a person's own card."""

import json

import pytest
from commands import make_base

from minilora.finetuning import finetune
from minilora.training.card import CARD

PAIRS = [{"prompt": f"apple {i}", "response": "cake"} for i in range(40)]
SHORT = {"steps": 6, "batch_size": 4, "eval_every": 3, "progress": False, "plot": False}


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base", spread=1)


def head(text):
    _, front, _ = text.split("---\n", 2)
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front.splitlines())}


def test_a_card_names_base_library_and_method_where_the_hub_reads_them(base, tmp_path):
    finetune(base, examples=PAIRS, method="dora", out=tmp_path / "out", **SHORT)
    found = head((tmp_path / "out" / CARD).read_text(encoding="utf-8"))
    assert (found["base_model"], found["library_name"], found["tags"]) == (str(base), "peft", ["dora", "minilora"])


def test_a_card_has_the_settings_and_the_measured_losses(base, tmp_path):
    result = finetune(base, examples=PAIRS, rank=3, out=tmp_path / "out", **SHORT)
    text = (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    (_, first), *_, (_, last) = result.history.valid
    assert "- rank 3\n" in text and "- data: 40 examples\n" in text
    assert f"validation loss: {first:.4f} before training, {last:.4f} at step 6" in text


def test_the_card_of_an_adapter_that_goes_on_has_the_adapters_own_settings(base, tmp_path):
    finetune(base, examples=PAIRS, rank=3, targets=["q_proj"], out=tmp_path / "first", **SHORT)
    finetune(base, adapter=tmp_path / "first", examples=PAIRS, out=tmp_path / "out", **SHORT)
    text = (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    assert "- rank 3\n" in text and "- targets ['q_proj']\n" in text


def test_a_card_names_files_without_the_folders_of_a_machine(base, tmp_path):
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    finetune(files=tmp_path / "mine.jsonl", out=tmp_path / "out", **SHORT)
    text = (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    assert "- data: mine.jsonl\n" in text and str(tmp_path) not in text


def test_a_persons_own_card_is_never_replaced_and_ours_is_renewed(base, tmp_path):
    settings = {"examples": PAIRS, "out": tmp_path / "out", "overwrite": True}
    finetune(base, **settings, **SHORT)
    finetune(base, rank=3, **settings, **SHORT)
    assert "- rank 3\n" in (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    (tmp_path / "out" / CARD).write_bytes(b"my notes \xff")
    finetune(base, **settings, **SHORT)
    assert (tmp_path / "out" / CARD).read_bytes() == b"my notes \xff"


def test_full_fine_tuning_writes_no_card_of_an_adapter(base, tmp_path):
    finetune(base, examples=PAIRS, method="full", out=tmp_path / "out", **SHORT)
    assert not (tmp_path / "out" / CARD).exists()
