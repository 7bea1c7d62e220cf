"""Lesson 22: an adapter for each row of a batch, and the loads of a server that forgets the least recently used."""

import numpy as np

from ..compare import as_array, same, same_shape, small
from ..judge import Exercise
from .mistakes_from_19 import OTHER

# N, in, out, n, r; square cases after the others
SIZES = (
    (1, 1, 2, 1, 1),
    (2, 2, 1, 2, 1),
    (3, 2, 3, 2, 1),
    (5, 3, 4, 3, 2),
    (6, 4, 2, 4, 3),
    (4, 3, 3, 2, 2),
    (3, 2, 2, 3, 2),
)
SLOTS = ([0], [1, 0], [0, -1, 1], [2, 0, 2, -1, 1], [-1, -1, 3, 3, 3, 0], [1, 1, 0, 1], [-1, -1, -1])

# ---- 22.1


def mixed_cases():
    rng = np.random.default_rng(221)
    cases = []
    for (N, n_in, out, n, r), slots in zip(SIZES, SLOTS, strict=True):
        s = rng.permutation(np.arange(1, n + 1)) / 2 + 0.25
        cases.append((small(rng, N, n_in), np.array(slots), small(rng, n, r, n_in), small(rng, n, out, r), s))
    return cases


def mixed(of=lambda slots, i: slots[i], scale=lambda s, a: s[a], base=lambda x, B: 0.0):
    def function(x, slots, A, B, s):
        y = np.zeros((len(x), B.shape[1]))
        for i in range(len(x)):
            a = of(slots, i)
            y[i] = base(x[i], B) if slots[i] < 0 else scale(s, a) * B[a] @ (A[a] @ x[i])
        return y

    return function


def mixed_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the update", c), (len(c[0]), c[3].shape[1]), "the update", "(N, out)", c)


def base_rows_get_nothing(f, cases):
    for x, slots, A, B, s in cases:
        c = (x, np.full(slots.shape, -1), A, B, s)
        same(f(*c), np.zeros((len(x), B.shape[1])), "the update where every row is of the base", c)


def one_adapter_for_all(f, cases):
    for x, slots, A, B, s in cases:
        a = len(A) - 1
        c = (x, np.full(slots.shape, a), A, B, s)
        same(f(*c), s[a] * x @ A[a].T @ B[a].T, f"the update where every row has slot {a}", c)


def rows_are_right(f, cases):
    for c in cases:
        same(f(*c), mixed()(*c), "the update", c, "(N, out)")


# ---- 22.2


def load_cases():
    rng = np.random.default_rng(222)
    return [
        (["a"], 1),
        (["a", "a", "b"], 1),
        (["a", "b", "a", "b"], 2),
        (["a", "b", "a", "c", "b"], 2),
        (["a", "b", "a", "c", "a"], 2),
        (["a", "b", "c", "d"] * 3, 3),
        (["a", "b", "c", "d"] * 3, 4),
        ([str(v) for v in rng.integers(0, 6, 40)], 3),
        ([str(v) for v in rng.integers(0, 5, 30)], 1),
        ([str(v) for v in rng.geometric(0.4, 50)], 4),
        ([], 2),
    ]


def counted(victim, on_hit=True):
    """The loads of a server that lets `victim(here, loaded, used)` fall; on_hit: whether a hit counts as a use."""

    def function(requests, slots):
        here, count = [], 0  # in the order of their last use
        loaded = []  # in the order of their load
        often = {}
        for name in requests:
            often[name] = often.get(name, 0) + 1
            if name in here:
                if on_hit:
                    here.remove(name)
                    here.append(name)
                continue
            count += 1
            if len(here) == slots:
                falls = victim(here, loaded, often)
                here.remove(falls)
                loaded.remove(falls)
            here.append(name)
            loaded.append(name)
        return count

    return function


least_recent = counted(lambda here, loaded, often: here[0])


def all_fit(f, cases):
    for requests, _ in cases:
        c = (requests, max(len(set(requests)), 1))
        same(f(*c), len(set(requests)), "loads where every adapter has a slot", c)


