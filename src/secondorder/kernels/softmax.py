"""Pointwise loops of the softmax cross-entropy with class codes as targets."""

import math
from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.elementary import add, exp_negative
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
def _evaluate(S, y, s, G, P, value, start, stop):
    n_classes = S.shape[1]
    E = np.empty((max(1, BLOCK // n_classes), n_classes))
    for i in range(start, stop, len(E)):
        rows = min(len(E), stop - i)
        _exponentials(S, i, rows, E)
        for r in range(rows):
            at = 0
            for k in range(1, n_classes):
                if S[i + r, k] > S[i + r, at]:
                    at = k
            e, target, weight = E[r], y[i + r], s[i + r]
            e[at] = 0.0
            rest = 0.0
            for k in range(n_classes):
                rest += e[k]
            e[at] = 1.0
            others = rest if target == at else rest - e[target] + 1.0
            scale = 1.0 / (1.0 + rest)
            p, g = P[i + r], G[i + r]
            for k in range(n_classes):
                p[k] = scale * e[k]
            for k in range(n_classes):
                g[k] = weight * p[k]
            g[target] = -weight * others * scale
            add(value, weight * (S[i + r, at] - S[i + r, target] + math.log1p(rest)))


def evaluate(S: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss, ``s (p - y)`` and the probabilities ``p``, both (n, K)."""
    G, P = np.empty((2, *S.shape))  # at once: the larger, the larger the pages it is mapped in
    parts = list(pairwise(row_bounds(S.shape[0], S.size * OPERATIONS)))
    values = np.zeros((len(parts), 2))
    run(_evaluate, [(S, y, s, G, P, value, *part) for value, part in zip(values, parts, strict=True)])
    return float(values.sum()), G, P


@kernel
def _curvatures(d, u, out):
    for i in range(len(d)):
        at = 0
        for k in range(1, d.shape[1]):
            if d[i, k] > d[i, at]:
                at = k
        rest = 0.0
        for k in range(d.shape[1]):
            rest += 0.0 if k == at else u[i, k]
        for k in range(d.shape[1]):
            out[i, k] = u[i, k] * (rest if k == at else rest - u[i, k] + u[i, at])


def curvatures(d: np.ndarray, u: np.ndarray) -> np.ndarray:
    """``diag(H_i)`` of a shift-invariant `OutputHessian` for every row, shape (n, K)."""
    out = np.empty_like(d)
    parts = pairwise(row_bounds(d.shape[0], d.size))
    run(_curvatures, [(d[a:b], u[a:b], out[a:b]) for a, b in parts])
    return out
