"""Wrong answers as students write them: every one is caught, most are named; right ones in other forms pass."""

import inspect
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from exercise_answers import each
from wrong_answers import WRONG, as_function, wrong_answers

from minilora.course.judge import _result as result_of
from minilora.course.judge import _same_result, judge, recognise
from minilora.course.mutants import solution
from minilora.course.runner import exercise

pytestmark = pytest.mark.slow


def parameters(chosen):
    return list(inspect.signature(solution(chosen.lesson, chosen.function)[0]).parameters)


@pytest.fixture(scope="module")
def verdicts():
    found = {}
    for number in WRONG:
        chosen = exercise(number)
        for line in wrong_answers(number):
            found[number, line] = judge(chosen, as_function(line, parameters(chosen)))
    return found


def test_every_wrong_answer_is_caught(verdicts):
    assert len(verdicts) > 400
    assert [key for key, verdict in verdicts.items() if verdict.state != "failed"] == []


def test_four_of_five_wrong_answers_are_named(verdicts):
    named = Counter(number for (number, _), verdict in verdicts.items() if verdict.named)
    total = Counter(number for number, _ in verdicts)
    print(f"named: {named.total()} of {total.total()} wrong answers")
    assert named.total() >= 0.8 * total.total()
    assert all(named[number] >= 0.8 * total[number] for number in total)


def test_three_of_four_are_named_even_where_nobody_wrote_the_sentence(verdicts):
    tried = list(verdicts)[::4]
    named = 0
    for number, line in tried:
        bare = replace(exercise(number), misconceptions=())
        named += bool(judge(bare, as_function(line, parameters(bare))).named)
    print(f"named without a sentence of the exercise: {named} of {len(tried)}")
    assert named >= 0.75 * len(tried)


@each
def test_no_two_known_mistakes_look_the_same(exercise):
    cases = exercise.cases()
    results = [(sentence, [result_of(mistaken, c) for c in cases]) for sentence, mistaken in exercise.misconceptions]
    same = [
        (one, two)
        for i, (one, a) in enumerate(results)
        for two, b in results[:i]
        if all(_same_result(x, y) for x, y in zip(a, b, strict=True))
    ]
    assert same == []


@each
def test_a_right_answer_is_never_taken_for_a_mistake(exercise):
    assert recognise(exercise, solution(exercise.lesson, exercise.function)[0]) is None


