"""How a fit without a unique optimum goes on, and when it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from secondorder.losses.output_hessian import Array
from secondorder.objective import Objective, Point
from secondorder.solvers.certificate import Status


class Validation(NamedTuple):
    """Rows that no step sees: their objective, and a score of their outputs, the more the better."""

    objective: Objective
    score: Callable[[Array], float]


class Standing(NamedTuple):
    """Where a fit stands, a `Verdict` with what it takes to go on.

    `gap` is the decrease that the model of the last step promised (inf before the first), `lowest` the
    least value so far, of the validation rows if there are any, `stale` the number of iterations since it
    last fell by more than the tolerance, and `first` the objective at the start. `best` holds the
    parameters and the objective at `lowest`, if validation rows choose among iterations.
    """

    gap: float = np.inf
    status: Status | None = None
    lowest: float = np.inf
    stale: int = 0
    first: float = np.nan
    best: tuple[Array, float] | None = None
    validation_loss: float = np.nan
    validation_score: float = np.nan


@dataclass(frozen=True)
class Progress:
    """Judges a fit that is not convex by what it gains, as `DualityGap` does a convex one by its bound.

    It ends when the objective, or with validation rows their loss, has not fallen by more than `tol` times
    itself in `patience` iterations on end, or when nothing is left of it but rounding.

    Parameters
    ----------
    tol : float
    patience : int
    validation : Validation, optional
    """

    tol: float
    patience: int
    validation: Validation | None = None

    name = "local model"

    def start(self, point: Point) -> Standing:
        """The standing before the first step."""
        return self.follow(point.value, point.w, np.inf, Standing(first=point.value))

    def after(self, point: Point, before: Array, promised: float, last: Standing) -> Standing:
        """The standing after a step to `point` that promised a decrease."""
        return self.follow(point.value, point.w, max(promised, 0.0), last)

    def follow(self, value: float, w: Array, gap: float, last: Standing) -> Standing:
        """The standing at the parameters `w`, where the objective is `value`."""
        if not np.isfinite(value):
            return last._replace(status=Status.DIVERGED)
        judged, loss, score = value, np.nan, np.nan
        if self.validation is not None:
            seen = self.validation.objective.at(w)
            judged, loss, score = seen.value, seen.value, self.validation.score(seen.forward.outputs)
        fell = last.lowest - judged > self.tol * abs(judged)
        stale = 0 if fell else last.stale + 1
        best = (w, value) if judged < last.lowest and self.validation is not None else last.best
        ended = Status.SETTLED if self.validation is None else Status.OVERFITTING
        if value <= np.finfo(float).eps ** 2 * last.first:
            stale, ended = self.patience, Status.SETTLED
        status = ended if stale >= self.patience else None
        return Standing(gap, status, min(judged, last.lowest), stale, last.first, best, loss, score)

    def stuck(self, point: Point, promised: float, last: Standing) -> Standing:
        """The standing at a point that no step leads on from."""
        return last._replace(status=Status.STATIONARY)

    def worthwhile(self, point: Point, promised: float) -> bool:
        """Whether a step is worth taking: any is that lowers the objective."""
        return True
