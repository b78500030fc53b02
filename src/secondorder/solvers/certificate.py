"""How far a point can be from the optimum, and the intercept that makes the answer rigorous."""

import numpy as np

from secondorder.objective import Point


def n_free_intercepts(point: Point) -> int:
    """The number of intercepts that are not penalised (they are the last parameters)."""
    n_intercepts = point.forward.n_intercepts
    penalty = point.objective.penalty
    return n_intercepts if n_intercepts and not np.any(penalty[-n_intercepts:]) else 0


def duality_gap(point: Point) -> float:
    """``sum_j g_j^2 / (2 penalty_j)``, an upper bound of ``E(w) - E*``; infinite where there is none.

    With a convex loss and zero gradient in the intercepts (see `solve_intercept`) it is the Fenchel
    duality gap of the penalised problem, and a bound because E is ``penalty_j``-strongly convex in
    w_j. There is none where a parameter other than the intercept goes without penalty.
    """
    last = len(point.w) - n_free_intercepts(point)
    penalty, g = point.objective.penalty[:last], point.gradient[:last]
    if not np.all(penalty > 0):
        return np.inf
    return float(0.5 * np.sum(g**2 / penalty))


def solve_intercept(point: Point, tol: float) -> Point:
    """The point with its intercepts optimal for its other parameters, to the relative accuracy `tol`.

    Newton's method in K variables on the outputs at hand: no pass over X.
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
