"""Stochastic diagonal Levenberg-Marquardt."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from secondorder.losses.output_hessian import Array
from secondorder.objective import Point


class Curvatures(NamedTuple):
    """The running mean ``h`` of second derivatives, and the number of batches so far."""

    h: Array
    n_batches: int


@dataclass(frozen=True)
class DiagonalLM:
    """``w_k <- w_k - rate g_k / (h_kk + delta)``: a learning rate for every weight from its curvature.

    ``h_kk`` is the diagonal of the Hessian by second-order backpropagation without the terms of f'', so that
    it is not negative, plus the penalty. It is accumulated over samples as a running mean, from every
    `every`-th batch (LeCun, Bottou, Orr & Mueller, Efficient BackProp, 1998, section 9.1).

    Parameters
    ----------
    rate : float, default=0.03
    delta : float, default=0.1
        What keeps weights of little curvature from large steps; in the units of ``h_kk``.
    floor : bool, default=False
        Whether to divide by ``max(h_kk, delta)`` instead.
    every : int, default=10
    rho : float, default=0.9
        Weight of the past in the running mean.
    """

    rate: float = 0.03
    delta: float = 0.1
    floor: bool = False
    every: int = 10
    rho: float = 0.9

    def start(self, w: Array) -> Curvatures:
        """Nothing seen yet."""
        return Curvatures(np.zeros_like(w), 0)

    def __call__(self, point: Point, memory: Curvatures) -> tuple[Array, Curvatures]:
        """The step, and the running mean."""
        h, count = memory
        if count % self.every == 0:
            seen = np.maximum(point.forward.backpropagate_diagonal(point.H, 0 * point.G), 0)
            seen = seen + point.objective.penalty
            h = seen if count == 0 else self.rho * h + (1 - self.rho) * seen
        damped = np.maximum(h, self.delta) if self.floor else h + self.delta
        return -self.rate * point.gradient / damped, Curvatures(h, count + 1)
