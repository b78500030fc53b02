"""A lower bound of the minimum, by dual variables that get better from step to step.

Whatever the outputs, their residuals G are dual variables, and so is any mean of such. With a convex loss,
its conjugate, and penalties on all parameters but the intercepts b,

    E* >= D(G) = -sum_i s_i loss*(G_i / s_i, y_i) - 1/2 sum_j (X'G)_j^2 / penalty_j,    sum_i G_i = 0

With the residuals of a point alone that is its `duality_gap`, which on the way of conjugate gradients goes up
and down, and may come to twenty times what is left. The best mean of these residuals and of that found before
smooths them, like the residuals of a linear system (Weiss 1994; Zhou & Walker, SIAM J. Sci. Comput. 15,
1994): for a quadratic E it makes the best of all that the steps have seen, and X is not read.
"""

from typing import Any, NamedTuple

import numpy as np

from secondorder.array_api import dot
from secondorder.objective import Point

ROUNDING = 16 * np.finfo(float).eps  # of a sum over the rows, relative to its terms


class Dual(NamedTuple):
    """Dual variables (n, K), their `pull` ``X'G`` as some space holds it, and the sum of conjugates."""

    G: np.ndarray
    pull: np.ndarray
    conjugate: float


class DualBound:
    """The best mean of the residuals seen, and the lower bound of ``E*`` that it gives.

    Parameters
    ----------
    space
        Offers ``pull_product(u, v)``, which is ``sum_j (X'u)_j (X'v)_j / penalty_j`` for two `Dual`, and
        ``hidden(u)``, what rounding may make of half of it for one.
    """

    def __init__(self, space: Any) -> None:
        self._space = space
        self._best: Dual | None = None

    def see(self, point: Point, pull: np.ndarray, intercept: np.ndarray) -> float:
        """The bound, with the residuals of one more point and their `pull`."""
        S, G = point.forward.outputs, point.G
        new = Dual(G, pull, dot(G.ravel(), S.ravel()) - float(sum(point.losses)))
        bound = self._value(new, intercept)
        if self._best is not None:
            mean = self._mean(point, new, self._best, intercept)
            of_mean = self._value(mean, intercept)
            if of_mean > bound:
                new, bound = mean, of_mean
        self._best = new
        return bound

    def _value(self, dual: Dual, intercept: np.ndarray) -> float:
        """``D(G)`` but for rounding, as a bound at intercepts next to those of the minimum."""
        half = self._space.pull_product(dual, dual) / 2
        rounding = ROUNDING * (abs(dual.conjugate) + half) + self._space.hidden(dual)
        return float(_of_intercept(dual.G, intercept) - dual.conjugate - half - rounding)

    def _mean(self, point: Point, new: Dual, old: Dual, intercept: np.ndarray) -> Dual:
        """The mean of `new` dual variables, those of `point`, and `old` ones where D is nearly the largest.

        The divergence between both, ``loss*(old) - loss*(new) - S'(old - new)``, is taken as quadratic.
        """
        o = point.objective
        apart = Dual(old.G - new.G, old.pull - new.pull, old.conjugate - new.conjugate)
        along = dot(point.forward.outputs.ravel(), apart.G.ravel())
        slope = along + self._space.pull_product(new, apart) - _of_intercept(apart.G, intercept)
        curvature = 2 * (apart.conjugate - along) + self._space.pull_product(apart, apart)
        part = min(1.0, max(0.0, -slope / curvature)) if curvature > 0 else 0.0
        G, pull = (a + part * b for a, b in ((new.G, apart.G), (new.pull, apart.pull)))
        return Dual(G, pull, o.loss.conjugate(G, o.y, o.s))


def _of_intercept(G: np.ndarray, intercept: np.ndarray) -> float:
    """``sum_i b'G_i``, little where the intercepts are solved."""
    return float(intercept @ np.sum(G, axis=0)) if len(intercept) else 0.0
