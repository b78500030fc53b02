"""Levenberg-Marquardt: the damped Gauss-Newton system solved in full."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from secondorder.objective import Point
from secondorder.solvers.cg import CGStatus
from secondorder.solvers.steps import LEAST_GAIN, Step

MAX_TRIALS = 12
LARGEST_TURN = 0.75  # length of the acceleration over that of the velocity beyond which neither is trusted


@dataclass(frozen=True)
class LevenbergMarquardt:
    """``(B + damping D) d = -g`` with the dense Gauss-Newton matrix B and ``D = diag(B)``.

    One eigendecomposition of ``D^-1/2 B D^-1/2`` serves every damping that is tried at a point. The damping
    follows the gain ratio, the decrease of E over that promised by the model (Nielsen 1999). With
    acceleration the step is ``d + a/2``, where a is minus the solution of the same system for
    ``J' H S''`` with the second derivative ``S''`` of the outputs along d: it follows a bending valley where
    d alone would leave it (Transtrum & Sethna 2012).

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
        system, damping, growth = _Spectrum(curvature.dense(), point.gradient), scale, 2.0
        for n_trials in range(1, MAX_TRIALS + 1):
            d, promised = system.solve(damping)
            step = d + 0.5 * self._acceleration(point, system, damping, d)
            trial = point.along(step)(1.0)
            gain = (point.value - trial.value) / promised if promised > 0 else -1.0
            if gain > LEAST_GAIN:  # False for NaN
                damping *= max(1 / 5, 1 - (2 * min(gain, 1) - 1) ** 3)
                return Step(trial, damping, True, promised, 0, CGStatus.CONVERGED, n_trials)
            damping, growth = damping * growth, growth * 2
        return Step(point, damping, False, promised, 0, CGStatus.CONVERGED, MAX_TRIALS)

    def _acceleration(self, point: Point, system: "_Spectrum", damping: float, d: np.ndarray) -> Any:
        """``a``, or 0 where it is too long for the expansion that it is a term of."""
        if not self.acceleration:
            return 0.0
        bend = point.forward.second_tangent(d)
        a = system.apply(damping, -point.forward.vjp(point.H @ bend))
        return a if system.length(a) <= LARGEST_TURN * system.length(d) else 0.0


class _Spectrum:
    """``B + damping D`` through the eigenvalues of ``D^-1/2 B D^-1/2``."""

    def __init__(self, B: np.ndarray, g: np.ndarray) -> None:
        diagonal = np.diagonal(B)
        floor = np.finfo(float).eps * np.max(diagonal)
        self._root = np.sqrt(np.where(diagonal > floor, diagonal, max(floor, np.finfo(float).tiny)))
        values, self._Q = eigh(B / np.outer(self._root, self._root), check_finite=False)
        self._values = np.maximum(values, 0)
        self._c = self._Q.T @ (-g / self._root)

    def solve(self, damping: float) -> tuple[np.ndarray, float]:
        """``d`` with ``(B + damping D) d = -g``, and the decrease that the undamped model promises."""
        z = self._c / (self._values + damping)
        promised = float(z @ self._c - 0.5 * (self._values * z) @ z)
        return (self._Q @ z) / self._root, promised

    def apply(self, damping: float, b: np.ndarray) -> np.ndarray:
        """The solution of ``(B + damping D) x = b``."""
        return self._Q @ (self._Q.T @ (b / self._root) / (self._values + damping)) / self._root

    def length(self, d: np.ndarray) -> float:
        """``sqrt(d' D d)``."""
        return float(np.linalg.norm(self._root * d))
