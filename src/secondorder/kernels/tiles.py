"""Tiles of the products with a dense matrix of few columns: ``T = X V'`` and ``out += T' X``.

BLAS reaches a small part of its speed when one side is this thin. Here the inner loops hold a tile of 4
rows by up to 6 columns in registers. The tiles are written out because an array of accumulators would live in
memory, not in registers. One column alone waits for its sums, and is left over only where there is no other.

`V` is kept transposed (K, p) so that every inner loop runs along contiguous features.
"""

from secondorder.kernels.compile import kernel

CHUNK_BYTES = 3072  # stretch of a row on the way back: 4 rows and 6 outputs of it fit the first level


@kernel
def _width(left):
    """The columns of the next tile, where so many are left: no single one after others."""
    return 6 if left == 6 else 4 if left in (7, 8) else min(left, 5)


@kernel
def _forward5(X, V, T, i, t, quads, k):
    v0, v1, v2, v3, v4 = V[k], V[k + 1], V[k + 2], V[k + 3], V[k + 4]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r], X[i + r + 1], X[i + r + 2], X[i + r + 3]
        t00 = t01 = t02 = t03 = t04 = t10 = t11 = t12 = t13 = t14 = T.dtype.type(0)
        t20 = t21 = t22 = t23 = t24 = t30 = t31 = t32 = t33 = t34 = T.dtype.type(0)
        for j in range(X.shape[1]):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
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
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        w0[k], w0[k + 1], w0[k + 2], w0[k + 3], w0[k + 4] = t00, t01, t02, t03, t04
        w1[k], w1[k + 1], w1[k + 2], w1[k + 3], w1[k + 4] = t10, t11, t12, t13, t14
        w2[k], w2[k + 1], w2[k + 2], w2[k + 3], w2[k + 4] = t20, t21, t22, t23, t24
        w3[k], w3[k + 1], w3[k + 2], w3[k + 3], w3[k + 4] = t30, t31, t32, t33, t34


@kernel
def _forward6(X, V, T, i, t, quads, k):
    v0, v1, v2, v3, v4, v5 = V[k], V[k + 1], V[k + 2], V[k + 3], V[k + 4], V[k + 5]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r], X[i + r + 1], X[i + r + 2], X[i + r + 3]
        t00 = t01 = t02 = t03 = t04 = t05 = t10 = t11 = t12 = t13 = t14 = t15 = T.dtype.type(0)
        t20 = t21 = t22 = t23 = t24 = t25 = t30 = t31 = t32 = t33 = t34 = t35 = T.dtype.type(0)
        for j in range(X.shape[1]):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            b0, b1, b2, b3, b4, b5 = v0[j], v1[j], v2[j], v3[j], v4[j], v5[j]
            t00 += a0 * b0
            t01 += a0 * b1
            t02 += a0 * b2
            t03 += a0 * b3
            t04 += a0 * b4
            t05 += a0 * b5
            t10 += a1 * b0
            t11 += a1 * b1
            t12 += a1 * b2
            t13 += a1 * b3
            t14 += a1 * b4
            t15 += a1 * b5
            t20 += a2 * b0
            t21 += a2 * b1
            t22 += a2 * b2
            t23 += a2 * b3
            t24 += a2 * b4
            t25 += a2 * b5
            t30 += a3 * b0
            t31 += a3 * b1
            t32 += a3 * b2
            t33 += a3 * b3
            t34 += a3 * b4
            t35 += a3 * b5
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        w0[k], w0[k + 1], w0[k + 2], w0[k + 3], w0[k + 4], w0[k + 5] = t00, t01, t02, t03, t04, t05
        w1[k], w1[k + 1], w1[k + 2], w1[k + 3], w1[k + 4], w1[k + 5] = t10, t11, t12, t13, t14, t15
        w2[k], w2[k + 1], w2[k + 2], w2[k + 3], w2[k + 4], w2[k + 5] = t20, t21, t22, t23, t24, t25
        w3[k], w3[k + 1], w3[k + 2], w3[k + 3], w3[k + 4], w3[k + 5] = t30, t31, t32, t33, t34, t35


