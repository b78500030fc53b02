"""Loss and gradient of a logistic model of few features in one sweep over a CSR matrix, in float64."""

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from secondorder.kernels.compile import kernel, kernel_in_order
from secondorder.kernels.csr import _add
from secondorder.kernels.sweep import Sweep, _compare, _differentiate
from secondorder.kernels.threads import nonzero_bounds, run

ROWS = 256  # in flight
OPERATIONS = 4  # multiplications that an entry is worth


@kernel_in_order
def _dot(data, indices, first, last, w):
    """``x_i' w`` as one sum: a row of few features is short, and parts of it do not repay their ends."""
    total = 0.0
    for at in range(np.uintp(first), np.uintp(last)):
        total += data[at] * w[np.uintp(indices[at])]
    return total


@kernel
def _sweep(data, indices, indptr, y, s, w, bias, near, S, out, sums, totals, moved, largest, start, stop):
    G, e = np.empty(ROWS), np.empty(ROWS)
    for i in range(start, stop, ROWS):
        rows = min(ROWS, stop - i)
        for r in range(i, i + rows):
            S[r, 0] = bias + _dot(data, indices, indptr[r], indptr[r + 1], w)
        part = slice(i, i + rows)
        _compare(S[part], near[part], moved, largest)
        _differentiate(S[part].ravel(), y[part], s[part].ravel(), e[:rows], G[:rows], totals, sums)
        for r in range(rows):
            _add(data, indices, indptr[i + r], indptr[i + r + 1], G[r], out)


def sweep(
    X: csr_array,
    mean: np.ndarray,
    y: np.ndarray,
    s: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    near: np.ndarray,
) -> Sweep:
    """One model with outputs ``(X - 1 mean') w + bias``, to be compared with the outputs `near` (n, 1).

    ``Z = [X - 1 mean', 1]``; y has shape (n,), s has shape (n, 1) and w (p, 1). No `extent` is found.
    """
    n, p = X.shape
    worth = OPERATIONS * X.nnz if X.nnz > p else 0
    parts = list(pairwise(nonzero_bounds(X.indptr, worth)))
    S, out, totals = np.empty((n, 1)), np.zeros((len(parts), p)), np.zeros((len(parts), 1, 2))
    sums, moved, largest = np.zeros((3, len(parts), 1))
    w = w[:, 0].copy()
    fixed = (X.data, X.indices, X.indptr, y, s, w, bias[0] - mean @ w, near, S)
    run(
        _sweep,
        [(*fixed, *own, *rows) for *own, rows in zip(out, sums, totals, moved, largest, parts, strict=True)],
    )
    total = sums.sum(axis=0)
    gradient = np.append(out.sum(axis=0) - mean * total, total)[:, None]
    extent = np.full(p + 1, np.inf)
    return Sweep(totals.sum(axis=(0, 2)), gradient, S, moved.max(axis=0), largest.max(axis=0), extent)
