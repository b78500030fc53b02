"""One weighted Gram matrix for each output, from a sample of the rows, and systems with their factors."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.gram import _buffer, _load, _upper
from secondorder.kernels.threads import row_bounds, run

LEAST = 1e-300  # weights below count for nothing


@kernel
def _sample(D, steps, rows, roots, counts, start, stop):
    """Rows for the outputs from `start` to `stop`: of the sum of weights, one at every step."""
    for k in range(start, stop):
        passed = 0.5
        for i in range(D.shape[0]):
            passed += min(1.0, D[i, k] / steps[k])
            if passed >= 1.0:
                passed -= 1.0
                rows[k, counts[k]] = i
                roots[k, counts[k]] = np.sqrt(max(D[i, k], steps[k]))
                counts[k] += 1


@kernel
def _grams(X, mean, rows, roots, counts, B, total, out, start, stop):
    """The upper triangles of ``sum_r roots_kr^2 z_r z_r'`` over the `rows` of k, for some outputs."""
    q, width = out.shape[1], B.shape[1]
    block, zero = np.empty((width, X.shape[1]), B.dtype), np.zeros_like(mean)
    for k in range(start, stop):
        total[:] = 0.0
        for at in range(0, counts[k], width):
            size = min(width, counts[k] - at)
            for r in range(size):
                x = X[rows[k, at + r]]
                for j in range(X.shape[1]):
                    block[r, j] = x[j] - mean[j]
            _load(block, zero, roots[k, at:], 0, size, B)
            _upper(B, B, total)
        for i in range(q):
            for j in range(q):
                out[k, i, j] = total[i, j]


@kernel
def _solve(U, V, start, stop):
    """``(U_k' U_k)^-1 v_k`` in place of the rows of `V` from `start` to `stop`."""
    n = V.shape[1]
    for k in range(start, stop):
        v = V[k]
        for i in range(n):
            row, y = U[k, i], v[i] / U[k, i, i]
            v[i] = y
            for j in range(i + 1, n):
                v[j] -= row[j] * y
        for i in range(n - 1, -1, -1):
            row, total = U[k, i], v[i]
            for j in range(i + 1, n):
                total -= row[j] * v[j]
            v[i] = total / row[i]


def grams(X: np.ndarray, mean: np.ndarray, n_columns: int, D: np.ndarray, m: int) -> np.ndarray:
    """``sum_i D_ik z_i z_i'`` with ``z_i = (x_i - mean, 1)``, cut to `n_columns`, for every k, in float32.

    Only the upper triangles are made, and from at most some `m` rows for each k: those with large ``D_ik``
    all, and of the others as many as their weights come to, with larger weights for that.
    """
    n, K = D.shape
    sums = D.sum(axis=0)
    steps = np.maximum(sums / m if m < n else 0 * sums, LEAST)
    rows = np.empty((K, min(m + 2, n)), np.int64)
    roots, counts = np.empty(rows.shape, np.float32), np.zeros(K, np.int64)
    run(_sample, [(D, steps, rows, roots, counts, *part) for part in pairwise(row_bounds(K, D.size))])
    B, out = _buffer(n_columns, np.float32), np.empty((K, n_columns, n_columns), np.float32)
    parts = pairwise(row_bounds(K, rows.size * n_columns**2))
    arrays = X, mean, rows, roots, counts
    run(_grams, [(*arrays, B.copy(), np.empty((len(B), len(B)), np.float32), out, *part) for part in parts])
    return out


def solve(U: np.ndarray, V: np.ndarray) -> None:
    """``(U_k' U_k)^-1 v_k`` in place of the rows v_k of `V` (K, q), for upper triangles `U` (K, q, q)."""
    run(_solve, [(U, V, *part) for part in pairwise(row_bounds(len(V), U.size))])
