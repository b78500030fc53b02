"""The outer loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from secondorder.array_api import array_namespace
from secondorder.curvature import GaussNewton
from secondorder.losses.output_hessian import Array
from secondorder.objective import Objective, Point
from secondorder.solvers.certificate import DualityGap, NewtonDecrement, Status, is_bounded
from secondorder.solvers.cg import CGStatus
from secondorder.solvers.intercept import polish_intercept, solve_intercept
from secondorder.solvers.steps import LineSearch

DRIFT = 1e-4  # part of the largest outputs so far that is more than the last ones where their rounding counts
ENOUGH = 0.01  # part of the decrease that a step promised, which intercepts may leave to the next
PATIENCE = 5  # iterations without any gain that make a stall


class Iteration(NamedTuple):
    """One row of the history: the state at the start of an iteration, and the step that led there.

    `gap` is the bound of ``E - E*``, an estimate before the last row; `passes` counts the reads of X so far.
    `validation_loss` and `validation_score` are those of held-out rows, where there are any.
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
    validation_loss: float = np.nan
    validation_score: float = np.nan


@dataclass(frozen=True, eq=False)
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
    gap, relative_gap : float
        Bound of ``E(w) - E*``, and that as a part of E.
    converged : bool
        Whether `tol` was reached, by the `certificate` named below.
    certificate : {"duality gap", "curvature", "newton decrement", "local model"}
        What `gap` is: a rigorous bound, from the gradient and the penalty or, closer, from dual variables
        (`secondorder.solvers.dual_bound`) or from the gradient and the Hessian (`curvature_gap` and
        `dual_gap_nearby` in `secondorder.solvers.certificate`); or where
        parameters go without penalty the decrease that the last quadratic model promised, an estimate; or
        for an objective that is not convex the same, which then says nothing of other minima.
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
    def converged(self) -> bool:
        """Whether `tol` was reached, by the certificate named."""
        return self.status is Status.CONVERGED

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
        return self.history[-1].iteration

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

    def with_certificate(self, value: float, gap: float) -> "Result":
        """The same, converged with this value and gap."""
        last = self.history[-1]._replace(value=value, gap=gap)
        history = (*self.history[:-1], last)
        return replace(self, status=Status.CONVERGED, value=value, gap=gap, history=history)

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
    fallback: Callable[[Point], Any] | None = None,
    history: tuple[Iteration, ...] = (),
    judge: Any = None,
) -> Result:
    """Minimise ``E(w)`` by steps of second order until ``(E - E*) / E <= tol``, certified.

    That is for a convex objective; for others `judge` says when to end. After every step the intercepts
    are solved on the outputs at hand, nearly: what they may still promise is counted where
    `secondorder.solvers.certificate.certified_gap` ends the iteration, and where that is too much they are
    solved closely, for one backward pass. An iteration makes one forward and one backward pass over X
    besides the products and the preconditioner; each step of a
    `secondorder.solvers.span_search.SpanSearch` makes both, or one of two reads in coordinates of the row
    space.

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
    fallback : callable(Point) -> linear operator, optional
        More exact than `curvature`, and used instead of it once steps by that lead nowhere.
    history : tuple of Iteration, optional
        Of an earlier phase that ended at `w`; it is continued.
    judge : judge of points, optional
        `Progress` for an objective that is not convex. By default `DualityGap`, or `NewtonDecrement` where
        parameters go without penalty.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If the gradient at `w` is too large to be squared.
    """
    return descend(
        objective.at(w),
        curvature=curvature,
        step=step,
        tol=tol,
        max_iter=max_iter,
        callback=callback,
        fallback=fallback,
        history=history,
        judge=judge,
    )[0]


