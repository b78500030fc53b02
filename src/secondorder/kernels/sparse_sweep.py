"""Loss and gradient of logistic models of few features in one sweep over a CSR matrix, in float64."""

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from secondorder.kernels.compile import kernel
from secondorder.kernels.csr import _add, _backward, _dot, _forward
from secondorder.kernels.sweep import Sweep, _compare, _differentiate
from secondorder.kernels.threads import nonzero_bounds, run

ROWS = 256  # in flight
OPERATIONS = 4  # multiplications that an entry is worth, for each model


@kernel
def _sweep(
    data, indices, indptr, y, s, W, bias, near, S, out, sums, totals, moved, largest, start, stop
):  # fmt: skip
    n_models = len(bias)
    single, w, total = n_models == 1, W.ravel(), out.ravel()
    G, e = np.empty((ROWS, n_models)), np.empty(ROWS * n_models)
    for i in range(start, stop, ROWS):
        rows = min(ROWS, stop - i)
        for r in range(rows):
            first, last = indptr[i + r], indptr[i + r + 1]
            for k in range(n_models):
                S[i + r, k] = bias[k]
            if single:
                S[i + r, 0] += _dot(data, indices, first, last, w)
            else:
                _forward(data, indices, first, last, W, S[i + r])
        part, m = slice(i, i + rows), rows * n_models
        _compare(S[part], near[part], moved, largest)
        _differentiate(S[part].ravel(), y[part], s[part].ravel(), e[:m], G[:rows].ravel(), totals, sums)
        for r in range(rows):
            first, last = indptr[i + r], indptr[i + r + 1]
            if single:
                _add(data, indices, first, last, G[r, 0], total)
            else:
                _backward(data, indices, first, last, G[r], out)


def sweep(
    X: csr_array,
    mean: np.ndarray,
    y: np.ndarray,
    s: np.ndarray,
    W: np.ndarray,
    bias: np.ndarray,
    near: np.ndarray,
) -> Sweep:
    """K models with outputs ``(X - 1 mean') W + bias``, to be compared with the outputs `near` (n, 1).

    ``Z = [X - 1 mean', 1]``; y has shape (n,), s has shape (n, K).
    """
    (p, K), n = W.shape, X.shape[0]
    parts = list(pairwise(nonzero_bounds(X.indptr, OPERATIONS * X.nnz * K if X.nnz > p else 0)))
    S, out, totals = np.empty((n, K)), np.zeros((len(parts), p, K)), np.zeros((len(parts), K, 2))
    sums, moved, largest = np.zeros((3, len(parts), K))
    W = np.ascontiguousarray(W)
    fixed = (X.data, X.indices, X.indptr, y, s, W, bias - mean @ W, near, S)
    run(
        _sweep,
        [(*fixed, *own, *rows) for *own, rows in zip(out, sums, totals, moved, largest, parts, strict=True)],
    )
    total = sums.sum(axis=0)
    gradient = np.empty((p + 1, K))
    gradient[:p] = out.sum(axis=0) - mean[:, None] * total
    gradient[p] = total
    extent = np.full(p + 1, np.inf)
    return Sweep(totals.sum(axis=(0, 2)), gradient, S, moved.max(axis=0), largest.max(axis=0), extent)
