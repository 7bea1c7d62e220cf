"""A whole training: what it returns, what it leaves in the folder, how it ends."""

import json
import signal

import numpy as np
import pytest
from checkpoints import read_npz
from commands import folder_bytes
from tiny import SIZES, random_ids, tiny_llama, with_lora

from minilora.errors import ConfigError, MiniloraError, TrainingError
from minilora.text.batches import TextBatches
from minilora.training.optim import AdamW, cosine
from minilora.training.resume import FILE, trained
from minilora.training.run import RunFolder, run_training

TEXT = np.random.default_rng(7).integers(0, SIZES["vocab_size"], 300)
VALID = [(random_ids(5), random_ids(5))]
STEPS = 12


def build():
    """A fresh model with dropout, its batches and its optimizer."""
    model = with_lora(tiny_llama(), targets="all-linear", dropout=0.3)
    return model, TextBatches(TEXT, 2, 8, np.random.default_rng(3)), AdamW([p for _, p in trained(model)], lr=1e-2)


def run(parts, steps=STEPS, valid=VALID, **options):
    rng, schedule = np.random.default_rng(4), cosine(STEPS, 2)
    return run_training(*parts, steps, schedule=schedule, rng=rng, valid=valid, eval_every=5, **options)


def run_in(folder, parts=None, **options):
    """A run that saves the trained arrays themselves as the model."""
    parts = parts or build()

    def save_model():
        np.savez(folder / "model.npz", **{name: p.data for name, p in trained(parts[0])})

    folder.mkdir(exist_ok=True)
    return run(parts, out=RunFolder(folder, save_model, {"seed": 4}), **options)


def weights(result):
    return {name: p.data.copy() for name, p in trained(result.model)}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def press_at(step):
    """A callback that presses Ctrl-C after a step."""

    def press(run):
        if run.step == step and run.loss is not None:
            signal.raise_signal(signal.SIGINT)

    return press


def explode_at(step):
    """A callback that makes every trained value infinite after a step."""

    def explode(run):
        if run.step == step:
            for p in run.optimizer.params:
                p.data[...] = np.inf

    return explode


def test_the_result_has_the_model_its_history_and_the_last_step():
    parts = build()
    result = run(parts)
    assert result.model is parts[0] and result.step == STEPS and not result.interrupted
    assert len(result.history.loss) == STEPS
    assert [step for step, _ in result.history.valid] == [0, 5, 10, 12]


def test_nothing_is_written_or_printed_unless_it_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(build())
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr() == ("", "")


def test_progress_is_shown_on_standard_error(capsys):
    run(build(), progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "step    12 of 12" in err


def test_the_folder_gets_the_model_the_run_the_history_and_the_plot(tmp_path):
    result = run_in(tmp_path / "out", plot=True)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"model.npz", FILE, "history.json", "history.csv", "loss.png"}
    written = json.loads((tmp_path / "out" / "history.json").read_text(encoding="utf-8"))
    assert written == result.history.as_json() | {"settings": {"seed": 4}}
    assert same(read_npz(tmp_path / "out" / "model.npz"), weights(result))


def test_ctrl_c_saves_the_run_and_returns_and_the_resumed_run_has_the_same_bits(tmp_path):
    straight = run(build())
    stopped = run_in(tmp_path / "out", callbacks=[press_at(7)])
    assert stopped.interrupted and stopped.step == 8  # it was pressed after step 7: the step after it is finished
    resumed = run_in(tmp_path / "out", resume=True)
    assert resumed.step == STEPS and not resumed.interrupted
    assert same(weights(resumed), weights(straight))
    assert resumed.history.loss == straight.history.loss


def test_a_second_run_into_a_folder_is_refused_while_the_first_one_writes(tmp_path):
    refused = []

    def begin_another(this):
        if this.step == 3:
            with pytest.raises(MiniloraError, match="another process is writing into .*out; wait for it") as error:
                run_in(tmp_path / "out")
            refused.append(error)

    result = run_in(tmp_path / "out", callbacks=[begin_another])
    assert refused and result.step == STEPS


def test_a_result_that_another_run_saved_meanwhile_is_not_replaced(tmp_path):
    run_in(tmp_path / "out")
    before = folder_bytes(tmp_path)
    with pytest.raises(ConfigError, match="another run has saved a run in .*out meanwhile"):
        run(build(), out=RunFolder(tmp_path / "out", lambda: None, {}, replace=False))
    assert folder_bytes(tmp_path) == before


def test_while_a_run_replaces_another_nothing_can_go_on_with_the_old_one(tmp_path):
    run_in(tmp_path / "out")
    seen = []
    run_in(tmp_path / "out", callbacks=[lambda this: seen.append((tmp_path / "out" / FILE).exists())])
    assert seen[:5] == [False] * 5 and all(seen[5:])  # the first saving is after step 5


def test_a_run_that_fails_before_it_has_saved_leaves_the_old_one_as_it_was(tmp_path):
    run_in(tmp_path / "out")
    before = folder_bytes(tmp_path)

    def fail(this):
        if this.step == 3:
            raise MemoryError

    with pytest.raises(MemoryError):
        run_in(tmp_path / "out", callbacks=[fail])
    assert folder_bytes(tmp_path) == before


def test_ctrl_c_without_a_folder_is_a_keyboard_interrupt():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            run(build(), callbacks=[press_at(3)])
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_loss_that_is_not_finite_leaves_the_last_good_weights_in_the_model():
    parts, after = build(), {}

    def remember(run):
        after[run.step] = {name: p.data.copy() for name, p in trained(run.model)}

    with pytest.raises(TrainingError, match="is nan at step 7; .* those of step 5, are in the model"):
        run(parts, callbacks=[remember, explode_at(6)])
    assert same({name: p.data for name, p in trained(parts[0])}, after[5])


def test_a_loss_that_is_not_finite_leaves_the_last_good_weights_in_the_folder(tmp_path):
    with pytest.raises(TrainingError, match="those of step 5, are saved in"):
        run_in(tmp_path / "out", callbacks=[explode_at(6)])
    assert all(np.isfinite(a).all() for a in read_npz(tmp_path / "out" / "model.npz").values())


def test_a_first_loss_that_is_not_finite_saves_nothing(tmp_path):
    with pytest.raises(TrainingError, match="nothing is saved"):
        run_in(tmp_path / "out", callbacks=[explode_at(0)])
    assert list((tmp_path / "out").iterdir()) == []


def test_an_evaluation_at_every_0_steps_is_refused():
    with pytest.raises(ConfigError, match="every 0 steps"):
        run_training(*build(), 2, eval_every=0)


def test_without_a_validation_loss_weights_that_are_not_finite_are_never_saved(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(TrainingError, match="at step 2; .* nothing is saved"):
        run_in(folder, valid=[], callbacks=[explode_at(1)])
    assert not (folder / "model.npz").exists()


def test_without_a_validation_loss_the_saved_history_has_all_steps_so_far(tmp_path):
    found = []

    def look(run):
        if run.step == 5:
            found.extend(json.loads((tmp_path / "out" / "history.json").read_text("utf-8"))["loss"])

    run_in(tmp_path / "out", valid=[], callbacks=[look])
    assert len(found) == 5
