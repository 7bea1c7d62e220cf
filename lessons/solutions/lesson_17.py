"""Solutions of lesson 17."""

import numpy as np


def pissa_start(W, r, alpha):
    s = alpha / r
    U, S, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(S[:r] / s)
    A0, B0 = root[:, None] * Vt[:r], U[:, :r] * root
    return A0, B0, W - s * B0 @ A0


def olora_start(W, r, alpha):
    Q, R = np.linalg.qr(W)
    A0, B0 = R[:r], Q[:, :r]
    return A0, B0, W - alpha / r * B0 @ A0


def two_rates(names, lr, ratio):
    return [lr * ratio if ".lora_B." in name else lr for name in names]
