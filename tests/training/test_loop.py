"""The loop: what a step is made of, what a callback sees, when a run stops."""

import numpy as np
import pytest
from tiny import tiny_llama
from training_cases import endless, fresh, labelled

from minilora.errors import ConfigError, DataError, ShapeError
from minilora.training.loop import Run, add_gradients, evaluate, train
from minilora.training.optim import SGD, clip_grad_norm_


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
    run = Run(model, None, optimizer, 1)

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


def test_an_evaluation_that_predicts_nothing_is_refused():
    with pytest.raises(DataError, match="no token is predicted: every row has one token"):
        evaluate(tiny_llama(), [])  # a context of one token makes no batch


def test_evaluation_is_the_mean_over_all_labels_not_over_batches():
    model, _ = fresh(dtype=np.float64)
    parts = [labelled(1, (1, 7), ignored=5), labelled(2, (3, 7))]
    whole = tuple(np.concatenate(halves) for halves in zip(*parts, strict=True))
    assert evaluate(model, parts) == pytest.approx(float(model.loss(*whole).data), rel=1e-12)


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


def test_more_batches_in_a_step_than_anybody_means_are_refused_at_once():
    with pytest.raises(ConfigError, match="^accumulate 1000000000: expected at most 1,000,000$"):
        train(None, None, None, 1, accumulate=10**9)
