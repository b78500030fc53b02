"""Products with a sparse X feature by feature, from a copy of X' in CSR.

All K numbers of a feature are made, used and forgotten before the next, so that nothing of shape (p, K)
has to be read or written but what is asked for. Where X has more columns than rows, what is left to
gather from and add to are small arrays of shape (n, K), which stay in the caches.
"""

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from secondorder.kernels.compile import kernel
from secondorder.kernels.csr import _backward, _forward
from secondorder.kernels.threads import nonzero_bounds, run


@kernel
def _start(mean, sums, v):
    """``v = -mean sums``: what centring at `mean` adds to ``U' x_j``."""
    for k in range(len(v)):
        v[k] = -mean * sums[k]


@kernel
def _rmatmul(data, indices, indptr, mean, U, sums, out, start, stop):
    for j in range(start, stop):
        _start(mean[j], sums, out[j])
        _forward(data, indices, indptr[j], indptr[j + 1], U, out[j])


@kernel
def _row_gram_product(data, indices, indptr, mean, U, sums, out, shift, start, stop):
    v = np.empty_like(sums)
    out[:] = 0
    for j in range(start, stop):
        first, last = indptr[j], indptr[j + 1]
        _start(mean[j], sums, v)
        _forward(data, indices, first, last, U, v)
        for k in range(len(v)):
            shift[k] -= mean[j] * v[k]
        _backward(data, indices, first, last, v, out)


def _parts(features: csr_array, n_outputs: int) -> list[tuple[int, int]]:
    """The features each thread takes."""
    return list(pairwise(nonzero_bounds(features.indptr, features.nnz * n_outputs)))


def rmatmul(features: csr_array, U: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``[X - 1 mean', 1]' U`` in float64 for float64 `U` (n, K); `features` is X'."""
    sums = U.sum(axis=0)
    out = np.empty((features.shape[0] + 1, U.shape[1]))
    arrays = features.data, features.indices, features.indptr, mean, U, sums, out
    run(_rmatmul, [(*arrays, *part) for part in _parts(features, U.shape[1])])
    out[-1] = sums
    return out


def row_gram_product(features: csr_array, U: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``(X - 1 mean') (X - 1 mean')' U`` in float64 for float64 `U` (n, K); `features` is X'."""
    sums = U.sum(axis=0)
    arrays = features.data, features.indices, features.indptr, mean, U, sums
    parts = _parts(features, U.shape[1])
    out, shift = np.empty((len(parts), *U.shape)), np.zeros((len(parts), U.shape[1]))
    run(_row_gram_product, [(*arrays, o, c, *part) for o, c, part in zip(out, shift, parts, strict=True)])
    return out.sum(axis=0) + shift.sum(axis=0)
