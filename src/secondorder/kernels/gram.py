"""Sums of weighted outer products of the rows of a matrix: the Gram matrix and the dense Hessian.

A block of rows is transposed into a buffer, so that every entry of the result is a dot product along
contiguous rows of the buffer, and a tile of 5 x 5 of them stays in registers. It is faster than a
BLAS product at any width, needs half its work, and disturbs no other thread.

The Hessian of K outputs is symmetric in the outputs and in the columns. So it is the product of a matrix
with a row for each pair of outputs and one with a row for each pair of columns, along the rows of X.
"""

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from secondorder.kernels.compile import kernel
from secondorder.kernels.threads import n_threads, nonzero_bounds, row_bounds, run

WIDTH_BYTES = 2112  # of a row of the buffer: a multiple of a cache line that is no power of two
PANEL = 100  # rows of the buffer that stay in the second-level cache
TILE = 5
TINY = np.float32(1e-30)  # products with less would be denormal in float32, which is slow


@kernel
def _load(X, mean, root, i, rows, B):
    """``B[:, r] = root_r (x_{i + r} - mean)``; a row after those of the features holds the roots."""
    p = X.shape[1]
    eights = rows - rows % 8
    for r in range(0, eights, 8):
        x0, x1, x2, x3 = X[i + r], X[i + r + 1], X[i + r + 2], X[i + r + 3]
        x4, x5, x6, x7 = X[i + r + 4], X[i + r + 5], X[i + r + 6], X[i + r + 7]
        w = root[i + r : i + r + 8]
        w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
        for j in range(p):
            m, b = mean[j], B[j, r : r + 8]
            b[0] = (x0[j] - m) * w0
            b[1] = (x1[j] - m) * w1
            b[2] = (x2[j] - m) * w2
            b[3] = (x3[j] - m) * w3
            b[4] = (x4[j] - m) * w4
            b[5] = (x5[j] - m) * w5
            b[6] = (x6[j] - m) * w6
            b[7] = (x7[j] - m) * w7
    for r in range(eights, rows):
        for j in range(p):
            B[j, r] = (X[i + r, j] - mean[j]) * root[i + r]
    if p < B.shape[0]:
        for r in range(rows):
            B[p, r] = root[i + r]
    for j in range(B.shape[0]):
        for r in range(rows, B.shape[1]):
            B[j, r] = 0


@kernel
def _tile(A, B, out, a, b):
    """``out[a : a + 5, b : b + 5] += A[a : a + 5] B[b : b + 5]'``."""
    x0, x1, x2, x3, x4 = A[a], A[a + 1], A[a + 2], A[a + 3], A[a + 4]
    v0, v1, v2, v3, v4 = B[b], B[b + 1], B[b + 2], B[b + 3], B[b + 4]
    t00 = t01 = t02 = t03 = t04 = t10 = t11 = t12 = t13 = t14 = B.dtype.type(0)
    t20 = t21 = t22 = t23 = t24 = t30 = t31 = t32 = t33 = t34 = B.dtype.type(0)
    t40 = t41 = t42 = t43 = t44 = B.dtype.type(0)
    for j in range(B.shape[1]):
        a0, a1, a2, a3, a4 = x0[j], x1[j], x2[j], x3[j], x4[j]
        b0, b1, b2, b3, b4 = v0[j], v1[j], v2[j], v3[j], v4[j]
        t00 += a0 * b0
        t01 += a0 * b1
        t02 += a0 * b2
        t03 += a0 * b3
        t04 += a0 * b4
        t10 += a1 * b0
        t11 += a1 * b1
        t12 += a1 * b2
        t13 += a1 * b3
        t14 += a1 * b4
        t20 += a2 * b0
        t21 += a2 * b1
        t22 += a2 * b2
        t23 += a2 * b3
        t24 += a2 * b4
        t30 += a3 * b0
        t31 += a3 * b1
        t32 += a3 * b2
        t33 += a3 * b3
        t34 += a3 * b4
        t40 += a4 * b0
        t41 += a4 * b1
        t42 += a4 * b2
        t43 += a4 * b3
        t44 += a4 * b4
    o = out[a, b : b + 5]
    o[0], o[1], o[2], o[3], o[4] = o[0] + t00, o[1] + t01, o[2] + t02, o[3] + t03, o[4] + t04
    o = out[a + 1, b : b + 5]
    o[0], o[1], o[2], o[3], o[4] = o[0] + t10, o[1] + t11, o[2] + t12, o[3] + t13, o[4] + t14
    o = out[a + 2, b : b + 5]
    o[0], o[1], o[2], o[3], o[4] = o[0] + t20, o[1] + t21, o[2] + t22, o[3] + t23, o[4] + t24
    o = out[a + 3, b : b + 5]
    o[0], o[1], o[2], o[3], o[4] = o[0] + t30, o[1] + t31, o[2] + t32, o[3] + t33, o[4] + t34
    o = out[a + 4, b : b + 5]
    o[0], o[1], o[2], o[3], o[4] = o[0] + t40, o[1] + t41, o[2] + t42, o[3] + t43, o[4] + t44


