"""Updates of long vectors in one sweep, shared among threads."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.threads import row_bounds, run

ROWS = 512  # of a matrix summed at a time
OPERATIONS = 1  # memory traffic of an entry, counted as multiplications


@kernel
def _descend(x, r, p, Ap, a, total, start, stop):
    squares = 0.0
    for j in range(start, stop):
        x[j] += a * p[j]
        r[j] -= a * Ap[j]
        squares += r[j] * r[j]
    total[0] = squares


@kernel
def _extend(p, z, beta, start, stop):
    for j in range(start, stop):
        p[j] = z[j] + beta * p[j]


@kernel
def _dot(a, b, total, start, stop):
    products = 0.0
    for j in range(start, stop):
        products += a[j] * b[j]
    total[0] = products


@kernel
def _add_product(out, a, b, start, stop):
    for j in range(start, stop):
        out[j] += a[j] * b[j]


@kernel
def _plus_multiple(a, b, t, out, start, stop):
    for j in range(start, stop):
        out[j] = a[j] + t * b[j]


@kernel
def _plus_row(A, c, out, start, stop):
    for i in range(start, stop):
        for k in range(A.shape[1]):
            out[i, k] = A[i, k] + c[k]


@kernel
def _single(a, least, out, start, stop):
    for j in range(start, stop):
        out[j] = a[j] if abs(a[j]) >= least else 0.0


@kernel
def _column_sums(A, sums, start, stop):
    """By blocks of rows: rounding errors add up within each and over blocks, not over all rows."""
    n_columns = A.shape[1]
    for i in range(start, stop, ROWS):
        for k in range(n_columns):
            total, size = 0.0, 0.0
            for r in range(i, min(i + ROWS, stop)):
                total += A[r, k]
                size += abs(A[r, k])
            sums[0, k] += total
            sums[1, k] += size


def _parts(a: np.ndarray) -> list[tuple[int, int]]:
    return list(pairwise(row_bounds(len(a), len(a) * OPERATIONS)))


def descend(x: np.ndarray, r: np.ndarray, p: np.ndarray, Ap: np.ndarray, a: float) -> float:
    """``x += a p`` and ``r -= a Ap`` in place; ``r'r``."""
    parts = _parts(x)
    totals = np.zeros((len(parts), 1))
    run(_descend, [(x, r, p, Ap, a, t, *part) for t, part in zip(totals, parts, strict=True)])
    return float(totals.sum())


def extend(p: np.ndarray, z: np.ndarray, beta: float) -> None:
    """``p = z + beta p`` in place."""
    run(_extend, [(p, z, beta, *part) for part in _parts(p)])


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """``a'b``."""
    parts = _parts(a)
    totals = np.zeros((len(parts), 1))
    run(_dot, [(a, b, t, *part) for t, part in zip(totals, parts, strict=True)])
    return float(totals.sum())


def add_product(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """``out += a b`` in place."""
    run(_add_product, [(out, a, b, *part) for part in _parts(out)])


def plus_multiple(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """``a + t b``."""
    out = np.empty(a.size)
    flat = a.reshape(-1), b.reshape(-1)
    run(_plus_multiple, [(*flat, t, out, *part) for part in _parts(out)])
    return out.reshape(a.shape)


def plus_row(A: np.ndarray, c: np.ndarray) -> np.ndarray:
    """``A + 1 c'``."""
    out, parts = np.empty(A.shape), row_bounds(len(A), A.size * OPERATIONS)
    run(_plus_row, [(A, c, out, *part) for part in pairwise(parts)])
    return out


def single(a: np.ndarray, least: float) -> np.ndarray:
    """`a` in float32, with 0 for what is smaller than `least`."""
    out = np.empty(a.size, np.float32)
    run(_single, [(a.reshape(-1), least, out, *part) for part in _parts(out)])
    return out.reshape(a.shape)


def column_sums(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the columns of `A` (n, K), and those of its absolute values."""
    parts = list(pairwise(row_bounds(len(A), A.size * OPERATIONS)))
    sums = np.zeros((len(parts), 2, A.shape[1]))
    run(_column_sums, [(A, s, *part) for s, part in zip(sums, parts, strict=True)])
    total, sizes = sums.sum(axis=0)
    return total, sizes
