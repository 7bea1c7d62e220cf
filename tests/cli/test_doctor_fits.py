"""`minilora doctor --fits MODEL`: what can be trained here, and by whose memory it is judged."""

import json
import types

import pytest
from commands import refused

from minilora.cli import doctor as doctor_file
from minilora.cli import doctor_fits

GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """machine(GiB of free memory, cards): a machine that has these."""

    def has(free, *cards):
        monkeypatch.setattr(doctor_fits, "free_memory", lambda: int(free * GIB))
        monkeypatch.setattr(doctor_file, "devices", lambda: list(cards))
        monkeypatch.setattr(doctor_fits.shutil, "which", lambda name: None)

    return has


def card(gib, name="a card"):
    return {"device": "cuda:0", "name": name, "bytes": int(gib * GIB)}


def test_the_machine_is_judged_by_minilora_and_a_card_by_hugging_face(minilora, machine):
    machine(8, card(24, "RTX 4090"))
    report = json.loads(minilora("doctor", "--fits", "llama-3.1-8b", "--length", "8192", "--json").out)
    engines = {place["name"]: place["engine"] for place in report["places"]}
    assert engines == {"this machine's free memory": "minilora", "RTX 4090": "huggingface"}
    on_card = {a["method"]: a for a in report["places"][1]["answers"]}
    assert on_card["4-bit + LoRA"]["fits"] and not on_card["LoRA"]["fits"]
    assert on_card["LoRA"]["remedies"][0].startswith("a chunked loss")


def test_the_text_names_both_engines(minilora, machine):
    machine(8, card(24, "RTX 4090"))
    text = minilora("doctor", "--fits", "smollm2-135m").out
    assert "cpu: this machine's free memory, 8.0 GiB, with minilora in float32" in text
    assert "cuda:0: RTX 4090, 24.0 GiB, with transformers and PEFT in bfloat16" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_base_in_fewer_bits_is_asked_for(minilora, machine):
    machine(4.5)
    whole, small = (minilora("doctor", "--fits", "llama-3.2-1b", *more).out for more in ([], ["--quantize", "nf4"]))
    assert "fits" not in whole.split("LoRA")[-1].split("\n")[0]
    assert "with minilora, the base in nf4" in small and "fits" in small.split("LoRA")[1].split("\n")[0]
    assert "full" not in small and max(map(len, small.splitlines())) <= 80


def test_a_smaller_batch_is_named_where_it_helps(minilora, machine):
    machine(4)
    text = minilora("doctor", "--fits", "smollm2-135m", "--batch", "8").out
    assert "or with --batch 2" in " ".join(text.split())
    assert "find no card" in text


def test_a_family_that_minilora_cannot_train_is_said_and_the_card_is_answered(minilora, machine):
    machine(8, card(24))
    text = minilora("doctor", "--fits", "opt-1.3b").out
    assert "minilora has no model file for opt" in text and "4-bit + LoRA, prepared" in text


@pytest.mark.parametrize("model", ["opt-1.3b", "deepseek-r1-distill-qwen-1.5b", "xlm-roberta-large"])
def test_no_line_is_longer_than_80_columns_where_there_is_no_card(minilora, machine, model):
    machine(8)
    assert max(map(len, minilora("doctor", "--fits", model, "--length", "8192").out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("model", "words"), [("gtp2", "no model 'gtp2'"), ("40x40", "one matrix is not trained alone")]
)
def test_what_is_no_model_is_refused(minilora, machine, model, words):
    machine(8)
    assert refused(minilora("doctor", "--fits", model), words)


def test_without_cupy_the_cards_are_those_of_nvidia_smi(monkeypatch):
    monkeypatch.setattr(doctor_fits.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    printed = "NVIDIA L4, 23034\nNVIDIA GeForce RTX 4090, 24564\nsome warning\n"
    done = types.SimpleNamespace(returncode=0, stdout=printed)
    monkeypatch.setattr(doctor_fits.subprocess, "run", lambda *a, **k: done)
    assert [(c["name"], c["bytes"]) for c in doctor_fits.cards([])] == [
        ("NVIDIA L4", 23034 * 2**20), ("NVIDIA GeForce RTX 4090", 24564 * 2**20),
    ]  # fmt: skip


def test_a_driver_that_does_not_answer_has_no_cards(monkeypatch):
    monkeypatch.setattr(doctor_fits.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    done = types.SimpleNamespace(returncode=9, stdout="NVIDIA-SMI has failed, 1\n")
    monkeypatch.setattr(doctor_fits.subprocess, "run", lambda *a, **k: done)
    assert doctor_fits.cards([]) == []
