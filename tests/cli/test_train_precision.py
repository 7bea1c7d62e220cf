"""`minilora train --checkpointing --chunked-loss --precision`: less memory, the same result; 16 bits, a close one."""

import json

import cli_training
import pytest
from cli_training import history, refused

from minilora.files.safetensors import read_header
from minilora.training.resume import FILE

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


@pytest.mark.parametrize("method", ["lora", "full"])
def test_checkpointing_gives_the_same_file_as_without(run, base, files, method):
    written = []
    for name, options in (("plain", ()), ("recomputed", ("--checkpointing",))):
        shared = ("--base", base, "--method", method, "--steps", 3, "--no-plot", "--out", files / name)
        assert run("train", files / "a.txt", *shared, *options)[0] == 0
        model = "model" if method == "full" else "adapter_model"
        written.append((files / name / f"{model}.safetensors").read_bytes())
    assert written[0] == written[1]


def test_a_run_may_go_on_with_checkpointing(run, base, files):
    first = ("train", files / "a.txt", "--base", base, "--no-plot", "--out", files / "out", "--steps", 2)
    assert run(*first)[0] == 0
    assert run("train", "--out", files / "out", "--resume", "--checkpointing", "--steps", 4)[0] == 0


def test_a_chunked_loss_gives_the_losses_of_the_whole_one(run, base, files):
    losses = []
    for name, options in (("whole", ()), ("chunked", ("--chunked-loss",))):
        shared = ("--base", base, "--method", "full", "--steps", 3, "--no-plot", "--out", files / name)
        assert run("train", files / "a.txt", *shared, *options)[0] == 0
        losses.append(history(files / name)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_run_in_16_bits_goes_on_to_the_same_bits_with_its_loss_scale(run, base, files, precision):
    shared = ("train", files / "a.txt", "--base", base, "--no-plot", "--precision", precision, "--schedule", "constant",
              "--dropout", 0.1, "--lr", 0.5)  # fmt: skip
    for out, steps, more in (("once", 6, ()), ("twice", 3, ()), ("twice", 6, ("--resume",))):
        assert run(*shared, "--out", files / out, "--steps", steps, *more)[0] == 0
    once, twice = (files / out / "adapter_model.safetensors" for out in ("once", "twice"))
    assert once.read_bytes() == twice.read_bytes()
    scales = [json.loads(read_header(files / out / FILE)[1]["run"])["precision"] for out in ("once", "twice")]
    assert scales[0] == scales[1]
    assert ("scale" in scales[0]) == (precision == "float16")
    assert precision != "float16" or scales[0]["good_steps"] == 6


def test_another_precision_than_that_of_the_run_is_refused(run, base, files):
    shared = ("train", files / "a.txt", "--base", base, "--no-plot", "--out", files / "out")
    assert run(*shared, "--steps", 2)[0] == 0
    refused(run(*shared, "--steps", 3, "--resume", "--precision", "float16"), "precision float16 contradicts")


@pytest.mark.slow
def test_16_bits_give_other_losses_than_32_but_close_ones(run, base, files):
    losses = {}
    for precision in ("float32", "float16", "bfloat16"):
        shared = ("--base", base, "--steps", 6, "--no-plot", "--out", files / precision, "--precision", precision)
        assert run("train", files / "a.txt", *shared)[0] == 0
        losses[precision] = history(files / precision)["loss"]
    for precision in ("float16", "bfloat16"):
        assert losses[precision] != losses["float32"]
        assert losses[precision] == pytest.approx(losses["float32"], rel=0.01)
