"""Fine-tuning from Python: from files or lists to a trained model, its history, and what is saved."""

import gc
import json
import signal

import numpy as np
import pytest
from commands import make_base

import minilora as ml
from minilora import finetuning_data
from minilora.adapters.model import PeftModel
from minilora.cli.train import train as command
from minilora.errors import ConfigError, DataError, TrainingError, UnknownNameError
from minilora.finetuning import RATE_TIMES_WIDTH, finetune
from minilora.finetuning_data import read_data
from minilora.models.pretrained import load_base
from minilora.text.batches import pair_batches
from minilora.text.forms import pair_encoder
from minilora.training import loop
from minilora.training.run import settings_in_history

PAIRS = [{"prompt": f"apple {i}", "response": "cake " * (i % 3 + 1)} for i in range(40)]
SHORT = {"steps": 6, "batch_size": 4, "eval_every": 3, "progress": False, "plot": False}


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base", spread=1)


@pytest.fixture
def jsonl(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    return tmp_path / "pairs.jsonl"


def trained(result):
    return {name: p.data.copy() for name, p in result.model.named_parameters() if ".lora_" in name}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_pairs_from_a_list_give_a_model_with_an_adapter_that_learned_them(base):
    result = finetune(base, examples=PAIRS, **SHORT | {"steps": 40})
    assert isinstance(result.model, ml.PeftModel) and not result.model.training
    assert (result.step, result.interrupted, len(result.history.loss)) == (40, False, 40)
    (first, before), *_, (last, after) = result.history.valid
    assert (first, last) == (0, 40) and after < before


def test_a_list_gives_the_same_bits_as_the_file_with_the_same_lines(base, jsonl):
    by_list, by_file = finetune(base, examples=PAIRS, **SHORT), finetune(base, jsonl=jsonl, **SHORT)
    assert same(trained(by_list), trained(by_file))


def test_nothing_is_written_or_shown_without_out_and_progress(base, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    finetune(base, examples=PAIRS, **SHORT)
    assert list((tmp_path / "here").iterdir()) == [] and capsys.readouterr() == ("", "")


def test_what_is_saved_loads_to_the_trained_model(base, tmp_path):
    result = finetune(base, examples=PAIRS, out=tmp_path / "out", **SHORT)
    again = ml.PeftModel.from_pretrained(ml.load_pretrained(base), tmp_path / "out")
    ids = np.arange(2, 12)[None]
    assert np.array_equal(again(ids).numpy(), result.model(ids).numpy())
    settings = json.loads((tmp_path / "out" / "history.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["examples"], settings["alpha"], settings["steps"]) == (40, 8, 6)


def test_full_fine_tuning_returns_the_base_itself_with_every_weight_changed(base):
    result = finetune(base, examples=PAIRS, method="full", **SHORT)
    before = dict(ml.load_pretrained(base).named_parameters())
    after = dict(result.model.named_parameters())
    assert before.keys() == after.keys()
    assert not any(np.array_equal(before[name].data, p.data) for name, p in after.items())


def test_the_settings_are_those_of_the_adapter(base):
    config = finetune(base, examples=PAIRS, rank=3, alpha=5, targets=["q_proj"], dropout=0.1, **SHORT).model.peft_config
    assert (config["default"].r, config["default"].lora_alpha, config["default"].lora_dropout) == (3, 5, 0.1)
    assert config["default"].target_modules == ["q_proj"]


def test_a_run_that_ctrl_c_stopped_is_resumed_to_the_same_bits(base, tmp_path, monkeypatch):
    settings = SHORT | {"examples": PAIRS, "dropout": 0.2, "out": tmp_path / "out"}
    straight = finetune(base, **settings | {"out": None})
    real = loop.add_gradients

    def pressed_in_step_4(run, batches):
        if run.step == 4:
            signal.raise_signal(signal.SIGINT)
        return real(run, batches)

    monkeypatch.setattr(loop, "add_gradients", pressed_in_step_4)
    stopped = finetune(base, **settings)
    monkeypatch.undo()
    assert (stopped.step, stopped.interrupted) == (4, True)
    resumed = finetune(base, resume=True, **settings)
    assert resumed.step == 6 and same(trained(resumed), trained(straight))


def test_a_run_that_goes_on_may_have_more_steps_but_no_other_settings_or_data(base, tmp_path):
    settings = SHORT | {"examples": PAIRS, "out": tmp_path / "out"}
    finetune(base, **settings)
    with pytest.raises(ConfigError, match="already at step 6 of 6"):
        finetune(base, resume=True, **settings)
    with pytest.raises(ConfigError, match="rank 5 contradicts the run in .* started with 8"):
        finetune(base, resume=True, rank=5, **settings)
    others = [*PAIRS[:-1], {"prompt": "apple", "response": "pie"}]
    with pytest.raises(ConfigError, match="training data has changed"):
        finetune(base, resume=True, **settings | {"examples": others, "steps": 9})
    assert finetune(base, resume=True, **settings | {"steps": 9}).step == 9


def test_a_result_is_not_replaced_unless_that_is_asked_for(base, tmp_path):
    settings = SHORT | {"examples": PAIRS, "out": tmp_path / "out"}
    finetune(base, **settings)
    before = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="already contains a run"):
        finetune(base, seed=1, **settings)
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == before
    finetune(base, seed=1, overwrite=True, **settings)
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({}, ConfigError, "expected one of task, text, jsonl and examples; given: none"),
        ({"examples": PAIRS, "task": "sql"}, ConfigError, "given: task and examples"),
        ({"task": "sql", "chat": True}, ConfigError, "chat goes with"),
        ({"examples": PAIRS, "method": "lore"}, UnknownNameError, "no method 'lore'; there are: lora"),
        ({"examples": PAIRS, "schedule": "cosin"}, UnknownNameError, "no schedule 'cosin'; there are: cosine"),
        ({"examples": PAIRS, "lr": -1.0}, ConfigError, "lr = -1.0"),
        ({"examples": PAIRS, "steps": 0}, ConfigError, "steps 0"),
        ({"examples": PAIRS, "batch_size": 0}, ConfigError, "batch size 0"),
        ({"examples": PAIRS, "eval_every": 0}, ConfigError, "every 0 steps"),
        ({"examples": PAIRS, "resume": True}, ConfigError, "resume needs out"),
        ({"examples": [*PAIRS, {"prompt": "a"}]}, DataError, 'example 41: no "response"'),
        ({"examples": [{"prompt": "a", "response": "\ud800"}]}, DataError, "example 1: .*surrogates"),
        ({"examples": PAIRS, "lr": 1e30}, TrainingError, "nothing is saved"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_a_mistake_is_an_error_of_its_kind_and_writes_nothing(base, tmp_path, settings, error, says):
    out = {} if "resume" in settings else {"out": tmp_path / "out"}
    with pytest.raises(error, match=says):
        finetune(base, **SHORT | settings | out)
    assert not (tmp_path / "out").exists()


def test_too_little_data_to_hold_some_out_is_a_warning(base):
    with pytest.warns(UserWarning, match="no validation loss"):
        result = finetune(base, examples=PAIRS[:1], **SHORT)
    assert result.history.valid == []


def test_settings_of_an_adapter_are_ignored_with_a_warning_in_full_fine_tuning(base):
    with pytest.warns(UserWarning, match="rank is ignored"):
        finetune(base, examples=PAIRS, method="full", rank=4, **SHORT)


def test_the_command_has_the_defaults_of_the_function_and_the_function_those_of_lora_config():
    options = command.make_context("train", ["--out", "x"]).params
    defaults = finetune.__kwdefaults__ | {"base": None, "out": options["out"]}
    assert options.pop("push_to_hub") is None  # the command does that afterwards
    assert options == {name: defaults[name] for name in options}
    assert options["alpha"] == ml.LoraConfig().lora_alpha == 8


@pytest.mark.parametrize(("method", "rank", "trained"), [("lora", None, 8), ("vera", None, 256), ("vera", 8, 8)])
def test_the_rank_is_the_one_asked_for_and_else_the_default_of_the_method(base, method, rank, trained):
    result = finetune(base, examples=PAIRS, method=method, rank=rank, **SHORT)
    assert result.model.peft_config["default"].r == trained


def test_finetune_is_a_public_name_that_stays_a_function_when_its_module_is_imported():
    import minilora.finetuning  # noqa: F401

    assert ml.finetune is finetune


@pytest.mark.slow
@pytest.mark.parametrize("method", [m for m in RATE_TIMES_WIDTH if m != "full"])
def test_every_method_learns_by_name_and_its_adapter_is_loaded_again(method, tmp_path):
    result = finetune(
        examples=PAIRS, method=method, steps=12, batch_size=4, out=tmp_path / method, plot=False, progress=False
    )
    first, last = result.history.valid[0][1], result.history.valid[-1][1]
    assert last < 0.9 * first
    base, _ = load_base(None, "cpu")
    again = PeftModel.from_pretrained(base, tmp_path / method)
    ids = np.arange(40, 60)[None]
    assert abs(again(ids).data - result.model(ids).data).max() < 1e-3


# ---- data by the name of a file, and a validation file of one's own


def test_a_file_is_read_by_the_end_of_its_name(base, jsonl):
    assert same(trained(finetune(base, files=jsonl, **SHORT)), trained(finetune(base, jsonl=jsonl, **SHORT)))


def test_with_a_validation_file_every_row_is_trained_on_and_the_loss_is_that_of_the_file(base, jsonl, tmp_path):
    (tmp_path / "valid.jsonl").write_text(json.dumps(PAIRS[7]) + "\n", encoding="utf-8")
    result = finetune(base, files=jsonl, valid=tmp_path / "valid.jsonl", **SHORT)
    model, tokenizer = load_base(base, "cpu")
    prompt, response = pair_encoder("framed", base)(PAIRS[7], tokenizer)
    before = loop.evaluate(model, pair_batches([(prompt, response)], 1, tokenizer.pad_id))
    assert abs(result.history.valid[0][1] - before) < 1e-6


@pytest.mark.parametrize(("epochs", "steps"), [(1, 10), (0.5, 5), (2.01, 20)])
def test_epochs_are_passes_over_the_rows_that_are_not_held_out(base, epochs, steps):
    result = finetune(
        base, examples=PAIRS, **SHORT | {"epochs": epochs, "steps": 200, "batch_size": 2, "accumulate": 2}
    )
    assert result.step == steps  # 38 rows, 4 a step


def test_a_run_by_epochs_is_resumed_by_epochs_or_steps(base, tmp_path):
    settings = SHORT | {"examples": PAIRS, "out": tmp_path / "out"}
    assert finetune(base, epochs=1, **settings).step == 10
    with pytest.raises(ConfigError, match="already at step 10 of 10"):
        finetune(base, epochs=1, resume=True, **settings)
    assert finetune(base, epochs=2, resume=True, **settings).step == 19
    assert finetune(base, resume=True, **settings | {"steps": 20}).step == 20


def test_what_is_trained_is_said_at_the_start(base, capsys):
    finetune(base, examples=PAIRS, lr=0.01, **SHORT | {"progress": True})
    assert (
        "38 rows, 2 held out; 6 steps of 4 are 0.632 passes; learning rate 0.01; rows of prompt and response"
        in capsys.readouterr().err
    )


def test_settings_of_lora_reach_its_configuration(base):
    chosen = {"rslora": True, "init": "gaussian", "exclude": "q_proj", "layers": [0], "modules_to_save": ["norm"]}
    config = finetune(base, examples=PAIRS, **chosen, **SHORT).model.peft_config["default"]
    assert (config.use_rslora, config.init_lora_weights, config.exclude_modules) == (True, "gaussian", ["q_proj"])
    assert (config.layers_to_transform, config.modules_to_save) == ([0], ["norm"])


def test_the_betas_of_adam_change_what_is_learned_and_have_bounds(base):
    plain = trained(finetune(base, examples=PAIRS, **SHORT))
    assert same(plain, trained(finetune(base, examples=PAIRS, adam_beta1=0.9, adam_beta2=0.999, **SHORT)))
    for beta in ("adam_beta1", "adam_beta2"):
        assert not same(plain, trained(finetune(base, examples=PAIRS, **SHORT, **{beta: 0.5})))
        with pytest.raises(ConfigError, match=f"{beta} = 1: expected 0 or more, and less than 1"):
            finetune(base, examples=PAIRS, **SHORT, **{beta: 1})


def test_a_warm_up_may_be_a_part_of_all_steps_rounded_up(base):
    settings = SHORT | {"steps": 10, "schedule": "constant", "lr": 0.001}
    rates = finetune(base, examples=PAIRS, warmup_ratio=0.25, **settings).history.lr
    assert rates == finetune(base, examples=PAIRS, **settings | {"warmup": 3}).history.lr
    assert rates[:4] == pytest.approx([0.001 / 3, 0.002 / 3, 0.001, 0.001])
    with pytest.raises(ConfigError, match="warmup_ratio = 1.5: expected 0 to 1"):
        finetune(base, examples=PAIRS, **SHORT, warmup_ratio=1.5)


def test_layers_may_have_a_rank_and_an_alpha_of_their_own(base):
    model = finetune(
        base, examples=PAIRS, **SHORT, rank=2, rank_pattern={"q_proj": 3}, alpha_pattern={"v_proj": 9}
    ).model
    methods = model.base_model.adapters["default"].methods
    ranks = {path.rpartition(".")[2]: (m.A.shape[0], m.scaling * m.A.shape[0]) for path, m in methods.items()}
    assert (ranks["q_proj"], ranks["v_proj"], ranks["k_proj"]) == ((3, 8), (2, 9), (2, 8))


@pytest.mark.filterwarnings("ignore:lora_bias")  # no layer of this base has a bias, so the adapter cannot be merged
@pytest.mark.parametrize("method", ["lora", "lora_plus"])
def test_the_bias_of_b_and_the_rows_of_tokens_are_trained_and_saved(base, method, tmp_path):
    tokens = load_base(base)[1].encode("apple cake")[-2:]
    chosen = {"lora_bias": True, "trainable_tokens": tokens, "method": method, "out": tmp_path / "out"}
    model = finetune(base, examples=PAIRS, **chosen, **SHORT).model
    config = PeftModel.from_pretrained(load_base(base)[0], tmp_path / "out").peft_config["default"]
    assert (config.lora_bias, config.trainable_token_indices) == (True, tokens)
    rows = next(p for n, p in model.named_parameters() if "trainable_tokens_delta" in n)
    assert not np.array_equal(rows.data, model.get_base_model().get_input_embeddings().base_layer.dense()[tokens])
    assert all(p.data.any() for n, p in model.named_parameters() if "lora_B" in n and n.endswith("bias"))


@pytest.mark.parametrize("method", ["lora", "lora_plus"])
def test_weight_decay_changes_what_is_learned(base, method):
    decays = [trained(finetune(base, examples=PAIRS, method=method, weight_decay=d, **SHORT)) for d in (0.01, 0.5)]
    assert not same(*decays)


def test_the_bound_on_the_norm_changes_what_is_learned(base):
    plain = trained(finetune(base, examples=PAIRS, **SHORT))
    assert not same(plain, trained(finetune(base, examples=PAIRS, max_grad_norm=0.01, **SHORT)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_places_in_front_are_taken_from_the_context_in_training_and_in_scoring(method, tmp_path):
    from minilora.tasks.scoring import measure

    base, tokenizer = load_base(None, "cpu")
    result = finetune(
        task="reviews", method=method, virtual_tokens=4, steps=2, batch_size=2, progress=False, plot=False
    )
    measured = measure(result.model, tokenizer, task="reviews")
    assert 0 <= measured.choice <= 1
    room = base.config.max_position_embeddings
    with pytest.raises(ConfigError, match=f"virtual_tokens {room} leaves no room"):
        finetune(examples=PAIRS, method=method, virtual_tokens=room, **SHORT)


def test_a_base_with_a_context_of_one_token_is_refused_without_a_word_of_virtual_tokens(tmp_path):
    base = make_base(tmp_path / "base", max_position_embeddings=1)
    with pytest.raises(ConfigError, match="^the base leaves no room for text in a context of 1 token$"):
        finetune(base, examples=PAIRS, **SHORT)


def test_the_collector_rests_while_rows_are_read_and_works_again_afterwards(base, monkeypatch):
    seen = []

    def fails(*_):
        seen.append(gc.isenabled())
        raise DataError("no")

    monkeypatch.setattr(finetuning_data, "encode_pairs", fails)
    with pytest.raises(DataError):
        finetune(base, examples=PAIRS, **SHORT)
    assert seen == [False] and gc.isenabled()


# ---- the best state, and an adapter that goes on


TOO_FAST = {
    "examples": PAIRS,
    "steps": 40,
    "batch_size": 4,
    "eval_every": 4,
    "lr": 0.3,
    "progress": False,
    "plot": False,
}


def valid_loss(result, base):
    """The loss on the held-out rows, of the model as it is now."""
    settings = {"seed": 0, "batch_size": 4, "text": (), "task": None, "jsonl": (), "valid": [], "turns": "last"}
    data = read_data(settings, PAIRS,
                     load_base(base, "cpu")[1], pair_encoder("framed", base), 128)  # fmt: skip
    return loop.evaluate(result.model, data.valid)


def test_the_best_state_is_the_result_in_memory_and_in_the_folder_when_it_is_kept(base, tmp_path):
    result = finetune(base, keep="best", out=tmp_path / "out", **TOO_FAST)
    step, best = result.history.best()
    assert step < 40 and result.kept == step and result.step == 40
    assert valid_loss(result, base) == pytest.approx(best, abs=1e-6)
    again = PeftModel.from_pretrained(load_base(base, "cpu")[0], tmp_path / "out")
    ids = np.arange(2, 12)[None]
    assert np.array_equal(again(ids).data, result.model(ids).data)


def test_the_last_state_is_the_result_otherwise(base):
    result = finetune(base, **TOO_FAST)
    assert result.kept == 40 and valid_loss(result, base) == pytest.approx(result.history.valid[-1][1], abs=1e-6)


def test_a_run_that_keeps_the_best_goes_on_from_its_last_step_to_the_same_bits(base, tmp_path):
    straight = finetune(base, keep="best", **TOO_FAST | {"steps": 48, "schedule": "constant"})
    settings = TOO_FAST | {"keep": "best", "schedule": "constant", "out": tmp_path / "out"}
    finetune(base, **settings | {"steps": 24})
    resumed = finetune(base, resume=True, **settings | {"steps": 48})
    assert resumed.kept == straight.kept and same(trained(resumed), trained(straight))


def test_a_run_without_a_lower_loss_ends_after_the_patience_and_is_not_interrupted(base):
    result = finetune(base, patience=2, **TOO_FAST)
    assert result.step == result.history.best()[0] + 2 * 4 < 40 and not result.interrupted


def test_an_adapter_goes_on_from_what_it_had_learned_on_its_base(base, tmp_path):
    first = finetune(base, examples=PAIRS, rank=3, out=tmp_path / "first", **SHORT | {"steps": 30})
    second = finetune(adapter=tmp_path / "first", examples=PAIRS, out=tmp_path / "second", **SHORT)
    assert second.history.valid[0][1] == pytest.approx(first.history.valid[-1][1], abs=1e-6)
    assert second.model.peft_config["default"].r == 3 and not same(trained(first), trained(second))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"keep": "bst"}, "keep 'bst': expected last or best"),
        ({"patience": 0}, "patience 0"),
        ({"adapter": "first", "method": "vera"}, "has its own method; leave out vera"),
        ({"examples": PAIRS[:1], "keep": "best"}, "need a validation loss"),
    ],
)
def test_what_cannot_be_kept_or_gone_on_with_is_refused(base, settings, says):
    with pytest.raises((ConfigError, UnknownNameError), match=says):
        finetune(base, **SHORT | {"examples": PAIRS} | settings)


def conversation(number, system):
    turns = [{"role": "user", "content": f"Hello {number}"}, {"role": "assistant", "content": "Arr"}]
    return {"messages": [{"role": "system", "content": system}, *turns] if system else turns}


@pytest.mark.parametrize(
    ("systems", "noted"),
    [
        (["Speak as a pirate."] * 8, "Speak as a pirate."),
        (["a", "b"] * 4, None),
        ([None, "a"] * 4, None),
        ([None] * 8, None),
    ],
)
def test_the_system_message_of_every_example_is_noted_with_the_run(base, tmp_path, systems, noted):
    pytest.importorskip("jinja2")
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}.{% endfor %}", encoding="utf-8")
    examples = [conversation(n, system) for n, system in enumerate(systems)]
    finetune(base, examples=examples, chat=True, out=tmp_path / "out", **SHORT)
    assert settings_in_history(tmp_path / "out")["system"] == noted


def test_an_adapter_takes_the_template_of_its_training_along_and_goes_on_with_it(base, tmp_path):
    pytest.importorskip("jinja2")
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    (base / "chat_template.jinja").write_text(template, encoding="utf-8")
    finetune(base, examples=PAIRS, chat=True, out=tmp_path / "out", **SHORT)
    (base / "chat_template.jinja").unlink()
    finetune(base, examples=PAIRS, chat=True, adapter=tmp_path / "out", out=tmp_path / "more", **SHORT)
    for folder in ("out", "more"):
        assert (tmp_path / folder / "chat_template.jinja").read_text(encoding="utf-8") == template
    finetune(base, examples=PAIRS, out=tmp_path / "framed", **SHORT)
    assert not (tmp_path / "framed" / "chat_template.jinja").exists()


def test_an_adapter_that_goes_on_in_another_form_is_noted(base, tmp_path):
    finetune(base, examples=PAIRS, out=tmp_path / "out", **SHORT)
    (tmp_path / "sea.txt").write_text("The sea is grey. " * 60, encoding="utf-8")
    with pytest.warns(UserWarning, match="was trained on framed prompts, and goes on with plain ones"):
        finetune(base, text=tmp_path / "sea.txt", adapter=tmp_path / "out", **SHORT)
    finetune(base, examples=PAIRS, adapter=tmp_path / "out", **SHORT)  # a warning would be an error


def test_an_adapter_of_the_shipped_base_does_not_note_where_the_package_lies(tmp_path):
    finetune(examples=PAIRS, out=tmp_path / "out", **SHORT | {"steps": 1})
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] is None
