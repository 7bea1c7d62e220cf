import numpy as np
from exercise_answers import Answers

from minilora import Tensor, ops
from minilora.nn import Parameter
from minilora.training.precision import Float16

answers = Answers()


@answers.wrong("14.1", says="an element is nan")
def looks_for_inf(g, scale, good, interval):
    if np.isinf(g).any():
        return False, np.zeros_like(g), scale / 2, 0
    grown = good + 1 == interval
    return True, g / scale, scale * (2 if grown else 1), 0 if grown else good + 1


@answers.wrong("14.1", says="is enough to skip")
def needs_all_broken(g, scale, good, interval):
    return (True, g / scale, scale, good + 1) if np.isfinite(g).any() else (False, 0 * g, scale / 2, 0)


@answers.wrong("14.1", says="only where no element is finite")
def skips_where_all_is_broken(g, scale, good, interval):
    if not np.isfinite(g).any():
        return False, np.zeros(g.shape), scale / 2, 0
    grown = good + 1 == interval
    return True, g / scale, scale * (2 if grown else 1), 0 if grown else good + 1


@answers.wrong("14.1", says="`if not np.isfinite(g).all():` is left out")
def never_skips(g, scale, good, interval):
    grown = good + 1 == interval
    return True, g / scale, scale * (2 if grown else 1), 0 if grown else good + 1


@answers.wrong("14.1", says="multiplied by the scale")
def scales_again(g, scale, good, interval):
    taken, _, new, good = as_the_library(g, scale, good, interval)
    return taken, g * scale if taken else np.zeros_like(g), new, good


@answers.wrong("14.1", says="divided by the new scale")
def grows_first(g, scale, good, interval):
    if not np.isfinite(g).all():
        return False, np.zeros_like(g), scale / 2, 0
    good += 1
    if good == interval:
        scale, good = 2 * scale, 0
    return True, g / scale, scale, good


@answers.wrong("14.1", says="changes its first argument")
def divides_in_place(g, scale, good, interval):
    result = as_the_library(g.copy(), scale, good, interval)
    g /= scale
    return result


@answers.wrong("14.1", says="expected 4 values")
def gradient_alone(g, scale, good, interval):
    return g / scale if np.isfinite(g).all() else None


@answers.right("14.1")
def as_the_library(g, scale, good, interval):
    from minilora.training import precision

    own, p, before = Float16(), Parameter(g.shape, data=g), precision.GROWTH_INTERVAL
    own.scale, own.good_steps, p.grad = scale, good, g.copy()
    precision.GROWTH_INTERVAL = interval
    taken = own.unscale_([p])
    precision.GROWTH_INTERVAL = before
    return taken, p.grad if taken else 0 * np.nan_to_num(g), own.scale, own.good_steps


@answers.right("14.1")
def by_the_sum(g, scale, good, interval):
    if not np.isfinite(np.abs(g).sum()):
        return [0, [[0.0] * g.shape[1]] * len(g) if g.ndim == 2 else [0.0] * len(g), 0.5 * scale, 0]
    rounds, good = divmod(good + 1, interval)
    return [1, g * (1 / scale), scale * 2**rounds, good]


@answers.wrong("14.2", says="means of the chunks are averaged")
def averages_the_chunks(h, W, targets, size):
    starts = range(0, len(h), size)
    losses = [whole(h[s : s + size], W, targets[s : s + size])[0] for s in starts]
    return np.mean(losses), whole(h, W, targets)[1]


@answers.wrong("14.2", says="by the rows of its chunk")
def each_chunk_its_own_mean(h, W, targets, size):
    starts = range(0, len(h), size)
    dh = [whole(h[s : s + size], W, targets[s : s + size])[1] for s in starts]
    return whole(h, W, targets)[0], np.concatenate(dh)


@answers.wrong("14.2", says="e^z overflows")
def plain_softmax(h, W, targets, size):
    p = np.exp(h @ W.T)
    p /= p.sum(axis=1, keepdims=True)
    at = np.arange(len(h)), targets
    loss = -np.log(p[at]).mean()
    p[at] -= 1
    return loss, p @ W / len(h)


@answers.wrong("14.2", says="not taken away")
def softmax_alone(h, W, targets, size):
    z = h @ W.T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return whole(h, W, targets)[0], p @ W / len(h)


@answers.wrong("14.2", says="dh has the shape")
def gradient_of_the_logits(h, W, targets, size):
    z = Tensor(h @ W.T, requires_grad=True)
    loss = ops.cross_entropy(z, targets)
    loss.backward()
    return loss, z.grad


@answers.wrong("14.2", says="the logits of all rows are 4,800 KB")
def whole(h, W, targets, size=None):
    x = Tensor(h, requires_grad=True)
    loss = ops.cross_entropy(ops.linear(x, Tensor(W)), targets)
    loss.backward()
    return loss.item(), x.grad


@answers.right("14.2")
def row_by_row(h, W, targets, size):
    total, dh = 0.0, []
    for row, target in zip(h, targets, strict=True):
        z = W @ row
        p = np.exp(z - z.max())
        total += np.log(p.sum()) + z.max() - z[target]
        dh.append((p / p.sum() @ W - W[target]) / len(h))
    return total / len(h), dh


@answers.right("14.2")
def in_slices_of_the_library(h, W, targets, size):
    dh, total = np.zeros_like(h), 0.0
    for rows in (slice(i, i + size) for i in range(0, len(h), size)):
        x = Tensor(h[rows], requires_grad=True)
        loss = ops.cross_entropy(ops.linear(x, Tensor(W)), targets[rows])
        loss.backward()
        share = len(h[rows]) / len(h)
        total, dh[rows] = total + share * loss.item(), share * x.grad
    return total, dh


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
