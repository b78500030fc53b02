"""Whether L-BFGS is the way to begin, with which metric: where Newton's products cost more than gradients."""

from typing import Any

import numpy as np

from secondorder.losses import Logistic, Softmax
from secondorder.objective import Objective
from secondorder.solvers.costs import (
    ALIKE,
    LEAST_SEARCHED,
    STEEPEST_LOGISTIC,
    WORTH_AT_ONCE,
    gram_cost,
    product_cost,
)
from secondorder.solvers.landscapes import LogisticLandscape, SoftmaxLandscape, sweeps_repay
from secondorder.solvers.preconditioners import Blocks, Diagonal, Kronecker, Refreshed
from secondorder.solvers.quasi_newton import Found, quasi_newton


def begin(objective: Objective, chosen: Refreshed | None, **options: Any) -> Found | None:
    """Where L-BFGS leads from ``W = 0``, if the objective is one for it; `chosen` would be for Newton's."""
    design, K = objective.X, objective.model.n_outputs
    if not sweeps_repay(objective):
        return None
    if isinstance(objective.loss, Softmax) and objective.y.ndim == 1:
        dear = WORTH_AT_ONCE * product_cost(design, K)
        if chosen is None or chosen.make not in (Blocks, Kronecker) or not gram_cost(design) <= dear:
            return None
        try:
            at_zero = Kronecker.at_zero(objective)
        except FloatingPointError:  # for which the other ways have the words
            return None
        return quasi_newton(objective, SoftmaxLandscape(objective), at_zero, **options)
    if isinstance(objective.loss, Logistic) and K == 1 and design.shape[1] >= LEAST_SEARCHED:
        part = design.thinned
        squares = part.squared_rmatmul(np.full((part.shape[0], 1), 1 / part.shape[0]))[:, 0]
        of_features = squares[: design.X.shape[1]]
        if not np.max(of_features) <= ALIKE**2 * np.min(of_features):
            return None
        squares[: len(of_features)] = np.mean(of_features)
        metric = Diagonal(1 / (STEEPEST_LOGISTIC * np.sum(objective.s) * squares))
        return quasi_newton(objective, LogisticLandscape(objective), metric, **options)
    return None
