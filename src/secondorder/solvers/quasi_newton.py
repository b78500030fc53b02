"""L-BFGS by sweeps over a dense X: how problems begin that may turn out to be easy.

A step costs one evaluation, and no Newton system has to be begun anew; but what it learns of the curvature
is little. So it goes on only as long as the gap falls fast, and does not judge where it has arrived.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from secondorder.objective import Objective
from secondorder.solvers.landscapes import Landscape, View
from secondorder.solvers.minimize import Iteration

PAIRS = 10  # of steps and changes of the gradient remembered
FAST = 4  # times that `LAST` steps are to reduce the gap
LAST = 3
TRIALS = 4  # of a step, at most
SHORTER, LONGER = 0.01, 0.5  # of the last trial is the next
ENOUGH = 1e-4  # part of the promised decrease that makes a step acceptable
NEAR = 0.5  # part of the gap to reach at which steps end, which is estimated
LEFT = 0.1  # part of the promised decrease of E that unsolved intercepts may leave


class Found(NamedTuple):
    """Where the steps led to."""

    W: np.ndarray
    history: tuple[Iteration, ...]
    arrived: bool
    metric: Any


@np.errstate(over="ignore", invalid="ignore")
def quasi_newton(
    objective: Objective,
    landscape: Landscape,
    metric: Any,
    *,
    tol: float,
    max_iter: int,
    callback: Callable[[Iteration], None] | None = None,
) -> Found:
    """A point nearer to the optimum, by L-BFGS steps (Liu & Nocedal 1989).

    Parameters
    ----------
    objective : Objective
        Of a linear model, with one penalty on all features.
    landscape : Landscape
    metric : object with ``metric @ v``
        Approximation of the inverse curvature.
    tol : float
        Relative gap to reach, as the gradient tells it.
    max_iter, callback
        As in `secondorder.solvers.minimize.minimize`.
    """
    design, p, penalty = objective.X, objective.X.X.shape[1], objective.penalty[0]
    seen, memory, gaps = landscape(landscape.start, np.inf), _Memory(metric), []
    history: list[Iteration] = []
    t, trials = 0.0, 0
    while True:
        g = seen.gradient
        norm = float(np.linalg.norm(g))
        history.append(Iteration(len(history), seen.value, norm, np.inf, design.passes, 0, t, trials))
        if callback is not None:
            callback(history[-1])
        gaps.append(float(np.sum(g[:p] ** 2)) / (2 * penalty))
        slow = len(gaps) > LAST and gaps[-1] > gaps[-1 - LAST] / FAST
        arrived = gaps[-1] <= NEAR * tol * seen.value
        if arrived or slow or len(gaps) > max_iter:
            break
        d = memory.direction(g)
        after, t, trials = _step(landscape, seen, d, float(np.sum(g * d)))
        if after is None:
            break
        memory.learn(after.W - seen.W, after.gradient - g)
        seen = after
    return Found(seen.W, tuple(history), arrived, metric)


def _step(landscape: Landscape, seen: View, d: np.ndarray, slope: float) -> tuple[View | None, float, int]:
    """The first point tried along `d` that lowers E enough, if any does, where it lies and the trials.

    After the whole step come the minima of the parabolas through what has been seen.
    """
    t = 1.0
    for n_trials in range(1, TRIALS + 1):
        after = landscape(seen.W + t * d, LEFT * -t * slope)
        rise = after.value - seen.value
        if rise <= ENOUGH * t * slope:
            return after, t, n_trials
        lowest = -slope * t / (2 * (rise - t * slope)) if np.isfinite(rise) else 0.0
        t *= min(max(lowest, SHORTER), LONGER)
    return None, 0.0, TRIALS


class _Memory:
    """The inverse curvature that the last steps tell, on top of a metric."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=PAIRS)
        self._scale = 1.0

    def learn(self, step: np.ndarray, change: np.ndarray) -> None:
        """Remember a step and the change of the gradient along it, where that tells positive curvature."""
        s, y = step.ravel(), change.ravel()
        curvature, length = float(s @ y), float(y @ (self._metric @ y))
        if curvature > 0 and length > 0:
            self._pairs.append((s, y, curvature))
            self._scale = curvature / length

    def direction(self, g: np.ndarray) -> np.ndarray:
        """The step that Newton's method would make with this curvature."""
        q, weights = g.ravel().copy(), []
        for s, y, curvature in reversed(self._pairs):
            weights.append(float(s @ q) / curvature)
            q -= weights[-1] * y
        r = self._scale * (self._metric @ q)
        for s, y, curvature in self._pairs:
            r += (weights.pop() - float(y @ r) / curvature) * s
        return -r.reshape(g.shape)
