"""Update rules for mini-batches: what a gradient, or a diagonal of second derivatives, becomes.

A rule is a value. What it remembers between batches travels outside it: `start` gives the first memory,
and a call takes the `Point` of a batch and the memory to the change of w and the next memory.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from secondorder.losses.output_hessian import Array
from secondorder.objective import Point


class UpdateRule(Protocol):
    """How the objective of one batch changes the parameters."""

    def start(self, w: Array) -> Any:
        """The memory before the first batch."""

    def __call__(self, point: Point, memory: Any) -> tuple[Array, Any]:
        """The change of w, and the memory after the batch."""


@dataclass(frozen=True)
class SGD:
    """``w <- w - rate g``, with momentum ``v <- momentum v - rate g; w <- w + v``.

    On the whole data as one batch it is gradient descent.
    """

    rate: float = 0.1
    momentum: float = 0.0

    def start(self, w: Array) -> Array:
        """A velocity of 0."""
        return np.zeros_like(w)

    def __call__(self, point: Point, memory: Array) -> tuple[Array, Array]:
        """The velocity is change and memory."""
        v = self.momentum * memory - self.rate * point.gradient
        return v, v


@dataclass(frozen=True)
class Nesterov:
    """``v <- momentum v - rate g(w + momentum v); w <- w + v`` (Nesterov 1983; Sutskever et al. 2013).

    The parameters kept are those looked ahead to, ``w + momentum v``, where the gradient is taken.
    """

    rate: float = 0.02
    momentum: float = 0.9

    def start(self, w: Array) -> Array:
        """A velocity of 0."""
        return np.zeros_like(w)

    def __call__(self, point: Point, memory: Array) -> tuple[Array, Array]:
        """The change from one look-ahead to the next, and the velocity."""
        push = self.rate * point.gradient
        v = self.momentum * memory - push
        return self.momentum * v - push, v


@dataclass(frozen=True)
class AdaGrad:
    """``A <- A + g^2; w <- w - rate g / (sqrt(A) + eps)`` (Duchi, Hazan & Singer 2011)."""

    rate: float = 0.01
    eps: float = 1e-8

    def start(self, w: Array) -> Array:
        """No squares yet."""
        return np.zeros_like(w)

    def __call__(self, point: Point, memory: Array) -> tuple[Array, Array]:
        """The scaled gradient, and the sum of squares."""
        g = point.gradient
        A = memory + g * g
        return -self.rate * g / (np.sqrt(A) + self.eps), A


@dataclass(frozen=True)
class RMSProp:
    """``A <- rho A + (1 - rho) g^2; w <- w - rate g / (sqrt(A) + eps)`` (Tieleman & Hinton 2012)."""

    rate: float = 0.001
    rho: float = 0.9
    eps: float = 1e-8

    def start(self, w: Array) -> Array:
        """No squares yet."""
        return np.zeros_like(w)

    def __call__(self, point: Point, memory: Array) -> tuple[Array, Array]:
        """The scaled gradient, and the mean of squares."""
        g = point.gradient
        A = self.rho * memory + (1 - self.rho) * g * g
        return -self.rate * g / (np.sqrt(A) + self.eps), A


class Moments(NamedTuple):
    """Running means of the gradient and of its square, and the number of batches they are of."""

    mean: Array
    square: Array
    n_batches: int


@dataclass(frozen=True)
class Adam:
    """``w <- w - rate m / (sqrt(A) + eps)`` with m and A the means of g and g^2, freed of their start at 0.

    Kingma & Ba, Adam: a method for stochastic optimization, 2015.
    """

    rate: float = 0.001
    rho_mean: float = 0.9
    rho: float = 0.999
    eps: float = 1e-8

    def start(self, w: Array) -> Moments:
        """No gradients yet."""
        return Moments(np.zeros_like(w), np.zeros_like(w), 0)

    def __call__(self, point: Point, memory: Moments) -> tuple[Array, Moments]:
        """The scaled mean of gradients, and the means."""
        g, count = point.gradient, memory.n_batches + 1
        mean = self.rho_mean * memory.mean + (1 - self.rho_mean) * g
        square = self.rho * memory.square + (1 - self.rho) * g * g
        root = (1 - self.rho**count) ** 0.5
        rate = self.rate * root / (1 - self.rho_mean**count)
        return -rate * mean / (np.sqrt(square) + self.eps * root), Moments(mean, square, count)
