"""Small arrays of a GPU side by side in one: a kernel then does what would take one for each of them."""

import itertools

import numpy as np

from ..backend import array_module

WORTH_JOINING = 9  # CuPy joins so many arrays with one kernel, and fewer with a copy of each
SMALL = 2**20  # numbers of an array for which a launch takes longer than the arithmetic


def is_small(a) -> bool:
    """Whether the array `a` is on a GPU, and so small that it is worth joining with others."""
    return type(a) is not np.ndarray and a.size <= SMALL


def side_by_side(params) -> list:
    """The gradients of these parameters, for arithmetic that is the same on all of them.

    On a GPU the small ones of a type become parts of one array first.
    """
    types = {}
    for p in params:
        if is_small(p.grad):
            types.setdefault(p.grad.dtype, []).append(p)
    arrays = [p.grad for p in params if not is_small(p.grad)]
    for small in types.values():
        joined, parts = join([p.grad for p in small])
        for p, part in zip(small, parts, strict=True):
            p.grad = part
        arrays.append(joined)
    return arrays


def flattened(arrays):  # -> (n,)
    """The numbers of arrays of one type, one array behind the other, in a new one."""
    return array_module(arrays[0]).concatenate([a.reshape(-1) for a in arrays])


def join(arrays):  # -> (n,), and the arrays as views of it
    """Arrays of one type side by side in a new one."""
    joined = flattened(arrays)
    ends = itertools.accumulate(a.size for a in arrays)
    return joined, [joined[end - a.size : end].reshape(a.shape) for a, end in zip(arrays, ends, strict=True)]


class JoinedParameters:
    """Parameters of one type, and the buffers of their optimizer: from now on parts of one array for each kind.

    data, buffers: these arrays. Whoever gives a parameter another array ends this: `holds` is False then.
    """

    def __init__(self, params, states):
        self.data, self.parts = join([p.data for p in params])
        for p, part in zip(params, self.parts, strict=True):
            p.data = part
        self.buffers = {}
        for name in states[0]:
            self.buffers[name], parts = join([state[name] for state in states])
            for state, part in zip(states, parts, strict=True):
                state[name] = part
            self.parts += parts

    def holds(self, params, states) -> bool:
        """Whether these parameters and buffers are the parts."""
        theirs = [p.data for p in params] + [state[name] for name in self.buffers for state in states]
        return len(theirs) == len(self.parts) and all(a is b for a, b in zip(theirs, self.parts, strict=True))
