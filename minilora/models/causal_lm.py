"""What every decoder here shares: the context, the logits, the loss with its shift, generation, saving."""

import dataclasses

import numpy as np

from .. import ops
from ..backend import reuse_freed_memory
from ..errors import ConfigError, ShapeError, listed
from ..nn import Linear, Module
from ..ops.loss import IGNORE
from .context import Context
from .generation import generate


class CausalLM(Module):
    """A subclass has `config`, `hidden(ids, context)`, `head(h, context)` and `lm_head`, a layer without bias."""

    def new_context(self, **fields):
        """The Context for one forward of this model; a wrapper adds what it knows (its active adapters)."""
        reuse_freed_memory()  # what one layer frees, the next one uses again
        return Context(**{"training": self.training} | fields)

    def forward(self, ids, **fields):  # (B, T) int -> (B, T, V)
        """Logits of every position. Fields of Context may be given: positions, mask, cache, rng."""
        context = self.new_context(**fields)
        return self.head(self.hidden(as_array(ids), context), context)

    def loss(self, ids, labels, **fields):  # (B, T) int, (B, T) int -> ()
        """Mean cross-entropy of predicting labels[:, t + 1] from ids[:, : t + 1]; the head runs only where a label is.

        labels: host array, IGNORE (-100) where a position does not count. Raises ShapeError when none counts.
        """
        ids, labels = as_array(ids), np.asarray(labels)
        if labels.shape != tuple(ids.shape):
            raise ShapeError(f"labels of shape {labels.shape} for ids of shape {tuple(ids.shape)}")
        context = self.new_context(**fields)
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

    def generate(self, ids, max_new_tokens, **options):
        """See `generation.generate`."""
        return generate(self, ids, max_new_tokens, **options)

    def save_pretrained(self, path, tokenizer_from=None):
        """Write the folder `path`: config.json and model.safetensors, which transformers opens to the same logits.

        A head that shares the embedding's weight is saved once; one that shared it and was changed by merging is saved
        beside it, with tie_word_embeddings false. tokenizer_from: a folder whose tokenizer files are copied along.
        Raises ConfigError when the model still has adapters in it.
        """
        from ..files.checkpoint import save_checkpoint  # here: a program that writes no file need not load it
        from ..files.config_json import fields_to_json

        parameters = dict(self.named_parameters())
        config = dataclasses.replace(self.config, tie_word_embeddings="lm_head.weight" not in parameters)
        expected = dict(type(self)(config).named_parameters())
        if parameters.keys() != expected.keys():
            names = listed(sorted(parameters.keys() ^ expected.keys()))
            raise ConfigError(f"not a plain model: {names}; save adapters with PeftModel, or merge_and_unload() first")
        tensors = {name: p.data for name, p in parameters.items()}
        save_checkpoint(path, fields_to_json(dataclasses.asdict(config)), tensors, tokenizer_from)


def as_array(ids):
    """An array as it is; a list of lists of numbers as a NumPy array."""
    return ids if hasattr(ids, "shape") else np.asarray(ids)