@kernel
def _upper(A, B, out):
    """The upper triangle of ``out += A B'``, by panels of A that stay in cache."""
    n_columns = B.shape[0]
    for panel in range(0, n_columns, PANEL):
        for b in range(panel, n_columns, 5):
            for a in range(panel, min(panel + PANEL, b + 5), 5):
                _tile(A, B, out, a, b)


@kernel
def _gram(X, mean, root, B, out, start, stop):
    width = B.shape[1]
    for i in range(start, stop, width):
        _load(X, mean, root, i, min(width, stop - i), B)
        _upper(B, B, out)


@kernel
def _gram_of_rows(X, mean, root, index, A, B, out, start, stop):
    width = B.shape[1]
    w = np.empty(width, B.dtype)
    for i in range(start, stop, width):
        rows = min(width, stop - i)
        for r in range(rows):
            x, a = X[index[i + r]], A[r]
            w[r] = root[i + r]
            for j in range(X.shape[1]):
                a[j] = x[j]
        _load(A, mean, w, 0, rows, B)
        _upper(B, B, out)


@kernel
def _row_gram(X, mean, B, out, start, stop):
    width = B.shape[1]
    for j in range(start, stop, width):
        columns = min(width, stop - j)
        for i in range(X.shape[0]):
            for r in range(columns):
                B[i, r] = X[i, j + r] - mean[j + r]
            for r in range(columns, width):
                B[i, r] = 0
        _upper(B, B, out)


@kernel
def _curvatures(D, u, pairs, i, rows, C):
    """``C[t, r] = H[k, m]`` of row ``i + r`` for every pair t of outputs, k and m."""
    tiny = TINY if C.itemsize == 4 else np.float32(0)
    for t in range(len(pairs)):
        k, m, c = pairs[t, 0], pairs[t, 1], C[t]
        if k == m:
            for r in range(rows):
                c[r] = D[i + r, k]
        else:
            for r in range(rows):
                c[r] = -u[i + r, k] * u[i + r, m]
        for r in range(rows):
            if abs(c[r]) < tiny:
                c[r] = 0
        for r in range(rows, len(c)):
            c[r] = 0


@kernel
def _hessian(X, mean, one, D, u, columns, outputs, B, C, V, out, start, stop):
    """``out[f, t] += sum_i z_ia z_ib H_i[k, m]`` for every pair f of columns, a and b, and t of outputs."""
    width = B.shape[1]
    for i in range(start, stop, width):
        rows = min(width, stop - i)
        _load(X, mean, one, i, rows, B)
        _curvatures(D, u, outputs, i, rows, C)
        for f in range(0, len(columns), TILE):
            for at in range(TILE):
                x, z, v = B[columns[f + at, 0]], B[columns[f + at, 1]], V[at]
                for r in range(width):
                    v[r] = x[r] * z[r]
            for t in range(0, len(C), TILE):
                _tile(V, C, out[f : f + TILE], 0, t)


@kernel
def _symmetric(sums, columns, outputs, A):
    """``A[a, k, b, m] = sums[f, t]``, and the same with a and b or k and m exchanged."""
    for f in range(len(columns)):
        a, b = columns[f]
        for t in range(len(outputs)):
            k, m = outputs[t]
            A[a, k, b, m] = A[a, m, b, k] = A[b, k, a, m] = A[b, m, a, k] = sums[f, t]


@kernel
def _sparse_gram(data, indices, indptr, c, out, squares, start, stop):
    """Half of the pairs of entries of a row, on either side of the diagonal of `out`; and `squares`."""
    last = out.shape[0] - 1
    for i in range(start, stop):
        first = np.uintp(indptr[i])
        for at in range(first, np.uintp(indptr[i + 1])):
            j = np.uintp(indices[at])
            weighted, row = c[i] * data[at], out[j]
            for other in range(first, at):
                row[np.uintp(indices[other])] += weighted * data[other]
            out[last, j] += weighted
            squares[j] += weighted * data[at]
        squares[last] += c[i]


