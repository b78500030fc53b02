"""Whether L-BFGS is the way to begin, with which metric: where Newton's products cost more than gradients."""

from typing import Any

import numpy as np

from secondorder.losses import Logistic, Softmax
from secondorder.models import Design
from secondorder.objective import Objective
from secondorder.solvers.costs import (
    ALIKE,
    DEAR_FACTOR,
    LEAST_SEARCHED,
    STEEPEST_LOGISTIC,
    WORTH_AT_ONCE,
    gram_cost,
    product_cost,
)
from secondorder.solvers.landscapes import LogisticLandscape, SoftmaxLandscape, sweeps_repay
from secondorder.solvers.preconditioners import Blocks, Cholesky, Diagonal, Kronecker, Refreshed
from secondorder.solvers.quasi_newton import Found, quasi_newton


def begin(objective: Objective, chosen: Refreshed | None, **options: Any) -> Found | None:
    """Where L-BFGS leads from ``W = 0``, if the objective is one for it; `chosen` would be for Newton's."""
    if not sweeps_repay(objective):
        return None
    if isinstance(objective.loss, Softmax) and objective.y.ndim == 1:
        return _softmax(objective, chosen, options)
    if isinstance(objective.loss, Logistic) and objective.model.n_outputs == 1:
        return _logistic(objective, options)
    return None


def _softmax(objective: Objective, chosen: Refreshed | None, options: dict[str, Any]) -> Found | None:
    """The beginning of a softmax model, where a preconditioner for it is dear but a Gram matrix is not."""
    design, K = objective.X, objective.model.n_outputs
    if chosen is None or not gram_cost(design) <= WORTH_AT_ONCE * product_cost(design, K):
        return None
    if chosen.make is Cholesky and (chosen.cost < DEAR_FACTOR or not _even(design, _squares(design))):
        return None
    if chosen.make not in (Cholesky, Blocks, Kronecker):
        return None
    try:
        at_zero = Kronecker.at_zero(objective)
    except FloatingPointError:  # for which the other ways have the words
        return None
    found = quasi_newton(objective, SoftmaxLandscape(objective), at_zero, **options)
    # In float32 the classes come to sum to a little, which the penalty has to pay for.
    return found._replace(W=found.W - found.W.mean(axis=1, keepdims=True))


def _logistic(objective: Objective, options: dict[str, Any]) -> Found | None:
    """The beginning of a logistic model of many features of about the same size."""
    if objective.X.shape[1] < LEAST_SEARCHED:
        return None
    design = objective.X
    squares = _squares(design.thinned)
    if not _even(design, squares):
        return None
    squares[: design.X.shape[1]] = np.mean(squares[: design.X.shape[1]])
    metric = Diagonal(1 / (STEEPEST_LOGISTIC * np.sum(objective.s) * squares))
    return quasi_newton(objective, LogisticLandscape(objective), metric, **options)


def _squares(design: Design) -> np.ndarray:
    """The mean squares of the columns of Z."""
    n = design.shape[0]
    return design.squared_rmatmul(np.full((n, 1), 1 / n))[:, 0]


def _even(design: Design, squares: np.ndarray) -> bool:
    """Whether features with these mean squares are of about the same size, but for those that are 0."""
    of_features = squares[: design.X.shape[1]]
    least = np.min(of_features, where=of_features > 0, initial=np.inf)
    return bool(np.max(of_features) <= ALIKE**2 * least)
