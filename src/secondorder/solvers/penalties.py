"""Penalties from one that hardly lets anything be fitted to one that no longer matters."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from secondorder.curvature import GaussNewton
from secondorder.objective import Point
from secondorder.solvers.intercept import solve_intercept
from secondorder.solvers.linear import LinearProblem

HOLDS = 100  # times the curvature along the gradient is a penalty that leaves 1 % of the coefficients
STEPS = 8  # from there to the curvature of the flattest coefficient
SMALLEST_STEP = 6  # ratio of penalties, and the usual one: with the next step about 10 in all
LARGEST_STEP = 100
UNCHANGED = 0.01  # decrease of the loss, as part of that so far, which is none
MOST = 20


class UnfoldingPenalties:
    """A geometric sequence of penalties, which ends where the loss of the training rows has ended to fall.

    The first is `HOLDS` times ``g'Bg / g'g`` at W = 0, with the intercepts solved: along the gradient the
    coefficients are 1 % of what they would be without penalty. The ratio is such that `STEPS` steps lead
    to the smallest positive element of the diagonal of B, the curvature of the coefficient that needs the
    weakest penalty to show, but between `SMALLEST_STEP` and `LARGEST_STEP`. The last is the first
    beyond that element with which, twice in a row, the loss fell by no more than `UNCHANGED` of all that it
    fell, or that numbered `MOST`. For separable classes the loss falls to 0: the sequence ends for them, too.

    Parameters
    ----------
    problem : LinearProblem
        Its penalty does not matter.
    """

    def __init__(self, problem: LinearProblem) -> None:
        self._problem = replace(problem, penalty=0.0)
        self._losses: list[float] = []

    def see(self, point: Point) -> None:
        """Take note of the solution for the last penalty."""
        self._losses.append(point.value - point.penalty_term)

    def __iter__(self) -> Iterator[float]:
        design = self._problem.design()
        start = np.zeros(design.shape[1] * self._problem.n_outputs)
        point = solve_intercept(self._problem.objective(design).at(start), 1e-14)
        g, B = point.gradient, GaussNewton(point)
        n_free = design.X.shape[1] * self._problem.n_outputs
        curvatures = B.diagonal()[:n_free]
        flattest = np.min(curvatures, where=curvatures > 0, initial=np.inf)
        steepness = g @ (B @ g) / (g @ g) if np.any(g) else 0.0
        if not (steepness > 0 and np.isfinite(flattest)):  # nothing to fit
            yield 1.0
            return
        penalty = HOLDS * steepness
        step = np.clip((penalty / flattest) ** (1 / STEPS), SMALLEST_STEP, LARGEST_STEP)
        self._losses = [point.value]
        for _ in range(MOST):
            yield float(penalty)
            if penalty <= flattest and self._at_rest():
                return
            penalty /= step

    def _at_rest(self) -> bool:
        """Whether the last two penalties hardly changed the loss."""
        falls = -np.diff(self._losses[-3:])
        return len(falls) == 2 and bool(np.max(falls) <= UNCHANGED * (self._losses[0] - self._losses[-1]))
