"""The command line in a test: run in this process, and small models on disk for it."""

import functools
import io
import json
import sys
import warnings
from typing import NamedTuple

import pytest
from tiny import tiny_llama, with_lora

from minilora.cli import main
from minilora.text.train_tokenizer import train_tokenizer

TEXT = ["Hattie Sedge lives on Chapel Steps. The Blue Bell serves apple cake near the harbour.\n"] * 3
VOCAB = 290  # 256 bytes, two marks and a few merges


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def minilora(capsys, monkeypatch):
    """minilora("merge", "--out", path) -> Result, as the shell would see it."""

    def run(*argv, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["minilora", *map(str, argv)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with warnings.catch_warnings():  # a warning is a note on stderr, as it is for a user; `main` sets showwarning
            warnings.simplefilter("default")
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code or 0
        return Result(code, *capsys.readouterr())

    return run


def refused(result, *words):
    """Whether it ended as bad input must: exit code 2, nothing printed but one line, with these words in it."""
    line = result.err.removesuffix("\n")
    one = result.code == 2 and result.out == "" and line.startswith("error: ") and "\n" not in line
    return one and all(word in line for word in words)


@functools.cache
def tokenizer_text():
    return train_tokenizer(TEXT, VOCAB)


def base_model(seed=0, **sizes):
    vocab = json.loads(tokenizer_text())["model"]["vocab"]
    return tiny_llama(seed, vocab_size=len(vocab), eos_token_id=0, pad_token_id=1, **sizes)


def make_base(folder, seed=0, **sizes):
    """A random model with its tokenizer."""
    base_model(seed, **sizes).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_text(), encoding="utf-8")
    return folder


def make_adapter(folder, seed=1, targets=("q_proj", "down_proj"), r=3, alpha=5, **sizes):
    """An adapter for `make_base` with B != 0."""
    with_lora(base_model(**sizes), targets, r, alpha, seed=seed).save_pretrained(folder)
    return folder


def folder_bytes(folder):  # -> {name: bytes}
    """Everything in a folder, to see that nothing changed."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
