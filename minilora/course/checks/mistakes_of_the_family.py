"""The same for lessons 13 to 18."""

import math

import numpy as np


def unit(V, axis=1):
    return V / np.linalg.norm(V, axis=axis, keepdims=True)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def blocks(w, levels, size, absmax_of_zeros=0.0, code_of_zeros=None, whole=False):
    codes, absmax = [], []
    for start in range(0, len(w) - (size - 1 if whole else 0), size):
        block = w[start : start + size]
        top = np.abs(block).max()
        zero = np.abs(levels).argmin() if code_of_zeros is None else code_of_zeros
        codes += [int(np.abs(levels - v / top).argmin()) if top else int(zero) for v in block]
        absmax.append(top or absmax_of_zeros)
    return np.array(codes), np.array(absmax)


def decided(g, scale, good, interval, bad=lambda g: not np.isfinite(g).all(), again=0, skipped=None):
    if bad(g):
        return skipped(g, scale) if skipped else (False, np.zeros_like(g), scale / 2, 0)
    good += 1
    return (True, g / scale, 2 * scale, again) if good >= interval else (True, g / scale, scale, good)


def in_chunks(h, W, targets, size, result):
    """loss and dh of each chunk alone, put together by `result`."""
    parts = []
    for start in range(0, len(h), size):
        z, t = h[start : start + size] @ W.T, targets[start : start + size]
        z = z - z.max(axis=1, keepdims=True)
        dz = softmax(z)
        dz[np.arange(len(t)), t] -= 1
        losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(t)), t]
        parts.append((losses, dz))
    return result(parts)


def whole_chunks(h, W, targets, size):
    n = len(h) // size * size
    if not n:
        return 0.0, 0 * h
    losses, dz = in_chunks(h[:n], W, targets[:n], size, lambda parts: map(np.concatenate, zip(*parts, strict=True)))
    return losses.sum() / len(h), np.concatenate([dz @ W, 0 * h[n:]]) / len(h)


def logit_gradient(h, W, targets, size):
    losses, dz = in_chunks(h, W, targets, size, lambda parts: map(np.concatenate, zip(*parts, strict=True)))
    return losses.mean(), dz / len(h)


def mean_of_means(h, W, targets, size):
    def result(parts):
        means = [(losses.mean(), dz @ W / len(losses)) for losses, dz in parts]
        return np.mean([loss for loss, _ in means]), np.concatenate([dh for _, dh in means]) / len(means)

    return in_chunks(h, W, targets, size, result)


def adapted(W, A, B, alpha, r):
    return W + alpha / r * B @ A


def first_columns_of_R(W, r, alpha):
    Q, R = np.linalg.qr(W)
    return R[:, :r].T, Q[:, :r], W - alpha / r * Q[:, :r] @ R[:r]


def update_alone(W, A, B, m, alpha, r):
    return W + (m / np.linalg.norm(adapted(W, A, B, alpha, r), axis=1))[:, None] * (alpha / r * B @ A)


def smoothed(now, old, doubt, beta1, beta2):
    new = beta1 * old + (1 - beta1) * now
    return new, beta2 * doubt + (1 - beta2) * abs(now - new)


def ties_kept(scores, budget):
    if budget >= scores.size:
        return np.ones(scores.shape, bool)
    return scores >= np.sort(scores.ravel())[scores.size - budget] if budget else np.zeros(scores.shape, bool)


def olora(W, r, alpha, parts):
    A, B = parts(W, r)
    return A, B, W - alpha / r * B @ A


def apart(q, K, V, Pk, Pv):
    of_text, of_prefix = (softmax(k @ q / math.sqrt(len(q))) @ v if len(k) else None for k, v in ((K, V), (Pk, Pv)))
    return of_text if of_prefix is None else (of_text + of_prefix) / 2


