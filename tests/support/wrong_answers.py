"""Mistakes that students make, one a line: an expression, after statements that end with " ; ".

The parameters are those of the exercise. Every line must be caught; most must be named.
"""

# ruff: noqa: E501
import math

import numpy as np

WRONG = {
    "0.1": """
        W + A @ B * alpha / r
        W + (alpha / r) * (A.T @ B.T)
        W + (alpha / r) * (A.T @ B.T).T.T
        W + alpha * B @ A
        W + (r / alpha) * B @ A
        W + B @ A / r
        W * (alpha / r) + B @ A
        W @ (alpha / r) * (B @ A)
        W + alpha / r * B * A
        (W + B @ A) * alpha / r
        W + (alpha + r) * (B @ A)
        W + alpha / (r * B @ A)
        W + (alpha / math.sqrt(r)) * B @ A
        W + 2 * alpha / r * B @ A
        B @ A * alpha / r
        W + (alpha / r) ** 2 * (B @ A)
        W.T + (alpha / r) * (B @ A)
        W - (alpha / r) * (B @ A)
    """,
    "1.1": """
        (f(x + eps) - f(x)) / eps
        (f(x) - f(x - eps)) / eps
        (f(x + eps) - f(x)) / (2 * eps)
        (f(x + eps) + f(x - eps)) / (2 * eps)
        f(x + eps) - f(x - eps) / 2 * eps
        (f(x + eps) - f(x - eps)) / eps ** 2
        (f(x + eps) - f(x - eps)) * (2 * eps)
        abs(f(x + eps) - f(x - eps)) / (2 * eps)
        (f(x + 2 * eps) - f(x - 2 * eps)) / (2 * eps)
        (f(x * (1 + eps)) - f(x * (1 - eps))) / (2 * eps)
        (f(x + eps) - f(x - eps)) / 2
        (f(x - eps) - f(x + eps)) / 2 * eps
        (f(eps) - f(-eps)) / (2 * eps)
        f((x + eps) - (x - eps)) / (2 * eps)
    """,
    "1.2": """
        (f(x + eps) - f(x - eps)) / (2 * eps)
        np.array([(f(x + eps) - f(x - eps)) / (2 * eps)] * x.size).reshape(x.shape)
        np.array([(f(x + eps * e.reshape(x.shape)) - f(x)) / eps for e in np.eye(x.size)]).reshape(x.shape)
        np.array([(f(x + eps * e.reshape(x.shape)) - f(x - eps * e.reshape(x.shape))) / eps for e in np.eye(x.size)]).reshape(x.shape)
        np.array([(f(x + eps * e.reshape(x.shape)) - f(x - eps * e.reshape(x.shape))) / (2 * eps) for e in np.eye(x.size)])
        np.array([(f(x + eps * e) - f(x - eps * e)) / (2 * eps) for e in np.eye(len(x))])
        np.array([f(x + eps * e.reshape(x.shape)) - f(x - eps * e.reshape(x.shape)) for e in np.eye(x.size)]).reshape(x.shape)
        sum((f(x + eps * e.reshape(x.shape)) - f(x - eps * e.reshape(x.shape))) / (2 * eps) for e in np.eye(x.size))
        np.array([(f(x - eps * e.reshape(x.shape)) - f(x + eps * e.reshape(x.shape))) / (2 * eps) for e in np.eye(x.size)]).reshape(x.shape)
        np.gradient(x, eps)
        np.array([(f(x + eps * e.reshape(x.shape)) - f(x - eps * e.reshape(x.shape))) / 2 * eps for e in np.eye(x.size)]).reshape(x.shape)
    """,
    "1.3": """
        s = 1 / (1 + np.exp(-x)) ; g * s
        s = 1 / (1 + np.exp(-x)) ; g * s * (1 - s)
        s = 1 / (1 + np.exp(-x)) ; g * x * s * (1 - s)
        s = 1 / (1 + np.exp(-x)) ; g * (s + s * (1 - s))
        s = 1 / (1 + np.exp(-x)) ; s + x * s * (1 - s)
        s = 1 / (1 + np.exp(-x)) ; g * s + x * s * (1 - s)
        s = 1 / (1 + np.exp(x)) ; g * (s + x * s * (1 - s))
        s = 1 / (1 + np.exp(-x)) ; g * (s - x * s * (1 - s))
        s = 1 / 1 + np.exp(-x) ; g * (s + x * s * (1 - s))
        s = 1 / (1 + np.exp(-x)) ; g * (s + x * (1 - s))
        s = 1 / (1 + np.exp(-x)) ; g + s + x * s * (1 - s)
        s = np.exp(-x) ; g * (s + x * s * (1 - s))
        s = 1 / (1 + np.exp(-x)) ; g * (x * s)
        s = np.tanh(x) ; g * (s + x * (1 - s ** 2))
        s = 1 / (1 + math.exp(-x)) ; g * (s + x * s * (1 - s))
        s = 1 / (1 + np.exp(-x)) ; (g * (s + x * s * (1 - s))).sum()
    """,
    "2.1": """
        g.sum()
        g
        g.reshape(shape)
        np.broadcast_to(g, shape)
        g.sum(axis=0)
        g.sum(axis=0).reshape(shape)
        g.sum(axis=tuple(range(g.ndim - len(shape))))
        g.mean(axis=tuple(range(g.ndim - len(shape)))).reshape(shape)
        g[tuple(slice(0, n) for n in shape)]
        np.sum(g, axis=-1, keepdims=True)
        g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
        g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))
        np.resize(g, shape)
        np.ones(shape) * g.sum()
    """,
    "2.2": """
        (G @ B, A @ G)
        (G @ B.T, G @ A.T)
        (G @ B.T, G.T @ A)
        (B.T @ G, A.T @ G)
        (A.T @ G, G @ B.T)
        (G @ B.T, A @ G)
        (B, A)
        (B.T, A.T)
        (G * B.T, A.T * G)
        (G @ B.T, A.T @ np.ones_like(G))
        (G.sum() * B.T, A.T * G.sum())
        (G @ B.T / len(G), A.T @ G / len(G))
        (-G @ B.T, -A.T @ G)
        G @ B.T
        [(G @ B.T).T, (A.T @ G).T]
        (np.dot(G, B), np.dot(A, G))
        (G @ np.linalg.pinv(B), np.linalg.pinv(A) @ G)
    """,
    "2.3": """
        p * g
        p * (1 - p) * g
        p * g - p
        g - (p * g).sum(axis=-1, keepdims=True)
        p * (g - (g * p).sum())
        p * (g - (g * p).sum(axis=-1))
        p * (g - (g * p).sum(axis=0))
        p * (g - g.mean(axis=-1, keepdims=True))
        p * (g - g.sum(axis=-1, keepdims=True))
        p * (g + (g * p).sum(axis=-1, keepdims=True))
        p - g
        p * (g - p)
        p * ((g * p).sum(axis=-1, keepdims=True) - g)
        g * (p - (p * p).sum(axis=-1, keepdims=True))
        np.array([(np.diag(a) - np.outer(a, a)) for a in p]) @ g
        np.array([(np.diag(a) + np.outer(a, a)) @ b for a, b in zip(p, g)])
        np.exp(p) / np.exp(p).sum(axis=-1, keepdims=True) * g
    """,
    "4.1": """
        w * x / np.sqrt((x * x).mean() + eps)
        w * x / np.sqrt((x * x).sum(axis=-1, keepdims=True) + eps)
        w * x / ((x * x).mean(axis=-1, keepdims=True) + eps)
        w * x / np.sqrt((x * x).mean(axis=-1) + eps)
        w * x / np.sqrt((x * x).mean(axis=0, keepdims=True) + eps)
        x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        w * x * np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        w * x / np.sqrt(x.mean(axis=-1, keepdims=True) ** 2 + eps)
        w * (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
        w * x / (np.sqrt((x * x).mean(axis=-1, keepdims=True)) + eps)
        w * x / np.linalg.norm(x, axis=-1, keepdims=True)
        w + x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        w * x / np.sqrt((x * x).mean(axis=-1, keepdims=True)) + eps
        w * x / np.std(x, axis=-1, keepdims=True)
        w @ x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        w * x ** 2 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        w * x / np.sqrt(abs(x).mean(axis=-1, keepdims=True) + eps)
    """,
    "4.2": """
        s = q @ k.T / np.sqrt(q.shape[1]) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T, -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=0, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) / np.exp(s).sum() ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / q.shape[1], -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(len(q)), -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)) > 0, k @ q.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)).T > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.tril(q @ k.T / np.sqrt(q.shape[1])) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = q @ k.T / np.sqrt(q.shape[1]) ; p = np.tril(np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; s @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p.T @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p
        s = np.where(np.tri(len(q), k=-1) > 0, q @ k.T / np.sqrt(q.shape[1]), -1e30) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k / np.sqrt(q.shape[1]), -1e30) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
        s = np.where(np.tri(len(q)) > 0, q @ k.T * np.sqrt(q.shape[1]), -1e30) ; p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True) ; p @ v
    """,
    "4.3": """
        vocab * d + layers * (4 * d * d + 3 * d * m + 2 * d) + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m + 2 * d)
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + 2 * d * kv + 2 * d * m + 2 * d) + d
        kv = kv_heads * (d // heads) ; 2 * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m + 2 * d) + d
        kv = kv_heads * (d // heads) ; (2 if tied else 1) * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m + 2 * d) + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m + d) + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (d * d + 2 * d * kv + 3 * d * m + 2 * d) + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + d * kv + 3 * d * m + 2 * d) + d
        kv = d // kv_heads ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m + 2 * d) + d
        kv = d // heads ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m + 2 * d) + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + 2 * d * d + 2 * d * kv + 3 * d * m + 2 * d + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab + layers * (2 * d * d + 2 * d * kv + 3 * d * m + 2 * d) + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m + 2 * d + d)
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (2 * d * d + 2 * d * kv + 3 * d * m) + d
        kv = kv_heads * (d // heads) ; (1 if tied else 2) * vocab * d + layers * (4 * d * kv + 3 * d * m + 2 * d) + d
    """,
    "5.1": """
        U, s, V = np.linalg.svd(D) ; U[:, :r] @ V[:r]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; (U[:, :r] * s[:r]) @ V[:, :r].T
        U, s, V = np.linalg.svd(D, full_matrices=False) ; U @ np.diag(s) @ V
        U, s, V = np.linalg.svd(D, full_matrices=False) ; (U[:r] * s[:r]) @ V[:r]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; (U[:, :r] * np.sqrt(s[:r])) @ V[:r]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; U[:, :r] * s[:r] * V[:r]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; s[0] * np.outer(U[:, 0], V[0])
        U, s, V = np.linalg.svd(D, full_matrices=False) ; (U[:, -r:] * s[-r:]) @ V[-r:]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; (U[:, : r - 1] * s[: r - 1]) @ V[: r - 1]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; (U * s)[:, :r] @ V
        U, s, V = np.linalg.svd(D) ; U @ np.diag(s) @ V[:r]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; s[:r]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; D - (U[:, :r] * s[:r]) @ V[:r]
        U, s, V = np.linalg.svd(D, full_matrices=False) ; (U[:, :r] * s[:r]) @ V.T[:r]
        np.where(np.arange(D.shape[0])[:, None] < r, D, 0)
        D
        D[:r]
        D[:, :r] @ D[:r]
    """,
    "5.2": """
        e = np.cumsum(singular_values) ; int(np.argmax(e >= share * e[-1])) + 1
        e = np.cumsum(singular_values ** 2) ; int(np.argmax(e >= share * e[-1]))
        e = np.cumsum(singular_values ** 2) ; int(np.argmax(e > share * e[-1])) + 1
        e = np.cumsum(singular_values ** 2) ; int((e <= share * e[-1]).sum()) + 1
        e = np.cumsum(singular_values ** 2) ; int((e >= share * e[-1]).sum())
        e = np.cumsum(singular_values ** 2) ; int(np.argmax(e >= share)) + 1
        e = np.cumsum(singular_values ** 2) / np.sum(singular_values) ; int(np.argmax(e >= share)) + 1
        e = singular_values ** 2 ; int(np.argmax(e >= share * e.sum())) + 1
        int(np.ceil(share * len(singular_values)))
        e = np.cumsum(singular_values ** 2) ; int(np.searchsorted(e, share * e[-1]))
        e = np.cumsum(singular_values ** 2) ; e[e >= share * e[-1]][0]
        e = np.cumsum(singular_values ** 2) ; np.argmax(e >= share * e[-1]) + 2
        e = np.cumsum(singular_values[::-1] ** 2) ; int(np.argmax(e >= share * e[-1])) + 1
        int((singular_values >= share * singular_values[0]).sum())
        round(share * len(singular_values))
        e = np.cumsum(singular_values ** 2) ; int(np.argmax(e >= share ** 2 * e[-1])) + 1
        e = np.sqrt(np.cumsum(singular_values ** 2)) ; int(np.argmax(e >= share * e[-1])) + 1
    """,
    "6.1": """
        x @ W + (alpha / r) * (x @ A) @ B
        x @ W.T + (alpha / r) * (x @ B) @ A
        x @ W.T + (alpha / r) * (x @ A.T) @ B
        x @ W.T + alpha * (x @ A.T) @ B.T
        x @ W.T + (x @ A.T) @ B.T / r
        x @ W.T + (r / alpha) * (x @ A.T) @ B.T
        x @ W.T * (alpha / r) + (x @ A.T) @ B.T
        x @ W.T - (alpha / r) * (x @ A.T) @ B.T
        (alpha / r) * (x @ A.T) @ B.T
        x @ W.T
        W @ x + (alpha / r) * B @ A @ x
        x @ (W + (alpha / r) * B @ A)
        x @ W.T + (alpha / r) * (x @ A.T) * B.T
        x @ W.T + (alpha / r) * (x @ W.T @ A.T) @ B.T
        x @ W.T + (alpha / r) ** 0.5 * (x @ A.T) @ B.T
        x @ W.T + (alpha / r) ** 2 * (x @ A.T) @ B.T
        x @ W.T * ((alpha / r) * (x @ A.T) @ B.T)
        (x @ W.T + (alpha / r) * (x @ A.T) @ B.T) / 2
        x @ W.T + (alpha - r) * (x @ A.T) @ B.T
        np.maximum(x @ W.T + (alpha / r) * (x @ A.T) @ B.T, 0)
        x @ W.T + alpha / math.isqrt(r) * (x @ A.T) @ B.T
        x @ W.T + abs(alpha) / r * (x @ A.T) @ B.T
    """,
    "6.2": """
        s = alpha / r ; (s * B.T @ g.T @ x, s * g.T @ x @ A)
        s = alpha / r ; (s * (g @ B).T @ x, s * (x @ A.T).T @ g)
        s = alpha / r ; (s * x.T @ (g @ B), s * g.T @ (x @ A.T))
        s = alpha / r ; (s * (g @ B) @ x, s * g.T @ (x @ A.T))
        s = alpha / r ; ((g @ B).T @ x, s * g.T @ (x @ A.T))
        s = alpha / r ; (s * (g @ B).T @ x, g.T @ (x @ A.T))
        s = alpha / r ; (s * (g @ B).T @ x, s * s * g.T @ (x @ A.T))
        s = alpha / r ; (s * g.T @ (x @ A.T), s * (g @ B).T @ x)
        s = alpha / r ; (s * (g @ B).T @ x / len(x), s * g.T @ (x @ A.T) / len(x))
        s = alpha / r ; (s * (g @ B).T @ x / r, s * g.T @ (x @ A.T) / r)
        s = r / alpha ; (s * (g @ B).T @ x, s * g.T @ (x @ A.T))
        s = alpha ; (s * (g @ B).T @ x, s * g.T @ (x @ A.T))
        s = alpha / r ; (-s * (g @ B).T @ x, -s * g.T @ (x @ A.T))
        s = alpha / r ; (s * B.T @ x, s * g.T @ (x @ A.T))
        s = alpha / r ; (s * (g @ B).T @ x, s * g.T @ x)
        s = alpha / r ; (s * A, s * B)
        s = alpha / r ; s * (g @ B).T @ x
        s = alpha / r ; (s * (g @ B).T @ x, s * g.T @ (x @ A.T), g @ B @ A)
        s = alpha / r ; (A - s * (g @ B).T @ x, B - s * g.T @ (x @ A.T))
        s = alpha / r ; (s * (g @ B).T * x, s * g.T * (x @ A.T))
        s = alpha / r ; (s * np.ones_like(A), s * g.T @ (x @ A.T))
        s = alpha / r ; (2 * s * (g @ B).T @ x, 2 * s * g.T @ (x @ A.T))
        s = alpha / r ; (s * (g @ B).T @ x, s * np.sign(g).T @ (x @ A.T))
    """,
    "6.3": """
        g @ W.T + (alpha / r) * (g @ B) @ A
        g @ W
        (alpha / r) * (g @ B) @ A
        g @ W + (g @ B) @ A
        g @ W + alpha * (g @ B) @ A
        g @ W + (r / alpha) * (g @ B) @ A
        g @ W - (alpha / r) * (g @ B) @ A
        (alpha / r) * (g @ W + (g @ B) @ A)
        g @ W + (alpha / r) * (g @ A) @ B
        g @ W + (alpha / r) * (g @ B.T) @ A.T
        W.T @ g + (alpha / r) * A.T @ B.T @ g
        (g @ W) * ((alpha / r) * (g @ B) @ A)
        W + (alpha / r) * B @ A
        (g @ W + (alpha / r) * (g @ B) @ A).sum(axis=0)
        g @ (W + (alpha / r) * B @ A) / len(g)
        g @ (W + (alpha / r) * B @ A).T
        g @ W + (alpha / r) ** 2 * (g @ B) @ A
        g @ W + alpha // r * (g @ B) @ A
        -(g @ W + (alpha / r) * (g @ B) @ A)
    """,
    "7.1": """
        alpha / r
        alpha / r ** 0.5
        alpha / r if rank_stabilised else alpha / r ** 0.5
        alpha * r if not rank_stabilised else alpha * r ** 0.5
        alpha // r ** 0.5 if rank_stabilised else alpha // r
        alpha / r ** 2 if rank_stabilised else alpha / r
        (alpha / r) ** 0.5 if rank_stabilised else alpha / r
        r / alpha if not rank_stabilised else r ** 0.5 / alpha
        alpha ** 0.5 / r if rank_stabilised else alpha / r
        alpha / math.isqrt(r) if rank_stabilised else alpha / r
        alpha / int(r ** 0.5) if rank_stabilised else alpha / r
        alpha / r ** (1 / 3) if rank_stabilised else alpha / r
        alpha / 2 * r if not rank_stabilised else alpha / r ** 0.5
        alpha / np.log(r) if rank_stabilised else alpha / r
        alpha / (r + 1) if not rank_stabilised else alpha / r ** 0.5
        alpha / r ** 1 / 2 if rank_stabilised else alpha / r
        alpha / np.sqrt(r) + alpha / r
        None
    """,
    "7.2": """
        alpha * new_r / r
        alpha * r / new_r if not rank_stabilised else alpha * (r / new_r) ** 0.5
        alpha * new_r // r if not rank_stabilised else alpha * (new_r / r) ** 0.5
        alpha / r if not rank_stabilised else alpha / r ** 0.5
        alpha * new_r if not rank_stabilised else alpha * new_r ** 0.5
        alpha
        alpha * (new_r / r) ** 0.5
        alpha * (new_r / r) ** 2 if rank_stabilised else alpha * new_r / r
        alpha * new_r / r if rank_stabilised else alpha * (new_r / r) ** 0.5
        alpha / new_r if not rank_stabilised else alpha / new_r ** 0.5
        alpha * (new_r ** 0.5 / r) if rank_stabilised else alpha * new_r / r
        alpha + new_r - r
        alpha * (new_r - r)
        new_r
        alpha / r * new_r if not rank_stabilised else alpha / r * new_r ** 0.5
        alpha * np.sqrt(new_r) if rank_stabilised else alpha * new_r / r
        2 * new_r
    """,
    "8.1": """
        sum(o * i for o, i in shapes)
        sum(r * o * i for o, i in shapes)
        sum(r * o + i for o, i in shapes)
        sum(o + i for o, i in shapes)
        r * (shapes[0][0] + shapes[0][1])
        sum(2 * r * o for o, i in shapes)
        sum(r * (o + i) + r * r for o, i in shapes)
        r * (shapes[0][0] + shapes[0][1]) * len(shapes)
        sum(r * (o + i) for o, i in set(shapes))
        sum(r * (o + i) / 2 for o, i in shapes)
        sum(r * (o + i) + o * i for o, i in shapes)
        [r * (o + i) for o, i in shapes]
        sum(r * r * (o + i) for o, i in shapes)
        sum((r + o) * (r + i) for o, i in shapes)
        max(r * (o + i) for o, i in shapes)
        sum(r * (o - i) for o, i in shapes)
        sum(2 * r * (o + i) for o, i in shapes)
    """,
    "8.2": """
        (frozen + trained) * width
        frozen * width + trained * width
        frozen * width + trained * 4
        frozen * width + trained * 8
        frozen * width + trained * 12
        frozen * width + trained * 4 * width
        frozen * 16 + trained * 16
        trained * 16
        frozen * 4 + trained * 16
        frozen * width + trained * (width + 12)
        (frozen + trained) * width + trained * 16
        frozen * width * 2 + trained * 16
        frozen * width + trained * 16 * 8
        frozen + trained * 16
        (frozen - trained) * width + trained * 16
        frozen * width + trained * 20
        (frozen * width + trained * 16) / 1024
    """,
    "9.1": """
        budget / sum(o + i for o, i in shapes)
        round(budget / sum(o + i for o, i in shapes))
        math.ceil(budget / sum(o + i for o, i in shapes))
        budget // sum(o * i for o, i in shapes)
        budget // (shapes[0][0] + shapes[0][1])
        budget // sum(o for o, i in shapes)
        budget // sum(i for o, i in shapes)
        budget // max(o + i for o, i in shapes)
        budget // len(shapes) // (shapes[0][0] + shapes[0][1])
        max(1, budget // sum(o + i for o, i in shapes))
        budget // sum(o + i for o, i in shapes) + 1
        budget // sum(o + i for o, i in shapes) - 1
        (budget - 1) // sum(o + i for o, i in shapes)
        sum(budget // (o + i) for o, i in shapes)
        min(budget // (o + i) for o, i in shapes)
        budget % sum(o + i for o, i in shapes)
        budget // (2 * sum(o + i for o, i in shapes))
        min(budget // sum(o + i for o, i in shapes), min(min(s) for s in shapes))
        budget // sum(o + i for o, i in set(shapes))
    """,
    "9.2": """
        (np.mean(scores), np.std(scores))
        (np.mean(scores), np.var(scores, ddof=1))
        (np.mean(scores), np.var(scores))
        (np.mean(scores), max(scores) - min(scores))
        (np.mean(scores), np.std(scores, ddof=1) / len(scores) ** 0.5)
        (np.median(scores), np.std(scores, ddof=1))
        (sum(scores), np.std(scores, ddof=1))
        (np.std(scores, ddof=1), np.mean(scores))
        np.mean(scores)
        (np.mean(scores), np.std(scores, ddof=2))
        (np.mean(scores), np.std(scores) * len(scores) / (len(scores) - 1))
        m = np.mean(scores) ; (m, sum(abs(s - m) for s in scores) / len(scores))
        m = np.mean(scores) ; (m, sum((s - m) ** 2 for s in scores) ** 0.5)
        m = np.mean(scores) ; (m, sum(s - m for s in scores) / (len(scores) - 1))
        m = sum(scores) / (len(scores) - 1) ; (m, np.std(scores, ddof=1))
        (np.mean(scores), (max(scores) - min(scores)) / 2)
        m = np.mean(scores) ; (m, sum((s - m) ** 2 for s in scores) / (len(scores) - 1))
        (np.mean(scores), np.std(scores, ddof=1), len(scores))
        (max(scores), np.std(scores, ddof=1))
    """,
    "10.1": """
        x
        x.astype(np.float16).astype(np.float32)
        u = x.view(np.uint32) ; (u & np.uint32(0xFFFF0000)).view(np.float32)
        u = x.view(np.uint32) ; ((u + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
        u = x.view(np.uint32) ; ((u + np.uint32(0x7FFF)) & np.uint32(0xFFFF0000)).view(np.float32)
        u = x.view(np.uint32) ; ((u + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)
        np.round(x, 2)
        np.round(x, 3)
        u = x.view(np.uint32) ; (u >> np.uint32(16)).view(np.float32)
        u = x.view(np.uint32) ; u = u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1)) ; u & np.uint32(0xFFFF0000)
        u = x.view(np.uint32) ; u = u + np.uint32(0x7FFF) + ((u >> np.uint32(15)) & np.uint32(1)) ; (u & np.uint32(0xFFFF0000)).view(np.float32)
        u = x.view(np.uint32) ; u = u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1)) ; (u & np.uint32(0xFFFFFF00)).view(np.float32)
        u = x.view(np.uint32) ; u = u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1)) ; u.view(np.float32)
        u = x.view(np.uint32) ; u = u + np.uint32(0x8000) + ((u >> np.uint32(16)) & np.uint32(1)) ; (u & np.uint32(0xFFFF0000)).view(np.float32)
        u = x.view(np.int32) ; ((u // 65536) * 65536).view(np.float32)
        m, e = np.frexp(x) ; np.ldexp(np.round(m * 128) / 128, e)
        m, e = np.frexp(x) ; np.ldexp(np.floor(m * 256) / 256, e)
        x.astype(np.uint16)
    """,
    "10.2": """
        W + updates[order[0]]
        [W + updates[i] for i in range(len(order))]
        [updates[i] for i in order]
        [W for i in order]
        [W + sum(updates) for i in order]
        [W - updates[i] for i in order]
        [W + updates[i] for i in order[:-1]]
        [W + updates[i] for i in sorted(order)]
        [W + u for u in updates]
        [(W + updates[i]).astype(np.float16) for i in order]
        [W + updates[i - 1] for i in order]
        [W + updates[order[0]] - updates[order[0]] + updates[i] for i in order]
        [W + sum(updates[j] for j in order[: n + 1]) for n in range(len(order))]
        np.cumsum([W] + [updates[i] for i in order], axis=0)[1:]
        [W + updates[i] for i in set(order)]
        W + updates[order[-1]]
        [W * updates[i] for i in order]
        [W + updates[i] for i in order[::-1]]
    """,
    "11.1": """
        (A1 + A2, s1 * B1 + s2 * B2)
        (np.vstack([A1, A2]), np.hstack([B1, B2]))
        (np.vstack([s1 * A1, s2 * A2]), np.hstack([s1 * B1, s2 * B2]))
        (np.hstack([A1, A2]), np.vstack([s1 * B1, s2 * B2]))
        (np.vstack([A1, A2]), np.vstack([s1 * B1, s2 * B2]))
        (np.hstack([s1 * B1, s2 * B2]), np.vstack([A1, A2]))
        (np.vstack([A1, A2]), np.hstack([s2 * B2, s1 * B1]))
        (np.vstack([A1, A2]), np.hstack([s2 * B1, s1 * B2]))
        (np.vstack([A1, A2]), s1 * s2 * np.hstack([B1, B2]))
        (np.vstack([A1, A2]), (s1 + s2) * np.hstack([B1, B2]))
        (np.vstack([A1, A2]), np.hstack([s1 * B1, B2]))
        (np.vstack([A1, A2]), np.hstack([abs(s1) * B1, abs(s2) * B2]))
        (np.vstack([abs(s1) ** 0.5 * A1, abs(s2) ** 0.5 * A2]), np.hstack([abs(s1) ** 0.5 * B1, abs(s2) ** 0.5 * B2]))
        s1 * B1 @ A1 + s2 * B2 @ A2
        (A1, s1 * B1 @ A1 + s2 * B2 @ A2)
        (np.eye(A1.shape[1]), s1 * B1 @ A1 + s2 * B2 @ A2)
        (np.vstack([A1, A2]), np.hstack([s1 * B1, s2 * B2]) / 2)
        (np.vstack([A1, A2]), np.hstack([B1 / s1, B2 / s2]))
        (np.vstack([A1, A2]), np.hstack([s1 * B1, -s2 * B2]))
        (A1, s1 * B1)
    """,
    "12.1": """
        W + s * B @ A
        W + s * A @ B
        W + s * A.T @ B
        W.T + s * B @ A
        W + B.T @ A.T * s
        (W.T + s * B @ A)
        W - s * (B @ A).T
        W + (B @ A).T
        s * (B @ A).T
        W + s * s * (B @ A).T
        s * (W + (B @ A).T)
        W @ (s * (B @ A).T)
        W + (B @ A).T / s
        W + abs(s) * (B @ A).T
        W + (s * (B @ A) if (B @ A).shape == W.shape else s * (B @ A).T)
        W + s * (B * A).T
        (W + s * (B @ A).T).T
        W * (1 + s * (B @ A).T)
    """,
    "12.2": """
        (list(set(found) - set(expected)), list(set(expected) - set(found)), [k for k in expected if k in found and found[k] != expected[k]])
        ([k for k in expected if k not in found], [], [])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [k for k in expected if found.get(k) != expected[k]])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [k for k in expected if k in found and found[k] == expected[k]])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [k for k in expected if k in found and len(found[k]) != len(expected[k])])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [k for k in expected if k in found and found[k][0] != expected[k][0]])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [k for k in expected if k in found and sorted(found[k]) != sorted(expected[k])])
        ([k for k in expected if k not in found], [k for k in found if k not in expected])
        ([k for k in expected if k in found], [k for k in found if k in expected], [k for k in expected if k in found and found[k] != expected[k]])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [k for k in expected if found[k] != expected[k]])
        (len(set(expected) - set(found)), len(set(found) - set(expected)), 0)
        ([k for k in expected if not any(f.endswith(k) for f in found)], [k for k in found if k not in expected], [k for k in expected if k in found and found[k] != expected[k]])
        ([k for k in expected if k.removeprefix("base_model.model.") not in [f.removeprefix("base_model.model.") for f in found]], [k for k in found if k.removeprefix("base_model.model.") not in expected], [k for k in expected if k in found and found[k] != expected[k]])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [(k, found[k]) for k in expected if k in found and found[k] != expected[k]])
        ([k for k in expected if k not in found or found[k] != expected[k]], [k for k in found if k not in expected], [])
        expected == found
        ([k for k in expected if k not in found], list(found), [k for k in expected if k in found and found[k] != expected[k]])
        ([k for k in expected if k not in found], [k for k in found if k not in expected], [k for k in expected if k in found and np.prod(found[k]) != np.prod(expected[k])])
    """,
}  # fmt: skip


def wrong_answers(number):  # "6.1" -> the lines
    return [line.strip() for line in WRONG[number].strip().splitlines()]


def as_function(line, parameters):
    """The function of a line, with the parameters of its exercise."""
    *steps, result = line.split(" ; ")
    body = "".join(f"    {step}\n" for step in steps)
    namespace = {"np": np, "math": math}
    exec(f"def answer({', '.join(parameters)}):\n{body}    return {result}\n", namespace)
    return namespace["answer"]
