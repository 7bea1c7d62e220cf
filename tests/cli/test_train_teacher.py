"""`minilora train --teacher`: a distillation is saved, stopped and resumed like every other training."""

import cli_training
from cli_training import history, refused

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


def test_a_distillation_goes_on_to_the_same_bits_and_says_its_teacher(run, base, files):
    taught = ("train", "--jsonl", files / "pairs.jsonl", "--base", base, "--no-plot", "--steps", 8)
    assert run(*taught, "--out", files / "teacher")[0] == 0
    shared = ("train", files / "pairs.jsonl", "--base", base, "--teacher", files / "teacher", "--temperature", 3,
              "--mix", 0.8, "--no-plot", "--schedule", "constant", "--dropout", 0.1)  # fmt: skip
    for out, steps, more in (("once", 6, ()), ("twice", 3, ()), ("twice", 6, ("--resume",))):
        assert run(*shared, "--out", files / out, "--steps", steps, *more)[0] == 0
    once, twice = (files / out / "adapter_model.safetensors" for out in ("once", "twice"))
    assert once.read_bytes() == twice.read_bytes()
    settings = history(files / "once")["settings"]
    assert (settings["teacher"], settings["temperature"], settings["mix"]) == (str(files / "teacher"), 3.0, 0.8)


def test_a_teacher_of_another_tokenizer_is_one_line(run, base, files):
    """The shipped base has other tokens than the small one."""
    from minilora.files.shipped import shipped

    args = ("train", files / "pairs.jsonl", "--base", base, "--teacher", shipped("base"), "--out", files / "out")
    refused(run(*args), "another tokenizer")
    assert not (files / "out" / "adapter_config.json").exists()
