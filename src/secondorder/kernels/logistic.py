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
    total = 0.0
    for r in range(len(e)):
        toward = (1.0 - y[r]) * z[r] if z[r] > 0 else -y[r] * z[r]
        total += s[r] * (toward + log1p_fraction(e[r]))
    return total


@kernel
def _evaluate(z, y, s, G, d, total, start, stop):
    """By blocks, one array after the other: a loop with all of them is too much for the vectoriser."""
    room = np.empty(BLOCK)
    for i in range(start, stop, BLOCK):
        j = min(i + BLOCK, stop)
        e = room[: j - i]
        _exponentials(z[i:j], e)
        _first(z[i:j], y[i:j], s[i:j], e, G[i:j])
        _second(s[i:j], e, d[i:j])
        add(total, _loss(z[i:j], y[i:j], s[i:j], e))


def evaluate(S: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss, ``s (p - y)`` and ``s p (1 - p)``, both (n, 1)."""
    n = S.shape[0]
    G, d = np.empty((2, n))  # at once: the larger, the larger the pages it is mapped in
    parts = list(pairwise(row_bounds(n, n * OPERATIONS)))
    totals = np.zeros((len(parts), 2))
    run(_evaluate, [(S[:, 0], y, s, G, d, t, *part) for t, part in zip(totals, parts, strict=True)])
    return float(totals.sum()), G[:, None], d[:, None]
