"""Steps: how curvature at a point becomes the next point."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from secondorder.array_api import dot
from secondorder.curvature import GaussNewton
from secondorder.objective import Point, Ray
from secondorder.solvers.certificate import duality_gap
from secondorder.solvers.cg import CGResult, CGStatus, conjugate_gradient
from secondorder.solvers.intercept import n_free_intercepts
from secondorder.solvers.preconditioners import Refreshed

# Without a bound of the gap the decrease promised by the model is the certificate: it has to be right.
UNCERTIFIED_RTOL = 1e-3


LEVEL = 0.1  # part of the first slope that counts as flat along a ray
MAX_TRIALS = 40
LEAST_GAIN = 1e-4  # part of the promised decrease that makes a step acceptable, where E is not convex


class Step(NamedTuple):
    """What a step rule returns.

    `scale` is the one number the rule remembers (step length, radius or damping); `promised` is the
    decrease the quadratic model promised; `accepted` tells whether the point is new.
    """

    point: Point
    scale: float
    accepted: bool
    promised: float
    n_products: int
    cg_status: CGStatus
    n_trials: int


@dataclass(frozen=True)
class LineSearch:
    """Newton's direction by truncated conjugate gradients, and the minimum of E along it.

    The search is a safeguarded secant iteration on ``dE/dt``, for a convex E; it looks at outputs only,
    never at X.

    Parameters
    ----------
    preconditioner : Refreshed, optional
    tol : float, default=0
        Relative gap ``(E - E*) / E`` beyond which a residual is not worth reducing.
    rtol : float, default=0.25
        Residual of the Newton system, relative to the gradient; less where the relative gap r is small,
        ``min(rtol, r^(1/4))``, which makes the convergence superlinear (Eisenstat & Walker 1996).
        Where r has no bound, 1e-3.
    max_products : int, default=1000
        Largest number of products in one step.
    """

    preconditioner: Refreshed | None = None
    tol: float = 0.0
    rtol: float = 0.25
    max_products: int = 1000

    initial_scale = 1.0

    def __call__(self, point: Point, curvature: Any, scale: float) -> Step:
        """The next point; `scale` is the last step length, which the search does not need."""
        M, exact, max_products = None, False, float(self.max_products)
        if self.preconditioner is not None:
            M = self.preconditioner(curvature.point)
            exact = self.preconditioner.exact and type(curvature) is GaussNewton
            max_products = min(max_products, self.preconditioner.budget)
        b = -point.gradient
        gap = duality_gap(point) / abs(point.value) if point.value else np.inf
        rtol = min(self.rtol, gap**0.25) if np.isfinite(gap) else UNCERTIFIED_RTOL
        if exact:
            cg = CGResult(M @ b, np.zeros_like(b), 0, CGStatus.CONVERGED)
        else:
            cg = conjugate_gradient(
                curvature,
                b,
                M=M,
                rtol=rtol,
                atol=0.5 * gradient_to_reach(point, self.tol),
                max_iter=int(max_products),
            )
        if self.preconditioner is not None:
            self.preconditioner.charge(cg.n_iter)
        trial, t, n_trials = minimize_along(point.along(cg.x), -dot(b, cg.x))
        return Step(
            trial.settled(),
            t,
            t > 0.0,
            cg.decrease(b),
            cg.n_iter,
            cg.status,
            n_trials,
        )


def gradient_to_reach(point: Point, tol: float) -> float:
    """The gradient norm at which `duality_gap` is sure to be at most `tol` times E."""
    penalty, uniform = point.objective.penalty, point.objective.uniform
    last = len(penalty) - n_free_intercepts(point)
    least = np.min(penalty[:last]) if uniform is None or uniform[1] < last else uniform[0]
    return float(np.sqrt(2 * least * tol * abs(point.value)))


def minimize_along(ray: Ray, slope: float) -> tuple[Point, float, int]:
    """The point of `ray` where ``|dE/dt| <= LEVEL |slope|`` and E is lower, its t and the trials made.

    `slope` is ``dE/dt`` at 0, negative. Where the change of E is below its rounding, a slope no steeper
    than at the start will do (Hager & Zhang 2005, eq. 4.1). The origin and 0 if there is no such point.
    """
    start = ray.origin.value
    rounding = 16 * np.finfo(float).eps * abs(start)
    t, low, high, width = 1.0, 0.0, np.inf, np.inf
    last_t, last_steep = 0.0, slope
    for n_trials in range(1, MAX_TRIALS + 1):
        trial = ray(t)
        steep = ray.slope(trial, t)
        change = trial.value - start
        if not np.isfinite(change + steep):
            high, t = t, (low + t) / 2
            continue
        if abs(steep) <= LEVEL * abs(slope) and change <= 1e-4 * t * slope:
            return trial, t, n_trials
        if abs(change) <= rounding and abs(steep) <= abs(slope):
            return trial, t, n_trials
        low, high = (t, high) if steep < 0 else (low, t)
        secant = t - steep * (t - last_t) / (steep - last_steep) if steep != last_steep else np.inf
        last_t, last_steep = t, steep
        halved, width = high - low <= width / 2, high - low
        inside = low < secant < min(high, 10 * t)
        t = secant if inside and halved else min(10 * t, (low + high) / 2)
    return ray.origin, 0.0, MAX_TRIALS
