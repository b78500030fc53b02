"""Levenberg-Marquardt: the damped Gauss-Newton system solved in full."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from secondorder.objective import Point
from secondorder.solvers.cg import CGStatus, conjugate_gradient
from secondorder.solvers.steps import LEAST_GAIN, Step

MAX_TRIALS = 15
LARGEST_TURN = 0.75  # length of the acceleration over that of the velocity beyond which neither is trusted
LEAST_DAMPING = 1e-13  # what rounding needs to leave the damped matrix positive definite


@dataclass(frozen=True)
class LevenbergMarquardt:
    """``(B + damping D) d = -g`` with the dense Gauss-Newton matrix B and ``D = diag(B)``.

    One Cholesky factor serves every damping that is tried at a point: it solves the system of the first,
    and makes conjugate gradients converge within a few steps for the others. The damping follows the
    gain ratio, the decrease of E over that promised by the model (Nielsen 1999). With acceleration
    the step is ``d + a/2``, where a is minus the solution of the same system for ``J' H S''`` with the second
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
        b, damping, growth = -point.gradient, max(scale, LEAST_DAMPING), 2.0
        system = _Damped(curvature.dense(), damping)
        for n_trials in range(1, MAX_TRIALS + 1):
            d = system.solve(b, damping)
            promised = 0.5 * (float(b @ d) + damping * system.length(d) ** 2)
            step = d + 0.5 * self._acceleration(point, system, damping, d)
            trial = point.along(step)(1.0)
            gain = (point.value - trial.value) / promised if promised > 0 else -1.0
            if gain > LEAST_GAIN:  # False for NaN
                damping *= max(1 / 5, 1 - (2 * min(gain, 1) - 1) ** 3)
                return Step(trial, damping, True, promised, 0, CGStatus.CONVERGED, n_trials)
            damping, growth = damping * growth, growth * 2
        return Step(point, damping, False, promised, 0, CGStatus.CONVERGED, MAX_TRIALS)

    def _acceleration(self, point: Point, system: "_Damped", damping: float, d: np.ndarray) -> Any:
        """``a``, or 0 where it is too long for the expansion that it is a term of."""
        if not self.acceleration:
            return 0.0
        bend = point.forward.second_tangent(d)
        a = system.solve(-point.forward.vjp(point.H @ bend), damping)
        return a if system.length(a) <= LARGEST_TURN * system.length(d) else 0.0


class _Damped:
    """``B + damping D`` for any damping, from the factor for one; B is overwritten."""

    def __init__(self, B: np.ndarray, damping: float) -> None:
        diagonal = np.diagonal(B)
        floor = max(np.finfo(float).eps * np.max(diagonal), np.finfo(float).tiny)
        self._root = np.sqrt(np.maximum(diagonal, floor))
        B /= self._root
        B /= self._root[:, None]
        self._B, self._factored = B, damping
        while True:
            try:
                shifted = B + self._factored * np.eye(len(B))
                self._factor = cho_factor(shifted, overwrite_a=True, check_finite=False)
                return
            except LinAlgError:
                self._factored *= 10

    def solve(self, b: np.ndarray, damping: float) -> np.ndarray:
        """The solution of ``(B + damping D) x = b``."""
        b = b / self._root
        if damping == self._factored:
            return self._inverse(b) / self._root
        system = _Operator(lambda v: self._B @ v + damping * v)
        M = _Operator(self._inverse)
        return conjugate_gradient(system, b, M=M, rtol=1e-8, max_iter=200).x / self._root

    def length(self, d: np.ndarray) -> float:
        """``sqrt(d' D d)``."""
        return float(np.linalg.norm(self._root * d))

    def _inverse(self, b: np.ndarray) -> np.ndarray:
        return cho_solve(self._factor, b, check_finite=False)


@dataclass(frozen=True)
class _Operator:
    """A function as a matrix."""

    product: Any

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self.product(v)
