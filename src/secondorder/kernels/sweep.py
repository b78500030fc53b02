"""Loss and gradient of several logistic models of few features in one sweep over a dense X."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.dense import _backward, _forward
from secondorder.kernels.elementary import add
from secondorder.kernels.logistic import _add_columns, _exponentials, _first, _loss
from secondorder.kernels.threads import row_bounds, run

ROWS = 128  # in flight


@kernel
def _sweep(X, y, s, V, bias, out, sums, losses, start, stop):
    n_models = V.shape[0]
    T, targets = np.empty((ROWS, n_models), V.dtype), np.empty(ROWS * n_models)
    z, e, G = np.empty(ROWS * n_models), np.empty(ROWS * n_models), np.empty(ROWS * n_models)
    of_block = np.empty(n_models)
    for i in range(start, stop, ROWS):
        rows = min(ROWS, stop - i)
        m = rows * n_models
        _forward(X, V, T, i, 0, rows)
        for r in range(rows):
            for k in range(n_models):
                z[r * n_models + k] = T[r, k] + bias[k]
                targets[r * n_models + k] = y[i + r]
        weights = s[i : i + rows].ravel()
        _exponentials(z[:m], e[:m])
        _first(z[:m], targets[:m], weights, e[:m], G[:m])
        _loss(z[:m], targets[:m], weights, e[:m])
        _add_columns(e[:m], of_block)
        for k in range(n_models):
            add(losses[k], of_block[k])
        _add_columns(G[:m], of_block)
        for k in range(n_models):
            sums[k] += of_block[k]
            for r in range(rows):
                T[r, k] = G[r * n_models + k]
        _backward(X, T, out, i, 0, rows)


def losses_and_gradients(
    X: np.ndarray, mean: np.ndarray, y: np.ndarray, s: np.ndarray, W: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The loss of every model (K,) and its gradient ``[X - 1 mean', 1]' G`` (p + 1, K).

    The outputs are ``(X - 1 mean') W + bias``; X is in C order, y has shape (n,), s has shape (n, K).
    Products are in the precision of X, all else is float64.
    """
    (p, K), V = W.shape, np.ascontiguousarray(W.T, X.dtype)
    bounds = list(pairwise(row_bounds(X.shape[0], X.size * K)))
    out, sums = np.zeros((len(bounds), K, p), X.dtype), np.zeros((len(bounds), K))
    losses = np.zeros((len(bounds), K, 2))
    bias = bias - mean @ W
    run(
        _sweep,
        [
            (X, y, s, V, bias, o, total, loss, *rows)
            for o, total, loss, rows in zip(out, sums, losses, bounds, strict=True)
        ],
    )
    total = sums.sum(axis=0)
    gradient = np.empty((p + 1, K))
    gradient[:p] = out.sum(axis=0, dtype=np.float64).T - mean[:, None] * total
    gradient[p] = total
    return losses.sum(axis=(0, 2)), gradient
