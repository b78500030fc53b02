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
from secondorder.solvers.dual_variables import imbalance

ROUNDING = 16 * np.finfo(float).eps  # of a sum over the rows, relative to its terms


class Dual(NamedTuple):
    """Dual variables (n, K), their `pull` ``X'G`` as some space holds it, and what D takes of them."""

    G: np.ndarray
    pull: np.ndarray
    conjugate: float  # sum_i s_i loss*(G_i / s_i, y_i), or a little more
    square: float  # sum_j (X'G)_j^2 / penalty_j
    size: float  # |G|^2, or more
    left: float  # sum_k |b_k sum_i G_ik|, as rounding leaves it, or more


class DualBound:
    """The best mean of the residuals seen, and the lower bound of ``E*`` that it gives.

    Parameters
    ----------
    space
        Offers ``pull_product(G, of_G, of_F)``, which is ``sum_j (X'G)_j (X'F)_j / penalty_j``, from the pulls
        of both; ``hidden(size)``, what rounding may make of half of that where F is G, ``|G|^2 = size``; and
        the `intercept` at hand.
    """

    def __init__(self, space: Any) -> None:
        self._space = space
        self._best: Dual | None = None

    @property
    def known(self) -> bool:
        """Whether any residuals have been seen."""
        return self._best is not None

    def see(self, point: Point, pull: np.ndarray) -> float:
        """The bound, with the residuals of one more point and their `pull`."""
        G = point.residuals
        square = self._space.pull_product(G, pull, pull)
        along = dot(G.ravel(), point.forward.outputs.ravel())
        conjugate = along - float(sum(point.losses)) + float(np.sum(imbalance(point)))
        b = self._space.intercept
        left = float(np.abs(b) @ np.abs(np.sum(G, axis=0))) if len(b) else 0.0
        new = Dual(G, pull, conjugate, square, dot(G.ravel(), G.ravel()), left)
        bound = self._value(new)
        if self._best is not None:
            mean = self._mean(point, new, self._best)
            of_mean = self._value(mean)
            if of_mean > bound:
                new, bound = mean, of_mean
        self._best = new
        return bound

    def _value(self, dual: Dual) -> float:
        """``D(G)`` less rounding."""
        half = dual.square / 2
        rounding = ROUNDING * (abs(dual.conjugate) + half) + self._space.hidden(dual.size)
        return float(-dual.conjugate - half - rounding - dual.left)

    def _mean(self, point: Point, new: Dual, old: Dual) -> Dual:
        """The mean of `new` dual variables, those of `point`, and `old` ones where D is nearly the largest.

        The divergence between both, ``loss*(old) - loss*(new) - S'(old - new)``, is taken as quadratic.
        """
        o, product = point.objective, self._space.pull_product
        G, pull = old.G - new.G, old.pull - new.pull
        along = dot(point.forward.outputs.ravel(), G.ravel())
        across, square = product(new.G, new.pull, pull), product(G, pull, pull)
        slope = along + across
        curvature = 2 * (old.conjugate - new.conjugate - along) + square
        part = min(1.0, max(0.0, -slope / curvature)) if curvature > 0 else 0.0
        for apart, from_new in ((G, new.G), (pull, new.pull)):
            apart *= part
            apart += from_new
        square = new.square + part * (2 * across + part * square)
        size, left = max(new.size, old.size), max(new.left, old.left)
        return Dual(G, pull, o.loss.conjugate(G, o.y, o.s), square, size, left)