def one_slot(f, cases):
    for requests, _ in cases:
        c = (requests, 1)
        same(f(*c), least_recent(*c), "loads with one slot", c)


def loads_are_right(f, cases):
    for c in cases:
        same(f(*c), least_recent(*c), "loads", c)


EXERCISES = (
    Exercise(
        "22.1",
        "mixed_update",
        "An adapter for each row",
        "medium",
        15,
        mixed_cases,
        (
            ("has the shape (N, out)", mixed_shape),
            ("rows of the base get nothing", base_rows_get_nothing),
            ("one adapter for all rows is LoRA's update", one_adapter_for_all),
            ("each row gets its own adapter's update", rows_are_right),
        ),
        (
            (
                "rows of the base get the update of the last slot: -1 counts from the end",
                lambda x, slots, A, B, s: np.stack(
                    [s[a] * B[a] @ (A[a] @ row) for row, a in zip(x, slots, strict=True)]
                ),
            ),
            (
                "rows of the base get the update of slot 0",
                lambda x, slots, A, B, s: mixed()(x, np.maximum(slots, 0), A, B, s),
            ),
            ("every row gets the adapter of the first row", mixed(of=lambda slots, i: max(slots[0], 0))),
            (
                "row i gets the adapter in slot i; it is slots[i]",
                lambda x, slots, A, B, s: mixed(of=lambda slots, i: i % len(A))(x, slots, A, B, s),
            ),
            ("the scale is left out", mixed(scale=lambda s, a: 1.0)),
            ("the scale is that of slot 0 for all", mixed(scale=lambda s, a: s[0])),
            ("rows of the base get their input, or ones", mixed(base=lambda x, B: 1.0)),
            (
                "every row gets the sum of all adapters' updates",
                lambda x, slots, A, B, s: (
                    sum(s[a] * x @ A[a].T @ B[a].T for a in range(len(A))) * (slots >= 0)[:, None]
                ),
            ),
            *OTHER["22.1"],
        ),
        (
            "Start with a loop over the rows. A row of the base is skipped.",
            "Or a loop over the adapters: np.flatnonzero(slots == a) are the rows of one.",
            "y = zeros; for each a that occurs, not -1: y[rows] = s[a] * (x[rows] @ A[a].T) @ B[a].T",
        ),
    ),
    Exercise(
        "22.2",
        "loads",
        "Least recently used",
        "medium",
        15,
        load_cases,
        (
            ("loads each adapter once where all fit", all_fit),
            ("with one slot, loads at every change", one_slot),
            ("forgets the least recently used", loads_are_right),
        ),
        (
            (
                "the adapter falls that was loaded first; a later request counts as a use",
                counted(lambda here, loaded, often: loaded[0]),
            ),
            ("the most recently used adapter falls", counted(lambda here, loaded, often: here[-1])),
            ("every request is a load", lambda requests, slots: len(requests)),
            ("nothing ever falls: each adapter is loaded once", lambda requests, slots: len(set(requests))),
            (
                "the requests that need no load are counted",
                lambda requests, slots: len(requests) - least_recent(requests, slots),
            ),
            ("there is room for one adapter too many", lambda requests, slots: least_recent(requests, slots + 1)),
            (
                "there is room for one adapter too few",
                lambda requests, slots: least_recent(requests, max(slots - 1, 1)),
            ),
            (
                "the loads are counted only when another adapter falls",
                lambda requests, slots: max(least_recent(requests, slots) - slots, 0),
            ),
            (
                "only changes of the adapter are counted, as with one slot",
                lambda requests, slots: least_recent(requests, 1),
            ),
            *OTHER["22.2"],
        ),
        (
            "Keep a list of the adapters that are here, in the order of their last use.",
            "A hit moves its adapter to the end of the list. A load puts one there, and the first falls if it is full.",
            "if name in here: here.remove(name); else: count += 1 and here.pop(0) if full; then here.append(name)",
        ),
    ),
)
