"""The intercepts that are optimal for the other parameters, found on the outputs at hand."""

import numpy as np

from secondorder.losses import Softmax
from secondorder.objective import Point

LASTING = 0.1  # part of the decrease of the last step that another with the same curvature may promise
SOLVED = 0.01  # part of the slopes of an output that their sum may come to at a solved intercept
NOTHING = 1e-14  # part of all slopes that this sum may be in any case


def n_free_intercepts(point: Point) -> int:
    """The number of intercepts that are not penalised (they are the last parameters)."""
    n_intercepts = point.forward.n_intercepts
    return n_intercepts if n_intercepts and point.objective.n_free_at_the_end >= n_intercepts else 0


def intercept_is_solved(point: Point) -> bool:
    """Whether the gradient in the free intercepts is little against the slopes it is the sum of.

    It tells a solved intercept from one where the loss is flat, and Newton's decrement with it.
    """
    if not n_free_intercepts(point):
        return True
    return slopes_vanish(*point.pull, point.objective.loss.shift_invariant)


def slopes_vanish(sums: np.ndarray, sizes: np.ndarray, coupled: bool, part: float = SOLVED) -> bool:
    """Whether the column sums of G are at most a `part` of those of ``|G|``, each of its own.

    In `coupled` outputs one may be so unlikely that its slopes vanish beside those of others.
    """
    return bool(np.all(np.abs(sums) <= part * sizes + NOTHING * (np.sum(sizes) if coupled else sizes)))


def is_balanced(point: Point) -> bool:
    """Whether its residuals are known to be dual variables, see `secondorder.solvers.dual_variables`."""
    return not n_free_intercepts(point) or (
        point.dual is not None and bool(np.all(np.isfinite(point.dual[1])))
    )


def solve_intercept(point: Point, tol: float) -> Point:
    """The point with its intercepts optimal for its other parameters, to the relative accuracy `tol`.

    Newton's method in K variables on the outputs: no pass over X. Where the loss can tell its slopes alone,
    several steps are made with the same curvature. Where the loss has gone flat, with all probabilities at
    0 or 1, it goes along the gradient until there is curvature again.
    """
    if is_balanced(point):
        return point
    inverse = None
    for _ in range(50):
        g, least = point.pull[0], tol * point.value
        if not np.all(np.isfinite(g)):
            return point
        if inverse is not None and intercept_is_solved(point) and 0.5 * float(g @ inverse @ g) <= least:
            return point
        inverse = inverse_curvature(point.H.sum(), point.objective.loss.shift_invariant)
        c = -inverse @ g
        decrease, solved, trial = -0.5 * float(g @ c), intercept_is_solved(point), point
        if least < decrease <= point.value:  # more than E, which is not negative, is no promise
            if isinstance(point.objective.loss, Softmax):
                c = _chord(point, point.objective.loss, inverse, c, decrease, least)
            trial = _backtrack(point, c, decrease)
        elif not solved and 0 < decrease <= least:  # a class that is little beside others
            trial = _backtrack(point, c, decrease)
        if not solved and not trial.value < point.value:  # or one whose curvature is lost beside theirs
            trial = _advance(point, -g / np.linalg.norm(g))
        if trial.value >= point.value:  # nothing left above the rounding of E
            return point
        point = trial
    return point


def polish_intercept(point: Point) -> Point:
    """The point with its intercepts solved to the rounding of their gradient, where E says no more."""
    if is_balanced(point):
        return point
    before, last = point, np.inf
    while True:
        g = point.pull[0]
        c = -inverse_curvature(point.H.sum(), point.objective.loss.shift_invariant) @ g
        decrement = -float(g @ c)
        if not decrement < last:
            return before
        if decrement == 0 or decrement > LASTING * last:
            return point
        before, last, point = point, decrement, point.shift(c)


def _chord(
    point: Point, loss: Softmax, inverse: np.ndarray, c: np.ndarray, decrease: float, least: float
) -> np.ndarray:
    """The change `c` and more steps of the same `inverse` curvature, until one promises at most `least`.

    They are made as long as each promises a small part of what the last did, and no gradient is kept.
    """
    S, y, s = point.forward.outputs, point.objective.y, point.objective.s
    while (g := loss.pull(S, c, y, s)) is not None:
        step = -inverse @ g
        last, decrease = decrease, -0.5 * float(g @ step)
        if not least < decrease <= LASTING * last:
            break
        c = c + step
    return c


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


def inverse_curvature(A: np.ndarray, coupled: bool) -> np.ndarray:
    """The inverse of `A`, as far as there is one; it is diagonal unless the outputs are `coupled`."""
    if coupled:
        values, vectors = np.linalg.eigh(A)  # np.linalg.pinv takes three times as long
        kept = values > len(A) * np.finfo(float).eps * np.max(values, initial=0.0)
        return (vectors * np.where(kept, 1 / np.where(kept, values, 1), 0)) @ vectors.T
    d = np.diagonal(A)
    return np.diag(np.where(d > 0, 1 / np.where(d > 0, d, 1), 0))