def descend(
    start: Point,
    *,
    curvature: Callable[[Point], Any] = GaussNewton,
    step: Any = None,
    tol: float = 1e-8,
    max_iter: int = 100,
    callback: Callable[[Iteration], None] | None = None,
    fallback: Callable[[Point], Any] | None = None,
    history: tuple[Iteration, ...] = (),
    judge: Any = None,
) -> tuple[Result, Point]:
    """`minimize` from a point, and the point where it ended."""
    rule = LineSearch(tol=tol) if step is None else step
    point, scale, rows = solve_intercept(start, 1e-6 * tol), rule.initial_scale, list(history)
    _check_finite(point)
    if judge is None:
        judge = DualityGap(tol) if is_bounded(point) else NewtonDecrement(tol)
    point, verdict, closely = _judged(judge, point, judge.start(point), False)

    def record(*of_step: Any) -> None:
        rows.append(_row(len(rows), point, verdict, *of_step))
        if callback is not None:
            callback(rows[-1])

    if rows:
        last = rows[-1]
        rows[-1] = _row(last.iteration, point, verdict, *last[5:9])
    else:
        record()
    largest = _largest(point.forward.outputs)
    since = len(rows) - 1  # the phase before had other variables
    while verdict.status is None and len(rows) <= max_iter:
        taken = rule(point, curvature(point), scale)
        # What a solve that was cut short promises is no estimate of what there is to gain.
        promised = np.inf if taken.cg_status is CGStatus.MAX_ITER else taken.promised
        useful = taken.accepted and judge.worthwhile(point, taken.promised)
        stuck = not useful or _stalled(rows[since:])
        doubtful = stuck or taken.cg_status is CGStatus.NEGATIVE_CURVATURE or _slow(rows[since:])
        if fallback is not None and doubtful:
            curvature, fallback, since = fallback, None, len(rows) - 1
            if not useful:
                continue
        elif stuck:
            # Where the objective is convex, negative curvature is rounding: the step before knew more.
            if taken.cg_status is CGStatus.NEGATIVE_CURVATURE:
                promised = min(promised, verdict.gap)
            verdict = judge.stuck(point, promised, verdict)
            break
        before, point, scale = point.forward.outputs, taken.point, taken.scale
        point = _intercept_solved(point, tol, closely, taken.promised)
        verdict = judge.after(point, before, promised, verdict)
        point, verdict, closely = _judged(judge, point, verdict, closely)
        if verdict.status is Status.CONVERGED and DRIFT * largest > max(1.0, _largest(point.forward.outputs)):
            (point, verdict), largest = _looked_at_again(point, verdict, judge, tol), 0.0
        record(taken.n_products, taken.scale, taken.n_trials, taken.cg_status)
        del before, taken  # they hold arrays as large as the outputs
    verdict, rows[-1] = _closed(judge, point, verdict, rows[-1])
    w, value = verdict.best or (point.w, point.value)
    status = verdict.status or Status.MAX_ITER
    return Result(w, status, value, verdict.gap, judge.name, tuple(rows)), point


def _intercept_solved(point: Point, tol: float, closely: bool, promised: float) -> Point:
    """The point with its intercepts solved, as `closely` as rounding lets or as the next step needs it.

    They may leave little of what the last step `promised`, where what they leave is counted.
    """
    counted = point.value and np.isfinite(promised) and is_bounded(point)
    part = ENOUGH * promised / abs(point.value) if counted else 0.0
    point = solve_intercept(point, max(1e-6 * tol, part))
    return polish_intercept(point) if closely else point


def _judged(judge: Any, point: Point, verdict: Any, closely: bool) -> tuple[Point, Any, bool]:
    """The point, with intercepts solved closely if that is what the verdict wants; and the verdict then."""
    if not (isinstance(judge, DualityGap) and verdict.closer):
        return point, verdict, closely
    point = polish_intercept(point)
    return point, judge.start(point), True


def _closed(judge: Any, point: Point, verdict: Any, last: Iteration) -> tuple[Any, Iteration]:
    """The verdict, and the last row of the history, with a gap that is no estimate."""
    if not isinstance(judge, DualityGap):
        return verdict, last
    verdict = judge.close(point, verdict)
    return verdict, last._replace(gap=verdict.gap, passes=point.objective.X.passes)


def _row(iteration: int, point: Point, verdict: Any, *of_step: Any) -> Iteration:
    """The row of the history for `point`, and for the step that led there."""
    norm = float(np.sqrt(point.squared_gradient))
    row = Iteration(iteration, point.value, norm, verdict.gap, point.objective.X.passes, *of_step)
    return row._replace(validation_loss=verdict.validation_loss, validation_score=verdict.validation_score)


def _check_finite(point: Point) -> None:
    """Raise a ValueError if the gradient or its square is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(point.squared_gradient)
    if not finite:
        raise ValueError(
            "The gradient overflows at the start: values in X (or weights) are too large for their "
            "products to be represented. Scale the features."
        )


def _looked_at_again(point: Point, verdict: Any, judge: Any, tol: float) -> tuple[Point, Any]:
    """The verdict on `point` with outputs made anew, not updated from step to step from far larger ones."""
    if not isinstance(judge, DualityGap):
        return point, verdict
    point = _intercept_solved(Point(point.objective, point.forward.anew()), tol, True, 0.0)
    return point, judge.start(point)


def _largest(S: Array) -> float:
    """``max |S|``."""
    xp = array_namespace(S)
    return max(float(xp.max(S)), -float(xp.min(S)))


def _slow(history: list[Iteration]) -> bool:
    """Whether the last three steps did not halve the gap."""
    gaps = [row.gap for row in history]
    return len(gaps) > 3 and min(gaps[-3:]) > min(gaps[:-3]) / 2


def _stalled(history: list[Iteration]) -> bool:
    """Whether neither E nor its gap got better in the last iterations, beyond rounding."""
    if len(history) <= PATIENCE:
        return False
    before, last = history[:-PATIENCE], history[-PATIENCE:]
    value, rounding = min(row.value for row in before), 10 * np.finfo(float).eps
    lower = min(row.value for row in last) < value - rounding * abs(value)
    return not lower and min(row.gap for row in last) >= 0.99 * min(row.gap for row in before)
