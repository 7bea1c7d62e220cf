"""Causal attention with grouped queries, and rotary position embeddings.

B batch   T tokens, one query each   S keys (earlier tokens and these)   hd width of a head
H query heads   K key/value heads   G = H/K query heads that read the same key/value head
"""

import math

import numpy as np

from ..autograd import Tensor, as_tensor, is_recording, record
from ..backend import array_module, inner
from ..device.attention import attention_on_device, one_query_on_device, rotary_on_device
from ..errors import ShapeError
from .activation import softmax_

QUERY_BLOCK = 64  # queries that `attention` processes at a time
MASKED_SCORE = -1e30  # added to the score of a hidden key: e^MASKED_SCORE is exactly 0; -inf could make a row nan


def attention(q, k, v, bias=None) -> Tensor:  # (B, T, H, hd), (B, S, K, hd), (B, S, K, hd) -> (B, T, H, hd)
    """P = softmax(q kᵀ / √hd + bias),   o = P v        query head h reads key/value head h // G

    dv = Pᵀ g        dP = g vᵀ        dS = P · (dP - Σ dP · P)        dq = dS k / √hd        dk = dSᵀ q / √hd

    dS is the gradient of the scores, q kᵀ / √hd + bias.
    bias: array (B or 1, 1, T, S), 0 where a query sees a key and MASKED_SCORE where it does not; None: it sees all.
    A query with no visible key (padding) gets a mean of values; its output is never used.

    The scores are the largest arrays here. Four ways to do less work on them:
    1. Queries are processed in blocks, and each block reads only the keys that it can see: about half in long texts.
    2. Scores are stored transposed (one row per key), because NumPy finds the maximum and sum of columns faster.
    3. P = E / z, with E = e^(score - max) and its sums z, is never formed: o = (E v) / z, and the backward uses g / z.
    4. Σ dP · P = Σ g · o, which adds hd products instead of S.
    """
    q, k, v = as_tensor(q), as_tensor(k), as_tensor(v)
    (B, T, H, hd), (S, K) = q.shape, k.shape[1:3]
    if H % K or not k.shape == v.shape == (B, S, K, hd):
        raise ShapeError(f"attention: q {q.shape}, k {k.shape}, v {v.shape}; expected (B, T, H, hd), (B, S, K, hd)")
    G, scale, one_new = H // K, 1 / math.sqrt(hd), T == 1 and not is_recording()
    if array_module(q.data) is not np:
        return (one_query_on_device if one_new else attention_on_device)(q, k, v, bias)
    if one_new:  # generating one token: few scores, so the plain equation
        P = (q.data.reshape(B, K, G, hd) * scale) @ k.data.transpose(0, 2, 3, 1)  # (B, K, G, S)
        if bias is not None:
            P += bias
        o = softmax_(P) @ v.data.transpose(0, 2, 1, 3)  # (B, K, G, hd)
        return Tensor(o.reshape(q.shape))

    def group(x):  # (B, t, H, hd) -> (B, K, G*t, hd): the rows of the G query heads that share a key head
        n = x.shape[1]
        return x.reshape(B, n, K, G, hd).transpose(0, 2, 3, 1, 4).reshape(B, K, G * n, hd)

    def ungroup(x):  # (B, K, G*t, hd) -> (B, t, H, hd)
        n = x.shape[2] // G
        return x.reshape(B, K, G, n, hd).transpose(0, 3, 1, 2, 4).reshape(B, n, H, hd)

    def heads(x):  # (B, s, K, hd) <-> (B, K, s, hd)
        return x.transpose(0, 2, 1, 3)

    o, kept = np.empty(q.shape, dtype=q.dtype), []
    # slices: t a block of queries, s the keys that it can see, biased the keys within s whose bias is not 0
    for t, s, biased in visible_blocks(bias, T, S):
        qs = group(q.data[:, t] * scale)  # (B, K, Gt, hd)
        E = heads(k.data[:, s]) @ qs.swapaxes(-1, -2)  # the scores  (B, K, s, Gt)
        if bias is not None:
            scores = E.reshape(B, K, E.shape[2], G, qs.shape[2] // G)[:, :, biased]  # a view: E changes with it
            scores += np.ascontiguousarray(bias[:, :, t, s].swapaxes(-1, -2)[:, :, biased])[:, :, :, None]
        E -= E.max(axis=-2, keepdims=True)
        np.exp(E, out=E)
        inv = (1 / E.sum(axis=-2))[..., None]  # 1/z  (B, K, Gt, 1)
        y = E.swapaxes(-1, -2) @ heads(v.data[:, s])  # (B, K, Gt, hd)
        y *= inv
        o[:, t] = ungroup(y)
        kept.append((t, s, qs, E, inv, y))
    shapes = [x.shape if x.requires_grad else None for x in (q, k, v)]
    keys, values = k.data, v.data  # q is not kept: qs is enough

    def backward(g):
        dq, dk, dv = (None if shape is None else np.zeros(shape, dtype=g.dtype) for shape in shapes)
        for t, s, qs, E, inv, y in kept:
            gz = group(g[:, t])  # (B, K, Gt, hd)
            gz = gz * inv  # g / z
            if dv is not None:
                dv[:, s] += heads(E @ gz)
            if dq is None and dk is None:
                continue
            dP = heads(values[:, s]) @ gz.swapaxes(-1, -2)  # divided by z  (B, K, s, Gt)
            dP -= inner(gz, y)[:, :, None]
            dP *= E
            dS = dP
            if dq is not None:
                dq[:, t] = ungroup(dS.swapaxes(-1, -2) @ heads(keys[:, s])) * scale
            if dk is not None:
                dk[:, s] += heads(dS @ qs)  # qs includes the scale
        return dq, dk, dv

    return record(o, (q, k, v), backward)


def visible_blocks(bias, T: int, S: int) -> list[tuple[slice, slice, slice]]:
    """Blocks of QUERY_BLOCK queries: a slice of the T queries, a slice of the S keys, and a slice of those keys.

    The second slice runs from the first to the last key that some query of the block sees. The third, counted within
    the second, runs from the first key whose bias is not 0 for some query of the block to the end.
    """
    if bias is None or T <= QUERY_BLOCK:
        return [(slice(0, T), slice(0, S), slice(0, S))]
    blocks = []
    for start in range(0, T, QUERY_BLOCK):
        t = slice(start, start + QUERY_BLOCK)
        keys = np.flatnonzero((bias[:, :, t] > MASKED_SCORE / 2).any(axis=(0, 1, 2)))
        s = slice(keys[0], keys[-1] + 1) if len(keys) else slice(0, S)
        changed = (bias[:, :, t, s] != 0).any(axis=(0, 1, 2))
        blocks.append((t, s, slice(changed.argmax(), None) if changed.any() else slice(0)))
    return blocks


def causal_bias(T: int, S: int, mask=None, dtype=np.float32, window: int | None = None) -> np.ndarray | None:
    """The bias (B or 1, 1, T, S) of causal attention: the queries are the last T of S tokens; none sees a later one.

    mask: (B, S) bool, False for a key that nobody sees (padding). window: a query sees only this many keys, its own
    included (sliding-window attention, as in Mistral); None: no limit. The bias is a host array, or None when nothing
    is hidden: one new token, no mask, no key outside the window. Raises ShapeError for a mask of another length.

    >>> causal_bias(2, 3)[0, 0] == 0  # 2 queries that follow one earlier token: which of the 3 keys does each see?
    array([[ True,  True, False],
           [ True,  True,  True]])
    """
    if T == 1 and mask is None and (window is None or S <= window):
        return None
    if mask is not None and mask.shape[-1] != S:
        raise ShapeError(f"mask of shape {mask.shape} for {S} keys: expected (batch, {S})")
    key, query = np.arange(S, dtype=np.int64), np.arange(S - T, S, dtype=np.int64)[:, None]
    seen = key <= query  # (T, S)
    if window is not None:
        seen &= key > query - window
    seen = seen[None] if mask is None else seen & mask[:, None, :]
    return np.where(seen, 0, MASKED_SCORE).astype(dtype)[:, None]


def rotary_angles(positions, inv_freq, dtype=np.float32):  # (B, T) int64, (hd/2,) -> two arrays (B, T, 1, hd)
    """[cos, cos] and [-sin, sin] of the angles position · frequency, in radians: host arrays.

    positions: the place of each token in its text, from 0. inv_freq: the frequency of each of the hd/2 pairs.
    The angles are computed in float32, as in transformers, and returned in `dtype`.
    """
    angle = positions.astype(np.float32)[..., None, None] * inv_freq.astype(np.float32)  # (B, T, 1, hd/2)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([cos, cos], -1).astype(dtype), np.concatenate([-sin, sin], -1).astype(dtype)


def rotary(x, cos, sin) -> Tensor:  # (B, T, H, hd), (B or 1, T, 1, hd), (B or 1, T, 1, hd) -> (B, T, H, hd)
    """Rotate each pair (x1, x2) = (x_i, x_{i + hd/2}) by its token's angle (Su et al. 2021, arXiv 2104.09864).

    y1 = x1 c - x2 s        y2 = x2 c + x1 s        dx: the same with -s, which rotates g back

    cos, sin: the two arrays of rotary_angles.
    """
    x = as_tensor(x)
    if array_module(x.data) is not np:
        return rotary_on_device(x, cos, sin)
    B, T, H, hd = x.shape
    if T > 1:  # repeated for each head: NumPy then multiplies long rows instead of short ones
        cos, sin = np.repeat(cos, H, axis=2), np.repeat(sin, H, axis=2)

    def rotate_pairs(a, sin):  # [x1, x2] · [c, c] + [x2, x1] · [-s, s]
        y = np.empty(a.shape, dtype=a.dtype)
        y.reshape(B, T, H, 2, hd // 2)[...] = a.reshape(B, T, H, 2, hd // 2)[..., ::-1, :]
        y *= sin
        y += a * cos
        return y

    return record(rotate_pairs(x.data, sin), (x,), lambda g: (rotate_pairs(g, -sin),))
