"""AdaLoRA: the equation, the scores and prunings of PEFT step by step, the penalty, files and resume."""

import json
import sys

import numpy as np
import pytest
import strict_cupy
from checkpoints import GOLDEN, read_npz
from launches import count_launches
from tiny import random_ids, tiny_llama

from minilora import AdaLoraConfig, AdamW, PeftModel, Tensor, get_peft_model
from minilora.errors import ConfigError, FormatError
from minilora.files.atomic import read_json
from minilora.gradcheck import gradcheck
from minilora.methods.adalora import AdaLoraAdapter, adalora_update, orthogonality
from minilora.methods.base import Place
from minilora.text.batches import TextBatches
from minilora.training.callbacks import History
from minilora.training.loop import train
from minilora.training.resume import load_state, save_state

IDS = random_ids()
STEPS = read_npz(GOLDEN / "adalora.npz")
META = json.loads((GOLDEN / "adalora_meta.json").read_text(encoding="utf-8"))
TARGETS = ["q_proj", "down_proj"]


def model_of(**options):
    config = AdaLoraConfig(**{"init_r": 4, "target_r": 2, "target_modules": TARGETS, "total_step": 12} | options)
    return get_peft_model(tiny_llama(), config, seed=2)


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


def adapter_of(model):
    return model.base_model.adapters["default"]


def trained(model, steps, start=0, lr=0.02):
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    for step in range(start + 1, start + steps + 1):
        model.loss(IDS, IDS).backward()
        if (penalty := model.penalty()) is not None:
            penalty.backward()
        optimizer.step()
        model.update_and_allocate(step)
        optimizer.zero_grad()
    return model


# ---- the equation


@pytest.mark.parametrize("r", [3, 1])
def test_the_update_passes_the_gradient_check(r):
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 6), (2, 3, 4), (r, 4), (r, 1), (6, r))
    tensors = [Tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    gradcheck(lambda y, x, A, E, B: adalora_update(y * 1.0, x, A, E, B, 0.7), tensors)


def test_the_penalty_passes_the_gradient_check_and_is_the_mean_of_norms():
    rng = np.random.default_rng(0)
    A, B = (Tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 5), (6, 3)))
    gradcheck(lambda A, B: orthogonality([(A, True), (B, False)], 0.5), [A, B])
    norms = [np.linalg.norm(P @ P.T - np.eye(3)) for P in (A.data, B.data.T)]
    assert orthogonality([(A, True), (B, False)], 0.5).item() == pytest.approx(0.5 * np.mean(norms), rel=1e-14)


def test_the_penalty_of_orthogonal_rows_is_zero_and_its_gradient_too():
    A = Tensor(np.eye(3, 5), requires_grad=True)
    orthogonality([(A, True)], 0.5).backward()
    assert np.array_equal(A.grad, np.zeros((3, 5)))


def test_the_loss_does_not_hold_the_penalty():
    model = model_of()
    assert model.loss(IDS, IDS).item() == pytest.approx(tiny_llama().loss(IDS, IDS).item(), rel=1e-6)
    assert model.penalty().item() > 0.1


# ---- pruning


def test_budgets_prunings_and_ranks_are_those_of_peft_in_every_step():
    config = AdaLoraConfig(**META["config"])
    places = [Place("l1", "linear", (14, 10)), Place("l2", "linear", (8, 14))]
    adapter = AdaLoraAdapter(config, places, None)
    assert len(META["history"]) == 12
    for entry in META["history"]:
        step = entry["step"]
        for path, method in adapter.methods.items():
            for name, p in method.parameters.items():
                key = f"base_model.model.{path}.{name}.default"
                p.data, p.grad = STEPS[f"step{step}/param_after_opt/{key}"].copy(), STEPS[f"step{step}/grad/{key}"]
        adapter.after_step(step)
        assert adapter.budget(step) == entry["budget"]
        for path, method in adapter.methods.items():
            expected = STEPS[f"step{step}/E_after_mask/base_model.model.{path}.lora_E.default"]
            assert np.allclose(method.E.data, expected, atol=1e-7), (step, path)
            if entry["rank_pattern"]:
                assert adapter.pattern[path].tolist() == entry["rank_pattern"][f"{path}.lora_E.default"], step