@kernel
def _forward4(X, V, T, i, t, quads, k):
    v0, v1, v2, v3 = V[k], V[k + 1], V[k + 2], V[k + 3]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r], X[i + r + 1], X[i + r + 2], X[i + r + 3]
        t00 = t01 = t02 = t03 = t10 = t11 = t12 = t13 = T.dtype.type(0)
        t20 = t21 = t22 = t23 = t30 = t31 = t32 = t33 = T.dtype.type(0)
        for j in range(X.shape[1]):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            b0, b1, b2, b3 = v0[j], v1[j], v2[j], v3[j]
            t00 += a0 * b0
            t01 += a0 * b1
            t02 += a0 * b2
            t03 += a0 * b3
            t10 += a1 * b0
            t11 += a1 * b1
            t12 += a1 * b2
            t13 += a1 * b3
            t20 += a2 * b0
            t21 += a2 * b1
            t22 += a2 * b2
            t23 += a2 * b3
            t30 += a3 * b0
            t31 += a3 * b1
            t32 += a3 * b2
            t33 += a3 * b3
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        w0[k], w0[k + 1], w0[k + 2], w0[k + 3] = t00, t01, t02, t03
        w1[k], w1[k + 1], w1[k + 2], w1[k + 3] = t10, t11, t12, t13
        w2[k], w2[k + 1], w2[k + 2], w2[k + 3] = t20, t21, t22, t23
        w3[k], w3[k + 1], w3[k + 2], w3[k + 3] = t30, t31, t32, t33


@kernel
def _forward3(X, V, T, i, t, quads, k):
    v0, v1, v2 = V[k], V[k + 1], V[k + 2]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r], X[i + r + 1], X[i + r + 2], X[i + r + 3]
        t00 = t01 = t02 = t10 = t11 = t12 = t20 = t21 = t22 = t30 = t31 = t32 = T.dtype.type(0)
        for j in range(X.shape[1]):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            b0, b1, b2 = v0[j], v1[j], v2[j]
            t00 += a0 * b0
            t01 += a0 * b1
            t02 += a0 * b2
            t10 += a1 * b0
            t11 += a1 * b1
            t12 += a1 * b2
            t20 += a2 * b0
            t21 += a2 * b1
            t22 += a2 * b2
            t30 += a3 * b0
            t31 += a3 * b1
            t32 += a3 * b2
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        w0[k], w0[k + 1], w0[k + 2] = t00, t01, t02
        w1[k], w1[k + 1], w1[k + 2] = t10, t11, t12
        w2[k], w2[k + 1], w2[k + 2] = t20, t21, t22
        w3[k], w3[k + 1], w3[k + 2] = t30, t31, t32


@kernel
def _forward2(X, V, T, i, t, quads, k):
    v0, v1 = V[k], V[k + 1]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r], X[i + r + 1], X[i + r + 2], X[i + r + 3]
        t00 = t01 = t10 = t11 = t20 = t21 = t30 = t31 = T.dtype.type(0)
        for j in range(X.shape[1]):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            b0, b1 = v0[j], v1[j]
            t00 += a0 * b0
            t01 += a0 * b1
            t10 += a1 * b0
            t11 += a1 * b1
            t20 += a2 * b0
            t21 += a2 * b1
            t30 += a3 * b0
            t31 += a3 * b1
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        w0[k], w0[k + 1] = t00, t01
        w1[k], w1[k + 1] = t10, t11
        w2[k], w2[k + 1] = t20, t21
        w3[k], w3[k + 1] = t30, t31


@kernel
def _forward1(X, V, T, i, t, quads, k):
    v = V[k]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r], X[i + r + 1], X[i + r + 2], X[i + r + 3]
        t0 = t1 = t2 = t3 = T.dtype.type(0)
        for j in range(X.shape[1]):
            t0 += x0[j] * v[j]
            t1 += x1[j] * v[j]
            t2 += x2[j] * v[j]
            t3 += x3[j] * v[j]
        T[t + r, k], T[t + r + 1, k], T[t + r + 2, k], T[t + r + 3, k] = t0, t1, t2, t3


@kernel
def _forward_row(X, V, T, i, t):
    for k in range(V.shape[0]):
        total = T.dtype.type(0)
        for j in range(X.shape[1]):
            total += X[i, j] * V[k, j]
        T[t, k] = total


