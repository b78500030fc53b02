"""The second derivative of a loss in the model outputs, row by row."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from secondorder.array_api import array_namespace

Array = Any  # an array of any array API namespace

# Below this a float32 product of two curvatures is denormal, which CPUs handle ten times slower.
SMALLEST_FLOAT32 = 1e-30


@dataclass(frozen=True)
class OutputHessian:
    """The row-block-diagonal ``H = d2E/dS2`` with blocks ``H_i = diag(d_i) - u_i u_i'``.

    Parameters
    ----------
    d : array of shape (n, K)
        Diagonal part, not negative.
    u : array of shape (n, K) or None
        Rank-one part; None stands for zero.
    """

    d: Array
    u: Array | None = None

    def __matmul__(self, V: Array) -> Array:
        """``H_i v_i`` for every row of `V`, shape (n, K)."""
        if self.u is None:
            return self.d * V
        xp = array_namespace(self.d)
        return self.d * V - self.u * xp.sum(self.u * V, axis=1, keepdims=True)

    def diagonal(self) -> Array:
        """``diag(H_i)`` for every row, shape (n, K)."""
        return self.d if self.u is None else self.d - self.u**2

    def blocks(self) -> Array:
        """``H_i`` written out, shape (n, K, K)."""
        xp = array_namespace(self.d)
        D = self.d[:, :, None] * xp.eye(self.d.shape[1], dtype=self.d.dtype)
        return D if self.u is None else D - self.u[:, :, None] * self.u[:, None, :]

    def factor(self) -> Array:
        """``F_i`` with ``F_i F_i' = H_i``, shape (n, K, K).

        With ``q = sqrt(d)``, ``z = u / q`` and ``tau = z'z <= 1``, ``F = diag(q) - c u z'``
        where ``c = 1 / (1 + sqrt(1 - tau))``.
        """
        xp = array_namespace(self.d)
        q = xp.sqrt(self.d)
        F = q[:, :, None] * xp.eye(self.d.shape[1], dtype=self.d.dtype)
        if self.u is None:
            return F
        z = xp.where(q > 0, self.u / xp.where(q > 0, q, xp.ones_like(q)), xp.zeros_like(q))
        tau = xp.sum(z * z, axis=1)
        c = 1 / (1 + xp.sqrt(xp.where(tau < 1, 1 - tau, xp.zeros_like(tau))))
        return F - c[:, None, None] * self.u[:, :, None] * z[:, None, :]

    def sum(self) -> Array:
        """``sum_i H_i``, shape (K, K)."""
        xp = array_namespace(self.d)
        D = xp.sum(self.d, axis=0) * xp.eye(self.d.shape[1], dtype=self.d.dtype)
        return D if self.u is None else D - self.u.T @ self.u

    @cached_property
    def leading(self) -> "OutputHessian":
        """The first term alone, ``diag(d_i)``: an upper bound."""
        return OutputHessian(self.d)

    @cached_property
    def single(self) -> "OutputHessian":
        """The same in float32 (NumPy only), values that would be denormal there put to 0."""

        def single(a: np.ndarray) -> np.ndarray:
            a32 = a.astype(np.float32)
            a32[a32 < SMALLEST_FLOAT32] = 0
            return a32

        d = single(self.d)
        if self.u is None or self.u is self.d:
            return OutputHessian(d, self.u if self.u is None else d)
        return OutputHessian(d, single(self.u))
