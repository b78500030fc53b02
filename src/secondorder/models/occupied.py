"""The features of a sparse matrix that occur in it: with a penalty the weights of the others are 0."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

FEW_ENTRIES = 4  # for each column of X: then its indices take no more memory than some vectors of parameters
MANY_EMPTY = 0.5  # part of the columns that makes it worthwhile to leave the empty ones out


class Occupied:
    """A CSR matrix without its empty columns; it shares all but the indices with `X`.

    Parameters
    ----------
    X : CSR array
    columns : array of int
        Those that hold entries, in ascending order.

    Attributes
    ----------
    X : csr_array of shape (n, len(columns))
    """

    def __init__(self, X: Any, columns: np.ndarray) -> None:
        self._columns, self._n_columns = columns, X.shape[1]
        position = np.empty(X.shape[1], X.indices.dtype)
        position[columns] = np.arange(len(columns))
        self.X = csr_array((X.data, position.take(X.indices), X.indptr), (X.shape[0], len(columns)))

    def spread(self, w: np.ndarray, n_outputs: int) -> np.ndarray:
        """The parameters for all columns, from those for `X` here with the intercepts, if any, at the end."""
        W, m = w.reshape(-1, n_outputs), len(self._columns)
        spread = np.zeros((self._n_columns + len(W) - m, n_outputs))
        spread[self._columns], spread[self._n_columns :] = W[:m], W[m:]
        return spread.ravel()


def occupied(X: Any) -> Occupied | None:
    """The columns of `X` that hold entries, if most are empty and a copy of its indices is small."""
    if not issparse(X) or X.format != "csr" or X.nnz > FEW_ENTRIES * X.shape[1]:
        return None
    holds = np.zeros(X.shape[1], bool)
    holds[X.indices] = True
    columns = np.flatnonzero(holds)
    return Occupied(X, columns) if 0 < len(columns) <= (1 - MANY_EMPTY) * X.shape[1] else None