OTHER = {
    "13.1": (
        (
            "size is taken for the number of blocks: it is how many numbers a block has",
            lambda w, levels, size: blocks(w, levels, math.ceil(len(w) / size)),
        ),
        ("the last, shorter block is left out", lambda w, levels, size: blocks(w, levels, size, whole=True)),
        ("the absmax of a block of zeros is 1 instead of 0", lambda w, levels, size: blocks(w, levels, size, 1.0)),
        (
            "a block of zeros gets the code 0, which is the level -1",
            lambda w, levels, size: blocks(w, levels, size, 0.0, 0),
        ),
    ),
    "13.3": (
        (
            "the absmax is counted in bytes and the code in bits: a float32 number has 32 bits",
            lambda size, second: 4 + (4 / size if second is None else 1 / size + 4 / (size * second)),
        ),
        (
            "the divisions are in whole numbers, with //",
            lambda size, second: 4 + (32 // size if second is None else 8 // size + 32 // (size * second)),
        ),
    ),
    "14.1": (
        ("only nan is looked for: inf must skip the step too", lambda *c: decided(*c, bad=lambda g: np.isnan(g).any())),
        ("only inf is looked for: nan must skip the step too", lambda *c: decided(*c, bad=lambda g: np.isinf(g).any())),
        (
            "the step is skipped only where no element is finite; one that is not is enough",
            lambda *c: decided(*c, bad=lambda g: not np.isfinite(g).any()),
        ),
        (
            "only what is not finite is set to zero; the whole gradient of a skipped step is zeros",
            lambda *c: decided(*c, skipped=lambda g, s: (False, np.where(np.isfinite(g), g, 0) / s, s / 2, 0)),
        ),
        (
            "the gradient of a skipped step is divided by the scale; zeros are wanted",
            lambda *c: decided(*c, skipped=lambda g, s: (False, g / s, s / 2, 0)),
        ),
        (
            "the scale is doubled after every step: it must wait until good reaches the interval",
            lambda g, scale, good, interval: (*decided(g, scale, 0, 1)[:3], good + 1 if np.isfinite(g).all() else 0),
        ),
        ("the counter starts again at 1 after the scale was doubled", lambda *c: decided(*c, again=1)),
        (
            "the step is taken all the same, with 0 in place of what is not finite",
            lambda *c: decided(*c, skipped=lambda g, s: (True, np.where(np.isfinite(g), g, 0) / s, s / 2, 0)),
        ),
    ),
    "14.2": (
        (
            "the targets of the first chunk are used for every chunk",
            lambda h, W, targets, size: in_chunks(
                h,
                W,
                np.resize(targets[:size], len(h)),
                size,
                lambda parts: (
                    sum(p[0].sum() for p in parts) / len(h),
                    np.concatenate([p[1] for p in parts]) @ W / len(h),
                ),
            ),
        ),
        ("the mean of the chunks' means is taken: a shorter chunk counts too much", mean_of_means),
        ("the last, shorter chunk is left out", whole_chunks),
        ("the gradient for the logits is returned, not that for h", logit_gradient),
    ),
    "15.1": (
        (
            "the lengths are those of the columns of V; the rows are meant",
            lambda x, W, A, B, m, alpha, r: x @ (m[:, None] * unit(adapted(W, A, B, alpha, r), axis=0)).T,
        ),
        (
            "the rows of the output are divided by their length; the rows of V are meant",
            lambda x, W, A, B, m, alpha, r: m * unit(x @ adapted(W, A, B, alpha, r).T),
        ),
        (
            "only the update gets the length m; the whole row of V = W + s B A gets it",
            lambda x, W, A, B, m, alpha, r: x @ update_alone(W, A, B, m, alpha, r).T,
        ),
    ),
    "15.3": (
        (
            "the lengths are those of the columns of V; the rows are meant",
            lambda W, A, B, m, alpha, r: m[:, None] * unit(adapted(W, A, B, alpha, r), axis=0),
        ),
        (
            "only W gets the length m, and the update is added afterwards",
            lambda W, A, B, m, alpha, r: m[:, None] * unit(W) + alpha / r * B @ A,
        ),
        ("only the update gets the length m; the whole row of V = W + s B A gets it", update_alone),
    ),
    "16.1": (
        (
            "nothing is smoothed: only what is new is returned",
            lambda p, g, old, doubt, beta1, beta2: (abs(p * g), abs(abs(p * g) - old)),
        ),
        (
            "only p loses its sign: the size of p · g is meant",
            lambda p, g, old, doubt, beta1, beta2: smoothed(abs(p) * g, old, doubt, beta1, beta2),
        ),
        (
            "the larger of old and new is kept, in place of a running mean",
            lambda p, g, old, doubt, beta1, beta2: (
                np.maximum(old, abs(p * g)),
                np.maximum(doubt, np.maximum(old - abs(p * g), 0)),
            ),
        ),
        (
            "the sizes of p and g are added; the size of their product is meant",
            lambda p, g, old, doubt, beta1, beta2: (
                beta1 * old + (1 - beta1) * (abs(p) + abs(g)),
                beta2 * doubt + (1 - beta2) * beta1 * abs(abs(p) + abs(g) - old),
            ),
        ),
    ),
    "16.2": (("equal scores all stay, more than the budget allows", ties_kept),),
    "17.2": (
        (
            "the transpose of W is taken apart, so that the rows of A0 are at right angles and not the columns of B0",
            lambda W, r, alpha: olora(
                W,
                r,
                alpha,
                lambda W, r: [part[:, :r].T if i == 0 else part[:r].T for i, part in enumerate(np.linalg.qr(W.T))],
            ),
        ),
        (
            "all of Q and R are returned: B0 has r columns, and A0 has r rows",
            lambda W, r, alpha: olora(W, r, alpha, lambda W, r: np.linalg.qr(W)[::-1]),
        ),
        (
            "A0 is the first r columns of R; it is its first r rows",
            first_columns_of_R,
        ),
        (
            "A0 is the first rows of W; it is the first rows of R",
            lambda W, r, alpha: olora(W, r, alpha, lambda W, r: (W[:r], np.linalg.qr(W)[0][:, :r])),
        ),
    ),
    "17.3": (
        (
            "B has the rate lr and A a smaller one: lr is the rate of A",
            lambda names, lr, ratio: [lr if ".lora_B." in n else lr / ratio for n in names],
        ),
        (
            "the ratio is added to the rate of B",
            lambda names, lr, ratio: [lr + ratio if ".lora_B." in n else lr for n in names],
        ),
    ),
    "18.1": (
        (
            "only the value of the best key is taken: the softmax is a mean of all",
            lambda q, K, V, Pk, Pv: np.vstack([Pv, V])[np.argmax(np.vstack([Pk, K]) @ q)],
        ),
        (
            "prefix and text have a softmax each, and the mean of the two results is taken",
            apart,
        ),
        (
            "the scores are divided by the root of the number of keys; the width d is meant",
            lambda q, K, V, Pk, Pv: softmax(np.vstack([Pk, K]) @ q / math.sqrt(len(Pk) + len(K))) @ np.vstack([Pv, V]),
        ),
        (
            "only the scores of the text are divided by the root of d; those of the prefix are divided too",
            lambda q, K, V, Pk, Pv: softmax(np.concatenate([Pk @ q, K @ q / math.sqrt(len(q))])) @ np.vstack([Pv, V]),
        ),
        (
            "the scores themselves are the weights: the softmax is left out",
            lambda q, K, V, Pk, Pv: np.vstack([Pk, K]) @ q / math.sqrt(len(q)) @ np.vstack([Pv, V]),
        ),
    ),
}
