"""What every decoder here shares: the context, the logits, the loss with its shift, generation, saving."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..errors import ConfigError, ShapeError, listed
from ..nn import Linear, Module, check_filled
from ..ops.loss import IGNORE
from .context import Context
from .generation import generate


class CausalLM(Module):
    """A decoder that predicts the next token.

    A subclass defines what is declared here. lm_head is a layer without bias.
    """

    config: Any
    lm_head: Any
    hidden: Callable[..., Any]  # ids (B, T) int, context -> (B, T, d), the states that the head reads
    head: Callable[..., Any]  # h (..., d), context -> (..., V)
    _filled = False  # whether it is known that every weight has values

    def new_context(self, **fields) -> Context:
        """The Context of one forward. Raises GraphError when a weight is not filled."""
        if not self._filled:
            check_filled(self)
            self._filled = True
        return Context(**{"training": self.training, **fields})

    def forward(self, ids, context=None, **fields):  # (B, T) int -> (B, T, V)
        """Logits of every position.

        context: a Context; without one, a new one is made from `fields` (positions, mask, cache, rng).
        """
        context = context or self.new_context(**fields)
        return self.head(self.hidden(as_array(ids), context), context)

    def loss(self, ids, labels, context=None, **fields):  # (B, T) int, (B, T) int -> ()
        """Mean cross-entropy of predicting labels[:, t + 1] from ids[:, : t + 1]; the head runs only where a label is.

        labels: host array, IGNORE (-100) where a position does not count. context, fields: as in `forward`. Raises
        ShapeError when no position counts.
        """
        ids, labels = as_array(ids), np.asarray(labels)
        if labels.shape != tuple(ids.shape):
            raise ShapeError(f"labels of shape {labels.shape} for ids of shape {tuple(ids.shape)}")
        context = context or self.new_context(**fields)
        target = np.full(labels.shape, IGNORE, dtype=np.int64)  # target[:, t] is what position t must predict
        target[:, :-1] = labels[:, 1:]
        index = np.flatnonzero(target != IGNORE)  # (n,) places in the flattened batch
        if index.size == 0:
            raise ShapeError("no position has a label: every target is ignored")
        h = self.hidden(ids, context)  # (B, T, d)
        h = ops.pick_rows(h.reshape(-1, h.shape[-1]), index)  # (n, d)
        target = target.reshape(-1)[index]
        if type(self.lm_head) is Linear and not self.lm_head.weight.requires_grad:
            return ops.linear_cross_entropy(h, self.lm_head.weight, target, IGNORE)
        return ops.cross_entropy(self.head(h, context), target, IGNORE)

    def positions(self, ids, context):  # (B, T) int -> (B or 1, T) int64 host array, S
        """The place of every token in its own sequence, and the number of keys that a query can see.

        Raises ShapeError for ids that are not (batch, tokens).
        """
        if len(ids.shape) != 2:
            raise ShapeError(f"ids of shape {tuple(ids.shape)}: expected (batch, tokens)")
        past = 0 if context.cache is None else context.cache.length
        S = past + ids.shape[1]
        return (np.arange(past, S, dtype=np.int64)[None] if context.positions is None else context.positions), S

    def penalty(self):  # -> None
        """A term that a training adds to the loss once a step; adapters may have one."""
        return None

    def after_step(self, step):
        """Called after each step of the optimizer, while the gradients are there; adapters may need it."""

    def generate(self, ids, max_new_tokens: int, **options) -> list:
        """See `generation.generate`."""
        return generate(self, ids, max_new_tokens, **options)

    def save_pretrained(self, path, tokenizer_from=None) -> None:
        """Write the folder `path`: config.json and model.safetensors, which transformers opens to the same logits.

        A head that shares the embedding's weight is saved once; one that shared it and was changed by merging is saved
        beside it, with tie_word_embeddings false. tokenizer_from: a folder whose tokenizer files are copied along.
        Raises ConfigError when the model still has adapters in it.
        """
        from ..files.checkpoint import save_checkpoint  # here: a program that writes no file need not load it
        from ..files.config_json import fields_to_json

        parameters = dict(self.named_parameters())
        config = dataclasses.replace(self.config, tie_word_embeddings="lm_head.weight" not in parameters)
        plain: Any = type(self)
        expected = dict(plain(config).named_parameters())
        if parameters.keys() != expected.keys():
            names = listed(sorted(parameters.keys() ^ expected.keys()))
            raise ConfigError(f"not a plain model: {names}; save adapters with PeftModel, or merge_and_unload() first")
        tensors = {name: p.data for name, p in parameters.items()}
        save_checkpoint(path, fields_to_json(dataclasses.asdict(config)), tensors, tokenizer_from)


def as_array(ids):
    """An array as it is; a list of lists of numbers as a NumPy array."""
    return ids if hasattr(ids, "shape") else np.asarray(ids)
