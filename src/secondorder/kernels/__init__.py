"""Loops over rows compiled by Numba, and the rule for when they repay their cost.

Importing this package imports no Numba; its modules (``dense``, ``csr``, ``softmax``, ``logistic``)
do, and are imported by the first problem large enough. They take and return plain arrays.
"""

import os
from typing import Any

import numpy as np
from scipy.sparse import issparse

# Importing Numba and loading the compiled loops costs about half a second, once per process.
# Below these sizes a whole fit in plain NumPy costs less.
POINTWISE_ELEMENTS = 2**16
DENSE_MULTIPLICATIONS = 2**20
SPARSE_MULTIPLICATIONS = 2**18

# With Numba's compiler switched off its loops run as plain Python, and repay nothing.
COMPILING = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def pointwise_repays(S: Any) -> bool:
    """Whether the loss of outputs `S` (n, K) is worth a compiled loop."""
    large = isinstance(S, np.ndarray) and S.dtype == np.float64 and S.size >= POINTWISE_ELEMENTS
    return large and COMPILING


def vector_repays(v: Any) -> bool:
    """Whether sweeps over the vector `v` are worth a compiled loop."""
    large = isinstance(v, np.ndarray) and v.dtype == np.float64 and v.size >= POINTWISE_ELEMENTS
    return large and COMPILING


def dense_repays(X: Any, n_outputs: int) -> bool:
    """Whether products with the dense `X` are worth compiled loops, which need C order."""
    return (
        isinstance(X, np.ndarray)
        and X.dtype in (np.float64, np.float32)
        and X.flags.c_contiguous
        and (X.size * n_outputs >= DENSE_MULTIPLICATIONS or X.shape[0] * n_outputs >= POINTWISE_ELEMENTS)
        and COMPILING
    )


def sparse_repays(X: Any, n_outputs: int) -> bool:
    """Whether products with the CSR `X` are worth compiled loops."""
    return (
        issparse(X)
        and X.format == "csr"
        and X.dtype in (np.float64, np.float32)
        and (X.nnz * n_outputs >= SPARSE_MULTIPLICATIONS or X.shape[0] * n_outputs >= POINTWISE_ELEMENTS)
        and COMPILING
    )
