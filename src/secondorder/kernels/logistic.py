"""Pointwise loops of the logistic loss."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.elementary import exp_negative, log1p_fraction
from secondorder.kernels.threads import row_bounds, run

OPERATIONS = 8  # an exponential and a logarithm, counted as multiplications


@kernel
def _value(z, y, out, start, stop):
    for i in range(start, stop):
        a = z[i]
        toward = (1.0 - y[i]) * a if a > 0 else -y[i] * a
        out[i] = toward + log1p_fraction(exp_negative(-abs(a)))


@kernel
def _derivatives(z, y, s, G, d, start, stop):
    for i in range(start, stop):
        e = exp_negative(-abs(z[i]))
        small, large = e / (1.0 + e), 1.0 / (1.0 + e)
        p, q = (large, small) if z[i] >= 0 else (small, large)
        G[i] = s[i] * ((1.0 - y[i]) * p - y[i] * q)
        d[i] = s[i] * p * q


def value(S: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Loss of each row."""
    n = S.shape[0]
    out = np.empty(n)
    bounds = row_bounds(n, n * OPERATIONS)
    run(_value, [(S[:, 0], y, out, *b) for b in pairwise(bounds)])
    return out


def derivatives(S: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``s (p - y)`` and ``s p (1 - p)``, both (n, 1)."""
    n = S.shape[0]
    G, d = np.empty(n), np.empty(n)
    bounds = row_bounds(n, n * OPERATIONS)
    run(_derivatives, [(S[:, 0], y, s, G, d, *b) for b in pairwise(bounds)])
    return G[:, None], d[:, None]
