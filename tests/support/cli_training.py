"""A tiny base, small files and the command itself, for the tests of pretrain, train and eval."""

import json
import subprocess
import sys

import commands
import numpy as np
import pytest

SMALL = "--vocab 300 --width 16 --layers 1 --heads 2 --kv-heads 1 --mlp 24 --context 64 --length 32".split()
WORDS = "the sea is grey and the boat is old but the tea is hot".split()


def text(seed, words=3000):
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice(WORDS, words)) + "\n"


def pairs(count, repeat=1):
    lines = [{"prompt": f"count {i}", "response": "sea " * (i % 3 + 1)} for i in range(count) for _ in range(repeat)]
    return "".join(json.dumps(line) + "\n" for line in lines)


run = commands.minilora  # a fixture


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base of 5,000 parameters, made once by the command itself."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "sea.txt").write_text(text(0), encoding="utf-8")
    args = ["pretrain", "--text", folder / "sea.txt", "--out", folder / "base", "--steps", 20, *SMALL, "--no-plot"]
    done = subprocess.run([sys.executable, "-m", "minilora", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "base"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.txt").write_text(text(1), encoding="utf-8")
    (tmp_path / "b.txt").write_text(text(2), encoding="utf-8")
    (tmp_path / "pairs.jsonl").write_text(pairs(40), encoding="utf-8")
    return tmp_path


def history(folder):
    return json.loads((folder / "history.json").read_text(encoding="utf-8"))


def refused(result, *says, code=2):
    """One line on stderr, nothing on stdout."""
    status, out, err = result
    assert status == code
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: ")
    for word in says:
        assert word in err, err


def trained_to(run, base, files, out, *more):
    args = ["--jsonl", files / "pairs.jsonl", "--dropout", 0.2, "--steps", 12, "--eval-every", 5, "--accumulate", 2]
    return run("train", "--base", base, *args, "--out", out, "--no-plot", *more)
