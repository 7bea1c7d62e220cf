"""Cross-entropy without the logits of all positions: head and loss for a few rows at a time.

    for each block of rows:    z = head(h)        L += its share of the loss
                               dh, and the gradients of the head's weights, are added up while z is there
    backward:                  these gradients times g

For a frozen head without adapters `ops.linear_cross_entropy` does the same with fewer operations.
"""

from collections.abc import Callable, Iterable

from .. import ops
from ..autograd import Tensor, leaf_gradients, record
from ..backend import array_module
from ..ops.loss import ROW_BLOCK


def chunked_cross_entropy(h: Tensor, head: Callable, parameters: Iterable, targets) -> Tensor:  # (n, d), (n,) int -> ()
    """cross_entropy(head(h), targets), with the logits of ROW_BLOCK rows in memory at a time. Every target counts.

    head: function (rows, d) -> (rows, V); parameters: what it reads. Raises ShapeError as `ops.cross_entropy` does.
    """
    xp, n, total = array_module(h.data), len(h), 0
    sources = [h, *(p for p in parameters if p.requires_grad)]
    sums = {h: xp.empty_like(h.data)} if h.requires_grad else {}
    for start in range(0, n, ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        some = Tensor(h.data[rows], h.requires_grad)
        loss = ops.cross_entropy(head(some), targets[rows])
        share = xp.full_like(loss.data, len(some) / n)
        total = total + loss.data * share
        if not loss.requires_grad:  # nothing learns, or there is no tape
            continue
        for leaf, gradient in leaf_gradients(loss, share):
            if leaf is some:
                sums[h][rows] = gradient
            elif leaf in sums:
                sums[leaf] += gradient
            else:
                sums[leaf] = gradient
    return record(total, tuple(sources), lambda g: [sums[s] * g if s in sums else None for s in sources])
