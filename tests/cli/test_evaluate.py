"""eval: the loss or the score of a model, and what it refuses."""

import json
import re

import cli_training
import pytest
from cli_training import SMALL, history, refused

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


def test_eval_gives_the_validation_loss_of_the_saved_adapter(run, base, files):
    run("train", "--base", base, "--jsonl", files / "pairs.jsonl", "--steps", 5, "--out", files / "out", "--no-plot")
    from minilora.text.batches import split_pairs
    from minilora.text.examples import read_jsonl

    held = split_pairs(read_jsonl(files / "pairs.jsonl"))[1]
    (files / "held.jsonl").write_text("".join(json.dumps(e) + "\n" for e in held), encoding="utf-8")
    code, out, _ = run("eval", "--base", base, "--adapter", files / "out", "--jsonl", files / "held.jsonl")
    assert code == 0
    shown = float(re.search(r"loss ([\d.]+)", out)[1])
    assert shown == pytest.approx(history(files / "out")["valid"][-1][1], abs=1e-3)


def test_eval_refuses_an_adapter_for_another_base(run, base, files):
    other = [*SMALL[:3], "24", *SMALL[4:]]  # width 24
    run("pretrain", "--text", files / "a.txt", "--out", files / "other", "--steps", 1, *other, "--no-plot")
    run("train", "--base", files / "other", "--text", files / "a.txt", "--steps", 1, "--out", files / "adapter")
    result = run("eval", "--base", base, "--adapter", files / "adapter", "--text", files / "a.txt")
    refused(result, "adapter_model.safetensors", "of the wrong shape ((24, 8) where (16, 8) is expected)", "made for")
