"""pretrain: a base from plain text."""

import cli_training
from cli_training import SMALL, history, refused

import minilora as ml
from minilora.text.tokenizer import load_tokenizer
from minilora.training.resume import FILE

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


def test_pretrain_writes_a_checkpoint_with_its_tokenizer_and_a_falling_validation_loss(base):
    assert {p.name for p in base.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "history.json", "history.csv",
        FILE,
    }  # fmt: skip
    valid = history(base)["valid"]
    assert [step for step, _ in valid] == [0, 20]
    assert valid[-1][1] < valid[0][1]
    model, tokenizer = ml.load_pretrained(base), load_tokenizer(base)
    assert model.config.vocab_size == tokenizer.vocab_size <= 300
    assert len(tokenizer.encode("1234")) == 4


def test_a_text_of_a_few_words_is_pretrained_on_without_validation(run, files):
    (files / "few.txt").write_text("1234567890 1234567890", encoding="utf-8")  # digits are single tokens
    code, _, err = run("pretrain", "--text", files / "few.txt", "--steps", 2, "--out", files / "out", *SMALL)
    assert code == 0
    assert "no validation loss" in err


def test_pretraining_resumes_to_the_same_bits_and_more_steps_may_be_asked_for(run, files):
    args = ["pretrain", "--text", files / "a.txt", *SMALL, "--eval-every", 4, "--no-plot"]
    run(*args, "--steps", 4, "--out", files / "out")
    code, _, _ = run("pretrain", "--resume", "--steps", 8, "--out", files / "out")
    assert code == 0
    assert len(history(files / "out")["loss"]) == 8


def test_pretrain_refuses_a_text_too_short_for_one_window(run, files):
    (files / "short.txt").write_text("sea", encoding="utf-8")
    refused(run("pretrain", "--text", files / "short.txt", "--out", files / "out", *SMALL), "expected at least 16")


def test_pretrain_refuses_sizes_that_do_not_divide(run, files):
    sizes = ["--width", "30", "--heads", "4"]
    refused(run("pretrain", "--text", files / "a.txt", "--out", files / "out", *sizes), "width 30", "heads 4")
    sizes = ["--width", "32", "--heads", "4", "--kv-heads", "3"]
    refused(run("pretrain", "--text", files / "a.txt", "--out", files / "out", *sizes), "4 query heads")