RIGHT = [
    ("9.2", lambda s: np.array([np.mean(s), np.std(s, ddof=1)])),
    ("9.2", lambda s: [sum(map(Fraction, s)) / len(s), float(np.std(s, ddof=1))]),
    ("8.1", lambda shapes, r: Fraction(sum(r * (out + n) for out, n in shapes))),
    ("7.1", lambda alpha, r, rs: np.array([[alpha / r**0.5 if rs else alpha / r]])),
    ("12.2", lambda e, f: (e.keys() - f.keys(), f.keys() - e.keys(), {k for k in e if k in f and e[k] != f[k]})),
    ("12.2", lambda e, f: [{k: 1 for k in e if k not in f}.keys(), [*(set(f) - set(e))], tuple(
        k for k in e if f.get(k, e[k]) != e[k])]),
    ("10.2", lambda W, updates, order: np.stack([W + updates[i] for i in order])),
    ("10.2", lambda W, updates, order: tuple(np.asfortranarray(W + updates[i]) for i in order)),
    ("11.1", lambda A1, B1, s1, A2, B2, s2: [np.r_[s1 * A1, A2], np.c_[B1, s2 * B2]]),
    ("11.1", lambda A1, B1, s1, A2, B2, s2: (np.vstack([A2, A1]), np.hstack([s2 * B2, s1 * B1]))),
    ("5.2", lambda s, share: np.array([np.searchsorted(np.cumsum(s**2), share * np.sum(s**2) - 1e-12) + 1])),
    ("4.3", lambda V, d, m, n, h, kv, tied: np.float64(
        V * d * (2 - tied) + n * (2 * d * d + 2 * d * d // h * kv + 3 * d * m + 2 * d) + d)),
]  # fmt: skip


@pytest.mark.parametrize(("number", "answer"), RIGHT, ids=[f"{i} {n}" for i, (n, _) in enumerate(RIGHT)])
def test_a_right_answer_in_another_form_passes(number, answer):
    verdict = judge(exercise(number), answer)
    assert (verdict.state, verdict.message) == ("passed", "")


def moved(f, x, eps):  # a step of its own
    return (f(x + 1e-4) - f(x - 1e-4)) / 2e-4


def shares(z, t, T, axis):
    p, q = (np.exp(a / T) / np.exp(a / T).sum(axis=axis, keepdims=True) for a in (t, z))
    return T * (q - p) / len(z)


ONCE_MISNAMED = [
    ("0.1", lambda W, A, B, alpha, r: W + alpha / A.shape[1] * (B @ A), "in place of r"),
    ("6.1", lambda x, W, A, B, alpha, r: x @ W.T + alpha / len(B) * (x @ A.T @ B.T), "in place of r"),
    ("1.1", moved, "eps is ignored"),
    ("3.1", lambda W, x, y, lr: W - lr * (x @ W.T - y).T @ x / len(W), "the rows of W are counted"),
    ("4.1", lambda x, w, eps: w * x / np.sqrt(x.var(-1, keepdims=True) + eps), "without its mean"),
    ("4.1", lambda x, w, eps: w * x / np.sqrt((x**2).mean(1, keepdims=True) + eps), "axis 1 instead of -1"),
    ("5.1", lambda D, r: (lambda U, s, V: U[:r].T * s[:r] @ V[:r])(*np.linalg.svd(D)), "rows of U"),
    ("7.1", lambda alpha, r, rs: alpha / r**0.5 if rs else None, "the `return` is missing"),
    ("8.2", lambda frozen, trained, width: (frozen + trained) * (width + 12), "they do not learn"),
    ("10.2", lambda W, updates, order: [W.astype(float) + updates[i] for i in order], "in float64"),
    ("10.2", lambda W, updates, order: [W + updates[i] for i, _ in enumerate(order)], "larger than the list"),
    ("13.3", lambda size, second: 36 if second is None else 44, "both absmaxes are counted for every number"),
    ("11.1", lambda A1, B1, s1, A2, B2, s2: (s1 * np.vstack([A1, A2]), np.hstack([B1, B2])), "s1 is used for both"),
    ("15.3", lambda W, A, B, m, alpha, r: W + (m / np.linalg.norm(W + alpha / r * B @ A, axis=1))[:, None] * (
        alpha / r * B @ A), "only the update gets the length m"),
    ("16.2", lambda scores, budget: np.argsort(-scores.ravel())[:budget], "the places of those that stay"),
    ("17.3", lambda names, lr, ratio: [lr if ".lora_B." in n else lr / ratio for n in names], "lr is the rate of A"),
    ("17.3", lambda names, lr, ratio: [lr**ratio if ".lora_B." in n else lr for n in names], "raised to the power"),
    ("18.2", lambda s, n: np.exp(s - s.max()).sum() / (np.exp(s - s.max()).sum() + n), "of the text alone"),
    ("19.1", lambda A1, B1, A2, B2, w1, w2: w1 * (B1 + B2) @ (A1 + A2), "w1 is used in place of w2"),
    ("21.2", lambda z, t, T: shares(z, t, T, 0), "down the columns"),
    ("22.1", lambda x, slots, A, B, s: np.array([s[a] * x[i] @ A[a].T @ B[a].T if a > 0 else 0 * B[0, :, 0]
        for i, a in enumerate(slots)]), "slot 0 is taken for the base"),
    ("24.1", lambda parts, pair: "|".join(parts).replace("|".join(pair), "".join(pair)).split("|"),
        "split makes an empty part"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "answer", "says"), ONCE_MISNAMED, ids=[says for _, _, says in ONCE_MISNAMED])
def test_a_mistake_that_was_once_misnamed_is_named(number, answer, says):
    with np.errstate(all="ignore"):
        assert says in judge(exercise(number), answer).named


def test_an_error_in_some_calls_keeps_its_own_words():
    def scaling(alpha, r, rank_stabilised):
        return alpha / math.sqrt(r) if rank_stabilised else alpha / r  # noqa: F821

    assert "math" in judge(exercise("7.1"), scaling).named
