"""Exercises of lesson 23: several workers.

In a terminal:

    minilora check 23                check your functions
    minilora hint 23.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 23.1 · medium, 10 minutes · one gradient of all workers


def combine(gradients, labels):
    """The gradient of the whole batch, from those of the workers.

    Each worker has some rows of the batch, and has computed the gradient of the mean loss of its
    own labels. Wanted is the gradient of the mean loss of all labels together. A worker may have
    no label; its gradient is zeros then.

    gradients: (workers, n), labels: (workers,) how many labels each has, not all zero.
    Returns (n,).
    """
    raise NotImplementedError


# ---- 23.2 · easy, 10 minutes · what a ring sends


def ring_bytes(workers, numbers):
    """How many bytes each worker sends for one sum over all workers, in a ring.

    Each worker cuts its array of float32 numbers into as many equal pieces as there are workers.
    In each round every worker sends one piece to its neighbour. After workers - 1 rounds every
    piece is summed in one place; in workers - 1 more rounds the sums are passed on to all.

    workers: at least 1; numbers: a multiple of workers. Returns a whole number of bytes.
    """
    raise NotImplementedError
