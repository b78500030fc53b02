"""The row space of a matrix, in which every L2-penalised linear fit and every shortest one lives."""

import numpy as np

from secondorder.losses.output_hessian import Array
from secondorder.models.design import Design

NEARLY_NULL = 1e-13  # eigenvalue of a correlation matrix, relative to the largest, that may be rounding
UNCHANGED = 1e-7  # change of an output that is none


class RowSpace:
    """``X - 1 m' = L Q'`` with orthonormal `Q` (p, r) and `L` (n, r), ``r <= n``: n unknowns, not p.

    With a penalty the optimum is ``W = Q V`` with the optimum V for the data L, because ``|W| = |V|`` and
    a part of W outside the span of the rows only costs penalty (the representer theorem). Without
    one it is an optimum, that of least norm. `Q` is never formed: from ``X X' = U R^2 U'`` with X
    centred, ``L = U R`` and ``Q = X' U / R``. Singular values below 1e-8 of the largest or so are lost to
    rounding and left out, so that the solution for L is a start for that for X and no more.

    Parameters
    ----------
    design : Design
        Of a dense matrix; one pass over X.
    """

    def __init__(self, design: Design) -> None:
        self._design = design
        with np.errstate(over="ignore", invalid="ignore"):
            G = design.row_gram()
        if not np.all(np.isfinite(G)):
            raise ValueError(
                "Values in X are too large for their squares to be represented. Scale the features."
            )
        squares, U = np.linalg.eigh(G)
        kept = squares > squares[-1] * len(squares) * np.finfo(float).eps
        root = np.sqrt(squares[kept])
        self.L = U[:, kept] * root
        self._T = U[:, kept] / root
        self._G = G

    def lift(self, V: Array) -> np.ndarray:
        """``W = Q V``, the intercept row unchanged; one pass over X."""
        rank, p = self.L.shape[1], self._design.X.shape[1]
        return np.vstack([self._design.rmatmul(self._T @ V[:rank])[:p], V[rank:]])

    def outputs(self, V: Array) -> np.ndarray:
        """``Z W`` for ``W = lift(V)``, from ``X X'``; no pass over X."""
        rank = self.L.shape[1]
        return self._G @ (self._T @ V[:rank]) + V[rank:].sum(axis=0)

    def squared_gradient(self, V: Array, U: Array, penalty: float) -> np.ndarray:
        """``|X' U + penalty Q V|^2`` of every column, X centred, from ``X X'``; no pass over X."""
        R = U + penalty * (self._T @ V[: self.L.shape[1]])
        return np.sum(R * (self._G @ R), axis=0)

    def project(self, W: Array) -> np.ndarray:
        """``V = Q' W``, the intercept row unchanged; one pass over X."""
        p = self._design.X.shape[1]
        bare = np.vstack([W[:p], np.zeros_like(W[p:])])
        return np.vstack([self._T.T @ self._design.matmul(bare), W[p:]])


def shortest(design: Design, W: np.ndarray) -> np.ndarray:
    """The `W` of least norm, intercepts apart, with the same outputs; one pass over a dense X.

    What lies in the null space of the centred X is taken off, if that leaves the outputs as they are. The
    null space is that of the correlations of the features, so that their units do not matter.
    """
    p = design.X.shape[1]
    G = design.gram(np.ones(design.shape[0]))[:p, :p]
    scale = np.sqrt(np.where(np.diagonal(G) > 0, np.diagonal(G), 1.0))
    squares, U = np.linalg.eigh(G / scale / scale[:, None])
    null = U[:, squares <= NEARLY_NULL * squares[-1]] / scale[:, None]
    if not null.shape[1]:
        return W
    basis = np.linalg.qr(null)[0]
    part = np.vstack([basis @ (basis.T @ W[:p]), np.zeros_like(W[p:])])
    # Rounding hides how small an eigenvalue is; the outputs show whether what is taken off was nothing.
    return W - part if np.max(np.abs(design.matmul(part))) <= UNCHANGED else W
