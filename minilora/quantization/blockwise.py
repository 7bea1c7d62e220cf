"""Numbers in blocks: each block is divided by its largest absolute value, so that a fixed table fits every block.

    absmax_b = max |x_i| over the block b        v_i = x_i / absmax_b in [-1, 1]        x_i' = table[code_i] · absmax_b

bitsandbytes multiplies by the float32 reciprocal of absmax, and divides in a last block that is not full. Both are
repeated here: they round differently.
"""

from ..backend import array_module

SMALLEST = 1e-38  # stands for the absmax of a block of zeros


def normalize(x, size: int):  # (n,) float32 -> v (n,) float32 in [-1, 1], absmax (ceil(n / size),) float32
    """Every number over the largest absolute value of its block of `size` numbers."""
    xp = array_module(x)
    full = len(x) - len(x) % size
    blocks = x[:full].reshape(-1, size)
    absmax = xp.maximum(blocks.max(axis=1), -blocks.min(axis=1)) if full else xp.zeros(0, x.dtype)
    v = (blocks * (1 / xp.maximum(absmax, SMALLEST))[:, None]).reshape(-1)
    if full < len(x):
        last = xp.maximum(abs(x[full:]).max(), x.dtype.type(SMALLEST))
        v, absmax = xp.concatenate([v, x[full:] / last]), xp.concatenate([absmax, last.reshape(1)])
    return xp.clip(v, -1, 1, out=v), absmax


def scale(x, absmax, size: int) -> None:  # (n,), (ceil(n / size),)
    """x_i · absmax of its block, in place."""
    full = len(x) - len(x) % size
    blocks, rest = x[:full].reshape(-1, size), x[full:]
    if full:
        blocks *= absmax[: len(blocks), None]
    if len(rest):
        rest *= absmax[len(blocks) :]


def midpoints(table):  # (k,) sorted -> (k - 1,)
    """Where the nearest value changes. A number exactly there belongs to the lower value."""
    return (table[:-1] + table[1:]) / 2
