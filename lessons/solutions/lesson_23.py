"""Solutions of lesson 23."""


def combine(gradients, labels):
    return labels @ gradients / labels.sum()


def ring_bytes(workers, numbers):
    return 2 * (workers - 1) * (numbers // workers) * 4