@kernel
def forward(X, V, T, i, t, rows):
    """``T[t : t + rows] = X[i : i + rows] V'``."""
    n_outputs, quads = V.shape[0], rows - rows % 4
    k = 0
    while k < n_outputs:
        width = _width(n_outputs - k)
        if width == 6:
            _forward6(X, V, T, i, t, quads, k)
        elif width == 5:
            _forward5(X, V, T, i, t, quads, k)
        elif width == 4:
            _forward4(X, V, T, i, t, quads, k)
        elif width == 3:
            _forward3(X, V, T, i, t, quads, k)
        elif width == 2:
            _forward2(X, V, T, i, t, quads, k)
        else:
            _forward1(X, V, T, i, t, quads, k)
        k += width
    for r in range(quads, rows):
        _forward_row(X, V, T, i + r, t + r)


@kernel
def _backward5(X, T, out, i, t, quads, k, j0, j1):
    o0, o1, o2 = out[k, j0:j1], out[k + 1, j0:j1], out[k + 2, j0:j1]
    o3, o4 = out[k + 3, j0:j1], out[k + 4, j0:j1]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r, j0:j1], X[i + r + 1, j0:j1], X[i + r + 2, j0:j1], X[i + r + 3, j0:j1]
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        t00, t01, t02, t03, t04 = w0[k], w0[k + 1], w0[k + 2], w0[k + 3], w0[k + 4]
        t10, t11, t12, t13, t14 = w1[k], w1[k + 1], w1[k + 2], w1[k + 3], w1[k + 4]
        t20, t21, t22, t23, t24 = w2[k], w2[k + 1], w2[k + 2], w2[k + 3], w2[k + 4]
        t30, t31, t32, t33, t34 = w3[k], w3[k + 1], w3[k + 2], w3[k + 3], w3[k + 4]
        for j in range(j1 - j0):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            o0[j] += a0 * t00 + a1 * t10 + a2 * t20 + a3 * t30
            o1[j] += a0 * t01 + a1 * t11 + a2 * t21 + a3 * t31
            o2[j] += a0 * t02 + a1 * t12 + a2 * t22 + a3 * t32
            o3[j] += a0 * t03 + a1 * t13 + a2 * t23 + a3 * t33
            o4[j] += a0 * t04 + a1 * t14 + a2 * t24 + a3 * t34


@kernel
def _backward6(X, T, out, i, t, quads, k, j0, j1):
    o0, o1, o2 = out[k, j0:j1], out[k + 1, j0:j1], out[k + 2, j0:j1]
    o3, o4, o5 = out[k + 3, j0:j1], out[k + 4, j0:j1], out[k + 5, j0:j1]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r, j0:j1], X[i + r + 1, j0:j1], X[i + r + 2, j0:j1], X[i + r + 3, j0:j1]
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        t00, t01, t02, t03, t04, t05 = w0[k], w0[k + 1], w0[k + 2], w0[k + 3], w0[k + 4], w0[k + 5]
        t10, t11, t12, t13, t14, t15 = w1[k], w1[k + 1], w1[k + 2], w1[k + 3], w1[k + 4], w1[k + 5]
        t20, t21, t22, t23, t24, t25 = w2[k], w2[k + 1], w2[k + 2], w2[k + 3], w2[k + 4], w2[k + 5]
        t30, t31, t32, t33, t34, t35 = w3[k], w3[k + 1], w3[k + 2], w3[k + 3], w3[k + 4], w3[k + 5]
        for j in range(j1 - j0):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            o0[j] += a0 * t00 + a1 * t10 + a2 * t20 + a3 * t30
            o1[j] += a0 * t01 + a1 * t11 + a2 * t21 + a3 * t31
            o2[j] += a0 * t02 + a1 * t12 + a2 * t22 + a3 * t32
            o3[j] += a0 * t03 + a1 * t13 + a2 * t23 + a3 * t33
            o4[j] += a0 * t04 + a1 * t14 + a2 * t24 + a3 * t34
            o5[j] += a0 * t05 + a1 * t15 + a2 * t25 + a3 * t35


@kernel
def _backward4(X, T, out, i, t, quads, k, j0, j1):
    o0, o1, o2, o3 = out[k, j0:j1], out[k + 1, j0:j1], out[k + 2, j0:j1], out[k + 3, j0:j1]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r, j0:j1], X[i + r + 1, j0:j1], X[i + r + 2, j0:j1], X[i + r + 3, j0:j1]
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        t00, t01, t02, t03 = w0[k], w0[k + 1], w0[k + 2], w0[k + 3]
        t10, t11, t12, t13 = w1[k], w1[k + 1], w1[k + 2], w1[k + 3]
        t20, t21, t22, t23 = w2[k], w2[k + 1], w2[k + 2], w2[k + 3]
        t30, t31, t32, t33 = w3[k], w3[k + 1], w3[k + 2], w3[k + 3]
        for j in range(j1 - j0):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            o0[j] += a0 * t00 + a1 * t10 + a2 * t20 + a3 * t30
            o1[j] += a0 * t01 + a1 * t11 + a2 * t21 + a3 * t31
            o2[j] += a0 * t02 + a1 * t12 + a2 * t22 + a3 * t32
            o3[j] += a0 * t03 + a1 * t13 + a2 * t23 + a3 * t33


