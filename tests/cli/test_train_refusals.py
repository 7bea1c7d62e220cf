"""What train, pretrain and eval refuse: one line, exit code 2, nothing half-written."""

import json
import os
import shutil
from pathlib import Path

import cli_training
import numpy as np
import pytest
from cli_training import history, pairs, refused, trained_to

from minilora.files.safetensors import read_tensors, write_tensors

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures

BAD = {
    "a missing file": (["--text", "none.txt"], ["none.txt"]),
    "an empty text": (["--text", "empty.txt"], ["empty.txt is empty"]),
    "a short text": (["--text", "short.txt"], ["tokens, expected at least 16"]),
    "an empty list of examples": (["--jsonl", "empty.txt"], ["is empty"]),
    "bad JSON": (["--jsonl", "bad.jsonl"], ["bad.jsonl, line 2"]),
    "a missing key": (["--jsonl", "keys.jsonl"], ["line 1", "response"]),
    "examples too long": (["--jsonl", "long.jsonl"], ["2 of 42 examples", "long.jsonl, line 41", "context of 64"]),
    "bytes that are no text": (["--text", "bytes.txt"], ["not UTF-8"]),
    "rank 0": (["--text", "a.txt", "--rank", "0"], ["r = 0"]),
    "a rank above a side": (["--text", "a.txt", "--rank", "17"], ["rank 17", "q_proj", "(16, 16)"]),
    "an unknown target": (["--text", "a.txt", "--targets", "q_prj"], ["'q_prj'", "q_proj"]),
    "a regular expression that matches nothing": (["--text", "a.txt", "--targets", "x.*"], ["x.*"]),
    "a broken regular expression": (["--text", "a.txt", "--targets", "(q"], ["(q"]),
    "a dropout of 1": (["--text", "a.txt", "--dropout", "1"], ["dropout"]),
    "an unknown task": (["--task", "sqll"], ["sqll", "sql"]),
    "no data": ([], ["--task", "--text", "--jsonl"]),
    "two kinds of data": (["--task", "sql", "--text", "a.txt"], ["--task and --text"]),
    "an unknown option": (["--text", "a.txt", "--rnk", "3"], ["--rnk"]),
    "a file beside an option": (["a.txt", "--text", "b.txt"], ["--text and FILE"]),
    "a file of an unknown end": (["a.csv"], ["a.csv", ".jsonl"]),
    "files of two kinds": (["a.txt", "pairs.jsonl"], ["a.txt and pairs.jsonl are of two kinds"]),
    "epochs and steps": (["a.txt", "--epochs", "1", "--steps", "3"], ["--epochs and --steps"]),
    "layers that are no numbers": (["a.txt", "--layers", "0,x"], ["'0,x'"]),
    "layers that are not there": (["a.txt", "--layers", "7"], ["left out again"]),
    "rsLoRA with IA3": (["a.txt", "--method", "ia3", "--rslora"], ["the method ia3 has no choice of rslora"]),
    "a bias of B with DoRA": (["a.txt", "--method", "dora", "--lora-bias"], ["lora_bias with use_dora"]),
    "rows of tokens with VeRA": (
        ["a.txt", "--method", "vera", "--trainable-tokens", "3"],
        ["the method vera has no choice of trainable_tokens"],
    ),
    "tokens that are no numbers": (["a.txt", "--trainable-tokens", "3,sea"], ["'3,sea'"]),
    "a token that is not there": (["a.txt", "--trainable-tokens", "99999"], ["99999"]),
    "an unknown start": (["a.txt", "--init", "gausian"], ["init_lora_weights"]),
    "a missing file to validate on": (["a.txt", "--valid", "none.txt"], ["none.txt"]),
    "no steps": (["--text", "a.txt", "--steps", "0"], ["--steps"]),
    "a rate of nothing": (["--text", "a.txt", "--lr", "nan"], ["lr"]),
    "an unknown device": (["--text", "a.txt", "--device", "tpu"], ["tpu"]),
    "a missing base": (["--text", "a.txt", "--base", "./none"], ["none"]),
    "a base without weights": (["--text", "a.txt", "--base", "."], ["config.json"]),
}


