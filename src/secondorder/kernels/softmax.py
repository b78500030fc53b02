"""Pointwise loops of the softmax cross-entropy with class codes as targets."""

import math
from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.elementary import exp_negative
from secondorder.kernels.threads import row_bounds, run

BLOCK = 1024  # exponentials in flight
OPERATIONS = 8  # an exponential, counted as multiplications


@kernel
def _exponentials(S, i, rows, E):
    """``E[r] = exp(S[i + r] - its maximum)`` for the rows of a block."""
    for r in range(rows):
        top = S[i + r, 0]
        for k in range(1, S.shape[1]):
            top = max(top, S[i + r, k])
        for k in range(S.shape[1]):
            E[r, k] = S[i + r, k] - top
    flat = E[:rows].reshape(-1)
    for at in range(len(flat)):
        flat[at] = exp_negative(flat[at])


@kernel
def _value(S, y, out, start, stop):
    n_classes = S.shape[1]
    E = np.empty((max(1, BLOCK // n_classes), n_classes))
    for i in range(start, stop, len(E)):
        rows = min(len(E), stop - i)
        _exponentials(S, i, rows, E)
        for r in range(rows):
            top, at = S[i + r, 0], 0
            for k in range(1, n_classes):
                if S[i + r, k] > top:
                    top, at = S[i + r, k], k
            E[r, at] = 0.0
            rest = 0.0
            for k in range(n_classes):
                rest += E[r, k]
            out[i + r] = top - S[i + r, y[i + r]] + math.log1p(rest)


@kernel
def _derivatives(S, y, s, G, P, start, stop):
    n_classes = S.shape[1]
    E = np.empty((max(1, BLOCK // n_classes), n_classes))
    for i in range(start, stop, len(E)):
        rows = min(len(E), stop - i)
        _exponentials(S, i, rows, E)
        for r in range(rows):
            total = 0.0
            for k in range(n_classes):
                total += E[r, k]
            inverse, weight = 1.0 / total, s[i + r]
            for k in range(n_classes):
                P[i + r, k] = E[r, k] * inverse
                G[i + r, k] = weight * P[i + r, k]
            target = y[i + r]
            E[r, target] = 0.0
            others = 0.0
            for k in range(n_classes):
                others += E[r, k]
            G[i + r, target] = -weight * others * inverse


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
