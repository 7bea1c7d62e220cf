"""`minilora train --checkpointing`: less memory, the same result."""

import cli_training
import pytest

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
