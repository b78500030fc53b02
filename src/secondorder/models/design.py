"""The design matrix of a linear model: every operation that reads X."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, issparse

from secondorder.array_api import array_namespace
from secondorder.kernels import dense_repays, sparse_repays
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array

if TYPE_CHECKING:
    from secondorder.kernels.sweep import CurvedSweep, Sweep

BLOCK_BYTES = 2**22  # dense rows copied at a time where a copy cannot be avoided
FEW = 500  # rows, or up to twice as many, that tell what most are like
CANCELLED = 1e-6  # part of a sum of squares that is left by centring below which it is made otherwise
ROUNDING = 1e-12  # relative size below which a difference of sums over X is rounding


class Design:
    """The design matrix ``Z = [X - 1 m', 1]``, which is never formed; ``Z = X`` without intercept.

    `X` is a dense array of any array API namespace, or a SciPy CSR matrix. It is neither copied nor
    converted as a whole, but for `CompiledDesign.features`. The centre `m` only moves the intercept, from b
    to ``b + m'W``: the optimum is the same, but the intercept is then nearly independent of the other
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


class CompiledDesign(Design):
    """The same for NumPy and CSR matrices in float64 or float32, by compiled loops over the rows.

    Products sweep X once, in the precision of H or of X; `matmul` and `rmatmul` are float64 always.
    """

    def __init__(
        self,
        X: Any,
        intercept: bool = True,
        weights: np.ndarray | None = None,
        mean: np.ndarray | None = None,
    ) -> None:
        self._kernels: ModuleType
        self._product: Callable[..., np.ndarray]
        self._X: Any
        if issparse(X):
            from secondorder.kernels import csr

            self._kernels, self._product = csr, partial(csr.product, room={})
            self._X = csr_array(tuple(map(_read_only, (X.data, X.indices, X.indptr))), X.shape)
        else:
            from secondorder.kernels import dense

            self._kernels, self._product = dense, dense.product
            self._X = _read_only(X)
        super().__init__(X, intercept, weights, mean)

    def matmul(self, W: np.ndarray) -> np.ndarray:
        """``Z W``, float64."""
        self.passes += 1
        return self._kernels.matmul(self._X, *self._split(W), self._centre)

    def rmatmul(self, U: np.ndarray) -> np.ndarray:
        """``Z' U``, float64."""
        if not issparse(self.X):
            return super().rmatmul(U)
        self.passes += 1
        if "features" in vars(self):
            from secondorder.kernels import features

            ZU = features.rmatmul(self.features, U, self._centre)
        else:
            ZU = self._kernels.rmatmul(self._X, U, self._centre)
        return ZU if self.intercept else ZU[:-1]

    def product(self, H: OutputHessian, W: np.ndarray) -> np.ndarray:
        """``Z' H Z W``, computed in the precision of H or in that of X, whichever is lower."""
        self.passes += 1
        H = H.single if self.X.dtype == np.float32 else H
        W, bias = self._split(W)
        ZU = self._product(self._X, H.d, H.u, H.shift_invariant, W, bias, self._centre)
        return ZU if self.intercept else ZU[:-1]

    def logistic_sweep(self, y: np.ndarray, s: np.ndarray, W: np.ndarray, near: np.ndarray) -> "Sweep":
        """Losses, gradients and outputs at `W` (p + 1, K) of logistic models with weights `s` (n, K)."""
        from secondorder.kernels import sparse_sweep, sweep

        self.passes += 1
        kernels = sparse_sweep if issparse(self.X) else sweep
        found = kernels.sweep(self._X, self._centre, y, s, *self._split(W), near)
        if self.intercept:
            return found
        return found._replace(gradient=found.gradient[:-1], extent=found.extent[:-1])

    def logistic_gradient(self, y: np.ndarray, s: np.ndarray, W: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss of one logistic model at `W` (p + 1, 1) for a dense X, and its gradient; one sweep."""
        from secondorder.kernels import sweep

        self.passes += 1
        W, bias = self._split(W)
        loss, g = sweep.gradient(self._X, self._centre, y, s, W[:, 0], bias[0])
        return loss, (g if self.intercept else g[:-1])[:, None]

    def logistic_curved_sweep(self, y: np.ndarray, s: np.ndarray, w: np.ndarray) -> "CurvedSweep":
        """The same for one model, with its curvature; of a sparse X that is left to `gram`."""
        from secondorder.kernels import sweep

        if issparse(self.X):
            found = self.logistic_sweep(y, s, w, np.zeros((len(y), 1)))
            return sweep.CurvedSweep(found.losses, found.gradient, None, found.outputs, found.extent)
        self.passes += 1
        return sweep.curved_sweep(self._X, self._centre, y, s, w)

    def outputs(self, W: np.ndarray, S: np.ndarray) -> None:
        """``(X - 1 m') W`` without intercept for a dense X, as `S` (n, K) in its precision."""
        self.passes += 1
        W = W[: self.X.shape[1]]
        self._kernels.matmul(self._X, W, np.zeros(W.shape[1]), self._centre, S)

    def softmax_gradient(
        self, S: np.ndarray, W: np.ndarray, y: np.ndarray, s: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """The loss of a softmax model with these `outputs` and the intercepts of `W`, and its gradient."""
        from secondorder.kernels import softmax_sweep

        self.passes += 1
        loss, gradient = softmax_sweep.back(self._X, self._centre, S, self._split(W)[1], y, s)
        return loss, gradient if self.intercept else gradient[:-1]

    def gram_of_rows(self, c: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """``sum_i c_i z_i z_i'`` over some `rows`, which are not copied if X is dense."""
        if issparse(self.X):
            return super().gram_of_rows(c, rows)
        from secondorder.kernels import gram

        return gram.gram_of_rows(self._X, self._centre, self.shape[1], c, rows)

    def sizes(self) -> tuple[float, float]:
        """The smallest and the largest ``|x|`` of the entries of a sparse X that are not 0."""
        return self._kernels.sizes(self._X.data)

    def gram(self, c: np.ndarray, dtype: type = np.float64) -> np.ndarray:
        """``sum_i c_i z_i z_i'`` in `dtype`, but float64 for a sparse matrix."""
        from secondorder.kernels import gram

        if not issparse(self.X):
            self.passes += 1
            return gram.gram(self._X, self._centre, self.shape[1], c, dtype)
        self.passes += 1
        G = gram.sparse_gram(self._X, c)
        if self.mean is not None:
            m, sums, raw = np.append(self.mean, 0.0), G[:, -1], np.diagonal(G).copy()
            cross = np.outer(m, sums - 0.5 * sums[-1] * m)
            G -= cross + cross.T
            left = np.diagonal(G)
            constant = left <= ROUNDING * raw
            if np.any((left <= CANCELLED * raw) & ~constant):
                return super().gram(c)
            G[constant], G[:, constant] = 0, 0
        return G if self.intercept else G[:-1, :-1]

    def blocks(self, D: np.ndarray, m: int) -> np.ndarray:
        """``sum_i D_ik z_i z_i'`` from a sample of the rows of a dense X, in float32."""
        from secondorder.kernels import blocks

        if issparse(self.X):
            return super().blocks(D, m)
        self.passes += 1
        G = blocks.grams(self._X, self._centre, self.shape[1], D, m)
        return G if np.all(np.isfinite(np.diagonal(G, axis1=1, axis2=2))) else super().blocks(D, m)

    def row_gram(self) -> np.ndarray:
        """``(X - 1 m') (X - 1 m')'`` of the dense X in float64."""
        from secondorder.kernels import gram

        self.passes += 1
        return gram.row_gram(self._X, self._centre)

    def row_gram_product(self, U: np.ndarray) -> np.ndarray:
        """``(X - 1 m') (X - 1 m')' U``; for a sparse X one pass, by its `features`."""
        if not issparse(self.X):
            return super().row_gram_product(U)
        from secondorder.kernels import features

        self.passes += 1
        return features.row_gram_product(self.features, U, self._centre)

    def hessian(
        self, H: OutputHessian, dtype: type = np.float64, outputs: np.ndarray | None = None
    ) -> np.ndarray:
        """``sum_i (z_i z_i') (x) H_i`` written out, in `dtype`; but in float64 for a sparse matrix."""
        from secondorder.kernels import gram

        outputs = np.arange(H.d.shape[1]) if outputs is None else outputs
        if len(outputs) == 1:
            return self.gram(H.diagonal()[:, outputs[0]], dtype)
        if issparse(self.X):
            return super().hessian(H, dtype, outputs)
        self.passes += 1
        A = gram.hessian(self._X, self._centre, self.shape[1], H.diagonal(), H.u, outputs, dtype)
        return A.reshape(A.shape[0] * A.shape[1], -1)

    @cached_property
    def features(self) -> csr_array:
        """X' in CSR, a copy of the sparse X for products feature by feature; made once, when asked for.

        Its indices are of four bytes, where these will do, whatever those of X are.
        """
        X = self._X.T.tocsr()
        index = np.int32 if max(X.nnz, *X.shape) <= np.iinfo(np.int32).max else np.int64
        return csr_array((X.data, X.indices.astype(index), X.indptr.astype(index)), X.shape)

    @property
    def _centre(self) -> np.ndarray:
        """The centre m, zeros if there is none."""
        return np.zeros(self.X.shape[1]) if self.mean is None else self.mean

    def _rmatmul(self, U: np.ndarray) -> np.ndarray:
        if issparse(self.X):
            return self._kernels.rmatmul(self._X, U, np.zeros(self.X.shape[1]))[:-1]
        return self._kernels.rmatmul(self._X, U)

    def _squared_rmatmul(self, D: np.ndarray) -> np.ndarray:
        if not (issparse(self.X) and self.X.has_canonical_format):
            return super()._squared_rmatmul(D)
        return self._kernels.squared_rmatmul(self._X, np.ascontiguousarray(D))

    def _split(self, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = self.X.shape[1]
        return W[:p], W[p] if self.intercept else np.zeros(W.shape[1])


def _read_only(a: np.ndarray) -> np.ndarray:
    """A view that cannot be written: loops are compiled once for it, memory maps included."""
    view = np.asarray(a).view()
    view.flags.writeable = False
    return view


def _squares(X: Array) -> Array:
    """``X * X``, for which SciPy would look for the entries of both in each other."""
    if issparse(X) and X.has_canonical_format:
        return csr_array((X.data * X.data, X.indices, X.indptr), X.shape)
    return X * X


def design_matrix(
    X: Array,
    *,
    intercept: bool = True,
    n_outputs: int = 1,
    weights: Array | None = None,
    mean: Array | None = None,
    compiled: bool = False,
) -> Design:
    """The `Design` of `X`, by compiled loops where products with `n_outputs` columns repay them.

    `compiled` asks for them anyway, for parts of a larger problem.
    """
    compiled = compiled or dense_repays(X, n_outputs) or sparse_repays(X, n_outputs)
    return (CompiledDesign if compiled else Design)(X, intercept, weights, mean)
