"""The same for lessons 19 to 23."""

from collections.abc import Callable

import numpy as np

from .mistakes_of_the_family import softmax


def plain_mean(updates, density):
    kept = int(density * updates.shape[1])
    trimmed = np.zeros(updates.shape)
    for i, update in enumerate(updates):
        largest = np.argsort(-np.abs(update), kind="stable")[:kept]
        trimmed[i, largest] = update[largest]
    return trimmed.mean(axis=0)


def last_answer_only(parts, end):
    ids, labels = [], []
    last = max((i for i, (is_answer, _) in enumerate(parts) if is_answer), default=-1)
    for i, (is_answer, tokens) in enumerate(parts):
        tokens = [*tokens, end] if is_answer else list(tokens)
        ids, labels = ids + tokens, labels + (tokens if i == last else [-100] * len(tokens))
    return np.array(ids), np.array(labels)


def labelled(parts, end, label: Callable = list, front=False):
    ids, labels = [], []
    for is_answer, tokens in parts:
        ends = [end] if is_answer else []
        tokens = [*ends, *tokens] if front else [*tokens, *ends]
        ids, labels = ids + tokens, labels + (label(tokens) if is_answer else [-100] * len(tokens))
    return np.array(ids), np.array(labels)


def ends_only(tokens):
    return [-100] * (len(tokens) - 1) + tokens[-1:]


def of_rows(x, slots, A, B, s, scale=lambda s, i, a: s[a], keep=lambda slots: range(len(slots)), base=lambda a: a < 0):
    rows = [
        scale(s, i, slots[i]) * x[i] @ A[slots[i]].T @ B[slots[i]].T if not base(slots[i]) else np.zeros(B.shape[1])
        for i in keep(slots)
    ]
    return np.array(rows)


def count_loads(requests, slots, falls):
    here, count, used = [], 0, {}
    for name in requests:
        used[name] = used.get(name, 0) + 1
        if name not in here:
            count += 1
            if len(here) == slots:
                falls(here, used)
            here.append(name)
    return count


def divergence(z, t, T, n):
    p, q = softmax(t / T), softmax(z / T)
    return T**2 * (p * np.log(p / q)).sum() / n


def of_weights(gradients, weights):
    return np.asarray(weights) @ gradients / sum(weights)


OTHER = {
    "19.1": (
        (
            "A and B are both multiplied by the whole weight, so that it is squared",
            lambda A1, B1, A2, B2, w1, w2: (w1 * B1 + w2 * B2) @ (w1 * A1 + w2 * A2),
        ),
        (
            "the root of a negative weight is taken, which is nan: take the root of its size",
            lambda A1, B1, A2, B2, w1, w2: (
                (np.sqrt(w1) * B1 + np.sqrt(w2) * B2) @ (np.sqrt(w1) * A1 + np.sqrt(w2) * A2)
            ),
        ),
    ),
    "19.2": (("no sign is elected: the mean of all trimmed updates is taken", plain_mean),),
    "20.1": (
        (
            "the labels say only where something is learned: each label is the token itself",
            lambda parts, end: labelled(parts, end, lambda tokens: [1] * len(tokens)),
        ),
        ("the end is put in front of the answer, not behind it", lambda parts, end: labelled(parts, end, front=True)),
        ("only the ends are learned, not the answers", lambda parts, end: labelled(parts, end, ends_only)),
        ("only the last answer is learned", last_answer_only),
    ),
    "21.1": (
        (
            "the distance |p - q| is computed; p log(p / q) is meant",
            lambda z, t, T: T**2 * abs(softmax(t / T) - softmax(z / T)).sum() / len(z),
        ),
        ("the softmax runs down the columns; each row has its own", lambda z, t, T: divergence(z.T, t.T, T, len(z))),
    ),
    "21.2": (
        (
            "the difference is multiplied by q once more: the derivative of softmax is in it already",
            lambda z, t, T: T * softmax(z / T) * (softmax(z / T) - softmax(t / T)) / len(z),
        ),
        ("the difference of the logits is taken, without softmax", lambda z, t, T: (z - t) / len(z)),
        (
            "the softmax runs down the columns; each row has its own",
            lambda z, t, T: T * (softmax(z.T / T) - softmax(t.T / T)).T / len(z),
        ),
    ),
    "22.1": (
        (
            "the rows of the base are left out of the result: their update is zero",
            lambda *c: of_rows(*c, keep=lambda slots: np.flatnonzero(slots >= 0)),
        ),
        ("the first row of x is used for every row", lambda x, *c: of_rows(np.resize(x[0], x.shape), *c)),
        ("slot 0 is taken for the base; the base is the slot -1", lambda *c: of_rows(*c, base=lambda a: a <= 0)),
        (
            "every row gets the adapter of the first row",
            lambda x, slots, A, B, s: s[slots[0]] * x @ A[slots[0]].T @ B[slots[0]].T,
        ),
        (
            "row i gets the scale of slot i; it is that of slots[i]",
            lambda *c: of_rows(*c, scale=lambda s, i, a: s[i % len(s)]),
        ),
        (
            "the rows are returned sorted by their adapter, not in the order of the batch",
            lambda *c: of_rows(*c, keep=lambda slots: np.argsort(slots, kind="stable")),
        ),
    ),
    "22.2": (
        (
            "the adapter falls that is asked for least often; the one that was used longest ago is meant",
            lambda requests, slots: count_loads(
                requests, slots, lambda here, used: here.remove(min(here, key=used.get))
            ),
        ),
        (
            "all adapters fall when one needs room",
            lambda requests, slots: count_loads(requests, slots, lambda here, used: here.clear()),
        ),
    ),
    "23.1": (
        (
            "a worker with more labels counts less: the weights are upside down",
            lambda gradients, labels: of_weights(gradients, [1 / n if n else 0 for n in labels]),
        ),
        (
            "each gradient is divided by its labels: it must be multiplied, since it is a mean already",
            lambda gradients, labels: (gradients / labels[:, None]).sum(axis=0) * labels.sum(),
        ),
        (
            "each number of a gradient is multiplied by the labels of another worker: labels[:, None] has one row a worker",
            lambda gradients, labels: (gradients * labels).sum(axis=0) / labels.sum(),
        ),
    ),
    "23.2": (
        ("each worker sends its whole array to every worker", lambda workers, numbers: 4 * numbers * workers),
        ("bits are counted, not bytes", lambda workers, numbers: 64 * (workers - 1) * numbers // workers),
    ),
}
