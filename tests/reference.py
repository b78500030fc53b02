"""Deliberately naive mathematics to compare with."""

from collections.abc import Callable

import numpy as np


def derivative(f: Callable[[float], np.ndarray], h: float = 1e-3) -> np.ndarray:
    """``f'(0)`` by a seven-point stencil, error ``h^6``."""
    terms = [(1, 45), (2, -9), (3, 1)]
    return sum(c * (np.asarray(f(k * h)) - np.asarray(f(-k * h))) for k, c in terms) / (60 * h)


def gradient(f: Callable[[np.ndarray], float], w: np.ndarray) -> np.ndarray:
    """The gradient of `f` at `w`, one coordinate after the other."""
    return np.array([derivative(lambda t, e=e: f(w + t * e)) for e in np.eye(len(w))])


def jacobian(f: Callable[[np.ndarray], np.ndarray], w: np.ndarray) -> np.ndarray:
    """The Jacobian of `f` at `w`, shape (..., P)."""
    return np.stack([derivative(lambda t, e=e: f(w + t * e)) for e in np.eye(len(w))], axis=-1)
