"""What a training says before its first step: rows, passes, memory; a note when memory is short."""

import json

import pytest
from commands import make_base

from minilora import finetuning_start
from minilora.display.numbers import GIB
from minilora.errors import ConfigError, DataError
from minilora.finetuning import finetune

PAIRS = [{"prompt": f"apple {i}", "response": "cake"} for i in range(40)]
SHORT = {"examples": PAIRS, "steps": 1, "batch_size": 4, "plot": False}


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base", spread=1)


def said(capsys, base, **settings):
    finetune(base, **SHORT | settings)
    return capsys.readouterr().err


@pytest.mark.parametrize("settings", [{}, {"method": "dora"}, {"method": "full"}])
def test_the_memory_expected_is_said_with_the_longest_batch_and_what_is_free(base, capsys, monkeypatch, settings):
    monkeypatch.setattr(finetuning_start, "free_memory", lambda: 9 * GIB)
    err = said(capsys, base, **settings)
    assert "memory expected: 0.3 GiB for batches of 4 x " in err and "9.0 GiB are free" in err


@pytest.mark.parametrize(("steps", "passes"), [(38, "4"), (9_500, "1,000")])
def test_the_passes_are_said_in_plain_digits(base, capsys, monkeypatch, steps, passes):
    monkeypatch.setattr("minilora.finetuning.run_training", lambda *args, **options: None)
    assert f"38 rows, 2 held out; {steps:,} steps of 4 are {passes} passes; " in said(capsys, base, steps=steps)


@pytest.mark.parametrize(("size", "plan"), [(4, "1 step of 4 is 0.105 passes"), (38, "1 step of 38 is 1 pass")])
def test_one_step_and_one_pass_are_said_in_the_singular(base, capsys, monkeypatch, size, plan):
    monkeypatch.setattr("minilora.finetuning.run_training", lambda *args, **options: None)
    assert f"38 rows, 2 held out; {plan}; " in said(capsys, base, batch_size=size)


@pytest.mark.parametrize("settings", [{"method": "ia3"}, {"precision": "bfloat16"}])
def test_what_is_not_counted_is_not_said(base, capsys, settings):
    assert "memory expected" not in said(capsys, base, **settings)


