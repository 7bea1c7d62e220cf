"""The callbacks: what the history holds, when a run is evaluated and saved, how it ends."""

import math
import signal
import threading

import numpy as np
import pytest
from tiny import tiny_llama
from training_cases import endless, fresh, labelled

from minilora import AdaLoraConfig, AdamW, get_peft_model
from minilora.display.progress import Progress
from minilora.errors import TrainingError
from minilora.training.callbacks import Evaluation, History, LastGood, Saving, StopOnInterrupt
from minilora.training.loop import evaluate, train


def test_history_holds_every_loss_whatever_the_interval_of_reading():
    def losses(every, steps=7):
        model, optimizer = fresh()
        history = History(every=every)
        train(model, endless(), optimizer, steps, callbacks=[history])
        return history.loss

    assert len(losses(1)) == 7
    assert losses(1) == losses(3) == losses(100)


def test_losses_are_read_from_the_device_only_at_the_interval():
    model, optimizer = fresh()
    history = History(every=3)
    counts = []
    train(model, endless(), optimizer, 7, callbacks=[history, lambda run: counts.append(len(history.loss))])
    assert counts == [0, 0, 0, 3, 3, 3, 6, 7]


def test_the_orthogonality_of_adalora_is_kept_beside_the_loss_and_shown(capsys):
    config = AdaLoraConfig(init_r=3, target_r=2, total_step=5, target_modules=["q_proj"])
    model = get_peft_model(tiny_llama(), config)
    history = History(every=2)
    progress = Progress(history)
    callbacks = [history, Evaluation([labelled(9)], history, every=2), progress]
    train(model, endless(), AdamW([p for p in model.parameters() if p.requires_grad]), 5, callbacks=callbacks)
    assert [step for step, _ in history.penalty] == [2, 4, 5]
    assert history.penalty[0][1] == pytest.approx(model.penalty().item(), rel=0.2)
    assert f"orthogonality {history.penalty[-1][1]:.4f}" in capsys.readouterr().err
    again = History()
    again.restore(history.as_json(), 5)
    assert again.penalty == history.penalty
    again.restore({k: v for k, v in history.as_json().items() if k != "penalty"}, 5)  # of an earlier version
    assert again.penalty == []


@pytest.mark.parametrize("wrong", [{"norm": {}}, {"valid": {}}, {"penalty": ""}, {"norm": [{"0": 1, "1": 2}]}])
def test_a_saved_history_whose_parts_are_no_lists_is_refused(wrong):
    with pytest.raises(ValueError):
        History().restore(History().as_json() | wrong, 0)


def test_a_saved_history_with_a_loss_that_is_not_finite_is_refused():
    saved = History().as_json() | {"loss": [1.0], "lr": [0.1]}
    History().restore(saved, 1)
    for wrong in ({"loss": [math.nan]}, {"lr": [math.inf]}, {"valid": [[0, math.nan]]}):
        with pytest.raises(ValueError):
            History().restore(saved | wrong, 1)


def test_evaluation_is_recorded_before_the_first_step_at_the_interval_and_at_the_end():
    model, optimizer = fresh()
    history = History()
    train(model, endless(), optimizer, 5, callbacks=[history, Evaluation([labelled(9)], history, every=2)])
    assert [step for step, _ in history.valid] == [0, 2, 4, 5]
    assert history.valid[-1][1] == evaluate(model, [labelled(9)])


def test_saving_happens_at_the_interval_and_at_the_end_but_not_before_the_first_step():
    model, optimizer = fresh()
    saved = []
    train(model, endless(), optimizer, 5, callbacks=[Saving(lambda run: saved.append(run.step), every=2)])
    assert saved == [2, 4, 5]


# ---- losses that are not finite


def explode(at):
    """A callback that makes every trained value infinite after step `at`."""

    def callback(run):
        if run.step == at:
            for p in run.optimizer.params:
                p.data[...] = np.inf

    return callback


@pytest.mark.parametrize("every", [1, 2, 3, 10])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_step(every):
    model, optimizer = fresh()
    with pytest.raises(TrainingError, match="loss is nan at step 7;"):
        train(model, endless(), optimizer, 30, callbacks=[explode(6), History(every=every)])


@pytest.mark.parametrize(("every", "good"), [(1, 5), (2, 4), (3, 3), (10, 0)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_rescued_are_the_latest_copied_values_that_gave_a_finite_loss(every, good):
    model, optimizer = fresh()
    history, after = History(every=every), {}
    last_good = LastGood(history)

    def remember(run):
        after[run.step] = [p.data.copy() for p in run.optimizer.params]

    with pytest.raises(TrainingError, match="the loss is nan at step 7"):
        train(model, endless(), optimizer, 30, callbacks=[remember, explode(6), history, last_good])
    assert last_good.restore(optimizer.params) == good
    assert all(np.array_equal(p.data, a) for p, a in zip(optimizer.params, after[good], strict=True))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_first_loss_that_is_not_finite_leaves_nothing_to_rescue():
    model, optimizer = fresh()
    history = History(every=1)
    last_good = LastGood(history)
    with pytest.raises(TrainingError, match="at step 1"):
        train(model, endless(), optimizer, 3, callbacks=[explode(0), history, last_good])
    assert last_good.restore(optimizer.params) is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_validation_loss_that_is_not_finite_stops_the_run_too():
    model, optimizer = fresh()
    history = History()
    evaluation = Evaluation([labelled(9)], history, every=4)
    with pytest.raises(TrainingError, match="validation loss is nan at step 4"):
        train(model, endless(), optimizer, 9, callbacks=[explode(4), history, evaluation])
    assert history.loss and all(math.isfinite(loss) for loss in history.loss)


# ---- Ctrl-C


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_run_after_the_step_at_hand(number):
    model, optimizer = fresh()
    history = History()

    def press(run):
        if run.step == 3:
            signal.raise_signal(number)

    with StopOnInterrupt() as stop:
        run = train(model, endless(), optimizer, 50, callbacks=[press, stop, history])
    assert run.step == 3
    assert len(history.loss) == 3 and stop.signal == number


def test_a_signal_that_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with StopOnInterrupt() as stop:
            signal.raise_signal(signal.SIGTERM)
        assert not stop.signal
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_second_ctrl_c_ends_the_program_at_once():
    with pytest.raises(KeyboardInterrupt), StopOnInterrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_after_the_run_ctrl_c_means_again_what_it_meant():
    before = signal.getsignal(signal.SIGINT)
    with StopOnInterrupt():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_run_in_another_thread_trains_without_catching_ctrl_c():
    result = []

    def work():
        model, optimizer = fresh()
        with StopOnInterrupt() as stop:
            result.append(train(model, endless(), optimizer, 2, callbacks=[stop]).step)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert result == [2]
