"""Trained rows of a frozen embedding, beside LoRA on other layers: LoraConfig(trainable_token_indices=[...]).

    E' = E (V, d) with row t_i replaced by R_i        R (n, d) is trained, and starts as these rows of E

    embedding    y = E'[ids]       dR_i = Σ g over the places where ids is t_i
    head         y = h E'ᵀ         so column t_i of y is h · R_i:     dR = g_tᵀ h      dh gets g_t R, with g_t (N, n)

A head that shares the embedding's weight reads the same R. Files have R under PEFT's name, once.
"""

import numpy as np

from ..autograd import record
from ..backend import array_module, like, scatter_add, to_host
from .base import Method

NAME = "token_adapter.trainable_tokens_delta"  # PEFT's: it holds the rows themselves, not a difference


def replace_looked_up(y, R, ids, tokens, scale=1):  # (..., d), (n, d), (...) int, (n,) int -> (..., d)
    """y with scale · R_i wherever ids is tokens[i], written into y: use the returned tensor.

    dR_i = scale · Σ g over these places        dy is g without them
    """
    ids, width = to_host(ids).reshape(-1), y.shape[-1]
    order = np.argsort(tokens, kind="stable")
    at = np.minimum(np.searchsorted(tokens[order], ids), len(order) - 1)
    places = np.flatnonzero(tokens[order][at] == ids)  # of the flattened batch
    rows = like(order[at[places]], y.data)
    places = like(places, y.data)
    y.data.reshape(-1, width)[places] = R.data[rows] * scale
    to_y = y.requires_grad

    def backward(g):
        dR = array_module(g).zeros(R.shape, dtype=g.dtype)
        g2 = g.reshape(-1, width)
        scatter_add(dR, rows, g2[places] * scale)
        dy = None
        if to_y:
            dy = g2.copy()
            dy[places] = 0
            dy = dy.reshape(g.shape)
        return dy, dR

    return record(y.data, (y, R), backward)


def replace_columns(y, x, R, tokens):  # (..., V), (..., d), (n, d), (n,) int -> (..., V)
    """y with x Rᵀ in the columns `tokens`, written into y: use the returned tensor.

    with g_t = g[:, tokens]:    dR = g_tᵀ x        dx = g_t R        dy is g without these columns
    """
    index, x2 = like(tokens, y.data), x.data.reshape(-1, R.shape[1])
    y.data[..., index] = x.data @ R.data.T
    to_y, to_x = y.requires_grad, x.shape if x.requires_grad else None

    def backward(g):
        g_t = g[..., index].reshape(-1, R.shape[0])  # (N, n)
        dR = g_t.T @ x2 if R.requires_grad else None
        dx = None if to_x is None else (g_t @ R.data).reshape(to_x)
        dy = None
        if to_y:
            dy = g.copy()
            dy[..., index] = 0
        return dy, dx, dR

    return record(y.data, (y, x, R), backward)


class TokenRows(Method):
    """Trained rows of one embedding."""

    names = (NAME,)

    def __init__(self, place, config):
        super().__init__(place, config)
        self.tokens = np.array(tokens_at(config, place.path), dtype=np.int64)

    R = property(lambda self: self.parameters[NAME])

    @staticmethod
    def shapes(place, config):
        return {NAME: (len(tokens_at(config, place.path)), place.shape[1])}

    def start(self, base, generator):
        return {NAME: to_host(base.dense())[self.tokens]}

    def update(self, y, ids, base, context):  # (..., d), (...) int -> (..., d)
        return replace_looked_up(y, self.R, ids, self.tokens, getattr(base, "scale", 1))

    def merged(self, weight, bias, base):
        """E'"""
        weight = weight.copy()
        weight[like(self.tokens, weight)] = self.R.data.astype(weight.dtype, copy=False)
        return weight, bias


class HeadRows(TokenRows):
    """Trained rows of a head with a weight of its own."""

    def update(self, y, x, base, context):  # (..., V), (..., d) -> (..., V)
        return replace_columns(y, x, self.R, self.tokens)


class TiedHeadRows(HeadRows):
    """The rows of a head that shares the embedding's weight: those of `source`, which has them in the file."""

    source: TokenRows

    R = property(lambda self: self.source.R)
    borrowed = property(lambda self: {NAME: self.R})

    def __init__(self, place, config):
        Method.__init__(self, place, config)

    tokens = property(lambda self: self.source.tokens)

    @staticmethod
    def shapes(place, config):
        return {}

    def start(self, base, generator):
        return {}


KINDS = {"embedding rows": TokenRows, "head rows": HeadRows, "tied head rows": TiedHeadRows}  # kind of a Place -> class


def share_rows(methods):
    """Give a tied head among the methods of an adapter, {path: Method}, the rows of the embedding."""
    for method in methods.values():
        if isinstance(method, TiedHeadRows):
            method.source = next(m for m in methods.values() if type(m) is TokenRows)


def tokens_at(config, path):  # -> list of int
    """The tokens whose rows are trained in the module at `path`."""
    chosen = config.trainable_token_indices
    return chosen if isinstance(chosen, list) else next(v for name, v in chosen.items() if path.endswith(name))
