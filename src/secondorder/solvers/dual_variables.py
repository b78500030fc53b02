"""Dual variables for intercepts that are nearly solved, made from residuals whose sums are nearly 0."""

import numpy as np

from secondorder.losses import OutputHessian, Squared
from secondorder.objective import Point
from secondorder.solvers.intercept import (
    intercept_is_solved,
    inverse_curvature,
    n_free_intercepts,
    slopes_vanish,
)

ROUNDED = 1e-12  # part of the slopes of an output that rounding may leave of their sum
SOME = 200  # rows, or more, that balance the others


def balanced(point: Point, cheap: float = 0.0) -> Point:
    """The same point with residuals that are dual variables, for intercepts that are nearly solved.

    Those of a logistic model are feasible only if their columns sum to 0. Such are ``G_i - H_i c`` where
    ``sum_i H_i c = sum_i G_i`` over some of the rows: a Newton step in the intercepts, for these rows.
    They belong to probabilities ``p_ik (1 - c_k + c'p_i)``, while no c_k is further than 1 from another or
    from 0, which differ from p_i by a divergence of at most ``c'H_i c``, as its bound by chi squared says.
    (With squared errors there is no such limit, and they differ by half of that.) The sum of these is what
    they cost; it is infinite where the intercepts are too far from solved.

    Some rows will do if they cost no more than is `cheap`, and then change a gradient that is known. All
    rows cost least, and a pass.
    """
    if point.dual is not None or not n_free_intercepts(point):
        return point
    limit = np.inf if isinstance(point.objective.loss, Squared) else 1.0
    rows, h, cost = balance(point.H, point.pull, cheap, limit)
    residuals, gradient = point.G.copy(), vars(point).get("gradient")
    residuals[rows] -= h
    if gradient is not None and isinstance(rows, np.ndarray):
        gradient = gradient - point.forward.X.rows(rows).rmatmul(h).ravel()
    elif np.any(h):
        gradient = None
    return point.with_dual(residuals, cost, gradient)


def balance(
    H: OutputHessian, pull: tuple[np.ndarray, np.ndarray], cheap: float, limit: float = 1.0
) -> tuple[np.ndarray | slice, np.ndarray, np.ndarray]:
    """The rows that `balanced` changes, what it takes off their residuals, and the cost of each output.

    `pull` holds the column sums of these residuals, and of their absolute values; `limit` is the largest
    difference of c's entries and of them from 0.
    """
    sums, sizes = pull
    (n, K), coupled, everything = H.d.shape, H.shift_invariant, slice(None)
    if slopes_vanish(sums, sizes, coupled, 0.0):
        return everything, np.zeros(K), np.zeros(K)
    choices: list[np.ndarray | slice] = [everything]
    if n >= 2 * SOME:
        choices.insert(0, np.arange(0, n, n // SOME))
    for rows in choices:
        part = H.rows(rows)
        A = part.sum()
        if not (np.all(np.isfinite(A)) and np.all(np.isfinite(sums))):
            break
        inverse = inverse_curvature(A, coupled)
        c = inverse @ sums
        c += inverse @ (sums - A @ c)  # what rounding left of an ill-conditioned A
        h = part @ np.broadcast_to(c, part.d.shape)
        left, cost = sums - np.sum(h, axis=0), c * sums
        feasible = np.ptp(np.append(c, 0.0)) <= limit and slopes_vanish(left, sizes, coupled, ROUNDED)
        if feasible and (rows is everything or np.sum(cost) <= cheap):
            return rows, h, cost
    return everything, np.zeros(K), np.full(K, np.inf)


def imbalance(point: Point) -> np.ndarray:
    """What dual variables cost each output; nothing until they are `balanced`, if intercepts are solved."""
    if point.dual is not None:
        return point.dual[1]
    return np.full(point.forward.outputs.shape[1], 0.0 if intercept_is_solved(point) else np.inf)
