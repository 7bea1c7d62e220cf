"""`minilora train --checkpointing --chunked-loss`: less memory, the same result."""

import cli_training
import pytest
from cli_training import history

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
