"""Solutions of lesson 6."""


def lora_forward(x, W, A, B, alpha, r):
    return x @ W.T + (alpha / r) * (x @ A.T) @ B.T


def lora_gradients(x, g, A, B, alpha, r):
    s = alpha / r
    u = x @ A.T  # (N, r)   the narrow result
    v = s * g @ B  # (N, r)   its gradient
    return v.T @ x, s * g.T @ u  # (r, in), (out, r)


def input_gradient(g, W, A, B, alpha, r):
    return g @ W + (alpha / r) * (g @ B) @ A
