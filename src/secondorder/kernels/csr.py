"""Products with a CSR matrix of few columns on the other side, one sweep over the nonzeros.

`W` (p, K) is in C order, so that one gather brings all K outputs of a feature.
"""

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from secondorder.kernels.compile import kernel
from secondorder.kernels.threads import MULTIPLICATIONS_PER_THREAD, nonzero_bounds, run


@kernel
def _matmul(data, indices, indptr, W, bias, S, start, stop):
    for i in range(start, stop):
        for k in range(W.shape[1]):
            S[i, k] = bias[k]
        for at in range(indptr[i], indptr[i + 1]):
            x, j = data[at], indices[at]
            for k in range(W.shape[1]):
                S[i, k] += x * W[j, k]


@kernel
def _rmatmul(data, indices, indptr, U, out, start, stop):
    for i in range(start, stop):
        for at in range(indptr[i], indptr[i + 1]):
            x, j = data[at], indices[at]
            for k in range(U.shape[1]):
                out[j, k] += x * U[i, k]


@kernel
def _curve(d, u, shift_invariant, i, t):
    """``H_i t`` in place of `t`, as in ``OutputHessian.__matmul__``; an empty `u` is zero.

    It stands here too because Numba's cache does not notice changes in another file.
    """
    n_outputs = len(t)
    if u.size == 0:
        for k in range(n_outputs):
            t[k] *= d[i, k]
        return
    origin = t.dtype.type(0)
    if shift_invariant:
        largest = d[i, 0]
        origin = t[0]
        for k in range(1, n_outputs):
            if d[i, k] > largest:
                largest, origin = d[i, k], t[k]
    along = t.dtype.type(0)
    for k in range(n_outputs):
        t[k] -= origin
        along += u[i, k] * t[k]
    for k in range(n_outputs):
        t[k] = d[i, k] * t[k] - u[i, k] * along


@kernel
def _product(data, indices, indptr, d, u, shift_invariant, W, bias, out, sums, start, stop):
    n_outputs = W.shape[1]
    t = np.empty(n_outputs, W.dtype)
    for i in range(start, stop):
        for k in range(n_outputs):
            t[k] = bias[k]
        for at in range(indptr[i], indptr[i + 1]):
            x, j = data[at], indices[at]
            for k in range(n_outputs):
                t[k] += x * W[j, k]
        _curve(d, u, shift_invariant, i, t)
        for k in range(n_outputs):
            sums[k] += t[k]
        for at in range(indptr[i], indptr[i + 1]):
            x, j = data[at], indices[at]
            for k in range(n_outputs):
                out[j, k] += x * t[k]


def _parts(X: csr_array, n_outputs: int) -> list[tuple[int, int]]:
    """The rows each thread takes."""
    # Each thread has outputs of its own to add up: no more of them than there are entries to fill them.
    worth = min(X.nnz * n_outputs, X.nnz // X.shape[1] * MULTIPLICATIONS_PER_THREAD)
    bounds = nonzero_bounds(X.indptr, worth)
    return list(pairwise(bounds))


def matmul(X: csr_array, W: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """``X W + bias`` in float64 for float64 `W` (p, K), whatever the precision of `X`."""
    S = np.empty((X.shape[0], W.shape[1]))
    run(
        _matmul,
        [(X.data, X.indices, X.indptr, W, bias, S, *part) for part in _parts(X, W.shape[1])],
    )
    return S


def rmatmul(X: csr_array, U: np.ndarray) -> np.ndarray:
    """``X' U`` in float64 for float64 `U` (n, K), whatever the precision of `X`."""
    parts = _parts(X, U.shape[1])
    out = np.zeros((len(parts), X.shape[1], U.shape[1]))
    run(
        _rmatmul,
        [(X.data, X.indices, X.indptr, U, o, *part) for o, part in zip(out, parts, strict=True)],
    )
    return out.sum(axis=0)


def product(
    X: csr_array,
    d: np.ndarray,
    u: np.ndarray | None,
    shift_invariant: bool,
    W: np.ndarray,
    bias: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """``X' U`` and ``sum_i U_i`` for ``U = H (X W + bias)``, in the precision of `X`.

    H is given by the fields of an `OutputHessian`.
    """
    W, bias = W.astype(X.dtype, copy=False), bias.astype(X.dtype)
    u = np.empty((0, 0), X.dtype) if u is None else u
    parts = _parts(X, W.shape[1])
    out = np.zeros((len(parts), *W.shape), X.dtype)
    sums = np.zeros((len(parts), W.shape[1]), X.dtype)
    run(
        _product,
        [
            (X.data, X.indices, X.indptr, d, u, shift_invariant, W, bias, o, total, *part)
            for o, total, part in zip(out, sums, parts, strict=True)
        ],
    )
    return out.sum(axis=0), sums.sum(axis=0)
