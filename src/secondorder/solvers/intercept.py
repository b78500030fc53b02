"""The intercepts that are optimal for the other parameters, found on the outputs at hand."""

import numpy as np

from secondorder.objective import Point


def n_free_intercepts(point: Point) -> int:
    """The number of intercepts that are not penalised (they are the last parameters)."""
    n_intercepts = point.forward.n_intercepts
    penalty = point.objective.penalty
    return n_intercepts if n_intercepts and not np.any(penalty[-n_intercepts:]) else 0


def solve_intercept(point: Point, tol: float) -> Point:
    """The point with its intercepts optimal for its other parameters, to the relative accuracy `tol`.

    Newton's method in K variables on the outputs: no pass over X.
    """
    n_intercepts = n_free_intercepts(point)
    if not n_intercepts:
        return point
    for _ in range(50):
        g = np.sum(point.G, axis=0)
        c = -np.linalg.lstsq(point.H.sum(), g, rcond=None)[0]
        decrease = -0.5 * float(g @ c)
        if not decrease > tol * abs(point.value):
            return point
        t, trial = 1.0, point.shift(c)
        while not trial.value <= point.value - 1e-4 * t * decrease and t > 1e-10:
            t /= 2
            trial = point.shift(t * c)
        if trial.value >= point.value:  # nothing left above the rounding of E
            return point
        point = trial
    return point