def test_a_machine_with_too_little_memory_gets_a_note(base, monkeypatch, capsys):
    monkeypatch.setattr(finetuning_start, "free_memory", lambda: GIB // 8)
    with pytest.warns(UserWarning, match="need about 0.3 GiB, and 0.1 GiB are free; a smaller batch size"):
        finetune(base, **SHORT, progress=False)
    assert capsys.readouterr().err == ""


def test_the_memory_expected_grows_with_the_batch(base, monkeypatch, capsys):
    needed = []
    expected = finetuning_start.expected_memory
    monkeypatch.setattr(finetuning_start, "expected_memory", lambda *a: needed.append(expected(*a)) or needed[-1])
    for size in (1, 16):
        finetune(base, **SHORT | {"batch_size": size}, progress=False)
    assert needed[1] > needed[0]


def test_the_memory_expected_is_that_of_the_way_to_train(base, monkeypatch):
    needed = {}
    expected = finetuning_start.expected_memory
    monkeypatch.setattr(finetuning_start, "expected_memory", lambda s, *a: needed.update({way: expected(s, *a)}))
    ways = {"plain": {}, "again": {"checkpointing": True}, "nf4": {"quantize": "nf4"}, "int8": {"quantize": "int8"},
            "full": {"method": "full"}, "full in rows": {"method": "full", "chunked_loss": True}}  # fmt: skip
    for way, settings in ways.items():  # noqa: B007  the lambda reads it
        finetune(base, **SHORT | {"batch_size": 64} | settings, progress=False)
    assert needed["again"] < needed["plain"] and needed["full in rows"] < needed["full"]
    linear = 2 * (2 * 16 * 16 + 2 * 16 * 16 + 3 * 16 * 20)
    assert needed["nf4"] < needed["int8"] < needed["plain"] < needed["nf4"] + 4 * linear


@pytest.mark.parametrize(
    ("settings", "noted"),
    [
        ({"virtual_tokens": 5}, "virtual_tokens is ignored: the method lora has no use for it"),
        ({"lr_ratio": 2.0}, "lr_ratio is ignored"),
        ({"mix": 0.5}, "mix is ignored: there is no teacher"),
        ({"temperature": 3.0}, "temperature is ignored: there is no teacher"),
        ({"method": "ia3", "rank": 4}, "rank is ignored: the method ia3 has no use for it"),
        ({"method": "ia3", "dropout": 0.5}, "dropout is ignored"),
        ({"method": "vera", "alpha": 3.0}, "alpha is ignored"),
        ({"method": "prompt_tuning", "targets": "q_proj"}, "targets is ignored"),
    ],
)
def test_a_setting_that_has_no_effect_is_noted(base, settings, noted):
    with pytest.warns(UserWarning, match=noted):
        finetune(base, **SHORT | settings, progress=False)


@pytest.mark.parametrize(
    "method", ["lora", "lora_plus", "dora", "pissa", "adalora", "vera", "ia3", "prefix_tuning", "full"]
)
def test_the_default_settings_are_noted_for_no_method(base, method, recwarn):
    finetune(base, **SHORT | {"steps": 10}, method=method, progress=False)
    assert not [str(w.message) for w in recwarn if "ignored" in str(w.message)]


def test_an_alpha_of_zero_is_refused(base):
    with pytest.raises(ConfigError, match="alpha 0 multiplies every update by 0"):
        finetune(base, **SHORT, alpha=0)


def test_longer_rows_are_cut_on_request_and_counted_and_refused_otherwise(base, capsys):
    long = {"prompt": "apple", "response": "cake " * 4000}
    asked = {"prompt": "apple " * 4000, "response": "cake"}
    rows = [*PAIRS, long, asked]
    with pytest.raises(DataError, match="2 of 42 examples are longer than the context"):
        finetune(base, **SHORT | {"examples": rows}, progress=False)
    err = said(capsys, base, examples=rows, max_length=30)
    assert "; 1 are cut to 30 tokens, 1 left out (the question is as long)" in err
    assert "batches of 4 x 30 tokens" in err and "38 rows, 3 held out" in err


def test_a_row_that_is_not_too_long_is_learned_as_ever(base):
    losses = [
        finetune(base, **SHORT | {"steps": 3}, max_length=length, progress=False).history.loss for length in (None, 200)
    ]
    assert losses[0] == losses[1]


def test_rows_are_cut_in_files_for_validation_too(base, tmp_path, capsys):
    (tmp_path / "valid.jsonl").write_text(json.dumps({"prompt": "a", "response": "cake " * 4000}), encoding="utf-8")
    assert "; 1 are cut to 30 tokens, 0 left out" in said(capsys, base, valid=tmp_path / "valid.jsonl", max_length=30)


def test_of_a_text_the_length_is_that_of_a_window(base, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("the sea is grey\n" * 400, encoding="utf-8")
    text = {"examples": None, "text": tmp_path / "a.txt"}
    assert "batches of 4 x 128 tokens" in said(capsys, base, **text)
    assert "batches of 4 x 20 tokens" in said(capsys, base, **text, max_length=20)


@pytest.mark.parametrize("settings", [{"max_length": 1}, {"max_length": 50, "examples": None, "task": "sql"}])
def test_a_length_that_cannot_be_is_refused(base, settings):
    with pytest.raises(ConfigError, match="max_length .*: expected at least 2, and not with a shipped task"):
        finetune(base, **SHORT | settings, progress=False)


def conversations():
    ask = lambda n: {"role": "user", "content": f"Where {n}?"}  # noqa: E731
    tell = lambda n: {"role": "assistant", "content": f"Here {n}."}  # noqa: E731
    return [{"messages": [ask(n), tell(n), ask(-n), tell(-n)]} for n in range(40)]


def test_conversations_say_that_only_the_last_answer_is_learned_until_all_are(base, capsys):
    pytest.importorskip("jinja2")
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    (base / "chat_template.jinja").write_text(template, encoding="utf-8")
    err = said(capsys, base, examples=conversations(), chat=True)
    assert "38 rows, 2 held out" in err and "only the last answer of each is learned (turns all: every answer)" in err
    err = said(capsys, base, examples=conversations(), chat=True, turns="all")
    assert "76 rows, 4 held out" in err and "only the last" not in err
