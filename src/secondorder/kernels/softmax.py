"""Pointwise loops of the softmax cross-entropy with class codes as targets."""

import math
from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.threads import row_bounds, run

OPERATIONS = 32  # an exponential, counted as multiplications


@kernel
def _value(S, y, out, start, stop):
    n_classes = S.shape[1]
    for i in range(start, stop):
        top, at = S[i, 0], 0
        for k in range(1, n_classes):
            if S[i, k] > top:
                top, at = S[i, k], k
        rest = 0.0
        for k in range(n_classes):
            if k != at:
                rest += math.exp(S[i, k] - top)
        out[i] = top - S[i, y[i]] + math.log1p(rest)


@kernel
def _derivatives(S, y, s, G, P, start, stop):
    n_classes = S.shape[1]
    for i in range(start, stop):
        top = S[i, 0]
        for k in range(1, n_classes):
            top = max(top, S[i, k])
        total = 0.0
        for k in range(n_classes):
            P[i, k] = math.exp(S[i, k] - top)
            total += P[i, k]
        others = 0.0
        for k in range(n_classes):
            P[i, k] /= total
            G[i, k] = s[i] * P[i, k]
            if k != y[i]:
                others += P[i, k]
        G[i, y[i]] = -s[i] * others


def value(S: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Loss of each row."""
    out = np.empty(S.shape[0])
    bounds = row_bounds(S.shape[0], S.size * OPERATIONS)
    run(_value, [(S, y, out, *b) for b in pairwise(bounds)])
    return out


def derivatives(S: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``s (p - y)`` and the probabilities ``p``, both (n, K)."""
    G, P = np.empty_like(S), np.empty_like(S)
    bounds = row_bounds(S.shape[0], S.size * OPERATIONS)
    run(_derivatives, [(S, y, s, G, P, *b) for b in pairwise(bounds)])
    return G, P
