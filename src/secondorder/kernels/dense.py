"""Products with a dense matrix of few columns on the other side, one sweep over the rows.

BLAS needs two sweeps for ``X' H X V``. Here a block of rows stays in cache between the way forward
(``T = X V``) and the way back (``out += X' H T``), whose inner loops are in `tiles`. `V` is kept transposed,
of shape (K, p).
"""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.curve import curve_rows
from secondorder.kernels.threads import row_bounds, run
from secondorder.kernels.tiles import backward, forward

BLOCK_BYTES = 2**19  # rows in flight, to stay in the second-level cache
CONVERTED = 96  # rows converted at a time where X is in another precision or order
AT_ONCE = 8  # outputs for which a tile multiplies an entry in about the time that reading one takes
LINE = 16  # converted rows are padded to a multiple of this, whole cache lines


@kernel
def _matmul(X, V, bias, S, start, stop):
    rows = max(4, BLOCK_BYTES // (X.itemsize * X.shape[1]) // 4 * 4)
    for i in range(start, stop, rows):
        forward(X, V, S, i, i, min(rows, stop - i))
    for i in range(start, stop):
        for k in range(S.shape[1]):
            S[i, k] += bias[k]


@kernel
def _rmatmul(X, U, out, start, stop):
    rows = max(4, BLOCK_BYTES // (X.itemsize * X.shape[1]) // 4 * 4)
    for i in range(start, stop, rows):
        backward(X, U, out, i, i, min(rows, stop - i))


@kernel
def _product(X, d, u, shift_invariant, V, bias, out, sums, start, stop):
    rows = max(4, min(96, BLOCK_BYTES // (X.itemsize * X.shape[1]) // 4 * 4))
    T = np.empty((rows, V.shape[0]), V.dtype)
    for i in range(start, stop, rows):
        block = min(rows, stop - i)
        forward(X, V, T, i, 0, block)
        curve_rows(d, u, shift_invariant, i, T[:block], bias, sums)
        backward(X, T, out, i, 0, block)


@kernel
def _forward1_backward1(X, V, T, out, i):
    """``T = X[i : i + 4] V'`` and ``out += T[4 : 8]' X[i - 4 : i]`` for one output."""
    x0, x1, x2, x3, v = X[i], X[i + 1], X[i + 2], X[i + 3], V[0]
    y0, y1, y2, y3, o = X[i - 4], X[i - 3], X[i - 2], X[i - 1], out[0]
    w0, w1, w2, w3 = T[4], T[5], T[6], T[7]
    t0 = t1 = t2 = t3 = T.dtype.type(0)
    for j in range(X.shape[1]):
        t0 += x0[j] * v[j]
        t1 += x1[j] * v[j]
        t2 += x2[j] * v[j]
        t3 += x3[j] * v[j]
        o[j] += y0[j] * w0 + y1[j] * w1 + y2[j] * w2 + y3[j] * w3
    T[0], T[1], T[2], T[3] = t0, t1, t2, t3


@kernel
def _product1(X, d, u, shift_invariant, V, bias, out, sums, start, stop):
    """`_product` for one output, where memory is the limit.

    The way back of four rows goes along with the way forward of the next four, so that X is
    read from memory all the time and not by fits and starts.
    """
    T = np.zeros(8, V.dtype)
    ends = start + (stop - start) // 4 * 4
    for i in range(start, ends, 4):
        if i > start:
            _forward1_backward1(X, V, T, out, i)
        else:
            for r in range(4):
                for j in range(X.shape[1]):
                    T[r] += X[i + r, j] * V[0, j]
        for r in range(4):
            T[4 + r] = d[i + r, 0] * (T[r] + bias[0])
            sums[0] += T[4 + r]
    for i in range(max(start, ends - 4), stop):
        if i < ends:
            weight = T[4 + i - (ends - 4)]
        else:
            total = T.dtype.type(0)
            for j in range(X.shape[1]):
                total += X[i, j] * V[0, j]
            weight = d[i, 0] * (total + bias[0])
            sums[0] += weight
        for j in range(X.shape[1]):
            out[0, j] += X[i, j] * weight


@kernel
def _convert(X, mean, i, rows, B):
    """The rows of a block less the mean, in the order and precision of `B`, which may have more columns."""
    p = X.shape[1]
    if X.strides[0] >= X.strides[1]:
        for r in range(rows):
            for j in range(p):
                B[r, j] = X[i + r, j] - mean[j]
        return
    eights = p - p % 8
    for j in range(0, eights, 8):  # column by column: eight at a time fill a cache line of B
        x0, x1, x2, x3 = X[:, j], X[:, j + 1], X[:, j + 2], X[:, j + 3]
        x4, x5, x6, x7 = X[:, j + 4], X[:, j + 5], X[:, j + 6], X[:, j + 7]
        m = mean[j : j + 8]
        for r in range(rows):
            b = B[r, j : j + 8]
            b[0], b[1], b[2], b[3] = x0[i + r] - m[0], x1[i + r] - m[1], x2[i + r] - m[2], x3[i + r] - m[3]
            b[4], b[5], b[6], b[7] = x4[i + r] - m[4], x5[i + r] - m[5], x6[i + r] - m[6], x7[i + r] - m[7]
    for j in range(eights, p):
        for r in range(rows):
            B[r, j] = X[i + r, j] - mean[j]


@kernel
def _converted_matmul(X, mean, V, bias, S, start, stop):
    B = np.zeros((CONVERTED, V.shape[1]), V.dtype)
    for i in range(start, stop, CONVERTED):
        rows = min(CONVERTED, stop - i)
        _convert(X, mean, i, rows, B)
        forward(B, V, S, 0, i, rows)
    for i in range(start, stop):
        for k in range(S.shape[1]):
            S[i, k] += bias[k]


@kernel
def _converted_rmatmul(X, mean, U, out, start, stop):
    B = np.zeros((CONVERTED, out.shape[1]), out.dtype)
    for i in range(start, stop, CONVERTED):
        rows = min(CONVERTED, stop - i)
        _convert(X, mean, i, rows, B)
        backward(B, U, out, 0, i, rows)


@kernel
def _converted_product(X, mean, d, u, shift_invariant, V, bias, out, sums, start, stop):
    B = np.zeros((CONVERTED, V.shape[1]), V.dtype)
    T = np.empty((CONVERTED, V.shape[0]), V.dtype)
    for i in range(start, stop, CONVERTED):
        rows = min(CONVERTED, stop - i)
        _convert(X, mean, i, rows, B)
        forward(B, V, T, 0, 0, rows)
        curve_rows(d, u, shift_invariant, i, T[:rows], bias, sums)
        backward(B, T, out, 0, 0, rows)


def _parts(X: np.ndarray, n_outputs: int) -> list[tuple[int, int]]:
    """The rows each thread takes."""
    bounds = row_bounds(X.shape[0], X.size * max(1, n_outputs // AT_ONCE))
    return list(pairwise(bounds))


def matmul(
    X: np.ndarray, W: np.ndarray, bias: np.ndarray, mean: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """``(X - 1 mean') W + bias``, whatever the precision of `X`, as `out` in its precision or in float64."""
    (p, K), S = W.shape, np.empty((X.shape[0], W.shape[1])) if out is None else out
    converted = X.itemsize > S.itemsize or not X.flags.c_contiguous
    V: np.ndarray = np.zeros((K, -(-p // LINE) * LINE if converted else p), S.dtype)
    V[:, :p] = W.T
    parts = _parts(X, K)
    if converted:
        run(_converted_matmul, [(X, mean, V, bias.astype(S.dtype), S, *part) for part in parts])
    else:
        run(_matmul, [(X, V, (bias - mean @ W).astype(S.dtype), S, *part) for part in parts])
    return S


def rmatmul(X: np.ndarray, U: np.ndarray) -> np.ndarray:
    """``X' U`` in float64 for float64 `U` (n, K), whatever the precision of `X`."""
    parts = _parts(X, U.shape[1])
    out = np.zeros((len(parts), U.shape[1], X.shape[1]))
    if X.flags.c_contiguous:
        run(_rmatmul, [(X, U, o, *part) for o, part in zip(out, parts, strict=True)])
    else:
        zero = np.zeros(X.shape[1])
        run(_converted_rmatmul, [(X, zero, U, o, *part) for o, part in zip(out, parts, strict=True)])
    return out.sum(axis=0).T


def product(
    X: np.ndarray,
    d: np.ndarray,
    u: np.ndarray | None,
    shift_invariant: bool,
    W: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
) -> np.ndarray:
    """``[X - 1 mean', 1]' U`` for ``U = H ((X - 1 mean') W + bias)``, in the precision of `d`.

    H is given by the fields of an `OutputHessian`. Where X has another precision, or lies column by
    column, blocks of it are centred and converted on the way.
    """
    (p, K), dtype = W.shape, d.dtype
    converted = X.dtype != dtype or not X.flags.c_contiguous
    V: np.ndarray = np.zeros((K, -(-p // LINE) * LINE if converted else p), dtype)
    V[:, :p] = W.T
    narrow = K == 1 and u is None
    u = np.empty((0, 0), dtype) if u is None else u
    parts = _parts(X, K)
    out: np.ndarray = np.zeros((len(parts), *V.shape), dtype)
    sums = np.zeros((len(parts), K))
    loop = _converted_product if converted else _product1 if narrow else _product
    matrix = (X, mean) if converted else (X,)
    centre = np.zeros(p) if converted else mean
    bias = (bias - centre @ W).astype(dtype)
    run(
        loop,
        [
            (*matrix, d, u, shift_invariant, V, bias, o, total, *part)
            for o, total, part in zip(out, sums, parts, strict=True)
        ],
    )
    total = sums.sum(axis=0, dtype=np.float64)
    ZU = np.empty((p + 1, K))
    ZU[:p] = out.sum(axis=0, dtype=np.float64)[:, :p].T - centre[:, None] * total
    ZU[p] = total
    if shift_invariant:  # then rows sum to 0, but for rounding
        ZU -= ZU.mean(axis=1, keepdims=True)
    return ZU
