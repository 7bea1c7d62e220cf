"""Mixed batches whose updates a reader's function computes, and a serving engine that a lesson steps by hand."""

from collections.abc import Callable

import numpy as np

from ...adapters.inject import AdaptedModel
from ...adapters.mixed import BASE, Rows
from ...files.shipped import shipped
from ...serving.engine import Engine
from ...serving.pool import Pool
from ...serving.requests import Sampling, Sequence
from ...text.streaming import TextStream
from ...text.tokenizer import TextTokenizer
from .tune import load_base


class OwnRows(Rows):
    """The adapters of the rows of a batch, added by mixed_update of exercise 22.1."""

    def __init__(self, names: list[str], mixed_update: Callable):
        super().__init__(names)
        self.loaded = [name for name, _ in self.groups]
        self.slots = np.array([-1 if name == BASE else self.loaded.index(name) for name in names])
        self.mixed_update = mixed_update

    def forward(self, layer, x, context):
        """What the layer makes of every row with its own adapter."""
        y = layer.base_layer(x, context)
        methods = [layer.adapters[name] for name in self.loaded]
        A, B = (np.stack([getattr(m, letter).data for m in methods]) for letter in "AB")
        s = np.array([m.scaling for m in methods], np.float32)
        slots = np.repeat(self.slots, x.shape[1])  # a row of the batch has many tokens
        update = self.mixed_update(x.data.reshape(-1, x.shape[-1]), slots, A, B, s)
        y.data += np.asarray(update, y.data.dtype).reshape(y.shape)
        return y


def new_engine(max_loras: int, max_rows: int) -> tuple[Engine, TextTokenizer]:
    """The server's engine with the shipped base and the shipped adapters, not started: call `step` yourself."""
    base, tokenizer = load_base()
    pool = Pool(AdaptedModel(base), max_loras, max(max_loras, 4), folder=shipped("adapters"))
    return Engine(base.eval(), pool, max_rows), tokenizer


def ask(engine: Engine, tokenizer: TextTokenizer, prompt: str, adapter: str | None, max_tokens: int = 30) -> Sequence:
    """Hand a request to the engine; its answer's tokens are in `tokens` of the result. It ends at the end token."""
    ids = tokenizer.encode(prompt)
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
    lease = engine.pool.lease(adapter) if adapter else None
    sequence = Sequence(
        np.array(ids),
        adapter,
        sampling,
        frozenset([tokenizer.eos_id]),
        lambda delta: None,
        TextStream(ids, tokenizer),
        np.random.default_rng(0),
        lease=lease,
    )
    engine.submit(sequence)
    return sequence