@pytest.mark.parametrize(("args", "says"), BAD.values(), ids=BAD)
def test_train_refuses_in_one_line_and_writes_nothing(run, base, files, monkeypatch, args, says):
    (files / "empty.txt").write_text("\n", encoding="utf-8")
    (files / "short.txt").write_text("sea", encoding="utf-8")
    (files / "bytes.txt").write_bytes(b"sea \xff\xfe")
    (files / "bad.jsonl").write_text(pairs(1) + "{oops\n", encoding="utf-8")
    (files / "keys.jsonl").write_text('{"prompt": "a"}\n', encoding="utf-8")
    long = json.dumps({"prompt": "count", "response": "grey tea " * 60}) + "\n"
    (files / "long.jsonl").write_text(pairs(40) + long + long, encoding="utf-8")
    monkeypatch.chdir(files)
    base_args = [] if "--base" in args else ["--base", base]
    status, out, err = run("train", *base_args, *args, "--out", "out")
    refused((status, "", err), *says)  # what is being trained may have been printed before
    assert not (files / "out").exists()


def test_a_truncated_or_foreign_base_is_refused_in_one_line(run, base, files):
    broken = files / "broken"
    shutil.copytree(base, broken)
    raw = (base / "model.safetensors").read_bytes()
    for content in (raw[: len(raw) // 2], b"PK\x03\x04 not a safetensors file", b""):
        (broken / "model.safetensors").write_bytes(content)
        refused(run("train", "--base", broken, "--text", files / "a.txt", "--out", files / "out"), "model.safetensors")
    tensors = read_tensors(base / "model.safetensors")
    write_tensors(broken / "model.safetensors", {**tensors, "extra": np.zeros(2, dtype=np.float32)})
    refused(run("train", "--base", broken, "--text", files / "a.txt", "--out", files / "out"), "extra")


def test_an_out_folder_that_is_the_base_is_refused(run, base, files):
    before = {p.name: p.read_bytes() for p in base.iterdir()}
    result = run("train", "--base", base, "--method", "full", "--text", files / "a.txt", "--out", base, "--overwrite")
    refused(result, "is the base itself")
    assert {p.name: p.read_bytes() for p in base.iterdir()} == before


def test_an_out_folder_that_is_a_file_is_refused(run, base, files):
    result = run("train", "--base", base, "--text", files / "a.txt", "--out", files / "b.txt")
    refused(result, "b.txt", "expected a folder")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_out_folder_is_refused_before_training(run, base, files):
    (files / "locked").mkdir(mode=0o500)
    refused(run("train", "--base", base, "--text", files / "a.txt", "--out", files / "locked" / "out"), "cannot write")


def test_a_disk_that_fills_up_is_one_line_and_leaves_what_was_saved(run, base, files, monkeypatch):
    trained_to(run, base, files, files / "out")
    before = {p.name: p.read_bytes() for p in (files / "out").iterdir()}

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    status, _, err = trained_to(run, base, files, files / "out", "--seed", 1, "--overwrite")
    monkeypatch.undo()
    assert status == 2
    assert err.splitlines()[-1].startswith("error: cannot write")
    assert "No space left" in err
    assert {p.name: p.read_bytes() for p in (files / "out").iterdir()} == before


def explode_at_25(monkeypatch):
    """From now on a weight is infinite after the 25th step of a training."""
    from minilora.training import optim

    real = optim.AdamW.step

    def step(self, factor=1.0):
        real(self, factor)
        if self.steps[0] == 25:
            self.params[0].data[...] = np.inf

    monkeypatch.setattr(optim.AdamW, "step", step)


def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_last_good_adapter(run, base, files, monkeypatch):
    explode_at_25(monkeypatch)
    status, _, err = trained_to(run, base, files, files / "out", "--steps", 40)
    assert status == 2
    assert "is nan at step" in err.splitlines()[-1]
    assert "weights, those of step 20, are saved" in err.splitlines()[-1]
    tensors = read_tensors(files / "out" / "adapter_model.safetensors")
    assert all(np.isfinite(a).all() for a in tensors.values())
    assert any(np.any(a) for name, a in tensors.items() if "lora_B" in name)


def test_a_run_that_fails_while_it_replaces_another_leaves_nothing_of_that_one(run, base, files, monkeypatch):
    trained_to(run, base, files, files / "out")
    explode_at_25(monkeypatch)
    more = ("--steps", 40, "--eval-every", 100, "--rank", 3, "--overwrite")
    status, _, err = trained_to(run, base, files, files / "out", *more)
    assert status == 2 and "are saved" in err.splitlines()[-1]
    assert history(files / "out")["settings"]["rank"] == 3
    refused(run("train", "--resume", "--out", files / "out"), "nothing to resume")


def test_a_rate_far_too_large_stops_in_one_line_without_writing(run, base, files):
    status, _, err = run("train", "--base", base, "--text", files / "a.txt", "--lr", "1e30", "--out", files / "out")
    assert status == 2
    assert "nothing is saved" in err.splitlines()[-1]
    assert "Warning" not in err
    assert not (files / "out").exists()
