"""The design matrix of a linear model by compiled loops, and the choice between them and plain arrays."""

from collections.abc import Callable
from functools import cached_property, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, issparse

from secondorder.kernels import dense_repays, sparse_repays
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array
from secondorder.models.design import CANCELLED, ROUNDING, Design

if TYPE_CHECKING:
    from secondorder.kernels.sweep import CurvedSweep, Sweep


class CompiledDesign(Design):
    """`Design` for NumPy and CSR matrices in float64 or float32, by compiled loops over the rows.

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
