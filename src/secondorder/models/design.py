"""The design matrix of a linear model: every operation that reads X."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, issparse

from secondorder.array_api import array_namespace
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array

if TYPE_CHECKING:
    pass

BLOCK_BYTES = 2**22  # dense rows copied at a time where a copy cannot be avoided
FEW = 500  # rows, or up to twice as many, that tell what most are like
CANCELLED = 1e-6  # part of a sum of squares that is left by centring below which it is made otherwise
ROUNDING = 1e-12  # relative size below which a difference of sums over X is rounding


class Design:
    """The design matrix ``Z = [X - 1 m', 1]``, which is never formed; ``Z = X`` without intercept.

    `X` is a dense array of any array API namespace, or a SciPy CSR matrix. It is neither copied nor
    converted as a whole, but for `features` of a `CompiledDesign`. The centre `m` only moves the intercept,
    from b to ``b + m'W``: the optimum is the same, but the intercept is then nearly independent of the other
    parameters, which conjugate gradients and their stopping test need when the features are far from 0.

    Parameters
    ----------
    X : array or CSR array of shape (n, p)
    intercept : bool, default=True
        Whether `Z` has a last column of ones.
    weights : array of shape (n,), optional
        `m` is the mean of the rows of X with these weights; 0 if they are not given.
    mean : array of shape (p,), optional
        `m` itself, where it is known or nearly so.

    Attributes
    ----------
    shape : tuple of int
        Shape of `Z`.
    passes : int
        How often X has been read from end to end so far.
    """

    def __init__(
        self,
        X: Array,
        intercept: bool = True,
        weights: Array | None = None,
        mean: Array | None = None,
    ) -> None:
        self.X = X
        self.intercept = intercept
        self.shape = (X.shape[0], X.shape[1] + intercept)
        self.passes = 0
        self.mean = mean if intercept else None
        if intercept and mean is None and weights is not None:
            self.mean = self._weighted_mean(weights)

    def rows(self, rows: Any, dtype: Any = None) -> "Design":
        """Some rows of it, with the same centre; a slice of a dense `X` is not copied."""
        X = self.X[rows]
        part = type(self)(X if dtype is None else X.astype(dtype, copy=False), self.intercept)
        part.mean = self.mean
        return part

    @cached_property
    def thinned(self) -> "Design":
        """Every ``n // FEW``-th of the rows."""
        return self.rows(slice(None, None, max(1, self.shape[0] // FEW)))

    @cached_property
    def squared_norms(self) -> np.ndarray:
        """``|z_i|^2`` of the rows of a dense X, shape (n,)."""
        self.passes += 1
        norms = [np.einsum("ij,ij->i", Z, Z) for _, Z in self._dense_rows(1)]
        return np.concatenate(norms)

    def matmul(self, W: Array) -> Array:
        """``Z W`` for `W` of shape (p + 1, K), in the precision of `W`."""
        self.passes += 1
        W, bias = self._split(W)
        S = self._matmul(W)
        return S if bias is None else S + bias

    def rmatmul(self, U: Array) -> Array:
        """``Z' U`` for `U` of shape (n, K), in the precision of `U`."""
        self.passes += 1
        XU = self._rmatmul(U)
        if not self.intercept:
            return XU
        return self._centred(XU, array_namespace(U).sum(U, axis=0))

    def product(self, H: OutputHessian, W: Array) -> Array:
        """``Z' H Z W``, shape (p + 1, K)."""
        return self.rmatmul(H @ self.matmul(W))

    def squared_rmatmul(self, D: Array) -> Array:
        """``(Z * Z)' D`` for `D` of shape (n, K), not negative."""
        self.passes += 1
        xp, m = array_namespace(D), self.mean
        if m is None or issparse(self.X):
            XXD = self._squared_rmatmul(D)
        else:
            XXD = sum(((X - m) ** 2).T @ D[rows, :] for rows, X in self._blocks(D))
        if not self.intercept:
            return XXD
        sums = xp.sum(D, axis=0)
        if m is not None and issparse(self.X):  # expanded, for X - 1 m' would not be sparse
            self.passes += 1
            centred = XXD - 2 * m[:, None] * self._rmatmul(D) + m[:, None] ** 2 * sums
            XXD = xp.where(centred > ROUNDING * XXD, centred, xp.zeros_like(XXD))
        return xp.concat([XXD, sums[None, :]])

    def sizes(self) -> tuple[float, float]:
        """The smallest and the largest ``|x|`` of the entries of a sparse X that are not 0."""
        found = np.abs(self.X.data)
        largest, smallest = float(np.max(found, initial=0.0)), float(np.min(found, initial=np.inf))
        if smallest == 0:
            smallest = float(np.min(found, initial=np.inf, where=found > 0))
        return smallest, largest

    def gram(self, c: np.ndarray, dtype: type = np.float64) -> np.ndarray:
        """``sum_i c_i z_i z_i'`` for weights ``c >= 0`` of shape (n,); shape (p + 1, p + 1).

        `dtype` is the precision of the products; their sum over blocks of rows is float64.
        """
        self.passes += 1
        G = np.zeros((self.shape[1],) * 2)
        for rows, Z in self._dense_rows(1, dtype):
            Z *= np.sqrt(c[rows]).astype(dtype)[:, None]
            G += Z.T @ Z
        return G

    def gram_of_rows(self, c: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """``sum_i c_i z_i z_i'`` over some `rows` (integers)."""
        return self.rows(rows).gram(c[rows])

    def blocks(self, D: np.ndarray, m: int) -> np.ndarray:
        """``sum_i D_ik z_i z_i'`` for weights ``D >= 0`` (n, K); shape (K, p + 1, p + 1), upper triangles.

        Where there are compiled loops it is estimated from some `m` rows, others for every k.
        """
        return np.stack([self.gram(c) for c in D.T])

    def hessian(
        self, H: OutputHessian, dtype: type = np.float64, outputs: np.ndarray | None = None
    ) -> np.ndarray:
        """``sum_i (z_i z_i') (x) H_i`` written out, shape (P, P) with ``P = (p + 1) K``.

        `dtype` is the precision wished for; here it is float64. Of H only the rows and columns of `outputs`
        count, K of them, if these are given.
        """
        outputs = np.arange(H.d.shape[1]) if outputs is None else outputs
        if len(outputs) == 1:
            return self.gram(H.diagonal()[:, outputs[0]])
        self.passes += 1
        n_columns, n_outputs = self.shape[1], len(outputs)
        A = np.zeros((n_columns, n_outputs, n_columns, n_outputs))
        D = np.zeros((n_outputs, n_columns, n_columns))
        R, diagonal = A.reshape(n_columns * n_outputs, -1), H.diagonal()[:, outputs]
        u = None if H.u is None else H.u[:, outputs]
        for rows, Z in self._dense_rows(n_outputs):
            if u is not None:
                Y = (Z[:, :, None] * u[rows, None, :]).reshape(len(Z), -1)
                R -= Y.T @ Y
            for k in range(n_outputs):
                Y = Z * np.sqrt(diagonal[rows, k])[:, None]
                D[k] += Y.T @ Y
        for k in range(n_outputs):
            A[:, k, :, k] = D[k]
        return R

    def quadratic_forms(self, C: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """``z_i' C_kl z_i`` for `C` of shape (K, K, p + 1, p + 1) with ``C_lk = C_kl'``, by blocks of rows.

        Every block is the slice of its rows and an array of shape (rows, K, K), symmetric.
        """
        self.passes += 1
        K = len(C)
        for rows, Z in self._dense_rows(1 + K * K // self.shape[1]):
            Q = np.empty((len(Z), K, K))
            for k in range(K):
                for m in range(k + 1):
                    Q[:, k, m] = Q[:, m, k] = np.einsum("ij,ij->i", Z @ C[k, m], Z)
            yield rows, Q

    def row_gram(self) -> np.ndarray:
        """``(X - 1 m') (X - 1 m')'`` of the dense X in float64, shape (n, n)."""
        self.passes += 1
        n, n_features = self.X.shape
        columns = max(1, BLOCK_BYTES // (8 * n))
        G = np.zeros((n, n))
        for start in range(0, n_features, columns):
            block = slice(start, start + columns)
            X = self.X[:, block].astype(np.float64)
            if self.mean is not None:
                X -= self.mean[block]
            G += X @ X.T
        return G

    def row_gram_product(self, U: np.ndarray) -> np.ndarray:
        """``(X - 1 m') (X - 1 m')' U`` for `U` of shape (n, K)."""
        W = self.rmatmul(U)
        W[self.X.shape[1] :] = 0
        return self.matmul(W)

    def _matmul(self, W: Array) -> Array:
        """``X W``."""
        if issparse(self.X) or self.X.dtype == W.dtype:
            return self.X @ W
        return array_namespace(W).concat([X @ W for _, X in self._blocks(W)])

    def _rmatmul(self, U: Array) -> Array:
        """``X' U``."""
        if issparse(self.X) or self.X.dtype == U.dtype:
            return self._transpose @ U
        return sum(X.T @ U[rows, :] for rows, X in self._blocks(U))

    @cached_property
    def _transpose(self) -> Array:
        """X', which takes SciPy a fifth of the time of a small product."""
        return self.X.T

    def _squared_rmatmul(self, D: Array) -> Array:
        """``(X * X)' D``."""
        return sum(_squares(X).T @ D[rows, :] for rows, X in self._blocks(D))

    def uncentre(self, W: Array) -> Array:
        """`W` with the intercept that belongs to X itself in its last row, and back by `centre`."""
        return self._move_intercept(W, -1)

    def centre(self, W: Array) -> Array:
        """`W` with the intercept that belongs to the centred X in its last row."""
        return self._move_intercept(W, 1)

    def _move_intercept(self, W: Array, sign: int) -> Array:
        if self.mean is None:
            return W
        xp, p = array_namespace(W), self.X.shape[1]
        return xp.concat([W[:p, :], (W[p, :] + sign * (self.mean @ W[:p, :]))[None, :]])

    def _split(self, W: Array) -> tuple[Array, Array | None]:
        """The weights of the features, and what they and the intercept add to every row."""
        if not self.intercept:
            return W, None
        p = self.X.shape[1]
        bias = W[p, :]
        return W[:p, :], bias if self.mean is None else bias - self.mean @ W[:p, :]

    def _centred(self, XU: Array, sums: Array) -> Array:
        """``Z' U`` from ``X' U`` and the column sums of U."""
        if self.mean is not None:
            XU = XU - self.mean[:, None] * sums
        return array_namespace(XU).concat([XU, sums[None, :]])

    def _weighted_mean(self, weights: Array) -> Array:
        """Mean of the rows of X; exactly the value of a column that is constant."""
        self.passes += 1
        xp = array_namespace(weights)
        mean = self._rmatmul(weights[:, None])[:, 0] / xp.sum(weights)
        first = self.X[[0]].toarray()[0] if issparse(self.X) else self.X[0, :]
        first = xp.astype(first, mean.dtype, copy=False)
        return xp.where(xp.abs(mean - first) <= ROUNDING * xp.abs(first), first, mean)

    def _blocks(self, like: Array) -> Iterator[tuple[slice, Array]]:
        """Blocks of rows of X in the precision of `like`, elementwise products allowed."""
        n, p = self.X.shape
        per_row = self.X.nnz // n + 1 if issparse(self.X) else max(1, p)
        rows = max(1, BLOCK_BYTES // (8 * per_row))
        for start in range(0, n, rows):
            block = slice(start, min(start + rows, n))
            if issparse(self.X):
                yield block, csr_array(self.X[block], dtype=like.dtype)
            else:
                yield block, array_namespace(like).astype(self.X[block, :], like.dtype, copy=False)

    def _dense_rows(self, width: int, dtype: type = np.float64) -> Iterator[tuple[slice, np.ndarray]]:
        """Blocks of rows of Z as new arrays, so sized that `width` times one is small."""
        n, n_columns = self.shape
        rows = max(64, BLOCK_BYTES // (8 * n_columns * width))
        for start in range(0, n, rows):
            block = slice(start, min(start + rows, n))
            Z = np.ones((block.stop - start, n_columns), dtype)
            X = self.X[block, :].toarray() if issparse(self.X) else self.X[block, :]
            Z[:, : self.X.shape[1]] = X if self.mean is None else X - self.mean
            yield block, Z


def _squares(X: Array) -> Array:
    """``X * X``, for which SciPy would look for the entries of both in each other."""
    if issparse(X) and X.has_canonical_format:
        return csr_array((X.data * X.data, X.indices, X.indptr), X.shape)
    return X * X