@kernel
def _backward3(X, T, out, i, t, quads, k, j0, j1):
    o0, o1, o2 = out[k, j0:j1], out[k + 1, j0:j1], out[k + 2, j0:j1]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r, j0:j1], X[i + r + 1, j0:j1], X[i + r + 2, j0:j1], X[i + r + 3, j0:j1]
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        t00, t01, t02 = w0[k], w0[k + 1], w0[k + 2]
        t10, t11, t12 = w1[k], w1[k + 1], w1[k + 2]
        t20, t21, t22 = w2[k], w2[k + 1], w2[k + 2]
        t30, t31, t32 = w3[k], w3[k + 1], w3[k + 2]
        for j in range(j1 - j0):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            o0[j] += a0 * t00 + a1 * t10 + a2 * t20 + a3 * t30
            o1[j] += a0 * t01 + a1 * t11 + a2 * t21 + a3 * t31
            o2[j] += a0 * t02 + a1 * t12 + a2 * t22 + a3 * t32


@kernel
def _backward2(X, T, out, i, t, quads, k, j0, j1):
    o0, o1 = out[k, j0:j1], out[k + 1, j0:j1]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r, j0:j1], X[i + r + 1, j0:j1], X[i + r + 2, j0:j1], X[i + r + 3, j0:j1]
        w0, w1, w2, w3 = T[t + r], T[t + r + 1], T[t + r + 2], T[t + r + 3]
        t00, t01 = w0[k], w0[k + 1]
        t10, t11 = w1[k], w1[k + 1]
        t20, t21 = w2[k], w2[k + 1]
        t30, t31 = w3[k], w3[k + 1]
        for j in range(j1 - j0):
            a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
            o0[j] += a0 * t00 + a1 * t10 + a2 * t20 + a3 * t30
            o1[j] += a0 * t01 + a1 * t11 + a2 * t21 + a3 * t31


@kernel
def _backward1(X, T, out, i, t, quads, k, j0, j1):
    o = out[k, j0:j1]
    for r in range(0, quads, 4):
        x0, x1, x2, x3 = X[i + r, j0:j1], X[i + r + 1, j0:j1], X[i + r + 2, j0:j1], X[i + r + 3, j0:j1]
        t0, t1, t2, t3 = T[t + r, k], T[t + r + 1, k], T[t + r + 2, k], T[t + r + 3, k]
        for j in range(j1 - j0):
            o[j] += x0[j] * t0 + x1[j] * t1 + x2[j] * t2 + x3[j] * t3


@kernel
def _backward_row(X, T, out, i, t):
    for k in range(out.shape[0]):
        weight = T[t, k]
        for j in range(X.shape[1]):
            out[k, j] += X[i, j] * weight


@kernel
def backward(X, T, out, i, t, rows):
    """``out += T[t : t + rows]' X[i : i + rows]``."""
    (n_outputs, n_features), quads = out.shape, rows - rows % 4
    chunks = max(1, round(n_features * X.itemsize / CHUNK_BYTES))
    chunk = -(-n_features // chunks)
    for j0 in range(0, n_features, chunk):
        j1 = min(n_features, j0 + chunk)
        k = 0
        while k < n_outputs:
            width = _width(n_outputs - k)
            if width == 6:
                _backward6(X, T, out, i, t, quads, k, j0, j1)
            elif width == 5:
                _backward5(X, T, out, i, t, quads, k, j0, j1)
            elif width == 4:
                _backward4(X, T, out, i, t, quads, k, j0, j1)
            elif width == 3:
                _backward3(X, T, out, i, t, quads, k, j0, j1)
            elif width == 2:
                _backward2(X, T, out, i, t, quads, k, j0, j1)
            else:
                _backward1(X, T, out, i, t, quads, k, j0, j1)
            k += width
    for r in range(quads, rows):
        _backward_row(X, T, out, i + r, t + r)
