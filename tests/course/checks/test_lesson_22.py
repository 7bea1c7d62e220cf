from collections import OrderedDict

import numpy as np
from exercise_answers import Answers

from minilora.adapters.mixed import gather

answers = Answers()


@answers.wrong("22.1", says="counts from the end")
def without_the_base(x, slots, A, B, s):
    return np.stack([s[a] * B[a] @ (A[a] @ row) for row, a in zip(x, slots, strict=True)])


@answers.wrong("22.1", says="scale is left out")
def unscaled(x, slots, A, B, s):
    return np.stack([B[a] @ (A[a] @ row) * (a >= 0) for row, a in zip(x, slots, strict=True)])


@answers.wrong("22.1", says="of the first row")
def one_for_all(x, slots, A, B, s):
    a = max(slots[0], 0)
    return s[a] * x @ A[a].T @ B[a].T * (slots >= 0)[:, None]


@answers.wrong("22.1", says="changes its second argument")
def clears_the_base(x, slots, A, B, s):
    base = slots < 0
    slots[base] = 0
    y = np.einsum("nor,nri,ni->no", B[slots], A[slots], x) * s[slots, None]
    y[base] = 0
    return y


@answers.right("22.1")
def with_copies(x, slots, A, B, s):
    safe = np.maximum(slots, 0)
    return np.einsum("nor,nri,ni->no", B[safe], A[safe], x) * (s[safe] * (slots >= 0))[:, None]


@answers.right("22.1")
def with_the_library(x, slots, A, B, s):
    y = np.zeros((len(x), 1, B.shape[1]))
    gather(y, x[:, None], slots, A, B.swapaxes(1, 2), s)
    return y[:, 0]


@answers.wrong("22.2", says="loaded first")
def first_in_first_out(requests, slots):
    here, count = [], 0
    for name in requests:
        if name not in here:
            count += 1
            here = [*here, name][-slots:]
    return count


@answers.wrong("22.2", says="every request is a load")
def forgets_everything(requests, slots):
    return len(requests)


@answers.wrong("22.2", says="loaded once")
def unlimited(requests, slots):
    return len(set(requests))


@answers.wrong("22.2", says="too many")
def one_more(requests, slots):
    return with_an_ordered_dict(requests, slots + 1)


@answers.right("22.2")
def with_an_ordered_dict(requests, slots):
    here, count = OrderedDict(), 0
    for name in requests:
        if name in here:
            here.move_to_end(name)
            continue
        count += 1
        here[name] = True
        if len(here) > slots:
            here.popitem(last=False)
    return count


@answers.right("22.2")
def by_looking_back(requests, slots):
    count = 0
    for i, name in enumerate(requests):
        since = []
        for other in reversed(requests[:i]):
            if other == name:
                break
            since.append(other)
        else:
            count += 1
            continue
        count += len(set(since)) >= slots
    return count


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
