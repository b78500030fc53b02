"""The second derivative of a loss in the model outputs, row by row."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from secondorder.array_api import array_namespace, column_sums
from secondorder.kernels import pointwise_repays

Array = Any  # an array of any array API namespace

# Below this a float32 product of two curvatures is denormal, which CPUs handle ten times slower.
SMALLEST_FLOAT32 = 1e-30


@dataclass(frozen=True, eq=False)
class OutputHessian:
    """The row-block-diagonal ``H = d2E/dS2`` with blocks ``H_i = diag(d_i) - u_i u_i'``.

    Parameters
    ----------
    d : array of shape (n, K)
        Diagonal part, not negative.
    u : array of shape (n, K) or None
        Rank-one part; None stands for zero.
    shift_invariant : bool, default=False
        Whether ``H_i e = 0`` for the vector e of ones, as for softmax. Then ``d_k - u_k^2`` is
        ``u_k`` times the sum of the other entries of u, and `v` counts only in its differences from any
        one of its entries; taking that of the largest ``d_k`` avoids the cancellation that would
        leave nothing of a row whose class is nearly certain.
    """

    d: Array
    u: Array | None = None
    shift_invariant: bool = False

    def __matmul__(self, V: Array) -> Array:
        """``H_i v_i`` for every row of `V`, shape (n, K)."""
        if self.u is None:
            return self.d * V
        xp = array_namespace(self.d)
        if self.shift_invariant:
            top = xp.argmax(self.d, axis=1, keepdims=True)
            V = V - xp.take_along_axis(V, top, axis=1)
        return self.d * V - self.u * xp.sum(self.u * V, axis=1, keepdims=True)

    def diagonal(self) -> Array:
        """``diag(H_i)`` for every row, shape (n, K)."""
        if self.u is None:
            return self.d
        if not self.shift_invariant:
            return self.d - self.u**2
        if pointwise_repays(self.d):
            from secondorder.kernels import softmax

            return softmax.curvatures(self.d, self.u)
        xp = array_namespace(self.d)
        top = xp.argmax(self.d, axis=1, keepdims=True)
        is_top = xp.arange(self.d.shape[1], device=self.d.device)[None, :] == top
        rest = xp.sum(xp.where(is_top, xp.zeros_like(self.u), self.u), axis=1, keepdims=True)
        largest = xp.take_along_axis(self.u, top, axis=1)
        return self.u * xp.where(is_top, rest, rest - self.u + largest)

    def blocks(self) -> Array:
        """``H_i`` written out, shape (n, K, K)."""
        xp = array_namespace(self.d)
        eye = xp.eye(self.d.shape[1], dtype=self.d.dtype, device=self.d.device)
        diagonal = self.diagonal()[:, :, None] * eye
        return diagonal if self.u is None else diagonal - (1 - eye) * self.u[:, :, None] * self.u[:, None, :]

    def factor(self) -> Array:
        """``F_i`` with ``F_i F_i' = H_i``, shape (n, K, K).

        With ``q = sqrt(d)``, ``z = u / q`` and ``tau = z'z <= 1``, ``F = diag(q) - c u z'``
        where ``c = 1 / (1 + sqrt(1 - tau))``.
        """
        xp = array_namespace(self.d)
        q = xp.sqrt(self.d)
        F = q[:, :, None] * xp.eye(self.d.shape[1], dtype=self.d.dtype, device=self.d.device)
        if self.u is None:
            return F
        z = xp.where(q > 0, self.u / xp.where(q > 0, q, xp.ones_like(q)), xp.zeros_like(q))
        tau = xp.sum(z * z, axis=1)
        c = 1 / (1 + xp.sqrt(xp.where(tau < 1, 1 - tau, xp.zeros_like(tau))))
        return F - c[:, None, None] * self.u[:, :, None] * z[:, None, :]

    def rows(self, rows: slice | Array) -> "OutputHessian":
        """The blocks of some rows."""
        u = self.u if self.u is None or self.u is self.d else self.u[rows, :]
        d = self.d[rows, :]
        return OutputHessian(d, d if u is self.d else u, self.shift_invariant)

    def sum(self) -> Array:
        """``sum_i H_i``, shape (K, K)."""
        xp = array_namespace(self.d)
        eye = xp.eye(self.d.shape[1], dtype=self.d.dtype, device=self.d.device)
        if self.u is None:
            return column_sums(self.d)[0] * eye
        products = _outer_products(self.u)
        if self.shift_invariant:
            between = products * (1 - eye)
            return xp.sum(between, axis=1) * eye - between
        return xp.sum(self.d, axis=0) * eye - products

    @cached_property
    def leading(self) -> "OutputHessian":
        """The first term alone, ``diag(d_i)``: an upper bound."""
        return OutputHessian(self.d)

    @cached_property
    def single(self) -> "OutputHessian":
        """The same in float32 (NumPy only), values that would be denormal there put to 0."""

        def single(a: np.ndarray) -> np.ndarray:
            if a.dtype == np.float32:
                return a
            if pointwise_repays(a):
                from secondorder.kernels import vectors

                return vectors.single(a, SMALLEST_FLOAT32)
            a32 = a.astype(np.float32)
            a32[np.abs(a32) < SMALLEST_FLOAT32] = 0
            return a32

        d = single(self.d)
        if self.u is None or self.u is self.d:
            return OutputHessian(d, self.u if self.u is None else d, self.shift_invariant)
        return OutputHessian(d, single(self.u), self.shift_invariant)


def _outer_products(u: Array) -> Array:
    """``u'u``, shape (K, K)."""
    if pointwise_repays(u):
        from secondorder.kernels import gram

        n, K = u.shape
        return gram.gram(u, np.zeros(K), K, np.ones(n), np.float64)
    return u.T @ u
