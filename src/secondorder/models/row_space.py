"""The row space of a matrix, in which every L2-penalised linear fit and every shortest one lives."""

import numpy as np
from scipy.linalg import qr
from scipy.linalg.lapack import dpstrf, dtrtri

from secondorder.losses.output_hessian import Array
from secondorder.models.design import Design

FEW_ROWS = 250  # of which eigenvectors cost as much as X X', while no way to solve L profits from them
STEEP = 1e-6  # pivot of X X', relative to its trace, that hides no eigenvalue without some six digits
HIDDEN = 1e-10  # eigenvalue of X X', relative to the largest, that has no more than some six digits
FAITHFUL = 1e-8  # singular value, relative to the largest, that is not lost to rounding
NEARLY_NULL = 1e-13  # eigenvalue of a correlation matrix, relative to the largest, that may be rounding
UNCHANGED = 1e-7  # change of an output that is none


class RowSpace:
    """``X - 1 m' = L Q'`` with orthonormal `Q` (p, r) and `L` (n, r), ``r <= n``: n unknowns, not p.

    With a penalty the optimum is ``W = Q V`` with the optimum V for the data L, because ``|W| = |V|`` and
    a part of W outside the span of the rows only costs penalty (the representer theorem). Without
    one it is an optimum, that of least norm. `Q` is never formed: it is ``X' T`` with X centred, where
    ``L L' = X X'``. For few rows L is a Cholesky factor. For many it is ``U R`` from ``X X' = U R^2 U'``, and
    ``T = U / R``; where squares hide singular values they come from X itself, but for those below rounding.
    So the solution for L is a start for that for X and no more.

    Parameters
    ----------
    design : Design
        Of a dense matrix; one pass over X.

    Attributes
    ----------
    L : array of shape (n, r)
    faithful : bool
        Whether all singular values are well above the rounding of the largest.
    """

    def __init__(self, design: Design) -> None:
        self._design = design
        with np.errstate(over="ignore", invalid="ignore"):
            G = design.row_gram()
        if not np.all(np.isfinite(G)):
            raise ValueError(
                "Values in X are too large for their squares to be represented. Scale the features."
            )
        factors = _pivoted(G, design.mean is not None) if len(G) <= FEW_ROWS else None
        self.L, self._T, self.faithful = factors or _by_singular_vectors(design, G)
        self._G = G
        self._sizes = np.sqrt(np.maximum(np.diagonal(G), 0))  # |x_i|

    def lift(self, V: Array) -> np.ndarray:
        """``W = Q V``, the intercept row unchanged; one pass over X."""
        rank, p = self.L.shape[1], self._design.X.shape[1]
        return np.vstack([self._design.rmatmul(self._T @ V[:rank])[:p], V[rank:]])

    def outputs(self, V: Array) -> tuple[np.ndarray, float]:
        """``Z W`` for ``W = lift(V)``, from ``X X'``, and a bound of its rounding; no pass over X."""
        rank = self.L.shape[1]
        A = self._T @ V[:rank]
        rounding = np.finfo(float).eps * np.max(self._sizes, initial=0.0) * np.max(self._sizes @ np.abs(A))
        return self._G @ A + V[rank:].sum(axis=0), float(rounding)

    def squared_gradient(self, V: Array, U: Array, penalty: float) -> np.ndarray:
        """``|X' U + penalty Q V|^2`` of every column, X centred, from ``X X'``; no pass over X.

        With what rounding in ``X X'`` may have hidden of it, so it is rather too large.
        """
        R = U + penalty * (self._T @ V[: self.L.shape[1]])
        squares = np.sum(R * (self._G @ R), axis=0)
        rounding = np.finfo(float).eps * (len(R) + np.sqrt(self._design.X.shape[1]))
        hidden = rounding * float(np.sum(self._sizes**2)) * np.sum(R**2, axis=0)
        return np.maximum(squares, 0.0) + hidden

    def project(self, W: Array) -> np.ndarray:
        """``V = Q' W``, the intercept row unchanged; one pass over X, unless all else is 0."""
        p = self._design.X.shape[1]
        if not W[:p].any():
            return np.vstack([np.zeros((self.L.shape[1], W.shape[1])), W[p:]])
        bare = np.vstack([W[:p], np.zeros_like(W[p:])])
        return np.vstack([self._T.T @ self._design.matmul(bare), W[p:]])


def _pivoted(G: np.ndarray, centred: bool) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """A triangular `L` but for the order of its rows, ``Q = X' T`` and whether they are faithful.

    It takes a tenth of the time of eigenvectors. None where a small pivot may hide a smaller eigenvalue.
    """
    factor, order, rank, _ = dpstrf(G, lower=True)
    root = np.diagonal(factor)[:rank]
    if rank < len(G) - centred or not np.all(root**2 >= STEEP * np.trace(G)):
        return None
    order = order - 1
    L, T = np.zeros((len(G), rank)), np.zeros((len(G), rank))
    L[order] = np.tril(factor[:, :rank])
    T[order[:rank]] = np.tril(dtrtri(factor[:rank, :rank], lower=True)[0]).T
    return L, T, True


def _by_singular_vectors(design: Design, G: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """The same by ``X X' = U R^2 U'``, or where squares hide singular values by those of X itself."""
    squares, U = np.linalg.eigh(G)
    limit = squares[-1] * len(squares) * np.finfo(float).eps
    kept = squares > limit
    visible = np.count_nonzero(squares >= HIDDEN * squares[-1])
    if visible < len(squares) - (design.mean is not None):  # squares are rounded more than X itself
        U, root, _ = np.linalg.svd(_triangle(design).T)
        kept = root > root[0] * len(root) * np.finfo(float).eps
        root = root[kept]
    else:
        root = np.sqrt(squares[kept])
    faithful = bool(np.all(root >= FAITHFUL * np.max(root, initial=0.0)))
    return U[:, kept] * root, U[:, kept] / root, faithful


def _triangle(design: Design) -> np.ndarray:
    """R (n, n) of the QR decomposition of ``(X - 1 m')'``, by blocks of features."""
    n, p = design.X.shape
    R = np.zeros((0, n))
    for start in range(0, p, 4 * n):
        block = slice(start, start + 4 * n)
        X = design.X[:, block].astype(np.float64)
        centred = X if design.mean is None else X - design.mean[block]
        R = qr(np.vstack([R, centred.T]), mode="r", check_finite=False)[0][:n]
    return R


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