def _buffer(n_columns: int, dtype: type) -> np.ndarray:
    """Room for the transpose of a block of rows, and of columns whole tiles."""
    return np.zeros((-(-n_columns // TILE) * TILE, WIDTH_BYTES // np.dtype(dtype).itemsize), dtype)


def _parts(X: np.ndarray, n_columns: int, n_blocks: int) -> list[tuple[int, int]]:
    """The rows each thread takes."""
    n = X.shape[0]
    results = n_blocks * n_columns**2
    affordable = max(1, X.size // max(results, 1))  # threads whose results together are no larger than X
    parts = len(row_bounds(n, X.size * n_columns * n_blocks // 2)) - 1
    return list(pairwise(np.linspace(0, n, min(parts, affordable) + 1).astype(np.int64)))


def gram(X: np.ndarray, mean: np.ndarray, n_columns: int, c: np.ndarray, dtype: type) -> np.ndarray:
    """``sum_i c_i z_i z_i'`` with ``z_i = (x_i - mean, 1)``, cut to `n_columns`, computed in `dtype`."""
    parts, B = _parts(X, n_columns, 1), _buffer(n_columns, dtype)
    root = np.sqrt(c).astype(dtype)
    out: np.ndarray = np.zeros((len(parts), len(B), len(B)), dtype)
    run(_gram, [(X, mean, root, B.copy(), o, *part) for o, part in zip(out, parts, strict=True)])
    return _mirrored(out.sum(axis=0))[:n_columns, :n_columns]


def gram_of_rows(
    X: np.ndarray, mean: np.ndarray, n_columns: int, c: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """The part of `gram` that belongs to the rows in `index`, in float64."""
    B = _buffer(n_columns, np.float64)
    affordable = max(1, len(index) // len(B))
    parts = list(pairwise(np.linspace(0, len(index), min(n_threads(), affordable) + 1).astype(np.int64)))
    out, A = np.zeros((len(parts), len(B), len(B))), np.empty((B.shape[1], X.shape[1]))
    root = np.sqrt(c[index])
    run(
        _gram_of_rows,
        [(X, mean, root, index, A.copy(), B.copy(), o, *part) for o, part in zip(out, parts, strict=True)],
    )
    return _mirrored(out.sum(axis=0))[:n_columns, :n_columns]


def hessian(
    X: np.ndarray,
    mean: np.ndarray,
    n_columns: int,
    D: np.ndarray,
    u: np.ndarray | None,
    outputs: np.ndarray,
    dtype: type,
) -> np.ndarray:
    """``sum_i (z_i z_i') (x) H_i`` computed in `dtype`, shape (n_columns, K, n_columns, K).

    ``H_i`` has the diagonal ``D_i`` and the other entries ``- u_i u_i'``; of it the K rows and columns of
    `outputs` count. It is made as one product, of the pairs of outputs with the pairs of columns.
    """
    K, columns = len(outputs), _pairs(n_columns)
    pairs = np.repeat(np.arange(K)[:, None], 2, axis=1) if u is None else _pairs(K)
    parts, B = _parts(X, n_columns, len(pairs)), _buffer(n_columns, dtype)
    C, V = _buffer(len(pairs), dtype), _buffer(TILE, dtype)
    whole_tiles = np.pad(columns, ((0, -len(columns) % TILE), (0, 0)))
    one: np.ndarray = np.ones(X.shape[0], dtype)
    out: np.ndarray = np.zeros((len(parts), len(whole_tiles), len(C)), dtype)
    u = np.empty((0, 0)) if u is None else u
    run(
        _hessian,
        [
            (X, mean, one, D, u, whole_tiles, outputs[pairs], B.copy(), C.copy(), V.copy(), o, *part)
            for o, part in zip(out, parts, strict=True)
        ],
    )
    A: np.ndarray = np.zeros((n_columns, K, n_columns, K), dtype)
    _symmetric(out[0] if len(out) == 1 else out.sum(axis=0), columns, pairs, A)
    return A


def _pairs(n: int) -> np.ndarray:
    """All ``(i, j)`` with ``j <= i < n``."""
    return np.column_stack(np.tril_indices(n))


def row_gram(X: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``(X - 1 mean') (X - 1 mean')'`` in float64, shape (n, n)."""
    n = X.shape[0]
    parts, B = _parts(X.T, n, 1), _buffer(n, np.float64)
    out = np.zeros((len(parts), len(B), len(B)))
    run(_row_gram, [(X, mean, B.copy(), o, *part) for o, part in zip(out, parts, strict=True)])
    return _mirrored(out.sum(axis=0))[:n, :n]


def _mirrored(G: np.ndarray) -> np.ndarray:
    """The symmetric matrices with the upper triangles of those in `G` (..., q, q)."""
    return np.triu(G) + np.triu(G, 1).swapaxes(-1, -2)


def sparse_gram(X: csr_array, c: np.ndarray) -> np.ndarray:
    """``sum_i c_i z_i z_i'`` with ``z_i = (x_i, 1)`` for a CSR matrix, in float64."""
    q = X.shape[1] + 1
    worth = X.nnz * (1 + X.nnz // X.shape[0]) if X.nnz > q * q else 0
    parts = list(pairwise(nonzero_bounds(X.indptr, worth)))
    out, squares = np.zeros((len(parts), q, q)), np.zeros((len(parts), q))
    own = zip(out, squares, parts, strict=True)
    run(_sparse_gram, [(X.data, X.indices, X.indptr, c, o, s, *part) for o, s, part in own])
    G = out[0] if len(parts) == 1 else out.sum(axis=0)
    G = G + G.T
    G.flat[:: q + 1] += squares.sum(axis=0)
    return G
