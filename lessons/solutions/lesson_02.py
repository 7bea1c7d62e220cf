"""Solutions of lesson 2."""


def unbroadcast(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))  # axes that broadcasting put in front
    for i, n in enumerate(shape):
        if n == 1:
            g = g.sum(axis=i, keepdims=True)  # an axis of size 1 that was stretched
    return g


def matmul_backward(A, B, G):
    return G @ B.T, A.T @ G  # (m, n) (n, k) and (k, m) (m, n)


def softmax_backward(p, g):
    return p * (
        g - (g * p).sum(axis=-1, keepdims=True)
    )  # Σ_i g_i p_i (δ_ij - p_j), with p_j taken out
