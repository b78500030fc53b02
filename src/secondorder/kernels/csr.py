"""Products with a CSR matrix of few columns on the other side, one sweep over the nonzeros.

`W` (p, K) is in C order, so that one gather brings all K outputs of a feature. Indices and positions are
unsigned, or every one would be checked for counting from the end: that takes longer than the products.
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
    """``x_i' w`` as four sums side by side, not as vectors: these cost more to gather than they save."""
    start, four = np.uintp(first), np.uintp(4)
    fours = np.uintp(last - first) // four
    a = b = c = d = w.dtype.type(0)
    for step in range(fours):
        at = start + four * step
        a += data[at] * w[np.uintp(indices[at])]
        b += data[at + np.uintp(1)] * w[np.uintp(indices[at + np.uintp(1)])]
        c += data[at + np.uintp(2)] * w[np.uintp(indices[at + np.uintp(2)])]
        d += data[at + np.uintp(3)] * w[np.uintp(indices[at + np.uintp(3)])]
    for at in range(start + four * fours, np.uintp(last)):
        a += data[at] * w[np.uintp(indices[at])]
    return (a + b) + (c + d)


@kernel
def _add(data, indices, first, last, weight, out):
    """``out += weight x_i``."""
    for at in range(np.uintp(first), np.uintp(last)):
        out[np.uintp(indices[at])] += data[at] * weight


@kernel
def _forward(data, indices, first, last, W, t):
    """``t += W' x_i``."""
    for at in range(np.uintp(first), np.uintp(last)):
        x, row = data[at], W[np.uintp(indices[at])]
        for k in range(len(t)):
            t[k] += x * row[k]


@kernel
def _backward(data, indices, first, last, t, out):
    """``out += x_i t'``."""
    for at in range(np.uintp(first), np.uintp(last)):
        x, row = data[at], out[np.uintp(indices[at])]
        for k in range(len(t)):
            row[k] += x * t[k]


@kernel
def _matmul(data, indices, indptr, W, bias, S, start, stop):
    single, w = W.shape[1] == 1, W.ravel()
    for i in range(start, stop):
        for k in range(S.shape[1]):
            S[i, k] = bias[k]
        if single:
            S[i, 0] += _dot(data, indices, indptr[i], indptr[i + 1], w)
        else:
            _forward(data, indices, indptr[i], indptr[i + 1], W, S[i])


@kernel
def _rmatmul(data, indices, indptr, U, out, start, stop):
    single, total = U.shape[1] == 1, out.ravel()
    for i in range(start, stop):
        if single:
            _add(data, indices, indptr[i], indptr[i + 1], U[i, 0], total)
        else:
            _backward(data, indices, indptr[i], indptr[i + 1], U[i], out)


@kernel
def _squared_rmatmul(data, indices, indptr, U, out, start, stop):
    for i in range(start, stop):
        for at in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            x, row = np.float64(data[at]), out[np.uintp(indices[at])]
            for k in range(U.shape[1]):
                row[k] += x * x * U[i, k]


@kernel
def _sizes(bits, unsigned, one, out, start, stop):
    """On the bits of floats: but for the sign they are in the order of ``|x|``."""
    smallest, largest = out[0], out[1]
    for at in range(start, stop):
        size = bits[at] & unsigned
        smallest, largest = min(smallest, size - one), max(largest, size)  # that before 0 is the last
    out[0], out[1] = smallest, largest


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
    w, total = W.ravel(), out.ravel()
    for i in range(start, stop):
        first, last = indptr[i], indptr[i + 1]
        weight = d[i, 0] * (bias[0] + _dot(data, indices, first, last, w))
        sums[0] += weight
        _add(data, indices, first, last, weight, total)


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


def rmatmul(X: csr_array, U: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``[X - 1 mean', 1]' U`` in float64 for float64 `U` (n, K), whatever the precision of `X`."""
    return _gathered(_partial_sums(_rmatmul, X, U), mean, U.sum(axis=0), False)


def squared_rmatmul(X: csr_array, U: np.ndarray) -> np.ndarray:
    """``(X * X)' U`` in float64 for float64 `U` (n, K), for an `X` without duplicates."""
    return _partial_sums(_squared_rmatmul, X, U).sum(axis=0)


def sizes(data: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest ``|x|`` of the entries that are not 0; infinity and 0 if all are."""
    bits = data.view(f"u{data.itemsize}")
    parts = list(pairwise(row_bounds(len(data), len(data))))
    found = np.empty((len(parts), 2), bits.dtype)
    found[:] = np.iinfo(bits.dtype).max, 0
    one = bits.dtype.type(1)
    unsigned = np.iinfo(bits.dtype).max >> one
    run(
        _sizes,
        [(bits, bits.dtype.type(unsigned), one, o, *part) for o, part in zip(found, parts, strict=True)],
    )
    if not found[:, 1].any():
        return np.inf, 0.0
    ends = np.array([found[:, 0].min() + one, found[:, 1].max()]).view(data.dtype)
    return float(ends[0]), float(ends[1])


def _partial_sums(loop: Any, X: csr_array, U: np.ndarray) -> np.ndarray:
    """What `loop` adds up in each thread, shape (threads, p, K)."""
    parts = _parts(X, U.shape[1])
    out = np.zeros((len(parts), X.shape[1], U.shape[1]))
    run(
        loop,
        [(X.data, X.indices, X.indptr, U, o, *part) for o, part in zip(out, parts, strict=True)],
    )
    return out


def _gathered(parts: np.ndarray, mean: np.ndarray, sums: np.ndarray, shift_invariant: bool) -> np.ndarray:
    """``sum of parts - mean sums'`` with `sums` as another row."""
    _, p, n_outputs = parts.shape
    out = np.empty((p + 1, n_outputs))
    run(
        _gather_parts,
        [(parts, mean, sums, shift_invariant, out, *rows) for rows in pairwise(row_bounds(p, p * n_outputs))],
    )
    out[p] = sums
    return out


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
    out = _gathered(partial, mean, sums.sum(axis=0, dtype=np.float64), shift_invariant)
    room[key] = partial
    return out
