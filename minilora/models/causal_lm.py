"""What every decoder here shares: the call, the logits, the loss with its shift, generation, saving."""

import numpy as np

from .. import ops
from ..backend import keep_heap
from ..call import Call
from ..errors import ShapeError
from ..nn import Linear, Module

IGNORE = -100  # the label of a position that the loss leaves out


class CausalLM(Module):
    """A subclass gives `config`, `hidden(ids, call)`, `head(h, call)` and `lm_head`, the layer without bias in it."""

    def new_call(self, **fields):
        """The Call for one forward of this model; a wrapper adds what it knows (its active adapters)."""
        keep_heap()  # what one layer frees, the next one uses again
        return Call(**{"training": self.training} | fields)

    def forward(self, ids, **fields):  # (B, T) int -> (B, T, V)
        """Logits of every position. Fields of Call may be given: positions, mask, cache, rng."""
        call = self.new_call(**fields)
        return self.head(self.hidden(as_array(ids), call), call)

    def loss(self, ids, labels, **fields):  # (B, T) int, (B, T) int -> ()
        """Mean cross-entropy of predicting labels[:, t + 1] from ids[:, : t + 1]; the head runs only where a label is.

        labels: host array, IGNORE (-100) where a position does not count. Raises ShapeError when none counts.
        """
        ids, labels = as_array(ids), np.asarray(labels)
        if labels.shape != tuple(ids.shape):
            raise ShapeError(f"labels of shape {labels.shape} for ids of shape {tuple(ids.shape)}")
        call = self.new_call(**fields)
        target = np.full(labels.shape, IGNORE, dtype=np.int64)  # target[:, t] is what position t must predict
        target[:, :-1] = labels[:, 1:]
        index = np.flatnonzero(target != IGNORE)  # (n,) places in the flattened batch
        if index.size == 0:
            raise ShapeError("no position has a label: every target is ignored")
        h = self.hidden(ids, call)  # (B, T, d)
        h = ops.pick_rows(h.reshape(-1, h.shape[-1]), index)  # (n, d)
        target = target.reshape(-1)[index]
        if type(self.lm_head) is Linear and not self.lm_head.weight.requires_grad:
            return ops.linear_cross_entropy(h, self.lm_head.weight, target, IGNORE)
        return ops.cross_entropy(self.head(h, call), target, IGNORE)

    def generate(self, ids, max_new_tokens, **options):
        """See `generation.generate`."""
        from ..generation import generate

        return generate(self, ids, max_new_tokens, **options)

    def save_pretrained(self, path, tokenizer_from=None):
        """Write config.json and model.safetensors in Hugging Face's layout; see `checkpoint.save_pretrained`."""
        from ..checkpoint import save_pretrained

        save_pretrained(self, path, tokenizer_from)


def as_array(ids):
    """An array as it is; a list of lists of numbers as a NumPy array."""
    return ids if hasattr(ids, "shape") else np.asarray(ids)
