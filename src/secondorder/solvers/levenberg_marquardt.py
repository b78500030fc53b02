"""Levenberg-Marquardt: the damped Gauss-Newton system solved in full."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from secondorder.objective import Point
from secondorder.solvers.cg import CGStatus
from secondorder.solvers.steps import LEAST_GAIN, Step

MAX_TRIALS = 15
LARGEST_TURN = 0.75  # length of the acceleration over that of the velocity beyond which neither is trusted
FLOOR = 1e-2  # least entry of D, of the largest
LEAST_DAMPING = 1e-13  # what rounding needs to leave the damped matrix positive definite

Solve = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class LevenbergMarquardt:
    """``(B + damping D) d = -g`` with the dense Gauss-Newton matrix B and D its diagonal.

    Entries of D are at least a hundredth of the largest: without that weights that hardly matter at
    the moment, such as biases of units near saturation, run away and take their units with them.

    B is made once for all dampings that are tried at a point, each of which takes a Cholesky factor: an
    eigendecomposition would serve them all, but costs as much as fifteen factors or more. The damping follows
    the gain ratio, the decrease of E over that promised by the model (Nielsen 1999). With acceleration the
    step is ``d + a/2``, where a is minus the solution of the same system for ``J' H S''`` with the second
    derivative ``S''`` of the outputs along d: it follows a bending valley where d alone would leave it
    (Transtrum & Sethna 2012).

    Parameters
    ----------
    initial_scale : float, default=1e-2
        First damping.
    acceleration : bool, default=True
    """

    initial_scale: float = 1e-2
    acceleration: bool = True

    def __call__(self, point: Point, curvature: Any, scale: float) -> Step:
        """The next point; `scale` is the damping."""
        b, damping, growth, promised = -point.gradient, max(scale, LEAST_DAMPING), 2.0, 0.0
        system = _Scaled(curvature.dense())
        for n_trials in range(1, MAX_TRIALS + 1):
            try:
                solve = system.factor(damping)
            except LinAlgError:
                damping, growth = damping * growth, growth * 2
                continue
            d = solve(b)
            promised = 0.5 * (float(b @ d) + damping * system.length(d) ** 2)
            trial = point.along(d + 0.5 * self._acceleration(point, system, solve, d))(1.0)
            gain = (point.value - trial.value) / promised if promised > 0 else -1.0
            if gain > LEAST_GAIN:  # False for NaN
                damping *= max(1 / 5, 1 - (2 * min(gain, 1) - 1) ** 3)
                return Step(trial, damping, True, promised, 0, CGStatus.CONVERGED, n_trials)
            damping, growth = damping * growth, growth * 2
        return Step(point, damping, False, promised, 0, CGStatus.CONVERGED, MAX_TRIALS)

    def _acceleration(self, point: Point, system: "_Scaled", solve: Solve, d: np.ndarray) -> Any:
        """``a``, or 0 where it is too long for the expansion that it is a term of."""
        if not self.acceleration:
            return 0.0
        a = solve(-point.forward.vjp(point.H @ point.forward.second_tangent(d)))
        return a if system.length(a) <= LARGEST_TURN * system.length(d) else 0.0


class _Scaled:
    """``B + damping D`` brought to unit diagonal, for any damping; B is overwritten."""

    def __init__(self, B: np.ndarray) -> None:
        diagonal = np.diagonal(B)
        floor = max(FLOOR * np.max(diagonal), np.finfo(float).tiny)
        self._root = np.sqrt(np.maximum(diagonal, floor))
        B /= self._root
        B /= self._root[:, None]
        self._B = B

    def factor(self, damping: float) -> Callable[[np.ndarray], np.ndarray]:
        """``b -> x`` with ``(B + damping D) x = b``; LinAlgError where rounding makes it indefinite."""
        shifted = self._B.copy()
        shifted.flat[:: len(shifted) + 1] += damping
        factor = cho_factor(shifted, overwrite_a=True, check_finite=False)
        return lambda b: cho_solve(factor, b / self._root, check_finite=False) / self._root

    def length(self, d: np.ndarray) -> float:
        """``sqrt(d' D d)``."""
        return float(np.linalg.norm(self._root * d))
