"""One forward pass: everything that belongs to it, in one small object that is passed down.

Modules keep no state of a forward, so one model can serve several at once.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Context:
    """The settings of one forward pass.

    training   dropout acts only when True
    rng        numpy.random.Generator for dropout; needed when training with dropout
    positions  (B, T) int64 array on the host, the place of each token in its own sequence; None: 0, 1, 2, ...
    mask       (B, S) bool array on the host, False where a key is padding; None: all True
    cache      KVCache that holds earlier keys and values, or None
    front      Tensor (B, n, d) that is read before the embedded tokens, when the cache is empty; None: nothing
    virtual    how many places n a prefix or `front` takes; positions and mask do not count them
    adapters   names of the active adapters, in order; () is the base alone
    rows       which adapter each row has (adapters.mixed.Rows), instead of `adapters`; None: all rows have the same
    objective  function (logits (n, V), targets (n,)) -> Tensor of what `loss` returns; None: cross-entropy
    memo       a dict in which methods keep what cannot change while one `generate` runs; None: they keep nothing
    """

    training: bool = False
    rng: Any = None
    positions: Any = None
    mask: Any = None
    cache: Any = None
    front: Any = None
    virtual: int = 0
    adapters: tuple = ()
    rows: Any = None
    objective: Any = None
    memo: dict | None = None
