import numpy as np
from exercise_answers import Answers

from minilora import Tensor
from minilora.nn import Parameter
from minilora.training.optim import AdamW

answers = Answers()


@answers.wrong("3.1", says="goes uphill")
def adds_the_gradient(W, x, y, lr):
    return W + lr * (x @ W.T - y).T @ x / len(x)


@answers.wrong("3.1", says="without dividing by N")
def sums_over_the_rows(W, x, y, lr):
    new = W.copy()
    for row, wanted in zip(x, y, strict=True):
        new -= lr * np.outer(W @ row - wanted, row)
    return new


@answers.wrong("3.1", says="all N · out numbers")
def mean_of_everything(W, x, y, lr):
    return W - lr * (x @ W.T - y).T @ x / y.size


@answers.wrong("3.1", says="cancels the 2")
def keeps_the_two(W, x, y, lr):
    return W - lr * 2 * (x @ W.T - y).T @ x / len(x)


@answers.wrong("3.1", says="gradient dW is returned")
def gradient_alone(W, x, y, lr):
    return (x @ W.T - y).T @ x / len(x)


@answers.wrong("3.1", says="changes its first argument")
def moves_W_itself(W, x, y, lr):
    W -= lr * (x @ W.T - y).T @ x / len(x)
    return W


@answers.wrong("3.1", says="has the shape (2, 2), expected (1, 2)")
def broadcasts_by_accident(W, x, y, lr):
    return W - lr * x.T @ (x @ W.T - y) / len(x)


@answers.wrong("3.1", says="the new W where every prediction is right already")
def shrinks_toward_zero(W, x, y, lr):
    return (1 - lr) * W


@answers.right("3.1")
def with_the_tape(W, x, y, lr):
    w = Tensor(W, requires_grad=True)
    error = Tensor(x) @ w.transpose(1, 0) - Tensor(y)
    ((error * error).sum() * (0.5 / len(x))).backward()
    return W - lr * w.grad


@answers.right("3.1")
def number_by_number(W, x, y, lr):
    new = W.tolist()
    for o in range(len(W)):
        for i in range(x.shape[1]):
            new[o][i] -= lr * np.mean([(W[o] @ x[n] - y[n, o]) * x[n, i] for n in range(len(x))])
    return new


@answers.wrong("3.2", says="correction 1 - betaᵗ is left out")
def uncorrected(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p * (1 - lr * decay) - lr * m / (np.sqrt(v) + eps), m, v


@answers.wrong("3.2", says="inside the root")
def eps_in_the_root(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p * (1 - lr * decay) - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


@answers.wrong("3.2", says="AdamW keeps it out of m and v")
def adam_with_a_penalty(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    g = g + decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@answers.wrong("3.2", says="corrected m and v are returned")
def hands_on_the_corrected_means(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
    v = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**t)
    return p * (1 - lr * decay) - lr * m / (np.sqrt(v) + eps), m, v


@answers.wrong("3.2", says="expected 3 values: return p, m, v")
def p_alone(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    return p - lr * np.sign(g)


@answers.wrong("3.2", says="changes its third argument")
def means_in_place(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m *= beta1
    m += (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p * (1 - lr * decay) - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@answers.wrong("3.2", says="without the power t")
def one_correction_for_all_steps(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p * (1 - lr * decay) - lr * m / (1 - beta1) / (np.sqrt(v / (1 - beta2)) + eps), m, v


@answers.right("3.2")
def with_the_library(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    P = Parameter(p.shape, data=p.copy())
    optimizer = AdamW([P], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    optimizer.steps[0] = t - 1
    optimizer.state[0] = {"exp_avg": m.copy(), "exp_avg_sq": v.copy()}
    P.grad = g
    optimizer.step()
    return P.data, optimizer.state[0]["exp_avg"], optimizer.state[0]["exp_avg_sq"]


@answers.right("3.2")
def as_differences(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = m + (g - m) * (1 - beta1)
    v = v + (g * g - v) * (1 - beta2)
    size = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return [p - lr * decay * p - size * m / (np.sqrt(v) + eps * np.sqrt(1 - beta2**t)), m, v]


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
