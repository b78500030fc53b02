"""Logistic loss of one output."""

from secondorder.array_api import array_namespace, dot
from secondorder.kernels import pointwise_repays
from secondorder.losses.output_hessian import Array, OutputHessian


def _sigmoids(z: Array) -> tuple[Array, Array]:
    """``sigmoid(z)`` and ``sigmoid(-z)``, both with full relative accuracy."""
    xp = array_namespace(z)
    e = xp.exp(-xp.abs(z))
    small, large = e / (1 + e), 1 / (1 + e)
    positive = z >= 0
    return xp.where(positive, large, small), xp.where(positive, small, large)


class Logistic:
    """``loss(z_i, y_i) = log(1 + exp(z_i)) - y_i z_i``, the binary cross-entropy of one output.

    Targets `y` are floats of shape (n,) in [0, 1]; outputs have shape (n, 1). The value is
    ``log1p(exp(-|z|)) + max(z, 0) - y z``, which neither overflows nor loses its tail.
    """

    shift_invariant = False

    def value(self, S: Array, y: Array) -> Array:
        """``loss(S_i, y_i)``, shape (n,)."""
        xp = array_namespace(S)
        z = S[:, 0]
        toward = xp.where(z > 0, (1 - y) * z, -y * z)  # max(z, 0) - y z without its cancellation
        return toward + xp.log1p(xp.exp(-xp.abs(z)))

    def derivatives(self, S: Array, y: Array, s: Array) -> tuple[Array, OutputHessian]:
        """``G_i = s_i (p_i - y_i)`` and ``H_i = s_i p_i (1 - p_i)``, for weights `s` of shape (n,)."""
        p, q = _sigmoids(S)
        G = s[:, None] * ((1 - y)[:, None] * p - y[:, None] * q)
        return G, OutputHessian(s[:, None] * p * q)

    def evaluate(self, S: Array, y: Array, s: Array) -> tuple[float, Array, OutputHessian]:
        """``sum_i s_i loss(S_i, y_i)`` and both derivatives; compiled, one sweep with one exponential."""
        if pointwise_repays(S):
            from secondorder.kernels import logistic

            value, G, d = logistic.evaluate(S, y, s)
            return value, G, OutputHessian(d)
        return dot(s, self.value(S, y)), *self.derivatives(S, y, s)

    def margin(self, S: Array, y: Array) -> Array:
        """``z`` for target 1 and ``-z`` for target 0, shape (n,); soft targets have none."""
        xp = array_namespace(S)
        z = S[:, 0]
        unreachable = xp.full_like(z, -xp.inf)
        return xp.where(y == 1, z, xp.where(y == 0, -z, unreachable))
