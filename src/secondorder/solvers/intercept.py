"""The intercepts that are optimal for the other parameters, found on the outputs at hand."""

import numpy as np

from secondorder.objective import Point

QUADRATIC = 0.1  # a step that promises this times sqrt(tol) leaves less than tol: the next is as its square
SOLVED = 0.01  # part of all slopes that their sum may come to at a solved intercept


def n_free_intercepts(point: Point) -> int:
    """The number of intercepts that are not penalised (they are the last parameters)."""
    n_intercepts = point.forward.n_intercepts
    penalty = point.objective.penalty
    return n_intercepts if n_intercepts and not np.any(penalty[-n_intercepts:]) else 0


def intercept_is_solved(point: Point) -> bool:
    """Whether the gradient in the free intercepts is little against the slopes it is the sum of.

    It tells a solved intercept from one where the loss is flat, and Newton's decrement with it.
    """
    if not n_free_intercepts(point):
        return True
    return slopes_vanish(*point.pull, point.objective.loss.shift_invariant)


def slopes_vanish(sums: np.ndarray, sizes: np.ndarray, coupled: bool) -> bool:
    """Whether the column sums of G are small against those of ``|G|``; each its own, unless `coupled`."""
    return bool(np.all(np.abs(sums) <= SOLVED * (np.sum(sizes) if coupled else sizes)))


def solve_intercept(point: Point, tol: float) -> Point:
    """The point with its intercepts optimal for its other parameters, to the relative accuracy `tol`.

    Newton's method in K variables on the outputs: no pass over X. Where the loss has gone flat, with
    all probabilities at 0 or 1, it goes along the gradient until there is curvature again.
    """
    if not n_free_intercepts(point):
        return point
    for _ in range(50):
        g = point.pull[0]
        if not np.all(np.isfinite(g)):
            return point
        c = -_newton(point.H.sum(), g, point.objective.loss.shift_invariant)
        decrease = -0.5 * float(g @ c)
        if tol * point.value < decrease <= point.value:  # more than E, which is not negative, is no promise
            trial = _backtrack(point, c, decrease)
        elif not intercept_is_solved(point):
            trial = _advance(point, -g / np.linalg.norm(g))
        else:
            return point
        if trial.value >= point.value:  # nothing left above the rounding of E
            return point
        point = trial
        if tol * point.value < decrease <= QUADRATIC * np.sqrt(tol) * point.value and intercept_is_solved(
            point
        ):
            return point
    return point


def _backtrack(point: Point, c: np.ndarray, decrease: float) -> Point:
    """The first of ``point + t c``, t = 1, 1/2, 1/4 ..., that lowers E enough."""
    t, trial = 1.0, point.shift(c)
    while not trial.value <= point.value - 1e-4 * t * decrease and t > 1e-10:
        t /= 2
        trial = point.shift(t * c)
    return trial


def _advance(point: Point, c: np.ndarray) -> Point:
    """The last of ``point + t c``, t = 1, 2, 4 ..., that still lowers E."""
    t, trial = 1.0, point.shift(c)
    further = point.shift(2 * t * c)
    while further.value < trial.value and t < 1e300:
        t, trial = 2 * t, further
        further = point.shift(2 * t * c)
    return trial


def _newton(A: np.ndarray, g: np.ndarray, coupled: bool) -> np.ndarray:
    """``A^-1 g`` where `A` has an inverse; it is diagonal unless the outputs are `coupled`."""
    if coupled:
        return np.linalg.lstsq(A, g, rcond=None)[0]
    d = np.diagonal(A)
    return np.where(d > 0, g / np.where(d > 0, d, 1), 0)
