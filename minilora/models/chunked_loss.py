"""Cross-entropy without the logits of all positions: head and loss for a few rows at a time.

    forward     for each block of rows:  z = head(h),  L += its share of the loss,  and z is forgotten
    backward    for each block of rows:  z = head(h) again;  dh of these rows;  dW += of the head's weights

It takes one more product with the head. (For a frozen head without adapters `ops.linear_cross_entropy` needs none.)
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace

from .. import ops
from ..autograd import Tensor, enable_grad, leaf_gradients, no_grad, record
from ..backend import array_module
from ..ops.loss import ROW_BLOCK


def chunked_cross_entropy(h, head: Callable, parameters: Iterable, targets, context) -> Tensor:  # (n, d), (n,) -> ()
    """cross_entropy(head(h, context), targets), with the logits of ROW_BLOCK rows in memory. Every target counts.

    head: function (rows, d), context -> (rows, V); parameters: what it reads. The backward draws the random numbers of
    the forward again. Raises ShapeError as `ops.cross_entropy` does.
    """
    x, to_h, n = h.data, h.requires_grad, len(h)
    xp, learning = array_module(x), [p for p in parameters if p.requires_grad]
    blocks = [slice(start, start + ROW_BLOCK) for start in range(0, n, ROW_BLOCK)]
    rng = deepcopy(context.rng)

    def loss_of(rows, context):  # -> the rows as a leaf, their mean loss (), their share of all rows
        some = Tensor(x[rows], to_h)
        return some, ops.cross_entropy(head(some, context), targets[rows]), len(some) / n

    with no_grad():
        total = sum(loss.data * share for _, loss, share in (loss_of(rows, context) for rows in blocks))

    def backward(g):
        again, sums = replace(context, rng=deepcopy(rng)), {}
        dh = xp.empty_like(x)
        for rows in blocks:
            with enable_grad():
                some, loss, share = loss_of(rows, again)
            for leaf, gradient in leaf_gradients(loss, g * share):
                if leaf is some:
                    dh[rows] = gradient
                elif leaf in sums:
                    sums[leaf] += gradient
                else:
                    sums[leaf] = gradient
        return [dh if to_h else None, *(sums.get(p) for p in learning)]

    return record(xp.asarray(total), (h, *learning), backward)
