"""Newton's method within a trust region."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from secondorder.objective import Point
from secondorder.solvers.cg import CGStatus, conjugate_gradient
from secondorder.solvers.steps import LEAST_GAIN, Step

MAX_TRIALS = 20


@dataclass(frozen=True)
class TrustRegion:
    """The minimum of ``g'd + 1/2 d'Ad`` over ``|d| <= radius``, by truncated conjugate gradients.

    Where A is indefinite the walk of `conjugate_gradient` follows negative curvature to the boundary, and the
    step always goes downhill (Steihaug 1983; Nocedal & Wright, Algorithms 4.1 and 7.2).

    Parameters
    ----------
    initial_scale : float, default=1.0
        First radius.
    rtol : float, default=0.1
        Residual of the Newton system relative to the gradient; less where the gradient g is small,
        ``min(rtol, sqrt|g|)``.
    max_products : int, default=200
        Largest number of products with A in one trial.
    """

    initial_scale: float = 1.0
    rtol: float = 0.1
    max_products: int = 200

    def __call__(self, point: Point, curvature: Any, scale: float) -> Step:
        """The next point; `scale` is the radius."""
        b, radius, n_products = -point.gradient, scale, 0
        rtol = min(self.rtol, float(np.sqrt(np.linalg.norm(b))))
        for n_trials in range(1, MAX_TRIALS + 1):
            cg = conjugate_gradient(curvature, b, radius=radius, rtol=rtol, max_iter=self.max_products)
            n_products += cg.n_iter
            promised, length = cg.decrease(b), float(np.linalg.norm(cg.x))
            trial = point.along(cg.x)(1.0)
            gain = (point.value - trial.value) / promised if promised > 0 else -1.0
            at_boundary = cg.status in (CGStatus.BOUNDARY, CGStatus.NEGATIVE_CURVATURE)
            if not gain >= 0.25:  # True for NaN
                radius = 0.25 * length
            elif gain > 0.75 and at_boundary:
                radius *= 2
            if gain > LEAST_GAIN:
                return Step(trial, radius, True, promised, n_products, cg.status, n_trials)
        return Step(point, radius, False, promised, n_products, cg.status, MAX_TRIALS)
