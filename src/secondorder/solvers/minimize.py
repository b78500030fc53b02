"""The outer loop."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from secondorder.curvature import GaussNewton
from secondorder.losses.output_hessian import Array
from secondorder.objective import Objective, Point
from secondorder.solvers.certificate import duality_gap, solve_intercept
from secondorder.solvers.cg import CGStatus
from secondorder.solvers.separation import separated
from secondorder.solvers.steps import LineSearch


class Status(Enum):
    """Why the iteration ended."""

    CONVERGED = "the certified relative gap is at most tol"
    MAX_ITER = "max_iter iterations were made before the certified relative gap came down to tol"
    PRECISION = "rounding errors hide any further decrease, before the certified relative gap reached tol"
    SEPARATED = "the classes are linearly separable and nothing is penalised, so no optimum exists"


class Iteration(NamedTuple):
    """One row of the history: the state at the start of an iteration, and the step that led there.

    `gap` is the bound of ``E - E*``; `passes` counts the reads of X so far.
    """

    iteration: int
    value: float
    gradient_norm: float
    gap: float
    passes: int
    n_products: int = 0
    step_length: float = 0.0
    n_trials: int = 0
    cg_status: CGStatus | None = None


@dataclass(frozen=True)
class Result:
    """The outcome of `minimize`.

    Attributes
    ----------
    w : array of shape (P,)
        Parameters.
    status : Status
    reason : str
        The status in words.
    value : float
        ``E(w)``.
    gap : float
        Bound of ``E(w) - E*``.
    certificate : {"duality gap", "newton decrement"}
        What `gap` is: a rigorous bound, or where parameters go without penalty the decrease that the
        last quadratic model promised, an estimate.
    n_iter, n_products, n_trials, passes : int
        Outer iterations, products with the curvature (steps of conjugate gradients), trials of the line
        search, and reads of X from end to end.
    history : tuple of Iteration
        One entry for the start and one for each iteration.
    """

    w: Array
    status: Status
    value: float
    gap: float
    certificate: str
    history: tuple[Iteration, ...]

    @property
    def reason(self) -> str:
        """The status in words."""
        return self.status.value

    @property
    def relative_gap(self) -> float:
        """``gap / E``."""
        return self.gap / abs(self.value) if self.value else 0.0 if self.gap == 0 else np.inf

    @property
    def n_iter(self) -> int:
        """Outer iterations."""
        return len(self.history) - 1

    @property
    def n_products(self) -> int:
        """Products with the curvature."""
        return sum(row.n_products for row in self.history)

    @property
    def n_trials(self) -> int:
        """Trials of the line search."""
        return sum(row.n_trials for row in self.history)

    @property
    def passes(self) -> int:
        """Reads of X from end to end."""
        return self.history[-1].passes

    def __repr__(self) -> str:
        return (
            f"Result({self.status.name}: {self.reason}; value={self.value:.10g}, "
            f"{self.certificate} / value = {self.relative_gap:.1e}, n_iter={self.n_iter}, "
            f"n_products={self.n_products}, passes={self.passes})"
        )


def minimize(
    objective: Objective,
    w: Array,
    *,
    curvature: Callable[[Point], Any] = GaussNewton,
    step: Any = None,
    tol: float = 1e-8,
    max_iter: int = 100,
    callback: Callable[[Iteration], None] | None = None,
) -> Result:
    """Minimise ``E(w)`` by steps of second order until ``(E - E*) / E <= tol``, certified.

    After every step the intercepts are solved exactly on the outputs at hand, which makes
    `secondorder.solvers.certificate.duality_gap` a bound. An iteration makes one forward and one
    backward pass over X besides the products and the preconditioner.

    Parameters
    ----------
    objective : Objective
    w : array of shape (P,)
        Start.
    curvature : callable(Point) -> linear operator, default=GaussNewton
    step : step rule, default=LineSearch(tol=tol)
    tol : float, default=1e-8
        Relative gap to reach.
    max_iter : int, default=100
    callback : callable(Iteration), optional
        Called with every new row of the history.

    Returns
    -------
    Result
    """
    rule = LineSearch(tol=tol) if step is None else step
    point, scale = solve_intercept(objective.at(w), 1e-6 * tol), rule.initial_scale
    with np.errstate(over="ignore", invalid="ignore"):
        overflows = not np.isfinite(point.gradient @ point.gradient)
    if overflows:
        raise ValueError(
            "The gradient overflows at the start: values in X (or weights) are too large for their "
            "products to be represented. Scale the features."
        )
    gap = duality_gap(point)
    history: list[Iteration] = []
    rigorous = np.isfinite(gap)

    def record(*fields: Any) -> None:
        history.append(Iteration(len(history), *fields))
        if callback is not None:
            callback(history[-1])

    def result(status: Status) -> Result:
        kind = "duality gap" if rigorous else "newton decrement"
        return Result(point.w, status, point.value, gap, kind, tuple(history))

    record(point.value, float(np.linalg.norm(point.gradient)), gap, objective.X.passes)
    while True:
        if gap <= tol * abs(point.value):
            return result(Status.CONVERGED)
        if len(history) > max_iter:
            return result(Status.MAX_ITER)
        taken = rule(point, curvature(point), scale)
        if not taken.accepted:
            return result(Status.PRECISION)
        previous, point, scale = point, solve_intercept(taken.point, 1e-6 * tol), taken.scale
        gap = duality_gap(point) if rigorous else max(taken.promised, 0.0)
        record(
            point.value,
            float(np.linalg.norm(point.gradient)),
            gap,
            objective.X.passes,
            taken.n_products,
            taken.scale,
            taken.n_trials,
            taken.cg_status,
        )
        if not rigorous and separated(point, previous):
            return result(Status.SEPARATED)
        if _stalled(history):
            return result(Status.PRECISION)


def _stalled(history: list[Iteration], patience: int = 5) -> bool:
    """Whether neither E nor its gap got better in the last iterations."""
    if len(history) <= patience:
        return False
    before, last = history[:-patience], history[-patience:]
    return min(row.value for row in last) >= min(row.value for row in before) and min(
        row.gap for row in last
    ) >= min(row.gap for row in before)
