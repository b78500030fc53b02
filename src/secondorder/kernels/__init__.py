"""Loops over rows compiled by Numba, and the rule for when they repay their cost.

Importing this package imports no Numba; its modules (all but ``threads``) do, and are imported by the
first problem large enough. They take and return plain arrays.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse

# Importing Numba and loading the compiled loops costs about half a second, once per process.
# Below these sizes a whole fit in plain NumPy costs less.
POINTWISE_ELEMENTS = 2**14
DENSE_MULTIPLICATIONS = 2**20
SPARSE_MULTIPLICATIONS = 2**18

# Sweeps over vectors of so many numbers are slower than arithmetic, for caches are smaller.
CACHED = 2**19

# With Numba's compiler switched off its loops run as plain Python, and repay nothing.
COMPILING = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")

_any_size = False


@contextmanager
def compiled_at_any_size() -> Iterator[None]:
    """Small problems too go to the compiled loops, so that these are all reached quickly."""
    global _any_size
    _any_size = True
    try:
        yield
    finally:
        _any_size = False


def _repays(size: int, least: int) -> bool:
    """Whether compiled loops repay their cost at this size."""
    return COMPILING and (_any_size or size >= least)


def _either_repays(entries: int, n: int, n_outputs: int, least: int) -> bool:
    """Whether products are worth loops; they are as well where the loss is, which then loads the compiler."""
    return _repays(entries * n_outputs, least) or _repays(n * n_outputs, POINTWISE_ELEMENTS)


def pointwise_repays(S: Any) -> bool:
    """Whether the loss of outputs `S` (n, K) is worth a compiled loop."""
    return isinstance(S, np.ndarray) and S.dtype == np.float64 and _repays(S.size, POINTWISE_ELEMENTS)


def vector_repays(v: Any) -> bool:
    """Whether sweeps over the vector `v` are worth a compiled loop."""
    return isinstance(v, np.ndarray) and v.dtype == np.float64 and _repays(v.size, POINTWISE_ELEMENTS)


def dense_repays(X: Any, n_outputs: int) -> bool:
    """Whether products with the dense `X`, of any order, are worth compiled loops."""
    return (
        isinstance(X, np.ndarray)
        and X.dtype in (np.float64, np.float32)
        and _either_repays(X.size, X.shape[0], n_outputs, DENSE_MULTIPLICATIONS)
    )


def factors_repay(U: np.ndarray) -> bool:
    """Whether solving with the triangular factors `U` (K, q, q), all at once, is worth a compiled loop."""
    return U.dtype == np.float32 and _repays(U.size, DENSE_MULTIPLICATIONS)


def features_repay(X: Any, n_outputs: int) -> bool:
    """Whether the CSR `X` is worth a copy by features, and coordinates in its row space.

    They spare conjugate gradients four vectors of all features, which no cache holds, for four of twice
    as many numbers as there are outputs, and are not to take more memory than those.
    """
    if n_outputs == 1 or not sparse_repays(X, n_outputs):
        return False
    n, p = X.shape
    copied = X.nnz * (X.dtype.itemsize + 4)
    return _repays(p * n_outputs, CACHED) and copied <= 4 * 8 * n_outputs * (p - 2 * n)


def sparse_repays(X: Any, n_outputs: int) -> bool:
    """Whether products with the CSR `X` are worth compiled loops."""
    return (
        issparse(X)
        and X.format == "csr"
        and X.dtype in (np.float64, np.float32)
        and _either_repays(X.nnz, X.shape[0], n_outputs, SPARSE_MULTIPLICATIONS)
    )
