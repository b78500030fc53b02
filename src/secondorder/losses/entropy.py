"""The conjugate of a cross-entropy is an entropy."""

from secondorder.array_api import array_namespace
from secondorder.losses.output_hessian import Array


def x_log_x(x: Array) -> Array:
    """``x log x``; 0 where x is 0, or below by rounding."""
    xp = array_namespace(x)
    x = xp.where(x > 0, x, xp.ones_like(x))
    return x * xp.log(x)


def of_probability(y: Array, g: Array) -> Array:
    """``p log p`` for ``p = y + g``, with its tail where y is 1."""
    xp = array_namespace(g)
    tail = xp.where((y == 1) & (g > -1), g, xp.zeros_like(g))
    return xp.where(y == 1, (1 + tail) * xp.log1p(tail), x_log_x(y + g))
