"""Hessian-free optimisation: the damped Gauss-Newton system by conjugate gradients."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from secondorder.curvature import GaussNewton
from secondorder.losses.output_hessian import Array
from secondorder.objective import Point
from secondorder.solvers.cg import conjugate_gradient
from secondorder.solvers.steps import LEAST_GAIN, Step

MAX_TRIALS = 12
LEAST_DAMPING = 1e-15  # keeps the preconditioner finite where a parameter has no curvature
EVEN = 0.1  # part of a sample that is drawn from all rows alike


@dataclass(frozen=True)
class HessianFree:
    """``(B + damping I) d = -g`` by conjugate gradients, the damping from the gain ratio.

    Martens, Deep learning via Hessian-free optimization, 2010, with his preconditioner, the
    damped diagonal of B to the power 3/4. A step that does not lower E is tried again with more damping.

    Parameters
    ----------
    initial_scale : float, default=0.03
        First damping.
    rtol : float, default=0.2
        Residual of the damped system relative to the gradient, in the norm of the preconditioner.
    max_products : int, default=50
        Largest number of products in one trial.
    """

    initial_scale: float = 0.03
    rtol: float = 0.2
    max_products: int = 50

    def __call__(self, point: Point, curvature: Any, scale: float) -> Step:
        """The next point; `scale` is the damping."""
        b, damping, n_products = -point.gradient, scale, 0
        diagonal = np.maximum(curvature.diagonal(), 0)
        for n_trials in range(1, MAX_TRIALS + 1):
            M = _Diagonal((diagonal + damping) ** -0.75)
            cg = conjugate_gradient(
                _Damped(curvature, damping), b, M=M, rtol=self.rtol, max_iter=self.max_products
            )
            n_products += cg.n_iter
            promised = cg.decrease(b) + 0.5 * damping * float(cg.x @ cg.x)
            trial = point.along(cg.x)(1.0)
            gain = (point.value - trial.value) / promised if promised > 0 else -1.0
            if gain > 0.75:
                damping = max(damping / 2, LEAST_DAMPING)
            elif not gain >= 0.25:  # True for NaN
                damping *= 2 if gain > LEAST_GAIN else 8
            if gain > LEAST_GAIN:
                return Step(trial, damping, True, promised, n_products, cg.status, n_trials)
        return Step(point, damping, False, promised, n_products, cg.status, MAX_TRIALS)


class _Damped:
    """``B + damping I``."""

    def __init__(self, B: Any, damping: float) -> None:
        self.B, self.damping = B, damping

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self.B.matvec(v) + self.damping * v


class _Diagonal:
    """A diagonal matrix."""

    def __init__(self, diagonal: Array) -> None:
        self.diagonal = diagonal

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self.diagonal * v


@dataclass(frozen=True, eq=False)
class Sampled:
    """The curvature of a random part of the rows, drawn anew at every point, rows that curve most first.

    A row is drawn with a probability that grows with ``trace H_i``, and counts by the inverse of the
    probability that it is in the sample, so that the mean over samples is the curvature of all rows (Horvitz
    & Thompson 1952). Late in a fit few rows have curvature left, those that the network is not sure of,
    and a small sample holds nearly all of them. Products are in float32, far more precise than the sample.

    Parameters
    ----------
    n_rows : int
        Draws, with replacement.
    rng : numpy Generator
    curvature : callable(Point) -> linear operator, default=GaussNewton
    """

    n_rows: int
    rng: np.random.Generator
    curvature: Callable[[Point], Any] = GaussNewton

    def __call__(self, point: Point) -> Any:
        """The curvature at `point`."""
        o = point.objective
        traces = np.sum(point.H.diagonal(), axis=1)
        chance = EVEN / len(traces) + (1 - EVEN) * traces / max(np.sum(traces), np.finfo(float).tiny)
        chance /= np.sum(chance)
        rows = np.unique(self.rng.choice(len(chance), self.n_rows, p=chance))
        drawn = -np.expm1(self.n_rows * np.log1p(-chance[rows]))
        sample = replace(o, X=o.X.rows(rows, np.float32), y=o.y[rows], s=o.s[rows] / drawn)
        return self.curvature(sample.at(point.w))
