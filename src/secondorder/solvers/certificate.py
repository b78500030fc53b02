"""How far a point can be from the optimum, and what that says of the iteration."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from secondorder.array_api import column_sums
from secondorder.losses.output_hessian import Array
from secondorder.models import RowSpace
from secondorder.objective import Point
from secondorder.solvers.dual_variables import balance, balanced, imbalance
from secondorder.solvers.intercept import n_free_intercepts
from secondorder.solvers.separation import Outlook, outlook

LITTLE = 0.1  # part of a gap that may be added for intercepts, if that saves time
TRUSTED = 1e-9  # rounding of outputs that leaves a certificate from X X' as good as one from X


class Status(Enum):
    """Why the iteration ended."""

    CONVERGED = "the relative gap is at most tol"
    MAX_ITER = "max_iter iterations were made before the relative gap came down to tol"
    PRECISION = "rounding errors hide any further decrease, before the relative gap came down to tol"
    SEPARATED = "the classes are linearly separable and nothing is penalised, so no optimum exists"
    SETTLED = "the objective has stopped falling"
    STATIONARY = "no step lowers the objective any further"
    OVERFITTING = "the loss on the validation rows has stopped falling"
    DIVERGED = "the objective is no longer finite"


class Verdict(NamedTuple):
    """The gap ``E(w) - E*`` as far as it is known, and how the iteration ends there, if it does.

    `settled` tells whether the outputs have come to rest, where that matters, and `closer` whether the gap
    is too large only for intercepts that are not solved closely; `best` holds parameters preferred to the
    last, and E there; the others are of held-out rows.
    """

    gap: float
    status: Status | None = None
    settled: bool = True
    closer: bool = False
    best: tuple[Array, float] | None = None
    validation_loss: float = np.nan
    validation_score: float = np.nan


def is_bounded(point: Point) -> bool:
    """Whether every parameter but a free intercept is penalised, so that `duality_gap` is a bound."""
    penalty, uniform = point.objective.penalty, point.objective.uniform
    last = len(penalty) - n_free_intercepts(point)
    return bool(np.all(penalty[:last] > 0)) if uniform is None else uniform[1] >= last


def duality_gap(point: Point) -> float:
    """``sum_j g_j^2 / (2 penalty_j)``, an upper bound of ``E(w) - E*``; infinite where there is none.

    With a convex loss it is the Fenchel duality gap of the penalised problem, and a bound because E is
    ``penalty_j``-strongly convex in w_j. Free intercepts forbid the residuals ``dE/dS`` as dual variables
    unless these sum to 0: it is a bound of a `balanced` point, with what balancing costs, and for others
    an estimate that neglects what the intercepts still promise. There is none where another parameter goes
    without penalty, or the intercepts are far from solved.
    Where a `floor` of E is known, and closer, it is what E lies above that.
    """
    if not (is_bounded(point) and np.isfinite(point.value)):
        return np.inf
    penalty, uniform = point.objective.penalty, point.objective.uniform
    last = len(penalty) - n_free_intercepts(point)
    above, cost = max(0.0, point.value - point.floor), float(np.sum(imbalance(point)))
    if not np.isfinite(cost):
        return above
    with np.errstate(over="ignore"):
        if uniform is not None:
            return min(above, point.squared_slopes / (2 * uniform[0]) + cost)
        return min(above, float(0.5 * np.sum(point.gradient[:last] ** 2 / penalty[:last])) + cost)


def certified_gap(point: Point) -> float:
    """The `duality_gap` of the point, `balanced`."""
    return duality_gap(balanced(point, LITTLE * duality_gap(point)))


def curvature_gap(squared_decrement: float, squared_reach: float) -> float:
    """A bound of ``E(w) - E*`` for logistic models, from the Hessian B at w; infinite where it says nothing.

    ``(a + (1 - a) log(1 - a)) / R^2`` with ``a = R delta``, for ``delta^2 = g' B^-1 g`` and
    ``R^2 >= z_i' B^-1 z_i`` for all rows, where a < 1. Along a line on which no output changes faster than
    by u, curvature falls at most as ``exp(-u t)`` (Bach, Self-concordant analysis for logistic regression,
    Electronic J. Statistics 4, 2010), and u is at most R times the length in the norm of B; the bound is the
    largest decrease that leaves. It comes to ``delta^2 / 2``, the decrease of the quadratic model, where a is
    small. It holds with larger values for both squares too, and needs no penalty.
    """
    squared = squared_decrement * squared_reach
    if squared_decrement == 0:
        return 0.0
    if not squared < 1:
        return np.inf
    a = np.sqrt(squared)
    if a < 1e-3:  # the series; the closed form would cancel
        return 0.5 * squared_decrement * (1 + a / 3 + a**2 / 3)
    return float((a + (1 - a) * np.log1p(-a)) / squared_reach)


def dual_gap_nearby(g: Array, flow: Array | None, penalty: float, grown: float) -> float:
    """A bound of ``E(w) - E*`` for a logistic model with one `penalty`, wherever its intercept is.

    The duality gap needs dual variables with sum 0. Such are ``G_i - t c_i``, for weights ``c_i >= 0`` of the
    rows that are at most `grown` times the second derivatives ``d_i`` of their losses. They are feasible
    while ``grown |t| <= 1``, and differ from G at a cost of at most ``sum_i (t c_i)^2 / d_i``, as two
    probabilities diverge by no more than chi squared says.

    Parameters
    ----------
    g : array of shape (q,)
        The gradient; its last entry is that of the intercept, if there is one.
    flow : array of shape (q,), or None
        ``sum_i c_i z_i``; None without intercept.
    penalty, grown : float
    """
    if flow is None:
        return float(g @ g) / (2 * penalty)
    t = g[-1] / flow[-1] if flow[-1] > 0 else np.inf
    if not (np.isfinite(grown) and grown * abs(t) <= 1):
        return np.inf
    slopes = g[:-1] - t * flow[:-1]
    return float(slopes @ slopes) / (2 * penalty) + grown * float(t) ** 2 * float(flow[-1])


@dataclass(frozen=True)
class DualityGap:
    """Judges points of a penalised convex objective, by a bound that holds but for rounding."""

    tol: float
    name = "duality gap"

    def start(self, point: Point) -> Verdict:
        """The verdict on a point."""
        gap, arrived = self.estimate(point)
        if not arrived:
            return Verdict(gap)
        gap, arrived = self.certify(point)
        return Verdict(gap, Status.CONVERGED if arrived else None, closer=not arrived)

    def after(self, point: Point, before: Array, promised: float, last: Verdict) -> Verdict:
        """The verdict on a point that a step has led to from the outputs `before`."""
        return self.start(point)

    def stuck(self, point: Point, promised: float, last: Verdict) -> Verdict:
        """The verdict on a point that no step leads on from."""
        return Verdict(last.gap, Status.PRECISION)

    def close(self, point: Point, last: Verdict) -> Verdict:
        """The last verdict, its gap no estimate."""
        if last.status is Status.CONVERGED:
            return last
        gap, arrived = self.certify(point)
        return last._replace(gap=gap, status=Status.CONVERGED if arrived else last.status)

    def estimate(self, point: Point) -> tuple[float, bool]:
        """The gap, and whether it is small enough, if intercepts that are nearly solved are so exactly."""
        gap = duality_gap(point)
        return gap, gap <= self.tol * abs(point.value)

    def certify(self, point: Point) -> tuple[float, bool]:
        """The gap, and whether it is small enough."""
        gap = certified_gap(point)
        return gap, gap <= self.tol * abs(point.value)

    def worthwhile(self, point: Point, promised: float) -> bool:
        """Whether a step with the decrease `promised` by its model is to be taken."""
        return True


def gaps_of_models(point: Point) -> tuple[Array, Array]:
    """The `duality_gap` and E of each of several logistic models, one for each output."""
    objective = point.objective
    K = objective.model.n_outputs
    last = len(point.w) - n_free_intercepts(point)
    W, g, penalty = (a[:last].reshape(-1, K) for a in (point.w, point.gradient, objective.penalty))
    values = point.losses + 0.5 * np.sum(penalty * W**2, axis=0)
    if not is_bounded(point):
        return np.full(K, np.inf), values
    with np.errstate(over="ignore"):
        return 0.5 * np.sum(g**2 / penalty, axis=0) + imbalance(point), values


def certified_gaps(point: Point) -> tuple[Array, Array]:
    """The `gaps_of_models` of the point, `balanced`."""
    return gaps_of_models(balanced(point, LITTLE * float(np.min(gaps_of_models(point)[0]))))


def gaps_on_rows(point: Point, space: RowSpace, penalty: float) -> tuple[Array, Array, Array]:
    """`gaps_of_models`, or the gap and E of one model, and the outputs, for X itself.

    The point is one for the data ``space.L``, with this penalty on all features. Its parameters belong to
    ``W = X' A`` with X centred, so all follows from ``X X'``: the outputs, and the gradient.
    """
    o, K = point.objective, point.objective.model.n_outputs
    V = point.w.reshape(-1, K)
    S, rounding = space.outputs(V)
    losses, G, H = o.loss.evaluate(S, o.y, o.s)
    values = np.sum(V[: space.L.shape[1]] ** 2, axis=0) * penalty / 2
    cost = np.zeros(K)
    if point.forward.n_intercepts:
        rows, h, cost = balance(H, column_sums(G), 0.0)
        G[rows] -= h
    gaps = space.squared_gradient(V, G, penalty) / (2 * penalty) + cost
    if rounding > TRUSTED:
        gaps = np.full(K, np.inf)
    if isinstance(losses, float):
        return np.array([np.sum(gaps)]), np.array([losses + np.sum(values)]), S
    return gaps, losses + values, S


@dataclass(frozen=True)
class DualityGaps(DualityGap):
    """Judges points of several logistic models at once: each has to come to its own relative gap."""

    def estimate(self, point: Point) -> tuple[float, bool]:
        """The sum of the gaps, and whether each is small enough, as for one model."""
        return self._of_all(*gaps_of_models(point))

    def certify(self, point: Point) -> tuple[float, bool]:
        """The sum of the gaps, and whether each is small enough."""
        return self._of_all(*certified_gaps(point))

    def _of_all(self, gaps: Array, values: Array) -> tuple[float, bool]:
        return float(np.sum(gaps)), bool(np.all(gaps <= self.tol * np.abs(values)))


@dataclass(frozen=True)
class NewtonDecrement:
    """Judges points of an objective without penalty, by what the last step promised and where it led.

    The decrease promised by a truncated solve is an estimate. So it has to come out small twice, with the
    outputs come to rest: where they do not, the classes may be separable.
    """

    tol: float
    name = "newton decrement"

    def start(self, point: Point) -> Verdict:
        """The verdict on a point: nothing is known."""
        return Verdict(np.inf)

    def after(self, point: Point, before: Array, promised: float, last: Verdict) -> Verdict:
        """The verdict on a point that a step has led to from the outputs `before`."""
        gap, goal = max(promised, 0.0), self.tol * abs(point.value)
        seen = outlook(point, before, gap)
        if seen is Outlook.SEPARATED:
            return Verdict(gap, Status.SEPARATED)
        settled = seen is Outlook.SETTLED
        arrived = settled and last.settled and max(gap, last.gap) <= goal
        return Verdict(gap, Status.CONVERGED if arrived else None, settled)

    def stuck(self, point: Point, promised: float, last: Verdict) -> Verdict:
        """The verdict on a point that no step leads on from."""
        gap = max(promised, 0.0)
        small = last.settled and gap <= self.tol * abs(point.value)
        return Verdict(gap, Status.CONVERGED if small else Status.PRECISION)

    def worthwhile(self, point: Point, promised: float) -> bool:
        """Whether a step promises more than the rounding of E; others run off along flat directions."""
        return bool(promised > np.finfo(float).eps * abs(point.value))
