"""minilora data: which tokens of a file are read, which are learned, and how many do not fit."""

import json

import cli_training
import pytest
from cli_training import pairs, refused

from minilora.text.encoding import encode_pair
from minilora.text.examples import read_jsonl
from minilora.text.tokenizer import load_tokenizer

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


def test_the_first_rows_are_shown_with_what_is_masked_and_what_is_learned(run, base, files):
    code, out, err = run("data", files / "pairs.jsonl", "--base", base)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "rows of prompt and response, written with a line break"
    assert lines[2].startswith("  masked   ") and lines[3].startswith("  learned  ")
    assert [line[11:].replace("|", "") for line in lines[2:4]] == ["count 0\\n", "sea <endoftext>"]
    assert [line.split(":")[0] for line in lines if line.startswith("row ")] == ["row 1", "row 2", "row 3"]


def test_tokens_and_labels_are_counted_over_all_rows(run, base, files):
    tokenizer = load_tokenizer(base)
    encoded = [encode_pair(example, tokenizer) for example in read_jsonl(files / "pairs.jsonl")]
    read, learned = (sum(len(pair[side]) for pair in encoded) for side in (0, 1))
    _, out, _ = run("data", files / "pairs.jsonl", "--base", base)
    assert out.splitlines()[-2] == f"40 rows, {read + learned:,} tokens; {learned:,} of them are learned"


def test_rows_that_are_longer_than_the_context_are_counted_not_refused(run, base, files):
    long = json.dumps({"prompt": "count", "response": "grey tea " * 60}) + "\n"
    (files / "long.jsonl").write_text(pairs(4) + long + long, encoding="utf-8")
    code, out, _ = run("data", files / "long.jsonl", "--base", base)
    assert code == 0 and "; 2 are longer than the context of 64" in out.splitlines()[-1]


def test_one_row_is_said_in_the_singular(run, base, files):
    row = json.dumps({"prompt": "count", "response": "grey tea " * 60}) + "\n"
    (files / "one.jsonl").write_text(row, encoding="utf-8")
    _, out, _ = run("data", files / "one.jsonl", "--base", base)
    assert out.splitlines()[-2].startswith("1 row, ")
    assert out.splitlines()[-1].endswith("; 1 is longer than the context of 64")


def test_of_a_text_everything_is_learned_in_windows(run, base, files):
    code, out, _ = run("data", files / "a.txt", "--base", base)
    assert code == 0 and out.startswith("window 1: 64 tokens, 64 learned\n") and "masked" not in out


def test_colours_are_for_a_terminal_only(run, base, files, monkeypatch):
    assert "\x1b" not in run("data", files / "pairs.jsonl", "--base", base)[1]
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    coloured = run("data", files / "pairs.jsonl", "--base", base)[1]
    assert "\x1b[32m" in coloured and "\x1b[2m" in coloured


def test_control_characters_of_a_file_are_written_out(run, base, files):
    (files / "bell.jsonl").write_text(json.dumps({"prompt": "a\x07\x1b[31m", "response": "b"}) + "\n", encoding="utf-8")
    out = run("data", files / "bell.jsonl", "--base", base)[1]
    assert "\x1b" not in out and "\x07" not in out


def test_the_json_has_the_numbers_of_the_text_and_the_first_tokens(run, base, files):
    long = json.dumps({"prompt": "count", "response": "grey tea " * 200}) + "\n"
    (files / "long.jsonl").write_text(pairs(4) + long, encoding="utf-8")
    text = run("data", files / "long.jsonl", "--base", base)[1].splitlines()
    code, out, err = run("data", files / "long.jsonl", "--base", base, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert text[0] == f"rows of {found['form']}, written with a line break" and not found["chat"]
    assert text[-2] == f"{found['rows']} rows, {found['tokens']:,} tokens; {found['learned']:,} of them are learned"
    assert text[-1].startswith(f"the longest has {found['longest']} tokens; {found['too_long']} is longer")
    assert text[-1].endswith(f" {found['context']}")
    masked = [token["text"] for token in found["first"][0] if not token["learned"]]
    assert text[2] == "  masked   " + "|".join(masked).replace("\n", "\\n")
    tokenizer = load_tokenizer(base)
    assert tokenizer.decode([token["id"] for token in found["first"][1]]) == "count 1\nsea sea "


def test_the_json_of_a_long_row_has_its_first_200_tokens(run, base, files):
    long = json.dumps({"prompt": "count", "response": "grey tea " * 300}) + "\n"
    (files / "long.jsonl").write_text(long, encoding="utf-8")
    found = json.loads(run("data", files / "long.jsonl", "--base", base, "--json")[1])
    assert found["longest"] > 200 and [len(row) for row in found["first"]] == [200]


def test_the_json_of_a_text_counts_windows(run, base, files):
    found = json.loads(run("data", files / "a.txt", "--base", base, "--json")[1])
    assert found["form"] is None and found["windows"] * 64 == found["tokens"]
    assert found["learned"] == found["windows"] * 63  # nothing predicts the first token of a window


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["none.jsonl"], "none.jsonl"),
        (["a.csv"], "expected a name that ends in"),
        (["a.txt", "--chat"], "plain text has no turns"),
        ([], "FILE"),
    ],
)
def test_a_mistake_is_one_line(run, base, files, monkeypatch, args, says):
    monkeypatch.chdir(files)
    refused(run("data", *args, "--base", base), says)
