"""Logistic loss of one output."""

from secondorder.array_api import array_namespace
from secondorder.kernels import pointwise_repays
from secondorder.losses.entropy import of_probability
from secondorder.losses.output_hessian import Array, OutputHessian


def _falling(S: Array) -> Array:
    """``exp(-|z|)``, of which all else is made."""
    xp = array_namespace(S)
    return xp.exp(-xp.abs(S))


class Logistic:
    """``loss(z_i, y_i) = log(1 + exp(z_i)) - y_i z_i``, the binary cross-entropy of one output.

    Targets `y` are floats of shape (n,) in [0, 1]; outputs have shape (n, 1). The value is
    ``log1p(exp(-|z|)) + max(z, 0) - y z``, which neither overflows nor loses its tail.

    Outputs of shape (n, K) are those of K models for the same targets, each with weights of its own: s then
    has shape (n, K) too, and there is one loss for each.
    """

    shift_invariant = False

    def value(self, S: Array, y: Array) -> Array:
        """``loss(S_i, y_i)``, shape (n,), or (n, K) for several models."""
        losses = self._value(S, y[:, None], _falling(S))
        return losses[:, 0] if S.shape[1] == 1 else losses

    def derivatives(self, S: Array, y: Array, s: Array) -> tuple[Array, OutputHessian]:
        """``G_i = s_i (p_i - y_i)`` and ``H_i = s_i p_i (1 - p_i)``, for weights `s` as in `evaluate`."""
        return self._derivatives(S, y[:, None], s[:, None] if s.ndim == 1 else s, _falling(S))

    def evaluate(self, S: Array, y: Array, s: Array) -> tuple[Array, Array, OutputHessian]:
        """``sum_i s_i loss(S_i, y_i)`` and both derivatives; compiled, one sweep with one exponential.

        `s` has shape (n,), or (n, K) for several models, of which each then has a sum.
        """
        if pointwise_repays(S):
            from secondorder.kernels import logistic

            values, G, d = logistic.evaluate(S, y, s[:, None] if s.ndim == 1 else s)
            return float(values[0]) if s.ndim == 1 else values, G, OutputHessian(d)
        y, weights, e = y[:, None], s[:, None] if s.ndim == 1 else s, _falling(S)
        losses = weights * self._value(S, y, e)
        derivatives = self._derivatives(S, y, weights, e)
        total = array_namespace(S).sum(losses, axis=0)
        return float(total[0]) if s.ndim == 1 else total, *derivatives

    def margin(self, S: Array, y: Array) -> Array:
        """``z`` for target 1 and ``-z`` for target 0, shape (n,); soft targets have none."""
        xp = array_namespace(S)
        z = S[:, 0]
        unreachable = xp.full_like(z, -xp.inf)
        return xp.where(y == 1, z, xp.where(y == 0, -z, unreachable))

    def conjugate(self, G: Array, y: Array, s: Array) -> float:
        """``sum_i s_i (q_i log q_i + (1 - q_i) log(1 - q_i))`` with ``q = y + G / s``, over all models."""
        xp = array_namespace(G)
        s, y = s[:, None] if s.ndim == 1 else s, y[:, None]
        g = G / xp.where(s > 0, s, xp.ones_like(s))
        return float(xp.sum(s * (of_probability(y, g) + of_probability(1 - y, -g))))

    def _value(self, S: Array, y: Array, e: Array) -> Array:
        """The loss, from what `_falling` gave and y of shape (n, 1)."""
        xp = array_namespace(S)
        toward = xp.where(S > 0, (1 - y) * S, -y * S)  # max(z, 0) - y z without its cancellation
        return toward + xp.log1p(e)

    def _derivatives(self, S: Array, y: Array, s: Array, e: Array) -> tuple[Array, OutputHessian]:
        """The derivatives, from the same and weights of shape (n, 1) or (n, K)."""
        xp, positive = array_namespace(S), S >= 0
        large = 1 / (1 + e)
        small = e * large
        p, q = xp.where(positive, large, small), xp.where(positive, small, large)
        return s * ((1 - y) * p - y * q), OutputHessian(s * large * small)
