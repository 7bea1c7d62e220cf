"""The loop: what a step is made of, what a callback sees, when a run stops."""

import math
import signal
import threading

import numpy as np
import pytest
from tiny import random_ids, tiny_llama, with_lora

from minilora.errors import ConfigError, ShapeError, TrainingError
from minilora.ops.loss import IGNORE
from minilora.training.callbacks import Evaluation, History, LastGood, Saving, StopOnInterrupt
from minilora.training.loop import add_gradients, evaluate, train
from minilora.training.optim import SGD, AdamW, clip_grad_norm_
from minilora.training.resume import trained


def labelled(seed, shape=(2, 7), ignored=0):
    """A batch; the first `ignored` labels of each row do not count."""
    ids = random_ids(seed, shape)
    labels = ids.copy()
    labels[:, :ignored] = IGNORE
    return ids, labels


def endless(first=0):
    while True:
        yield labelled(first, ignored=first % 4)
        first += 1


def fresh(dropout=0.0, dtype=np.float32):
    model = with_lora(tiny_llama(dtype=dtype), targets="all-linear", dropout=dropout)
    return model, AdamW([p for _, p in trained(model)], lr=1e-2)


def values(model):
    return {name: p.data.copy() for name, p in model.named_parameters()}


def test_the_loop_is_forward_backward_clip_step_and_nothing_else():
    model, optimizer = fresh()
    train(model, endless(), optimizer, steps=5, schedule=lambda step: step / 5, max_norm=0.5)
    by_loop = values(model)

    model, optimizer = fresh()
    model.train()
    batches = endless()
    for step in range(1, 6):
        model.loss(*next(batches)).backward()
        clip_grad_norm_(optimizer.params, 0.5)
        optimizer.step(step / 5)
        optimizer.zero_grad()
    assert all(np.array_equal(by_loop[name], value) for name, value in values(model).items())


def test_training_lowers_the_loss_and_leaves_every_frozen_array_as_it_was():
    model, optimizer = fresh()
    frozen = {name: p.data.copy() for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    batch = labelled(0)
    before = evaluate(model, [batch])
    train(model, iter([batch] * 60), optimizer, steps=60)
    assert evaluate(model, [batch]) < 0.5 * before
    now = dict(model.named_parameters())
    assert all(np.array_equal(now[name].data, value) for name, value in frozen.items())


def test_dropout_acts_during_training_only_and_the_model_is_left_in_eval_mode():
    model, optimizer = fresh(dropout=0.5)
    modes, rng = [], np.random.default_rng(0)
    train(model, endless(), optimizer, 2, rng=rng, callbacks=[lambda run: modes.append(run.model.training)])
    assert modes == [True, True, True]
    assert model.training is False
    assert evaluate(model, [labelled(0)]) == evaluate(model, [labelled(0)])


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    def trained_with(seed):
        model, optimizer = fresh(dropout=0.3)
        train(model, endless(), optimizer, 3, rng=np.random.default_rng(seed))
        return np.concatenate([p.data.ravel() for p in optimizer.params])

    assert np.array_equal(trained_with(4), trained_with(4))
    assert not np.array_equal(trained_with(4), trained_with(5))


def test_accumulated_batches_give_the_gradient_of_one_large_batch_though_their_label_counts_differ():
    model, optimizer = fresh(dtype=np.float64)
    small = [labelled(1, (1, 7), ignored=5), labelled(2, (1, 7)), labelled(3, (1, 7), ignored=3)]
    large = tuple(np.concatenate(parts) for parts in zip(*small, strict=True))
    run = type("Run", (), {"model": model, "rng": None, "tokens": 0})()

    losses, gradients = [], []
    for micro_batches in (small, [large]):
        losses.append(float(add_gradients(run, micro_batches)))
        gradients.append([p.grad for p in optimizer.params])
        optimizer.zero_grad()
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert run.tokens == 2 * 21


def test_callbacks_are_called_before_the_first_step_and_after_every_step():
    model, optimizer = fresh()
    seen = []
    train(model, endless(), optimizer, 3, callbacks=[lambda run: seen.append((run.step, run.loss is None, run.last))])
    assert seen == [(0, True, False), (1, False, False), (2, False, False), (3, False, True)]


def test_a_callback_can_end_the_run():
    model, optimizer = fresh()

    def stop_at_2(run):
        run.stop = run.step == 2

    assert train(model, endless(), optimizer, 9, callbacks=[stop_at_2]).step == 2


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


def test_evaluation_is_the_mean_over_all_labels_not_over_batches():
    model, _ = fresh(dtype=np.float64)
    parts = [labelled(1, (1, 7), ignored=5), labelled(2, (3, 7))]
    whole = tuple(np.concatenate(halves) for halves in zip(*parts, strict=True))
    assert evaluate(model, parts) == pytest.approx(float(model.loss(*whole).data), rel=1e-12)


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


def test_the_first_ctrl_c_ends_the_run_after_the_step_at_hand():
    model, optimizer = fresh()
    history = History()

    def press(run):
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)

    with StopOnInterrupt() as stop:
        run = train(model, endless(), optimizer, 50, callbacks=[press, stop, history])
    assert run.step == 3
    assert len(history.loss) == 3


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


def test_steps_below_one_and_batches_without_labels_are_refused():
    model, optimizer = fresh()
    with pytest.raises(ConfigError, match="steps 0"):
        train(model, endless(), optimizer, 0)
    with pytest.raises(ShapeError, match="no position has a label"):
        train(model, iter([labelled(0, ignored=7)]), optimizer, 1)


def test_plain_gradient_descent_trains_in_full_too():
    model = tiny_llama()
    batch = labelled(0)
    before = evaluate(model, [batch])
    train(model, iter([batch] * 10), SGD(model.parameters(), lr=1e-2, momentum=0.5), steps=10)
    assert evaluate(model, [batch]) < before
