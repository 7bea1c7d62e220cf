"""`--config FILE`: options from a TOML or JSON file, for train and pretrain."""

import json

import cli_training
import pytest
from cli_training import history, refused

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures

OPTIONS = {
    "files": ["pairs.jsonl"], "out": "made", "steps": 2, "batch-size": 2, "learning_rate": 0.003, "rslora": True,
    "plot": False, "layers": [0], "rank-pattern": {"q_proj": 5, "down_proj": 2}, "targets": ["q_proj", "down_proj"],
}  # fmt: skip


def settings_of(run, files, monkeypatch, options, *typed):
    monkeypatch.chdir(files)
    (files / "run.json").write_text(json.dumps(options), encoding="utf-8")
    code, _, err = run("train", "--config", "run.json", *typed)
    assert code == 0, err
    return history(files / "made")["settings"]


def test_options_are_taken_from_a_file(run, base, files, monkeypatch):
    found = settings_of(run, files, monkeypatch, OPTIONS | {"base": str(base)})
    assert (found["steps"], found["batch_size"], found["lr"], found["rslora"], found["plot"]) == (
        2,
        2,
        0.003,
        True,
        False,
    )
    assert (found["layers"], found["rank_pattern"]) == ([0], {"q_proj": 5, "down_proj": 2})
    adapter = json.loads((files / "made/adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["rank_pattern"] == {"q_proj": 5, "down_proj": 2}


def test_what_is_typed_has_precedence(run, base, files, monkeypatch):
    options = OPTIONS | {"base": str(base)}
    found = settings_of(run, files, monkeypatch, options, "--steps", 3, "--lr", 0.5, "--rank-pattern", "q_proj=3")
    assert (found["steps"], found["lr"], found["rank_pattern"]) == (3, 0.5, {"q_proj": 3})


def test_toml_says_the_same(run, base, files, monkeypatch):
    monkeypatch.chdir(files)
    text = f'base = {json.dumps(str(base))}\nfiles = ["pairs.jsonl"]\nsteps = 2\nplot = false\nout = "made"\n'
    (files / "run.toml").write_text(text + "rank-pattern = {q_proj = 5}\n", encoding="utf-8")
    assert run("train", "--config", "run.toml")[0] == 0
    assert history(files / "made")["settings"]["rank_pattern"] == {"q_proj": 5}


def test_pretrain_reads_one_too(run, files, monkeypatch):
    monkeypatch.chdir(files)
    (files / "run.json").write_text('{"vocab": 300, "widht": 16}', encoding="utf-8")
    refused(run("pretrain", "--text", "a.txt", "--config", "run.json", "--out", "made"), "no option 'widht'", "width")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "stepz = 3", ["no option 'stepz'", "steps"]),
        ("a.toml", "steps = ", ["not TOML", "Invalid value"]),
        ("a.json", "{'steps': 3}", ["not JSON"]),
        ("a.json", "[1]", ["expected options", "list"]),
        ("a.json", "[" * 100_000, ["not JSON"]),
        ("a.json", '{"steps": null}', ["'steps' is null; leave it out"]),
        ("a.json", '{"steps": "many"}', ["--steps", "'many'"]),
        ("a.json", '{"plot": 3}', ["'plot' = 3: expected true or false"]),
        ("a.json", '{"steps": true}', ["'steps' = true: not true or false"]),
        ("a.json", '{"lr": 1, "learning_rate": 2}', ["'learning_rate' is given twice"]),
        ("a.json", '{"rank_pattern": "q"}', ["--rank-pattern", "k_proj=16,down_proj=4"]),
        ("a.yaml", "steps: 3", ["expected a name that ends in .toml or .json"]),
        ("a.json", "\udcff", ["not UTF-8"]),
    ],
)
def test_a_file_that_is_wrong_is_one_line_before_any_work(run, base, files, name, text, words):
    (files / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(run("train", files / "pairs.jsonl", "--config", files / name, "--out", files / "made"), *words)
    assert not (files / "made").exists()


def test_a_missing_file_is_one_line(run, files):
    refused(run("train", files / "pairs.jsonl", "--config", files / "no.toml"), "no such file", "no.toml")
