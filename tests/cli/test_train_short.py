"""`minilora train data.jsonl`: no option is needed, and the command says what it does."""

import os
import shutil
import sys

import cli_training
import pytest
from cli_training import history, refused

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


def test_a_file_alone_is_trained_on_and_the_result_is_named_after_it(run, base, files, monkeypatch):
    monkeypatch.chdir(files)
    code, out, err = run("train", "pairs.jsonl", "--base", base, "--steps", 2, "--no-plot")
    assert code == 0 and err.splitlines()[0] == "the result will be in pairs-lora"
    assert (files / "pairs-lora" / "adapter_model.safetensors").exists()
    best = min(history(files / "pairs-lora")["valid"][1:], key=lambda pair: pair[1])
    assert f"best {best[1]:.4f} at step {best[0]}" in out


def test_the_folder_that_nobody_named_must_be_new_unless_the_run_goes_on(run, base, files, monkeypatch):
    monkeypatch.chdir(files)
    (files / "pairs-lora").mkdir()
    refused(run("train", "pairs.jsonl", "--base", base, "--steps", 2), "pairs-lora exists", "--out")
    assert list((files / "pairs-lora").iterdir()) == []
    assert run("train", "pairs.jsonl", "--base", base, "--steps", 2, "--no-plot", "--overwrite")[0] == 0
    assert run("train", "pairs.jsonl", "--resume", "--steps", 3, "--no-plot")[0] == 0


def test_without_data_one_line_shows_how_to_name_it(run):
    refused(run("train"), "name your data, as in `minilora train data.jsonl`")


def test_the_learning_rate_has_two_spellings(run, base, files):
    for spelled in ("--lr", "--learning-rate"):
        run(
            "train",
            files / "a.txt",
            "--base",
            base,
            spelled,
            0.003,
            "--steps",
            1,
            "--out",
            files / spelled,
            "--no-plot",
        )
        assert history(files / spelled)["settings"]["lr"] == 0.003


def test_a_command_by_its_name_elsewhere_is_told_its_name_here(run):
    refused(run("finetune", "x.jsonl"), "no command 'finetune'; it is called train here")


def test_rows_may_come_through_standard_input(run, base, files, monkeypatch):
    monkeypatch.chdir(files)
    rows = (files / "pairs.jsonl").read_bytes()
    code, _, err = run("train", "--jsonl", "-", "--base", base, "--steps", 1, "--no-plot", stdin=rows)
    assert code == 0 and err.splitlines()[0] == "the result will be in stdin-lora"
    assert run("train", "--jsonl", "pairs.jsonl", "--base", base, "--steps", 1, "--no-plot", "--out", "same")[0] == 0
    assert history(files / "stdin-lora")["loss"] == history(files / "same")["loss"]


def test_a_warm_up_is_given_once(run, files):
    options = ("--warmup", 3, "--warmup-ratio", 0.1, "--out", files / "made")
    refused(run("train", files / "pairs.jsonl", *options), "--warmup-ratio and --warmup: use only one of them")


def test_a_rank_pattern_that_is_none_is_refused_with_an_example(run, files):
    for given in ("q_proj", "q_proj=x", "q_proj=3,", "=3", "q_proj=3,q_proj=4"):
        refused(run("train", files / "pairs.jsonl", "--rank-pattern", given, "--out", files / "made"),
                "--rank-pattern", "k_proj=16,down_proj=4")  # fmt: skip


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="every file name there is Unicode")
def test_names_that_are_not_utf8_are_noted_and_found_again(run, base, files, monkeypatch):
    monkeypatch.chdir(files)
    data, folder = (os.fsdecode(name) for name in (b"d\xe9.jsonl", b"b\xe9"))
    shutil.copyfile("pairs.jsonl", data)
    shutil.copytree(base, folder)
    short = ("--batch-size", 2, "--rank-pattern", os.fsdecode(b"\xe9=3"), "--no-plot", "--out", "out")
    assert run("train", data, "--base", folder, "--steps", 1, *short)[0] == 0
    assert run("train", "--resume", "--out", "out", "--steps", 2)[0] == 0
    assert run("eval", "--adapter", "out", "--jsonl", data)[0] == 0
