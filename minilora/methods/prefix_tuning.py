"""Prefix tuning: n trained keys and values in front of those of every layer (Li and Liang 2021, arXiv 2101.00190).

    attention in layer l reads  [Pk_l; K],  [Pv_l; V]        Pk_l, Pv_l (n, heads, head width), trained

They lie in the key/value cache before the first token, which therefore has place n. In PEFT's file they are one matrix
(n, layers · 2 · heads · head width), keys before values in each layer; heads are the key/value heads.

A prefix of zeros is not "no prefix": a key of zero has the score 0, takes its share of every softmax, and adds nothing,
so all outputs shrink. The best start is what the model itself makes of a text (`init_from_text`).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..autograd import no_grad
from ..backend import like, to_host
from ..errors import ConfigError
from ..models.cache import KVCache
from . import fields
from .prompt_tuning import PromptConfig, PromptLearning, repeat_rows


@dataclass
class PrefixTuningConfig(PromptConfig):
    """num_virtual_tokens  n
    prefix_projection   read from a file whose prefix was made by a network: the file holds the finished prefix
    encoder_hidden_size width of that network, which is not saved
    init_weights        None: normal numbers; "zero"
    """

    prefix_projection: bool = False
    encoder_hidden_size: int | None = None
    init_weights: str | None = None

    peft_type = "PREFIX_TUNING"
    rules = PromptConfig.rules | {
        "prefix_projection": fields.FLAG,
        "encoder_hidden_size": fields.optional(fields.RANK),
        "init_weights": fields.one_of(None, "zero"),
    }

    def with_defaults(self, model_config):
        c = model_config
        heads = getattr(c, "num_key_value_heads", c.num_attention_heads)
        width = heads * getattr(c, "head_dim", c.hidden_size // c.num_attention_heads)
        return self.with_sizes(token_dim=width, num_layers=c.num_hidden_layers, num_attention_heads=heads)


class PrefixTuningAdapter(PromptLearning):
    """Prefix tuning on a whole model."""

    config_class = PrefixTuningConfig
    adapts = "prefix tuning adapts the key/value cache"

    @staticmethod
    def shared(places, model_config, config):
        return {"prompt_embeddings": (config.num_virtual_tokens, config.num_layers * 2 * config.token_dim)}

    def start(self, model, generator):
        shape = self.prompt.shape
        zero = self.config.init_weights == "zero"
        return {"prompt_embeddings": np.zeros(shape) if zero else generator.standard_normal(shape)}

    def begin(self, context, batch_size):
        """Put the prefix into the cache, if it is empty; places and masks shift by n in every forward."""
        c = self.config
        n, width = c.num_virtual_tokens, c.token_dim // c.num_attention_heads
        cache = KVCache() if context.cache is None else context.cache
        if cache.length == 0:
            cache.capacity += n
            P = self.prompt.reshape(n, c.num_layers, 2, c.num_attention_heads, width)
            for layer in range(c.num_layers):
                cache.entries[layer] = tuple(repeat_rows(P[:, layer, i], batch_size) for i in (0, 1))
        return replace(context, cache=cache, virtual=n)

    def init_from_text(self, model, ids):  # (n,) int
        """Start from the keys and values that the frozen model computes for a text of n tokens. Raises ConfigError."""
        n, ids = self.config.num_virtual_tokens, np.asarray(ids, dtype=np.int64)
        if ids.shape != (n,):
            raise ConfigError(f"ids of shape {ids.shape}: expected the {n} tokens of a text, one for each place")
        cache = KVCache(n)
        with no_grad():
            model.hidden(ids[None], model.new_context(cache=cache, training=False))
        layers = [cache.entries[layer] for layer in range(self.config.num_layers)]
        rows = np.stack([to_host(half.data)[0] for pair in layers for half in pair], axis=1)  # (n, 2L, heads, width)
        self.prompt.assign(like(rows.reshape(n, -1).astype(self.prompt.dtype), self.prompt.data))
