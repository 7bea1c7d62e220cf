"""eval: the loss or the score of a model, and what it refuses."""

import json
import math
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


def test_the_answers_to_rows_of_ones_own_are_written_and_those_that_are_exact_counted(run, base, files, monkeypatch):
    monkeypatch.chdir(files)
    rows = [{"prompt": f"Say {word}", "response": word} for word in ("cat", "sea", "tea", "boat")]
    (files / "say.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ("--base", base, "--method", "full", "--steps", 150, "--batch-size", 4, "--lr", 0.02, "--no-plot")
    assert run("train", "say.jsonl", "--valid", "say.jsonl", *options, "--out", "tuned")[0] == 0
    for model, exact in (("tuned", 4), (base, 0)):
        out_file = files / f"{exact}.jsonl"
        code, out, _ = run(
            "eval", "--base", model, "--jsonl", "say.jsonl", "--predictions", out_file, "--max-new-tokens", 9
        )
        found = [json.loads(line) for line in out_file.read_text(encoding="utf-8").splitlines()]
        assert code == 0 and f"{exact} of 4 answers are exact ({exact / 4:.3f}); written to {out_file}" in out
        assert [{"prompt": row["prompt"], "response": row["response"]} for row in found] == rows
        assert [row["exact"] for row in found] == [row["answer"] == row["response"] for row in found]
        assert sum(row["exact"] for row in found) == exact
        generated = run("generate", "--base", model, "--framed", "--prompt", "Say sea", "--max-new-tokens", 9)[1]
        assert found[1]["answer"] == generated.strip()


def test_predictions_are_refused_where_nothing_is_asked_and_never_replace_a_file(run, base, files):
    (files / "there.jsonl").write_text("x", encoding="utf-8")
    (files / "text.jsonl").write_text('{"text": "the sea"}', encoding="utf-8")
    ask = ("eval", "--base", base, "--predictions", files / "new.jsonl")
    refused(run(*ask, "--text", files / "a.txt"), "--predictions goes with --jsonl")
    refused(run(*ask, "--jsonl", files / "text.jsonl"), "text.jsonl, line 1", "a row of plain text asks nothing")
    refused(
        run(*ask[:3], "--jsonl", files / "pairs.jsonl", "--predictions", files / "there.jsonl"), "there.jsonl exists"
    )
    refused(run(*ask[:3], "--jsonl", files / "pairs.jsonl", "--max-new-tokens", 3), "goes with --predictions")
    assert not (files / "new.jsonl").exists() and (files / "there.jsonl").read_text(encoding="utf-8") == "x"


def test_rows_of_standard_input_are_scored_and_answered(run, base, files):
    rows = b'{"prompt": "Say cat", "response": "cat"}\n{"prompt": "Say sea", "response": "sea"}\n'
    ask = ("eval", "--base", base, "--jsonl", "-", "--predictions", files / "answers.jsonl", "--max-new-tokens", 2)
    code, out, err = run(*ask, stdin=rows)
    assert code == 0, err
    assert "0 of 2 answers are exact" in out
    assert len((files / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_predictions_never_replace_a_link_that_leads_nowhere(run, base, files):
    link = files / "link"
    link.symlink_to("link")
    refused(run("eval", "--base", base, "--jsonl", files / "pairs.jsonl", "--predictions", link), "link exists")
    assert link.is_symlink()


def test_a_place_where_predictions_cannot_be_written_is_refused_before_the_work(run, files):
    ask = ("eval", "--base", files / "no-base", "--jsonl", files / "pairs.jsonl")
    refused(run(*ask, "--predictions", files / "a.txt/new"), "a.txt: it is a file, expected a folder")


def test_the_json_has_the_numbers_of_the_text_in_full(run, base, files):
    ask = ("eval", "--base", base, "--jsonl", files / "pairs.jsonl", "--max-new-tokens", 2, "--predictions")
    text = run(*ask, files / "1.jsonl")[1].splitlines()
    code, out, err = run(*ask, files / "2.jsonl", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert text[0] == f"base {found['base']}, adapter none" and found["adapters"] == {}
    loss, perplexity = f"loss {found['loss']:.4f} nats per token", f"perplexity {found['perplexity']:.2f}"
    assert text[1] == f"{loss}, {perplexity}, {found['tokens']:,} tokens"
    assert found["perplexity"] == math.exp(found["loss"]) and found["loss"] != round(found["loss"], 4)
    assert text[2].startswith(f"{found['exact']} of {found['answers']} answers are exact")
    assert found["predictions"] == str(files / "2.jsonl")


@pytest.mark.slow
def test_the_json_of_a_task_has_its_scores_and_the_weights_of_the_adapters(run, files):
    run("train", "--task", "reviews", "--steps", 1, "--batch-size", 2, "--out", files / "one", "--no-plot")
    ask = ("eval", "--task", "reviews", "--adapter", f"{files / 'one'}=0.5")
    text, found = run(*ask)[1].splitlines(), json.loads(run(*ask, "--json")[1])
    assert found["adapters"] == {str(files / "one"): 0.5} and found["task"] == "reviews"
    assert text[2].startswith(f"reviews: {found['score']:.3f} of {found['examples']} test answers right")
    assert text[3].startswith(f"reviews: {found['choice']:.3f} right when choosing")
    assert found["choice"] * found["examples"] == pytest.approx(round(found["choice"] * found["examples"]))
