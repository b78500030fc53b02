"""Products with a CSR matrix of few columns on the other side, one sweep over the nonzeros.

`W` (p, K) is in C order, so that one gather brings all K outputs of a feature. Indices are read as
unsigned, or every one would be checked for counting from the end.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from secondorder.kernels.compile import kernel, kernel_in_order
from secondorder.kernels.curve import curve
from secondorder.kernels.threads import MULTIPLICATIONS_PER_THREAD, nonzero_bounds, row_bounds, run


@kernel_in_order
def _dot(data, indices, first, last, w):
    """``x_i' w``; in order, for vectors of gathered entries are slower to make than they save."""
    total = w.dtype.type(0)
    for at in range(first, last):
        total += data[at] * w[np.uintp(indices[at]), 0]
    return total


@kernel
def _add(data, indices, first, last, weight, out):
    """``out += weight x_i``."""
    for at in range(first, last):
        out[np.uintp(indices[at]), 0] += data[at] * weight


@kernel
def _forward(data, indices, first, last, W, t):
    """``t += W' x_i``."""
    for at in range(first, last):
        x, row = data[at], W[np.uintp(indices[at])]
        for k in range(len(t)):
            t[k] += x * row[k]


@kernel
def _backward(data, indices, first, last, t, out):
    """``out += x_i t'``."""
    for at in range(first, last):
        x, row = data[at], out[np.uintp(indices[at])]
        for k in range(len(t)):
            row[k] += x * t[k]


@kernel
def _matmul(data, indices, indptr, W, bias, S, start, stop):
    single = W.shape[1] == 1
    for i in range(start, stop):
        for k in range(S.shape[1]):
            S[i, k] = bias[k]
        if single:
            S[i, 0] += _dot(data, indices, indptr[i], indptr[i + 1], W)
        else:
            _forward(data, indices, indptr[i], indptr[i + 1], W, S[i])


@kernel
def _rmatmul(data, indices, indptr, U, out, start, stop):
    single = U.shape[1] == 1
    for i in range(start, stop):
        if single:
            _add(data, indices, indptr[i], indptr[i + 1], U[i, 0], out)
        else:
            _backward(data, indices, indptr[i], indptr[i + 1], U[i], out)


@kernel
def _product(data, indices, indptr, d, u, shift_invariant, W, bias, out, sums, start, stop):
    n_outputs = W.shape[1]
    T = np.empty((1, n_outputs), W.dtype)
    out[:] = 0
    for i in range(start, stop):
        first, last = indptr[i], indptr[i + 1]
        for k in range(n_outputs):
            T[0, k] = bias[k]
        _forward(data, indices, first, last, W, T[0])
        curve(d, u, shift_invariant, i, T, 0)
        for k in range(n_outputs):
            sums[k] += T[0, k]
        _backward(data, indices, first, last, T[0], out)


@kernel
def _product1(data, indices, indptr, d, u, shift_invariant, W, bias, out, sums, start, stop):
    """`_product` for one output."""
    out[:] = 0
    for i in range(start, stop):
        first, last = indptr[i], indptr[i + 1]
        weight = d[i, 0] * (bias[0] + _dot(data, indices, first, last, W))
        sums[0] += weight
        _add(data, indices, first, last, weight, out)


@kernel
def _prepare(W, mean, converted, shift, start, stop):
    """``shift += mean' W`` and a copy of `W` in the precision of `converted`, over some rows."""
    for j in range(start, stop):
        for k in range(W.shape[1]):
            shift[k] += mean[j] * W[j, k]
            converted[j, k] = W[j, k]


@kernel
def _gather_parts(parts, mean, sums, shift_invariant, out, start, stop):
    """``out = sum of parts - mean sums'`` over some rows, which sum to 0 if shift-invariant."""
    for j in range(start, stop):
        for k in range(out.shape[1]):
            total = -mean[j] * sums[k]
            for part in range(parts.shape[0]):
                total += parts[part, j, k]
            out[j, k] = total
        if shift_invariant:
            excess = 0.0
            for k in range(out.shape[1]):
                excess += out[j, k]
            for k in range(out.shape[1]):
                out[j, k] -= excess / out.shape[1]


def _parts(X: csr_array, n_outputs: int) -> list[tuple[int, int]]:
    """The rows each thread takes."""
    # Each thread has outputs of its own to add up: no more of them than there are entries to fill them.
    worth = min(X.nnz * n_outputs, X.nnz // X.shape[1] * MULTIPLICATIONS_PER_THREAD)
    return list(pairwise(nonzero_bounds(X.indptr, worth)))


def _prepared(W: np.ndarray, bias: np.ndarray, mean: np.ndarray, dtype: Any) -> tuple[np.ndarray, ...]:
    """`W` in `dtype`, and ``bias - mean' W``."""
    parts = list(pairwise(row_bounds(len(W), W.size)))
    shift, converted = np.zeros((len(parts), W.shape[1])), np.empty_like(W, dtype)
    run(_prepare, [(W, mean, converted, o, *part) for o, part in zip(shift, parts, strict=True)])
    return converted, (bias - shift.sum(axis=0)).astype(dtype)


def matmul(X: csr_array, W: np.ndarray, bias: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``(X - 1 mean') W + bias`` in float64 for float64 `W` (p, K), whatever the precision of `X`."""
    W, bias = _prepared(W, bias, mean, np.float64)
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
    return out.sum(axis=0) if len(parts) > 1 else out[0]


def product(
    X: csr_array,
    d: np.ndarray,
    u: np.ndarray | None,
    shift_invariant: bool,
    W: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    *,
    room: dict[Any, np.ndarray],
) -> np.ndarray:
    """``[X - 1 mean', 1]' U`` for ``U = H ((X - 1 mean') W + bias)``, in the precision of `d`.

    H is given by the fields of an `OutputHessian`. `room` keeps memory from one call to the next: to map
    so much anew can take as long as the product.
    """
    W, bias = _prepared(W, bias, mean, d.dtype)
    loop = _product1 if W.shape[1] == 1 and u is None else _product
    u = np.empty((0, 0), d.dtype) if u is None else u
    parts = _parts(X, W.shape[1])
    key = (len(parts), *W.shape, d.dtype)
    partial = room.pop(key, None)  # out of the reach of other threads
    if partial is None:
        partial = np.empty(key[:3], d.dtype)
    sums = np.zeros((len(parts), W.shape[1]), d.dtype)
    run(
        loop,
        [
            (X.data, X.indices, X.indptr, d, u, shift_invariant, W, bias, o, total, *part)
            for o, total, part in zip(partial, sums, parts, strict=True)
        ],
    )
    total = sums.sum(axis=0, dtype=np.float64)
    out = np.empty((len(W) + 1, W.shape[1]))
    run(
        _gather_parts,
        [
            (partial, mean, total, shift_invariant, out, *rows)
            for rows in pairwise(row_bounds(len(W), W.size))
        ],
    )
    out[-1] = total
    room[key] = partial
    return out