def test_after_training_the_ranks_add_up_to_the_target():
    model = trained(model_of(), 12)
    ranks = adapter_of(model).ranks()
    assert len(ranks) == 4 and sum(ranks.values()) <= 2 * 4 and sum(ranks.values()) >= 6


def test_a_pruned_vector_is_still_a_part_of_what_the_optimizer_has_joined_on_a_device(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    model = model_of(total_step=4, tfinal=1).to("cuda")
    optimizer = AdamW(trainable(model))
    for step in range(1, 6):
        model.loss(IDS, IDS).backward()
        with count_launches() as found:
            optimizer.step()
        model.update_and_allocate(step)
        optimizer.zero_grad()
    assert adapter_of(model).is_final and [e.name for e in found.launches] == ["concatenate", "fused adamw"]


def test_the_ranks_are_fixed_even_when_the_step_that_fixes_them_is_skipped():
    model = model_of(tfinal=3)
    trained(model, 8)
    adapter = adapter_of(model)
    adapter.after_step(11)  # 9, the step that PEFT waits for, never came
    assert adapter.is_final and sum(adapter.ranks().values()) <= 8


def test_nothing_is_pruned_when_the_target_is_the_initial_rank():
    model = trained(model_of(init_r=3, target_r=3), 12)
    assert set(adapter_of(model).ranks().values()) == {3}


def test_ties_never_leave_more_than_the_budget():
    model = model_of()
    adapter = adapter_of(model)
    adapter.after_step(1)  # without any gradient every score is 0
    assert sum(adapter.ranks().values()) <= adapter.budget(1)


def test_a_call_before_the_first_gradient_loses_nothing():
    """Every score is 0 then and ties, so all triplets fall, as in PEFT; the next step scores them anew."""
    model = model_of()
    model.update_and_allocate(1)
    assert sum(adapter_of(model).ranks().values()) == 0
    trained(model, 12)
    assert sum(adapter_of(model).ranks().values()) == 4 * 2


def test_training_without_total_step_is_refused():
    with pytest.raises(ConfigError, match="AdaLoRA needs total_step"):
        model_of(total_step=None).update_and_allocate(1)


@pytest.mark.parametrize(
    ("options", "line"),
    [({"target_r": 5}, "target_r 5 is above init_r 4"), ({"tinit": 6, "tfinal": 6}, "leave no step of the 12")],
)
def test_settings_that_contradict_each_other_are_refused(options, line):
    with pytest.raises(ConfigError, match=line):
        model_of(**options)


# ---- files, merging, resume


def test_a_pruned_adapter_is_saved_small_and_loaded_to_the_same_function(tmp_path):
    model = trained(model_of(), 12)
    model.save_pretrained(tmp_path)
    pattern = read_json(tmp_path / "adapter_config.json")["rank_pattern"]
    assert {len(mask) for mask in pattern.values()} == {4}
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert np.allclose(again(IDS).data, model(IDS).data, atol=1e-6)
    ranks = {layer.path: layer.adapters["default"].A.shape[0] for layer in again.base_model.layers}
    assert ranks == adapter_of(model).ranks()
    again.save_pretrained(tmp_path / "again")
    assert read_json(tmp_path / "again" / "adapter_config.json")["rank_pattern"] == pattern


def test_a_module_of_rank_0_makes_the_round_trip(tmp_path):
    model = trained(model_of(), 12)
    adapter = adapter_of(model)
    path = next(iter(adapter.pattern))
    adapter.pattern[path][:] = False
    adapter._apply()
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert adapter_of(again).methods[path].A.shape[0] == 0
    assert np.allclose(again(IDS).data, model(IDS).data, atol=1e-6)


def test_a_merged_model_computes_the_same():
    model = trained(model_of(), 6)
    apart = model(IDS).data
    assert np.allclose(model.merge_and_unload()(IDS).data, apart, atol=1e-5)


def test_scores_and_pattern_that_are_saved_and_restored_prune_as_if_never_stopped():
    whole = trained(model_of(), 5)
    state = adapter_of(whole).state()
    other = model_of()
    for p, q in zip(other.parameters(), whole.parameters(), strict=True):
        p.data = q.data.copy()
    adapter_of(other).restore(state)
    for model in (whole, other):
        model.loss(IDS, IDS).backward()
        model.update_and_allocate(6)
    assert adapter_of(whole).pattern.keys() == adapter_of(other).pattern.keys()
    for path, left in adapter_of(whole).pattern.items():
        assert np.array_equal(left, adapter_of(other).pattern[path])
    for p, q in zip(other.parameters(), whole.parameters(), strict=True):
        assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize("kind", ["importance", "uncertainty", "pattern"])
def test_scores_or_a_pattern_of_another_shape_or_type_are_refused_and_nothing_is_changed(kind):
    model = trained(model_of(), 8)
    before = adapter_of(model).state()
    key = next(name for name in before if name.startswith(kind))
    for other in (np.concatenate([before[key], before[key]]), before[key].astype(np.int64)):
        with pytest.raises(FormatError, match=f"{key} is .*, expected "):
            adapter_of(model).restore(before | {key: other})
    after = adapter_of(model).state()
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)


