"""Pretraining from Python. What the command adds is in cli/test_train.py."""

import pytest
from cli_training import text

import minilora as ml
from minilora.cli.pretrain import pretrain as command
from minilora.errors import ConfigError
from minilora.pretraining import pretrain
from minilora.text.tokenizer import load_tokenizer

SMALL = {"vocab": 300, "width": 16, "layers": 1, "heads": 2, "kv_heads": 1, "mlp": 24, "context": 64, "length": 32,
         "batch_size": 2, "progress": False, "plot": False}  # fmt: skip


def test_a_text_gives_a_model_that_learned_it_and_a_folder_that_loads(tmp_path, capsys):
    (tmp_path / "sea.txt").write_text(text(0), encoding="utf-8")
    result = ml.pretrain(tmp_path / "sea.txt", out=tmp_path / "out", steps=20, **SMALL)
    (_, before), (_, after) = result.history.valid
    assert after < before and result.step == 20 and capsys.readouterr() == ("", "")
    model, tokenizer = ml.load_pretrained(tmp_path / "out"), load_tokenizer(tmp_path / "out")
    assert model.config == result.model.config and model.config.vocab_size == tokenizer.vocab_size


def test_sizes_that_do_not_divide_are_refused_and_nothing_is_written(tmp_path):
    (tmp_path / "sea.txt").write_text(text(0), encoding="utf-8")
    with pytest.raises(ConfigError, match="width 16 .* heads 3"):
        pretrain(tmp_path / "sea.txt", out=tmp_path / "out", **SMALL | {"heads": 3})
    assert not (tmp_path / "out").exists()


def test_the_command_has_the_defaults_of_the_function():
    options = command.make_context("pretrain", ["--out", "x"]).params
    defaults = pretrain.__kwdefaults__ | {"text": (), "out": options["out"]}
    assert options == {name: defaults[name] for name in options}
