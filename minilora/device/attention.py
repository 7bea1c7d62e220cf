"""Attention and rotary positions on a GPU; the equations are in ops/attention.py.

B batch   T tokens, one query each   S keys (earlier tokens and these)   hd width of a head
H query heads   K key/value heads   G = H/K query heads that read the same key/value head
"""

import math

from ..autograd import Tensor, record
from ..backend import array_module
from .fused import kernels


def attention_on_device(q, k, v, bias) -> Tensor:
    """The same on a GPU, where a launch and a copy of the scores take long: no blocks, a row of scores for each query.

    CuPy's product of many matrices copies every operand that is not stored in rows. So no scores are transposed:
    dv and dk are computed as (gᵀ E)ᵀ and (qᵀ dS)ᵀ, which transposes arrays of width hd.
    """
    (B, T, H, hd), (S, K) = q.shape, k.shape[1:3]
    G, xp, kind = H // K, array_module(q.data), q.dtype.type
    fused, scale = kernels(xp), kind(1 / math.sqrt(hd))

    def heads_first(x):  # (B, t, H, hd) <-> (B, H, t, hd), a view
        return x.transpose(0, 2, 1, 3)

    rows, columns = (0, 2, 1, 3), (0, 2, 3, 1)  # (B, s, K, hd) -> (B, K, s, hd) and (B, K, hd, s)
    queries, keys, values = heads_first(q.data).reshape(B, K, G * T, hd), k.data, v.data
    E = queries @ keys.transpose(columns)  # (B, K, GT, S)
    if bias is None:
        E *= scale
    else:
        fused.mask_scores(E.reshape(B, K, G, T, S), bias[:, :, None], scale)
    fused.exponentials(E, E.max(axis=-1, keepdims=True), E)
    z = E.sum(axis=-1, keepdims=True).reshape(B, H, T, 1)
    o = xp.empty(q.shape, dtype=q.dtype)
    xp.divide(heads_first((E @ values.transpose(rows)).reshape(B, H, T, hd)), heads_first(z), out=o)
    to_q, to_k, to_v = (x.requires_grad for x in (q, k, v))

    def backward(g):
        dq = dk = dv = None
        per_head = heads_first(g) / z  # (B, H, T, hd)
        gz = per_head.reshape(B, K, G * T, hd)
        if to_v:
            dv = (gz.swapaxes(-1, -2) @ E).transpose(0, 3, 1, 2)  # (B, K, hd, S) -> (B, S, K, hd)
        if to_q or to_k:
            dS = gz @ values.transpose(columns)  # dP / z  (B, K, GT, S)
            shift = fused.sum_2(per_head, heads_first(o)).reshape(B, K, G * T, 1)
            fused.softmax_backward(dS, E, shift, scale)
            dq = heads_first((dS @ keys.transpose(rows)).reshape(B, H, T, hd)) if to_q else None
            dk = (queries.swapaxes(-1, -2) @ dS).transpose(0, 3, 1, 2) if to_k else None
        return dq, dk, dv

    return record(o, (q, k, v), backward)


def one_query_on_device(q, k, v, bias) -> Tensor:  # (B, 1, H, hd), (B, S, K, hd), (B, S, K, hd) -> (B, 1, H, hd)
    """The same for one new token: sums of products, which read the keys and values as they lie in the cache."""
    (B, _, H, hd), K, fused = q.shape, k.shape[2], kernels(array_module(q.data))
    queries, keys = q.data.reshape(B, K, H // K, 1, hd), k.data.transpose(0, 2, 1, 3)[:, :, None]  # (B, K, 1, S, hd)
    E = fused.sum_3(queries, keys, q.dtype.type(1 / math.sqrt(hd)))  # the scores  (B, K, G, S)
    if bias is not None:
        E += bias
    fused.exponentials(E, E.max(axis=-1, keepdims=True), E)
    o = fused.sum_2(E[:, :, :, None], v.data.transpose(0, 2, 3, 1)[:, :, None])  # (B, K, G, hd)
    o /= E.sum(axis=-1, keepdims=True)
    return Tensor(o.reshape(q.shape))


def rotary_on_device(x, cos, sin) -> Tensor:
    """The same on a GPU, in one kernel. The result lies in memory as (B, H, T, hd): attention need not copy it.

    The backward exchanges the halves, which turns the other way: dx2 = g2 c - g1 s, dx1 = g1 c + g2 s.
    """
    (B, T, H, hd), xp = x.shape, array_module(x.data)
    low, high = (..., slice(hd // 2)), (..., slice(hd // 2, hd))
    cos, sin = cos[high], sin[high]

    def turn(a, first, second, y):
        kernels(xp).rotate_pairs(a[first], a[second], cos, sin, y[first], y[second])
        return y

    y = xp.empty((B, H, T, hd), dtype=x.dtype).transpose(0, 2, 1, 3)
    return record(turn(x.data, low, high, y), (x,), lambda g: (turn(g, high, low, xp.empty(g.shape, dtype=g.dtype)),))
