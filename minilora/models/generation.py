"""Decoding with a key/value cache: greedy or sampled, several prompts of different length at once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backend import to_host
from ..errors import ConfigError, ShapeError
from .cache import KVCache


@dataclass
class Kept:
    """What a generation leaves for the next one of the same sequence: keys and values of its tokens.

    A conversation grows at its end, so only its new tokens are computed. Make a new one when the active adapters or any
    weight change.
    """

    ids: list[int] = field(default_factory=list)  # the tokens whose keys and values are in the cache
    context: Any = None  # with the cache, and what adapters put in front of the tokens

    def rewind(self, prompt: list[int]) -> int:
        """Forget what does not begin `prompt`; returns how many of its tokens are known, at most all but the last."""
        same = 0
        while same < min(len(self.ids), len(prompt) - 1) and self.ids[same] == prompt[same]:
            same += 1
        self.ids = self.ids[:same]
        if self.context is not None:
            self.context.cache.cut(self.context.virtual + same)
        return same


def generate(
    model,
    ids,
    max_new_tokens,
    temperature=0,
    top_k=None,
    top_p=None,
    eos_token_id=None,
    seed=0,
    context=None,
    begin=None,
    each: Callable[[list], bool | None] | None = None,
    kept: Kept | None = None,
):
    """Continue each prompt by at most `max_new_tokens` tokens; returns a list of 1-D int64 host arrays.

    ids           one sequence, an array (B, T), or a list of sequences of different length
    temperature   0: the most likely token each time; otherwise sample from softmax(logits / temperature)
    top_k         keep the k most likely tokens, and any tied with the k-th
    top_p         keep the fewest most likely tokens whose probabilities reach p
    eos_token_id  an id or several: a row ends with (and includes) it; None: every row runs to max_new_tokens
    seed          row i draws from its own stream [seed, i], so its tokens do not depend on its neighbours
    context       a Context that says which adapters are active; None: a new one of `model`
    begin         function (context, batch size) -> context, called once before the first token: a prefix comes from it
    each          function called with the new token of every row, None for a row that has ended; True ends generation
    kept          of one prompt: what an earlier call knows of its first tokens is not computed again

    Shorter prompts are padded on the left; a padded place is hidden from every query and takes no position. Dropout
    does not act while decoding, not even in the middle of a training. Raises ConfigError, ShapeError.
    """
    prompts = _as_prompts(ids)
    _check_sampling(max_new_tokens, temperature, top_k, top_p, seed)
    if kept is not None and len(prompts) > 1:
        raise ConfigError(f"kept with {len(prompts)} prompts: expected one")
    ends = set(np.atleast_1d(eos_token_id).tolist()) if eos_token_id is not None else set()
    B, longest = len(prompts), max(len(p) for p in prompts)
    tokens = np.zeros((B, longest), dtype=np.int64)
    mask = np.zeros((B, longest), dtype=bool)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = True
    positions = np.maximum(np.cumsum(mask, axis=1, dtype=np.int64) - 1, 0)  # (B, T); padding is at 0, unseen

    mask = None if mask.all() else mask
    streams = [np.random.default_rng([seed, row]) for row in range(B)]
    new, done = [[] for _ in range(B)], [False] * B
    with no_grad():
        if kept is not None and kept.context is not None:
            known, context = kept.rewind(prompts[0].tolist()), kept.context
            tokens, positions = tokens[:, known:], positions[:, known:]
            context.cache.capacity = context.virtual + longest + max_new_tokens
        else:
            cache = KVCache(longest + max_new_tokens)
            context = replace(context or model.new_context(), training=False, memo={}, cache=cache)
            context = context if begin is None else begin(context, B)
        for _ in range(max_new_tokens):
            h = model.hidden(tokens, replace(context, positions=positions, mask=mask))  # (B, T, d)
            if kept is not None:
                kept.ids.extend(tokens[0].tolist())
                kept.context = context
            logits = to_host(model.head(h[:, -1], context).data)  # (B, V): the one copy to the host per token
            tokens = sample_tokens(logits, temperature, top_k, top_p, streams)[:, None]  # (B, 1)
            fresh = [None if ended else token for token, ended in zip(tokens[:, 0].tolist(), done, strict=True)]
            for row, token in enumerate(fresh):
                if token is not None:
                    new[row].append(token)
                    done[row] = token in ends
            if (each is not None and each(fresh)) or all(done):
                break
            positions = positions[:, -1:] + 1
            mask = None if mask is None else np.concatenate([mask, np.ones((B, 1), dtype=bool)], axis=1)
    return [np.concatenate([p, np.array(n, dtype=np.int64)]) for p, n in zip(prompts, new, strict=True)]


def sample_tokens(logits, temperature, top_k, top_p, streams):  # (B, V) -> (B,) int64
    """The next token of each row. Host arrays; float64, so that the probabilities add up to 1.

    Raises ConfigError for logits that are not finite: a weight of the model or of an adapter is not.
    """
    if not np.isfinite(logits.max(axis=-1)).all():
        raise ConfigError("the logits are not finite: the base or an adapter has weights that are nan or infinite")
    if temperature == 0:
        return logits.argmax(axis=-1).astype(np.int64)
    z = logits.astype(np.float64)
    with np.errstate(over="ignore"):  # to -inf, which is right: the difference to the largest is at most 0
        z = (z - z.max(axis=-1, keepdims=True)) / temperature
    if top_k is not None and top_k < z.shape[-1]:
        z[z < np.partition(z, -top_k, axis=-1)[:, [-top_k]]] = -np.inf
    p = np.exp(z)
    p /= p.sum(axis=-1, keepdims=True)
    if top_p is not None and top_p < 1:
        order = np.argsort(-p, axis=-1, kind="stable")
        ranked = np.take_along_axis(p, order, axis=-1)
        before = np.cumsum(ranked, axis=-1) - ranked  # probability of the likelier ones: the first always stays
        np.put_along_axis(p, order, np.where(before < top_p, ranked, 0), axis=-1)
        p /= p.sum(axis=-1, keepdims=True)
    return np.array([rng.choice(len(row), p=row) for rng, row in zip(streams, p, strict=True)], dtype=np.int64)


def _as_prompts(ids):  # one sequence | (B, T) | list of sequences -> list of 1-D int64 arrays
    if not hasattr(ids, "ndim"):
        ids = list(ids) if hasattr(ids, "__iter__") else []
        if ids and not hasattr(ids[0], "__len__"):
            ids = [ids]
    elif ids.ndim < 2:
        ids = [ids]
    prompts = [np.asarray(to_host(p) if hasattr(p, "ndim") else p) for p in ids]
    if not prompts or any(p.ndim != 1 or p.size == 0 or p.dtype.kind not in "iu" for p in prompts):
        raise ShapeError("generate needs at least one prompt, each a non-empty sequence of integers")
    return [p.astype(np.int64) for p in prompts]


def _check_sampling(max_new_tokens, temperature, top_k, top_p, seed):
    whole = int | np.integer
    for name, value, fits, expected in (
        ("max_new_tokens", max_new_tokens, isinstance(max_new_tokens, whole) and max_new_tokens >= 1, "at least 1"),
        (
            "temperature",
            temperature,
            isinstance(temperature, whole | float | np.floating) and 0 <= temperature < np.inf,
            "0 (greedy) or above",
        ),
        ("top_k", top_k, top_k is None or (isinstance(top_k, whole) and top_k >= 1), "at least 1"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "0 < top_p <= 1"),
        ("seed", seed, isinstance(seed, whole) and seed >= 0, "a whole number of at least 0"),
    ):
        if not fits:
            raise ConfigError(f"{name} {value}: expected {expected}")
