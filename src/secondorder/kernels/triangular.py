"""Systems with a Cholesky factor in float32, several times faster than by BLAS.

Loops along a row take a multiple of `CHUNK` numbers, so that they are all vector lanes: they begin before the
diagonal, where there are zeros.
"""

import numpy as np

from secondorder.kernels.compile import kernel

CHUNK = 64


@kernel
def _first(i, n):
    """Where the loop along row i begins: before the diagonal, a multiple of `CHUNK` before the end."""
    return max(0, n - (n - i + CHUNK - 1) // CHUNK * CHUNK)


@kernel
def _prepare(R, inverse):
    n = len(R)
    for i in range(n):
        row = R[i]
        inverse[i] = 1 / row[i]
        for j in range(_first(i, n), i + 1):
            row[j] = 0


@kernel
def _solve(R, inverse, x):
    n = len(R)
    for i in range(n):  # R'y = x
        x[i] *= inverse[i]
        first, y = _first(i, n), x[i]
        row, rest = R[i, first:], x[first:]
        for j in range(len(row)):
            rest[j] -= row[j] * y
    for i in range(n - 1, -1, -1):  # R x = y
        first, total = _first(i, n), R.dtype.type(0)
        row, rest = R[i, first:], x[first:]
        for j in range(len(row)):
            total += row[j] * rest[j]
        x[i] = (x[i] - total) * inverse[i]


def prepared(R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper factor `R` without its diagonal and with zeros before it, in place; the inverse of that."""
    inverse = np.empty(len(R), R.dtype)
    _prepare(R, inverse)
    return R, inverse


def solve(R: np.ndarray, inverse: np.ndarray, v: np.ndarray) -> np.ndarray:
    """``(R'R)^-1 v`` in float64, for `R` and `inverse` as `prepared`; v comes to a size float32 holds."""
    size = max(float(np.max(np.abs(v))), np.finfo(float).tiny)
    x = (v / size).astype(R.dtype)
    _solve(R, inverse, x)
    return size * x.astype(float)
