"""What no command may do, whatever it is given: run on with numbers that are no numbers, take an empty path for the
current folder, or print what a foreign file dictates."""

import io
import json
import os
import sys
import threading

import numpy as np
import pytest
from checkpoints import edit_json
from commands import make_adapter, make_base, refused

from minilora import cli
from minilora.cli import printable
from minilora.files.safetensors import read_tensors, write_tensors


@pytest.fixture
def broken(tmp_path):
    """A base of which one weight is nan."""
    folder = make_base(tmp_path / "broken")
    tensors = read_tensors(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * np.float32(np.nan)
    write_tensors(folder / "model.safetensors", tensors)
    return folder


@pytest.mark.parametrize("sampling", [[], ["--temperature", "1"], ["--temperature", "1", "--top-p", "0.9"]])
def test_generating_from_a_base_with_nan_is_one_line(minilora, broken, sampling):
    result = minilora("generate", "--base", broken, "--prompt", "a", "--max-new-tokens", "3", *sampling)
    assert refused(result, "the logits are not finite") and not result.out


def test_scoring_a_base_with_nan_is_one_line(minilora, broken, tmp_path):
    (tmp_path / "a.txt").write_text("apple cake " * 40, encoding="utf-8")
    assert refused(minilora("eval", "--base", broken, "--text", tmp_path / "a.txt"), "the loss is nan")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--task", "sql", "--out", ""],
        ["train", "--task", "sql", "--out="],
        ["train", "--base", "", "--task", "sql", "--out", "x"],
        ["pretrain", "--out", ""],
        ["merge", "--adapter", "", "--out", "x"],
        ["generate", "--file", ""],
        ["eval", "--text", ""],
        ["inspect", ""],
        ["adapters", ""],
        ["params", "gpt2", "--plot", ""],
        ["tour", "--out", ""],
    ],
    ids=" ".join,
)
def test_an_empty_path_is_refused_and_nothing_is_written(minilora, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert refused(minilora(*arguments), "is empty; expected a value")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "\x07bell", "\u202eback", "\ud800half", "tab\t"])
def test_control_characters_of_a_foreign_file_are_shown_and_not_obeyed(text):
    assert printable(text).isprintable() and len(printable(text)) > len(text)


def test_a_name_in_a_foreign_adapter_cannot_forge_a_line(minilora, tmp_path):
    folder = make_adapter(tmp_path / "one")
    path = folder / "adapter_model.safetensors"
    tensors = read_tensors(path)
    write_tensors(path, tensors | {"base_model.model.x\nerror: all is well\x1b[2J.weight": np.zeros(3, np.float32)})
    result = minilora("generate", "--base", make_base(tmp_path / "base"), "--adapter", folder, "--prompt", "a")
    assert result.code == 2 and result.err.count("\n") == 1 and "\x1b" not in result.err


def test_a_line_has_at_most_300_characters_and_keeps_its_beginning_and_its_end(minilora):
    result = minilora("inspect", "a" * 4000)
    assert refused(result, "aaa ... aaa") and len(result.err) <= 301


def test_a_note_about_a_foreign_file_is_one_printable_line(minilora, tmp_path):
    folder = make_adapter(tmp_path / "one")
    edit_json(folder / "adapter_config.json", exclude_modules=["\x1b[31m\nerror: no" + "x" * 500])
    result = minilora("generate", "--base", make_base(tmp_path / "base"), "--adapter", folder, "--prompt", "a")
    line = result.err.removesuffix("\n")
    assert result.code == 0 and line.startswith("note: ") and line.isprintable() and len(line) <= 300


def test_numbers_that_overflow_give_no_warning_of_numpy(minilora, tmp_path):
    folder = make_base(tmp_path / "base")
    tensors = read_tensors(folder / "model.safetensors")
    write_tensors(folder / "model.safetensors", {name: array * np.float32(1e38) for name, array in tensors.items()})
    assert "Warning" not in minilora("generate", "--base", folder, "--prompt", "a").err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a name")
@pytest.mark.parametrize("command", [["data"], ["train", "--out", "out", "--steps", 2, "--no-plot"]])
def test_rows_are_read_from_a_pipe(minilora, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("rows.jsonl")
    rows = "".join(json.dumps({"prompt": f"a {n}", "response": "b"}) + "\n" for n in range(9))
    writer = threading.Thread(target=lambda: (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8"))
    writer.start()
    result = minilora(*command, "rows.jsonl", "--base", make_base(tmp_path / "base"))
    writer.join()
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [(KeyboardInterrupt(), 130, "interrupted"), (cli.Terminated(143), 143, "terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_while_the_last_line_is_written_ends_in_one_line(minilora, monkeypatch, stop, code, said):
    class Stopped(io.StringIO):
        def flush(self):
            raise stop

    monkeypatch.setattr(cli.cli, "main", lambda standalone_mode: None)
    monkeypatch.setattr(sys, "stdout", Stopped())
    result = minilora("params", "gpt2")
    assert (result.code, result.err.strip()) == (code, said)
