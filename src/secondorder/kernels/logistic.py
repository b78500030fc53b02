"""Pointwise loops of the logistic loss."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.elementary import add, exp_negative, log1p_fraction
from secondorder.kernels.threads import row_bounds, run

BLOCK = 1024  # rows in flight
OPERATIONS = 8  # an exponential and a logarithm, counted as multiplications


@kernel
def _exponentials(z, e):
    for r in range(len(e)):
        e[r] = exp_negative(-abs(z[r]))


@kernel
def _first(z, y, s, e, G):
    for r in range(len(e)):
        small, large = e[r] / (1.0 + e[r]), 1.0 / (1.0 + e[r])
        p, q = (large, small) if z[r] >= 0 else (small, large)
        G[r] = s[r] * ((1.0 - y[r]) * p - y[r] * q)


@kernel
def _second(s, e, d):
    for r in range(len(e)):
        d[r] = s[r] * e[r] / ((1.0 + e[r]) * (1.0 + e[r]))


@kernel
def _loss(z, y, s, e):
    """The loss of each row, in place of `e`."""
    for r in range(len(e)):
        toward = (1.0 - y[r]) * z[r] if z[r] > 0 else -y[r] * z[r]
        e[r] = s[r] * (toward + log1p_fraction(e[r]))


@kernel
def _add_columns(e, sums):
    """The sums of the columns of a matrix given row after row."""
    n_outputs = len(sums)
    if n_outputs == 1:
        total = 0.0
        for r in range(len(e)):
            total += e[r]
        sums[0] = total
        return
    sums[:] = 0.0
    for r in range(0, len(e), n_outputs):
        for k in range(n_outputs):
            sums[k] += e[r + k]


@kernel
def _evaluate(S, y, s, G, d, totals, start, stop):
    """By blocks, one array after the other: a loop with all of them is too much for the vectoriser."""
    n_outputs = S.shape[1]
    rows = max(1, BLOCK // n_outputs)
    room, targets, sums = np.empty((2, rows * n_outputs)), np.empty(rows * n_outputs), np.empty(n_outputs)
    for i in range(start, stop, rows):
        j = min(i + rows, stop)
        m = (j - i) * n_outputs
        z, weights, e, t = S[i:j].ravel(), s[i:j].ravel(), room[0, :m], targets[:m]
        for r in range(i, j):
            for k in range(n_outputs):
                t[(r - i) * n_outputs + k] = y[r]
        _exponentials(z, e)
        _first(z, t, weights, e, G[i:j].ravel())
        _second(weights, e, d[i:j].ravel())
        _loss(z, t, weights, e)
        _add_columns(e, sums)
        for k in range(n_outputs):
            add(totals[k], sums[k])


def evaluate(S: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loss of every output (K,), ``s (p - y)`` and ``s p (1 - p)``, both (n, K); y (n,), s (n, K)."""
    n, n_outputs = S.shape
    G, d = np.empty((2, n, n_outputs))  # at once: the larger, the larger the pages it is mapped in
    parts = list(pairwise(row_bounds(n, n * n_outputs * OPERATIONS)))
    totals = np.zeros((len(parts), n_outputs, 2))
    run(_evaluate, [(S, y, s, G, d, t, *part) for t, part in zip(totals, parts, strict=True)])
    return totals.sum(axis=(0, 2)), G, d
