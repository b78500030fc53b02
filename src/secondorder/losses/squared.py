"""Squared error."""

from secondorder.array_api import array_namespace, dot
from secondorder.losses.output_hessian import Array, OutputHessian


def _residual(S: Array, y: Array) -> Array:
    """``S - y`` for targets (n,) or (n, K)."""
    return S - (y[:, None] if y.ndim == 1 else y)


class Squared:
    """``loss(S_i, y_i) = 1/2 |S_i - y_i|^2``; targets `y` of shape (n,) or (n, K)."""

    shift_invariant = False

    def value(self, S: Array, y: Array) -> Array:
        """``loss(S_i, y_i)``, shape (n,)."""
        return array_namespace(S).sum(_residual(S, y) ** 2, axis=1) / 2

    def derivatives(self, S: Array, y: Array, s: Array) -> tuple[Array, OutputHessian]:
        """``G_i = s_i (S_i - y_i)`` and ``H_i = s_i I``, for weights `s` of shape (n,)."""
        return s[:, None] * _residual(S, y), OutputHessian(s[:, None] + 0 * S)

    def evaluate(self, S: Array, y: Array, s: Array) -> tuple[float, Array, OutputHessian]:
        """``sum_i s_i loss(S_i, y_i)`` and both derivatives."""
        return dot(s, self.value(S, y)), *self.derivatives(S, y, s)

    def margin(self, S: Array, y: Array) -> Array:
        """No outputs can lower this loss without end, shape (n,)."""
        xp = array_namespace(S)
        return xp.full(S.shape[:1], -xp.inf, dtype=S.dtype, device=S.device)

    def conjugate(self, G: Array, y: Array, s: Array) -> float:
        """``sum_i |G_i|^2 / (2 s_i) + y_i'G_i``."""
        xp = array_namespace(G)
        weights = xp.where(s > 0, s, xp.ones_like(s))[:, None]
        return float(xp.sum(G * (G / (2 * weights) - _residual(xp.zeros_like(G), y))))
