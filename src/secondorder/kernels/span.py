"""Curvature of a loss in the span of a few directions, in one sweep over the outputs."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.curve import curve
from secondorder.kernels.threads import row_bounds, run

BLOCK = 2048  # outputs in flight
OPERATIONS = 4  # for each output of each direction, counted as multiplications


@kernel
def _times(d, u, shift_invariant, Z, i, j, T):
    """``H_r z_r`` for rows i to j, as the rows of `T`."""
    if u.size == 0:
        z, weights, t = Z[i:j].ravel(), d[i:j].ravel(), T[: j - i].ravel()
        for at in range(len(t)):
            t[at] = weights[at] * z[at]
        return
    for r in range(i, j):
        for k in range(Z.shape[1]):
            T[r - i, k] = Z[r, k]
        curve(d, u, shift_invariant, r, T, r - i)


@kernel
def _dot(a, b):
    total = 0.0
    for at in range(len(a)):
        total += a[at] * b[at]
    return total


@kernel
def _curvature(d, u, shift_invariant, Z, sums, A, start, stop):
    n_directions, n_outputs = Z.shape[0], Z.shape[2]
    rows = max(1, BLOCK // n_outputs)
    T = np.empty((rows, n_outputs))
    for i in range(start, stop, rows):
        j = min(i + rows, stop)
        t = T[: j - i].ravel()
        for a in range(n_directions):
            _times(d, u, shift_invariant, Z[a], i, j, T)
            for b in range(a + 1):
                A[a, b] += _dot(Z[b, i:j].ravel(), t)
            for r in range(j - i):
                for k in range(n_outputs):
                    sums[a, k] += T[r, k]


def curvature(
    d: np.ndarray, u: np.ndarray | None, shift_invariant: bool, Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For `Z` (m, n, K): column sums of ``H z_a`` (m, K), and ``z_a . H z_b`` (m, m)."""
    m, n, K = Z.shape
    u = np.empty((0, 0)) if u is None else u
    parts = list(pairwise(row_bounds(n, Z.size * OPERATIONS)))
    sums, A = (np.zeros((len(parts), *shape)) for shape in ((m, K), (m, m)))
    run(
        _curvature,
        [
            (d, u, shift_invariant, Z, *of_part, *rows)
            for of_part, rows in zip(zip(sums, A, strict=True), parts, strict=True)
        ],
    )
    lower = A.sum(axis=0)
    return sums.sum(axis=0), lower + np.tril(lower, -1).T
