"""Arguments of the wrong type are one line that names them."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from tiny import SIZES

import minilora as ml
from minilora.arguments import check_arguments
from minilora.errors import ConfigError
from minilora.models.llama import LlamaConfig

Paths = str | Path | Iterable[str | Path]


def tune(
    base: str | Path | None, rank: int, lr: float, chat: bool, names: list[str], data: Sequence[dict], files: Paths, x=1
):
    """Stands for a function of the library."""


RIGHT = {
    "base": [None, "a", Path("a")], "rank": [0, -3, 10**30], "lr": [1, 0.5, -1.0], "chat": [True, False],
    "x": [1, None],
    "names": [[], ["a"]], "data": [[], [{}], ({},), [1]], "files": ["a", Path("a"), [], ["a", Path("b")]],
}  # fmt: skip
WRONG = {
    "base": ([1, b"a", ["a"]], "a text or a path or None"), "rank": (["8", 8.0, True, None, [8]], "a whole number"),
    "lr": (["0.1", float("nan"), float("inf"), True, None], "a number"), "chat": ([1, "yes", None], "True or False"),
    "names": (["a", ["a", 1], ("a",), None], "a list of texts"), "data": (["a", {1}, None, 3], "a list of dicts"),
    "files": ([3, None], "a text or a path or a list of texts or paths"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in RIGHT.items() for v in values])
def test_a_value_of_the_right_type_passes(name, value):
    check_arguments(tune, {name: value})


@pytest.mark.parametrize(("name", "value", "words"), [(n, v, w) for n, (vs, w) in WRONG.items() for v in vs])
def test_a_value_of_the_wrong_type_is_named_with_what_is_expected(name, value, words):
    with pytest.raises(ConfigError) as error:
        check_arguments(tune, {name: value}, "here: ")
    assert str(error.value) == f"here: {name} = {value!r}: expected {words}"


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"warmup": -1}, {"virtual_tokens": 0}])
def test_a_number_that_is_too_small_is_named(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=f"^{name} = {value}: expected at least [01]$"):
        ml.finetune("no such base", task="sql", **wrong)


def test_a_long_value_is_cut():
    with pytest.raises(ConfigError) as error:
        check_arguments(tune, {"rank": "x" * 10_000})
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    "wrong", [{"rank": "8"}, {"steps": 2.5}, {"lr": "fast"}, {"layers": "1"}, {"out": 3}, {"seed": None}]
)
def test_finetune_refuses_a_wrong_type_before_anything_else(wrong):
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} = .*: expected "):
        ml.finetune("no such base", task="sql", **wrong)


def test_pretrain_refuses_a_wrong_type(tmp_path):
    with pytest.raises(ConfigError, match="^width = '64': expected a whole number$"):
        ml.pretrain(out=tmp_path, width="64")


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "64"},
        {"rms_norm_eps": "x"},
        {"tie_word_embeddings": 1},
        {"vocab_size": None},
        {"num_attention_heads": 0},
    ],
)
def test_the_configuration_of_a_model_refuses_a_wrong_type(wrong):
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} = .*: expected "):
        LlamaConfig(**SIZES | wrong)


@pytest.mark.parametrize(
    "kind", [ml.LoraConfig, ml.IA3Config, ml.VeraConfig, ml.AdaLoraConfig, ml.PromptTuningConfig, ml.PrefixTuningConfig]
)
def test_the_configuration_of_an_adapter_refuses_a_wrong_type(kind):
    needed = {"num_virtual_tokens": 3} if hasattr(kind, "num_virtual_tokens") else {}
    for field in dataclasses.fields(kind):
        with pytest.raises(ConfigError, match=field.name):
            kind(**needed | {field.name: object()})


def test_a_size_that_no_array_can_have_is_named(tmp_path):
    with pytest.raises(ConfigError, match="^mlp = 100000000000000000000: expected at most 2,147,483,647$"):
        ml.pretrain(out=tmp_path, mlp=10**20)
