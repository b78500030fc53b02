"""Pointwise loops of the logistic loss."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.elementary import exp_negative, log1p_fraction
from secondorder.kernels.threads import row_bounds, run

OPERATIONS = 8  # an exponential and a logarithm, counted as multiplications


@kernel
def _evaluate(z, y, s, G, d, total, start, stop):
    value = 0.0
    for i in range(start, stop):
        a = z[i]
        e = exp_negative(-abs(a))
        small, large = e / (1.0 + e), 1.0 / (1.0 + e)
        p, q = (large, small) if a >= 0 else (small, large)
        G[i] = s[i] * ((1.0 - y[i]) * p - y[i] * q)
        d[i] = s[i] * p * q
        toward = (1.0 - y[i]) * a if a > 0 else -y[i] * a
        value += s[i] * (toward + log1p_fraction(e))
    total[0] = value


def evaluate(S: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss, ``s (p - y)`` and ``s p (1 - p)``, both (n, 1)."""
    n = S.shape[0]
    G, d = np.empty(n), np.empty(n)
    parts = list(pairwise(row_bounds(n, n * OPERATIONS)))
    totals = np.zeros((len(parts), 1))
    run(_evaluate, [(S[:, 0], y, s, G, d, t, *part) for t, part in zip(totals, parts, strict=True)])
    return float(totals.sum()), G[:, None], d[:, None]
