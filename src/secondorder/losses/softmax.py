"""Softmax cross-entropy."""

from secondorder.array_api import array_namespace, dot
from secondorder.kernels import pointwise_repays
from secondorder.losses.entropy import of_probability, x_log_x
from secondorder.losses.output_hessian import Array, OutputHessian


def _shifted_exp(S: Array) -> tuple[Array, Array, Array, Array]:
    """Row maximum, its position as a mask, ``exp(S - max)`` and its sum without the maximum's own 1."""
    xp = array_namespace(S)
    top = xp.max(S, axis=1, keepdims=True)
    is_top = xp.arange(S.shape[1], device=S.device)[None, :] == xp.argmax(S, axis=1)[:, None]
    E = xp.exp(S - top)
    rest = xp.sum(xp.where(is_top, xp.zeros_like(E), E), axis=1, keepdims=True)
    return top, is_top, E, rest


class Softmax:
    """``loss(S_i, y_i) = sum_k y_ik (log sum_j exp S_ij - S_ik)``, the multinomial cross-entropy.

    The value keeps its tail: with the true class on top it is ``log1p`` of the other terms, and
    ``p_y - 1`` is minus the sum of the other probabilities.

    Targets `y` are class codes (n,) of integers, or soft labels (n, K) of floats.
    """

    shift_invariant = True

    def value(self, S: Array, y: Array) -> Array:
        """``loss(S_i, y_i)``, shape (n,)."""
        return self._value(S, y, _shifted_exp(S))

    def _value(self, S: Array, y: Array, shifted: tuple[Array, ...]) -> Array:
        """The loss from what `_shifted_exp` gave."""
        xp, (top, _, _, rest) = array_namespace(S), shifted
        if y.ndim == 1:
            return (top - xp.take_along_axis(S, y[:, None], axis=1) + xp.log1p(rest))[:, 0]
        return xp.sum(y * (top - S), axis=1) + xp.sum(y, axis=1) * xp.log1p(rest)[:, 0]

    def derivatives(self, S: Array, y: Array, s: Array) -> tuple[Array, OutputHessian]:
        """``G_i = s_i (p_i - y_i)`` and ``H_i = s_i (diag(p_i) - p_i p_i')``, for weights `s` (n,)."""
        return self._derivatives(S, y, s, _shifted_exp(S))

    def evaluate(self, S: Array, y: Array, s: Array) -> tuple[float, Array, OutputHessian]:
        """``sum_i s_i loss(S_i, y_i)`` and both derivatives; compiled, one sweep with one exponential."""
        if y.ndim == 1 and pointwise_repays(S):
            from secondorder.kernels import softmax

            value, G, P = softmax.evaluate(S, y, s)
            return value, G, _hessian(P, s)
        shifted = _shifted_exp(S)
        return dot(s, self._value(S, y, shifted)), *self._derivatives(S, y, s, shifted)

    def pull(self, S: Array, c: Array, y: Array, s: Array) -> Array | None:
        """The sum of the rows of G for the outputs ``S + c``, where that is made without G."""
        if y.ndim == 1 and pointwise_repays(S):
            from secondorder.kernels import softmax

            return softmax.pull(S, c, y, s)
        return None

    def conjugate(self, G: Array, y: Array, s: Array) -> float:
        """``sum_ik s_i q_ik log q_ik`` for ``q = y + G / s``, less ``t log t`` of the sums of soft labels."""
        xp = array_namespace(G)
        g = G / xp.where(s > 0, s, xp.ones_like(s))[:, None]
        if y.ndim == 2:
            return dot(s, xp.sum(of_probability(y, g), axis=1) - x_log_x(xp.sum(y, axis=1)))
        of_target = xp.take_along_axis(g, y[:, None], axis=1)
        return dot(s, xp.sum(x_log_x(g), axis=1) + of_probability(xp.ones_like(of_target), of_target)[:, 0])

    def margin(self, S: Array, y: Array) -> Array:
        """How far the output of the target lies above all others, shape (n,); soft labels have none."""
        xp = array_namespace(S)
        if y.ndim == 2:
            return xp.full(S.shape[:1], -xp.inf, dtype=S.dtype, device=S.device)
        is_target = xp.arange(S.shape[1], device=S.device)[None, :] == y[:, None]
        others = xp.where(is_target, xp.full_like(S, -xp.inf), S)
        return xp.take_along_axis(S, y[:, None], axis=1)[:, 0] - xp.max(others, axis=1)

    def _derivatives(
        self, S: Array, y: Array, s: Array, shifted: tuple[Array, ...]
    ) -> tuple[Array, OutputHessian]:
        """The derivatives from what `_shifted_exp` gave."""
        xp, (_, _, E, rest) = array_namespace(S), shifted
        P = E / (1 + rest)
        if y.ndim == 1:
            is_target = xp.arange(S.shape[1], device=S.device)[None, :] == y[:, None]
            others = xp.where(is_target, xp.zeros_like(P), P)
            G = xp.where(is_target, -xp.sum(others, axis=1, keepdims=True), P)
        else:
            totals = xp.sum(y, axis=1, keepdims=True)
            G = totals * P - y
        return s[:, None] * G, _hessian(P, s if y.ndim == 1 else s * totals[:, 0])


def _hessian(P: Array, s: Array) -> OutputHessian:
    """``s_i (diag(p_i) - p_i p_i')``."""
    xp = array_namespace(P)
    d = P if xp.all(s == 1) else s[:, None] * P
    if xp.all(s * s == s):  # weights of 0 and 1 are their own roots
        return OutputHessian(d, d, shift_invariant=True)
    return OutputHessian(d, xp.sqrt(s)[:, None] * P, shift_invariant=True)