def test_the_training_loop_adds_the_penalty_once_a_step_and_prunes_after_it():
    model = model_of()
    run = train(model, iter([(IDS, IDS)] * 24), AdamW(trainable(model), lr=0.02), 12, accumulate=2)
    assert sum(adapter_of(model).ranks().values()) <= 8
    assert run.penalty.item() < model_of().penalty().item()  # it was trained too


def test_a_resumed_training_ends_with_the_same_bits(tmp_path):
    ids = np.random.default_rng(3).integers(0, 29, 200)

    def fresh():
        model = model_of()
        batches = TextBatches(ids, 2, 8, np.random.default_rng(1))
        return model, AdamW(trainable(model), lr=0.02), batches, np.random.default_rng(2), History()

    model, optimizer, batches, rng, history = fresh()
    train(model, batches, optimizer, 12, rng=rng, callbacks=[history])
    whole = [p.data for p in trainable(model)]

    model, optimizer, batches, rng, history = fresh()
    run = train(model, batches, optimizer, 5, rng=rng, callbacks=[history])
    save_state(tmp_path, run, history, {})
    model, optimizer, batches, rng, history = fresh()
    start = load_state(tmp_path, model, optimizer, batches, rng, history)
    train(model, batches, optimizer, 12, rng=rng, callbacks=[history], start=start)
    assert all(np.array_equal(p.data, w) for p, w in zip(trainable(model), whole, strict=True))


@pytest.mark.parametrize(("total", "tfinal"), [(1, 0), (2, 1)])
def test_a_training_of_too_few_steps_to_score_before_the_last_keeps_its_budget(total, tfinal):
    config = AdaLoraConfig(init_r=4, target_r=1, target_modules=["q_proj"], total_step=total, tfinal=tfinal)
    model = get_peft_model(tiny_llama(), config)
    ids = random_ids()
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.loss(ids, ids).backward()
    optimizer.step()
    model.after_step(1)
    assert sum(model.base_model.adapters["default"].ranks().values()) == 2


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ({"model.layers.0.self_attn.q_proj.lora_E": [True, False]}, "has 2 values: expected init_r, 4"),
        ({"nonsense.lora_E": [True] * 4}, "is not an adapted module"),
    ],
)
def test_a_rank_pattern_that_contradicts_the_rest_is_refused(pattern, words):
    with pytest.raises(ConfigError, match=words):
        get_peft_model(
            tiny_llama(), AdaLoraConfig(init_r=4, target_r=1, target_modules=["q_proj"], rank_pattern=pattern)
        )
