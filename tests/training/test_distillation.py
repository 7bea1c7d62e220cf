"""Distillation: the gradient of the divergence, torch's number, and a student that becomes its teacher."""

import numpy as np
import pytest
from tiny import random_ids, tiny_llama, with_lora
from training_cases import labelled

import minilora as ml
from minilora import ops
from minilora.autograd import Tensor
from minilora.errors import ConfigError, ShapeError
from minilora.gradcheck import gradcheck
from minilora.training.distillation import Distillation, divergence
from minilora.training.loop import evaluate, train
from minilora.training.optim import AdamW

RNG = np.random.default_rng(0)
IDS, LABELS = labelled(0, (3, 9), ignored=4)


def logits(*shape, scale=2.0):
    return Tensor(RNG.standard_normal(shape) * scale, requires_grad=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("shape", [(4, 7), (1, 3), (5, 1)])
def test_the_gradient_is_that_of_central_differences(temperature, shape):
    teacher = RNG.standard_normal(shape)
    gradcheck(lambda z: divergence(z, teacher, temperature), [logits(*shape)])


def test_a_student_with_the_teachers_logits_has_no_divergence_and_no_gradient():
    z = logits(4, 7)
    loss = divergence(z, z.data + 5.0, 2.0)  # a constant on every logit changes no probability
    loss.backward()
    assert abs(loss.item()) < 1e-14 and abs(z.grad).max() < 1e-14


def test_the_temperature_squared_keeps_the_gradient_as_large_as_without():
    """At a high temperature the gradient is that of half the squared difference of the centred logits, over V."""
    z, teacher = logits(1, 5, scale=0.1), RNG.standard_normal((1, 5)) * 0.1
    divergence(z, teacher, 1e4).backward()
    difference = z.data - teacher
    np.testing.assert_allclose(z.grad, (difference - difference.mean()) / 5, rtol=1e-3)


def test_far_logits_neither_overflow_nor_become_nan():
    z = Tensor(np.array([[1e4, 0.0, -1e4]], np.float32), requires_grad=True)
    loss = divergence(z, np.array([[-1e4, 0.0, 1e4]], np.float32))
    loss.backward()
    assert loss.item() == 2e4 and loss.dtype == np.float32
    np.testing.assert_allclose(z.grad, [[1.0, 0.0, -1.0]], atol=1e-7)


def test_logits_of_different_vocabularies_are_refused():
    with pytest.raises(ShapeError, match=r"\(4, 7\) for a teacher's of shape \(4, 8\)"):
        divergence(logits(4, 7), np.zeros((4, 8)))


MODELS = {
    "full": lambda: tiny_llama(1, np.float64),
    "lora": lambda: with_lora(tiny_llama(1, np.float64), "all-linear"),
    "prompt": lambda: ml.get_peft_model(tiny_llama(1, np.float64), ml.PromptTuningConfig(num_virtual_tokens=3)),
    "prefix": lambda: ml.get_peft_model(tiny_llama(1, np.float64), ml.PrefixTuningConfig(num_virtual_tokens=2)),
}


@pytest.mark.parametrize("student", MODELS)
@pytest.mark.parametrize("teacher", MODELS)
def test_the_loss_is_the_mix_of_both_at_the_positions_that_have_a_label(student, teacher):
    student, teacher = MODELS[student](), MODELS[teacher]()

    def picked(model):  # the logits of the 15 labels, also behind places in front
        z = model(IDS).data[:, -9:]
        return z[:, :-1][LABELS[:, 1:] != -100]

    z, p = picked(student), picked(teacher)
    loss = Distillation(teacher, temperature=3.0, mix=0.3)(student, IDS, LABELS)
    targets = LABELS[:, 1:][LABELS[:, 1:] != -100]
    expected = 0.3 * divergence(z, p, 3.0).item() + 0.7 * ops.cross_entropy(z, targets).item()
    assert len(z) == 15 and loss.item() == pytest.approx(expected, rel=1e-12)


def test_with_a_mix_of_0_the_loss_and_gradients_are_those_of_the_labels():
    student = with_lora(tiny_llama(1, np.float64), "all-linear")
    Distillation(tiny_llama(2, np.float64), mix=0.0)(student, IDS, LABELS).backward()
    mixed = [p.grad for p in student.parameters() if p.requires_grad]
    plain = with_lora(tiny_llama(1, np.float64), "all-linear")
    plain.loss(IDS, LABELS).backward()
    for a, b in zip(mixed, (p.grad for p in plain.parameters() if p.requires_grad), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


def test_no_gradient_reaches_the_teacher():
    teacher = tiny_llama(2)
    Distillation(teacher)(tiny_llama(1), IDS, LABELS).backward()
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.slow
def test_a_student_with_lora_comes_to_its_teacher_with_any_labels():
    """The labels are random: only the teacher can be learned."""
    teacher = with_lora(tiny_llama(1), "all-linear", seed=8)
    student = with_lora(tiny_llama(1), "all-linear", r=6, seed=9)

    def apart():
        return np.mean([divergence(student(ids)[0], teacher(ids).data[0]).item() for ids in map(random_ids, range(5))])

    before = apart()
    batches = ((random_ids(n, (4, 9)), random_ids(n, (4, 9))) for n in range(100, 999))
    optimizer = AdamW([p for p in student.parameters() if p.requires_grad], lr=3e-2)
    train(student, batches, optimizer, 150, loss_of=Distillation(teacher, 1.0, mix=1.0))
    assert apart() < 0.3 * before


def test_the_validation_loss_of_a_distillation_is_that_of_the_labels():
    student = with_lora(tiny_llama(1), "all-linear")
    assert evaluate(student, [(IDS, LABELS)]) == pytest.approx(student.loss(IDS, LABELS).item())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"temperature": 0.0}, "temperature 0.0: expected a number above 0"), ({"temperature": np.inf}, "temperature inf"),
     ({"mix": 1.5}, "mix 1.5: expected a number from 0"), ({"mix": np.nan}, "mix nan")],
)  # fmt: skip
def test_a_wrong_temperature_or_mix_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Distillation(tiny_llama(), **settings)
