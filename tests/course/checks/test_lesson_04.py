import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("4.1", says="layer norm")
def layer_norm(x, w, eps):
    x = x - x.mean(axis=-1, keepdims=True)
    return w * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)


@answers.wrong("4.1", says="divided by its length")
def unit_length(x, w, eps):
    return w * x / np.sqrt((x**2).sum(axis=-1, keepdims=True) + eps)


@answers.wrong("4.1", says="after the root")
def eps_outside(x, w, eps):
    return w * x / (np.sqrt((x**2).mean(axis=-1, keepdims=True)) + eps)


@answers.wrong("4.1", says="ValueError")
def forgets_keepdims(x, w, eps):
    return w * x / np.sqrt((x**2).mean(axis=-1) + eps)


@answers.wrong("4.1", says="changes its first argument")
def in_place(x, w, eps):
    x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return x * w


@answers.right("4.1")
def einsum(x, w, eps):
    inverse = (np.einsum("...i,...i->...", x, x) / x.shape[-1] + eps) ** -0.5
    return np.einsum("...i,...,i->...i", x, inverse, w)


@answers.right("4.1")
def row_by_row(x, w, eps):
    rows = [w * r / np.sqrt(np.linalg.norm(r) ** 2 / len(r) + eps) for r in x.reshape(-1, x.shape[-1])]
    return np.reshape(rows, x.shape)


def softmax(x):
    e = np.exp(x)
    return e / np.maximum(e.sum(axis=-1, keepdims=True), 1e-300)


@answers.wrong("4.2", says="not divided by √hd")
def unscaled(q, k, v):
    scores = q @ k.T
    scores[np.triu_indices(len(q), 1)] = -np.inf
    return softmax(scores) @ v


@answers.wrong("4.2", says="a token sees the next one too")
def sees_one_ahead(q, k, v):
    scores = q @ k.T / np.sqrt(q.shape[1])
    scores[np.triu_indices(len(q), 2)] = -np.inf
    return softmax(scores) @ v


@answers.wrong("4.2", says="the first token sees only itself")
def does_not_see_itself(q, k, v):
    scores = q @ k.T / np.sqrt(q.shape[1])
    scores[np.triu_indices(len(q), 0)] = -1e9
    return softmax(scores) @ v


@answers.wrong("4.2", says="there is no mask")
def no_mask(q, k, v):
    return softmax(q @ k.T / np.sqrt(q.shape[1])) @ v


@answers.wrong("4.2", says="e^0 is 1")
def multiplies_the_scores_by_the_mask(q, k, v):
    return softmax(q @ k.T / np.sqrt(q.shape[1]) * np.tri(len(q))) @ v


@answers.wrong("4.2", says="no longer add up to 1")
def cuts_after_the_softmax(q, k, v):
    return (softmax(q @ k.T / np.sqrt(q.shape[1])) * np.tri(len(q))) @ v


@answers.wrong("4.2", says="looks into the future")
def transposed_scores(q, k, v):
    scores = k @ q.T / np.sqrt(q.shape[1])
    scores[np.tril_indices(len(q), -1)] = -np.inf
    scores[0, 1:] = -np.inf
    return softmax(scores) @ v


@answers.right("4.2")
def loops(q, k, v):
    out = []
    for i in range(len(q)):
        w = np.exp(q[i] @ k[: i + 1].T / q.shape[1] ** 0.5)
        out.append((w / w.sum()) @ v[: i + 1])
    return out


@answers.right("4.2")
def cuts_and_divides_again(q, k, v):
    e = np.tril(np.exp(np.einsum("ih,jh->ij", q, k) / np.sqrt(q.shape[1])))
    return np.einsum("ij,jh,i->ih", e, v, 1 / e.sum(axis=1))


@answers.wrong("4.3", says="as wide as queries")
def not_grouped(vocab, d, m, layers, heads, kv_heads, tied):
    return vocab * d * (2 - tied) + layers * (4 * d * d + 3 * d * m + 2 * d) + d


@answers.wrong("4.3", says="norm weights are forgotten")
def no_norms(vocab, d, m, layers, heads, kv_heads, tied):
    return vocab * d * (2 - tied) + layers * (2 * d * d + 2 * d * d // heads * kv_heads + 3 * d * m)


@answers.wrong("4.3", says="two matrices instead of three")
def old_mlp(vocab, d, m, layers, heads, kv_heads, tied):
    return vocab * d * (2 - tied) + layers * (2 * d * d + 2 * d * d // heads * kv_heads + 2 * d * m + 2 * d) + d


@answers.wrong("4.3", says="counted a second time")
def tied_twice(vocab, d, m, layers, heads, kv_heads, tied):
    return 2 * vocab * d + layers * (2 * d * d + 2 * d * d // heads * kv_heads + 3 * d * m + 2 * d) + d


@answers.wrong("4.3", says="too many")
def with_biases(vocab, d, m, layers, heads, kv_heads, tied):
    return vocab * d * (2 - tied) + layers * (2 * d * d + 2 * d * d // heads * kv_heads + 3 * d * m + 6 * d) + d


@answers.right("4.3")
def shape_by_shape(vocab, d, m, layers, heads, kv_heads, tied):
    kv = kv_heads * (d / heads)
    shapes = [(d, d), (kv, d), (kv, d), (d, d), (m, d), (m, d), (d, m), (d, 1), (d, 1)] * layers
    shapes += [(vocab, d), (d, 1)] + ([] if tied else [(vocab, d)])
    return sum(a * b for a, b in shapes)


@answers.right("4.3")
def factored(vocab, d, m, layers, heads, kv_heads, tied):
    block = d * (2 * d * (1 + kv_heads / heads) + 3 * m + 2)
    return np.int64(layers * block + d * (1 + vocab * (2 - int(tied))))


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
