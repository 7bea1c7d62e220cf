"""What every decoder here shares: the context, the logits, the loss with its shift, generation, saving."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..autograd import is_recording
from ..errors import ConfigError, ShapeError, listed
from ..nn import Linear, check_filled
from ..ops.loss import IGNORE
from .chunked_loss import chunked_cross_entropy
from .context import Context
from .generation import generate
from .recompute import Checkpointing, recomputed


class CausalLM(Checkpointing):
    """A decoder that predicts the next token.

    A subclass defines what is declared here. lm_head is a layer without bias.
    """

    config: Any
    lm_head: Any
    hidden: Callable[..., Any]  # ids (B, T) int, context -> (B, T, d), the states that the head reads
    get_input_embeddings: Callable[[], Any]  # the module that embeds tokens
    head: Callable[..., Any]  # h (..., d), context -> (..., V)
    predicts_first = False  # whether the first token of a sequence is predicted: adapters may put places before it
    chunked_loss = False  # whether the loss never holds the logits of all positions, also of a head that is trained
    quantization_config: Any = None  # the BitsAndBytesConfig that the model was loaded with
    _filled = False  # whether it is known that every weight has values

    @property
    def context_length(self) -> int:
        """Most tokens of a sequence."""
        return self.config.max_position_embeddings

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
        if context.front is not None:  # the last place in front of the tokens predicts the first of them, as in PEFT
            ahead = np.full((len(labels), context.front.shape[1]), IGNORE, dtype=np.int64)
            labels = np.concatenate([ahead, labels], axis=1)
        target = np.full(labels.shape, IGNORE, dtype=np.int64)  # target[:, t] is what position t must predict
        target[:, :-1] = labels[:, 1:]
        index = np.flatnonzero(target != IGNORE)  # (n,) places in the flattened batch
        if index.size == 0:
            raise ShapeError("no position has a label: every target is ignored")
        h = self.hidden(ids, context)  # (B, T, d)
        h = ops.pick_rows(h.reshape(-1, h.shape[-1]), index)  # (n, d)
        target = target.reshape(-1)[index]
        if context.objective is not None:
            return context.objective(self.head(h, context), target)
        if type(self.lm_head) is Linear and not self.lm_head.weight.requires_grad:
            return ops.linear_cross_entropy(h, self.lm_head.weight, target, IGNORE)
        if self.chunked_loss:
            return chunked_cross_entropy(h, self.head, self.lm_head.parameters(), target, context)
        return ops.cross_entropy(self.head(h, context), target, IGNORE)

    def run(self, block, x, shared, context):  # (B, T, d) -> (B, T, d)
        """block(x, shared, context), computed again in the backward if gradient checkpointing is on."""
        if self.recomputes and is_recording():
            return recomputed(block, x, shared, context)
        return block(x, shared, context)

    def embed(self, ids, context):  # (B, T) int -> (B, n + T, d), (B or 1, n + T) int64 host array, S, mask or None
        """The embedded tokens, behind what is in front of them; the place of each in its sequence; keys and their mask.

        S is the number of keys, (B, S) the shape of the mask. Raises ShapeError for ids that are not (batch, tokens).
        """
        if len(ids.shape) != 2:
            raise ShapeError(f"ids of shape {tuple(ids.shape)}: expected (batch, tokens)")
        x, n = self.get_input_embeddings()(ids, context), context.virtual
        past = 0 if context.cache is None else context.cache.length
        starts_here = context.front is not None and past == 0
        if starts_here:
            x = ops.concat([context.front, x], axis=1)
        S = past + x.shape[1]
        positions, mask = context.positions, context.mask
        if positions is None:
            positions = np.arange(past, S, dtype=np.int64)[None]
        elif n:
            positions = positions + n
            if starts_here:
                front = np.broadcast_to(np.arange(n, dtype=np.int64), (len(positions), n))
                positions = np.concatenate([front, positions], axis=1)
        if mask is not None and n:
            mask = np.concatenate([np.ones((len(mask), n), dtype=bool), mask], axis=1)
        return x, positions, S, mask

    def penalty(self):  # -> None
        """A term that a training adds to the loss once a step; adapters may have one."""
        return None

    def after_step(self, step):
        """Called after each step of the optimizer, while the gradients are there; adapters may need it."""

    def state(self):  # -> {name: array}
        """What a training must save beside parameters and optimizer; adapters may have some."""
        return {}

    def restore(self, state):
        """Take over what `state` returned."""

    def generate(self, ids, max_new_tokens: int, **options) -> list:
        """See `generation.generate`."""
        return generate(self, ids, max_new_tokens, **options)

    def save_pretrained(self, path, tokenizer_from=None, dtype: str | None = None) -> None:
        """Write the folder `path`: config.json and model.safetensors, which transformers opens to the same logits.

        A head that shares the embedding's weight is saved once; one that shared it and was changed by merging is saved
        beside it, with tie_word_embeddings false. tokenizer_from: a folder whose tokenizer files are copied along.
        dtype: "float32", "bfloat16" or "float16" of the file; None: as the arrays are.
        Raises ConfigError for numbers that the dtype does not have, and when the model still has adapters in it.
        """
        from ..files.checkpoint import save_checkpoint  # here: a program that writes no file need not load it
        from ..files.config_json import fields_to_json
        from ..files.safetensors import in_type
        from ..quantization.apply import stored_config
        from ..quantization.save import tensors_of

        parameters = dict(self.named_parameters())
        config = dataclasses.replace(self.config, tie_word_embeddings="lm_head.weight" not in parameters)
        plain: Any = type(self)
        expected = dict(plain(config).named_parameters())
        if parameters.keys() != expected.keys():
            names = listed(sorted(parameters.keys() ^ expected.keys()))
            raise ConfigError(f"not a plain model: {names}; save adapters with PeftModel, or merge_and_unload() first")
        data, stored = fields_to_json(dataclasses.asdict(config)), stored_config(self, self.quantization_config)
        if stored:
            data["quantization_config"] = stored.to_json()
        tensors = tensors_of(self, stored)
        save_checkpoint(path, data, tensors if dtype is None else in_type(tensors, dtype), tokenizer_from)


def as_array(ids):
    """An array as it is; a list of lists of numbers as a NumPy array."""
    return ids if hasattr(ids, "shape") else np.asarray(ids)
