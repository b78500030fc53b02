"""Activations: value, first and second derivative of each."""

from collections.abc import Callable
from dataclasses import dataclass

from secondorder.array_api import array_namespace
from secondorder.losses.output_hessian import Array

LEAK = 0.01  # slope below 0 of the leaky activations


@dataclass(frozen=True)
class Activation:
    """A function ``f`` applied to every entry, with its first two derivatives.

    Parameters
    ----------
    name : str
    value : callable(Z) -> array
        ``f(Z)``.
    slope : callable(Z, A) -> array
        ``f'(Z)``, given ``A = f(Z)``; at a kink the derivative from the left.
    bend : callable(Z, A) -> array
        ``f''(Z)``, given ``A = f(Z)``; 0 at a kink.
    """

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]
    bend: Callable[[Array, Array], Array]


def _zero(Z: Array, A: Array) -> Array:
    return array_namespace(Z).zeros_like(Z)


def _sigmoid(Z: Array) -> Array:
    """``1 / (1 + exp(-Z))`` without overflow."""
    return 0.5 * (1 + array_namespace(Z).tanh(0.5 * Z))


def _identity(Z: Array) -> Array:
    return Z


def _identity_slope(Z: Array, A: Array) -> Array:
    return array_namespace(Z).ones_like(Z)


def _logistic_slope(Z: Array, A: Array) -> Array:
    return A * (1 - A)


def _logistic_bend(Z: Array, A: Array) -> Array:
    return A * (1 - A) * (1 - 2 * A)


def _tanh(Z: Array) -> Array:
    return array_namespace(Z).tanh(Z)


def _tanh_slope(Z: Array, A: Array) -> Array:
    return 1 - A * A


def _tanh_bend(Z: Array, A: Array) -> Array:
    return -2 * A * (1 - A * A)


def _relu(Z: Array) -> Array:
    return array_namespace(Z).maximum(Z, 0)


def _relu_slope(Z: Array, A: Array) -> Array:
    return array_namespace(Z).astype(Z > 0, Z.dtype)


def _leaky_relu(Z: Array) -> Array:
    return array_namespace(Z).maximum(Z, LEAK * Z)


def _leaky_relu_slope(Z: Array, A: Array) -> Array:
    return LEAK + (1 - LEAK) * _relu_slope(Z, A)


def _leaky_tanh(Z: Array) -> Array:
    xp = array_namespace(Z)
    return xp.where(Z > 0, xp.tanh(Z), LEAK * Z)


def _leaky_tanh_slope(Z: Array, A: Array) -> Array:
    xp = array_namespace(Z)
    return xp.where(Z > 0, 1 - A * A, xp.full_like(Z, LEAK))


def _leaky_tanh_bend(Z: Array, A: Array) -> Array:
    xp = array_namespace(Z)
    return xp.where(Z > 0, -2 * A * (1 - A * A), xp.zeros_like(Z))


def _hard_tanh(Z: Array) -> Array:
    return array_namespace(Z).clip(Z, -1, 1)


def _hard_tanh_slope(Z: Array, A: Array) -> Array:
    xp = array_namespace(Z)
    return xp.astype(xp.abs(Z) <= 1, Z.dtype)


def _softplus(Z: Array) -> Array:
    """``log(1 + exp(Z))``, which neither overflows nor loses its tail."""
    xp = array_namespace(Z)
    return _relu(Z) + xp.log1p(xp.exp(-xp.abs(Z)))


def _softplus_slope(Z: Array, A: Array) -> Array:
    return _sigmoid(Z)


def _softplus_bend(Z: Array, A: Array) -> Array:
    p = _sigmoid(Z)
    return p * (1 - p)


def _silu(Z: Array) -> Array:
    return Z * _sigmoid(Z)


def _silu_slope(Z: Array, A: Array) -> Array:
    p = _sigmoid(Z)
    return p + A * (1 - p)


def _silu_bend(Z: Array, A: Array) -> Array:
    p = _sigmoid(Z)
    return p * (1 - p) * (2 + Z * (1 - 2 * p))


def _sign(Z: Array) -> Array:
    return array_namespace(Z).sign(Z)


IDENTITY = Activation("identity", _identity, _identity_slope, _zero)
LOGISTIC = Activation("logistic", _sigmoid, _logistic_slope, _logistic_bend)
TANH = Activation("tanh", _tanh, _tanh_slope, _tanh_bend)
RELU = Activation("relu", _relu, _relu_slope, _zero)
LEAKY_RELU = Activation("leaky_relu", _leaky_relu, _leaky_relu_slope, _zero)
LEAKY_TANH = Activation("leaky_tanh", _leaky_tanh, _leaky_tanh_slope, _leaky_tanh_bend)
HARD_TANH = Activation("hard_tanh", _hard_tanh, _hard_tanh_slope, _zero)
SOFTPLUS = Activation("softplus", _softplus, _softplus_slope, _softplus_bend)
SILU = Activation("silu", _silu, _silu_slope, _silu_bend)
SIGN = Activation("sign", _sign, _zero, _zero)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        IDENTITY,
        LOGISTIC,
        TANH,
        RELU,
        LEAKY_RELU,
        LEAKY_TANH,
        HARD_TANH,
        SOFTPLUS,
        SILU,
        SIGN,
    )
}
