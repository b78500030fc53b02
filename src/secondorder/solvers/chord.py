"""Newton's method for tall X of few features and two classes: a sweep for a step, a Hessian for several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from secondorder.losses import Logistic
from secondorder.objective import Objective
from secondorder.solvers.certificate import Status, curvature_gap
from secondorder.solvers.landscapes import sweeps_repay
from secondorder.solvers.minimize import Iteration, Result
from secondorder.solvers.preconditioners import ScaledCholesky

STEPS = 8  # at most
DEPTH = 3  # steps combined
SLOW = 0.1  # part of the decrease last promised that makes another Hessian worth its sweep
ROUNDED = 0.01  # part of the least curvature that rounding may come to
NARROW = 16  # columns for which a Hessian costs no more than a sweep


def chord_repays(objective: Objective) -> bool:
    """Whether there are compiled sweeps for this objective."""
    return sweeps_repay(objective) and isinstance(objective.loss, Logistic)


class Near(NamedTuple):
    """The curvature of the losses of K models at one w, which is to be near the optimum of each.

    `curvatures` are ``Z' H_k Z`` (q, q), or an estimate of it that is at most `excess` times that; `outputs`
    (n, 1) are those at that w; `extent` (q,) holds the largest ``|z_ij|``. Both are found at the start
    of a `chord`, and w is there, if they are not given. `lightest` is the least positive weight of a row.
    """

    curvatures: Sequence[np.ndarray]
    lightest: float
    outputs: np.ndarray = np.empty((0, 1))
    extent: np.ndarray = np.empty(0)
    excess: float = 1.0


@dataclass(frozen=True, eq=False)
class Metric:
    """``B = D + penalty`` of one model near by: its factor, and what bounds E at another point by it."""

    B: ScaledCholesky
    diagonal: np.ndarray
    extent: np.ndarray
    excess: float

    @cached_property
    def squared_reach(self) -> float:
        """An upper bound of ``z_i' B^-1 z_i`` for all rows; infinite if rounding may have a part in B."""
        inverse = self.B.inverse()
        condition = float(np.max(self.diagonal * np.diagonal(inverse)))
        rounding = condition * len(inverse) * np.finfo(float).eps
        if not self.B.exact or rounding > ROUNDED or not np.all(self.diagonal > 0):
            return np.inf
        return float(self.extent @ np.abs(inverse) @ self.extent)

    def gap(self, promised: float, moved: float, flattest: float) -> float:
        """The bound of ``E - E*`` where ``g' B^-1 g`` is `promised`.

        `moved` is the largest difference of an output from where B was taken, `flattest` the least second
        derivative of the loss of a row: the curvature there is at least ``exp(-moved) B / excess``, and
        ``z_i z_i'`` times that derivative.
        """
        with np.errstate(over="ignore"):
            grown = self.excess * float(np.exp(moved))
        reach = grown * self.squared_reach
        if np.isfinite(reach) and flattest > 0:
            reach = min(reach, 1 / flattest)
        return curvature_gap(grown * float(promised), reach)


class Seen(NamedTuple):
    """What a sweep found at `W` (q, K): losses (K,), their gradients (q, K), outputs (n, K), two maxima (K,).

    `moved` is the largest distance of the outputs from those near by, `largest` the largest of their sizes.
    """

    W: np.ndarray
    losses: np.ndarray
    gradient: np.ndarray
    outputs: np.ndarray
    moved: np.ndarray
    largest: np.ndarray


class Chord(NamedTuple):
    """Where the steps led to: the last point, E there and the bound of ``E - E*`` of every model."""

    seen: Seen
    near: Near
    values: np.ndarray
    gaps: np.ndarray
    history: tuple[Iteration, ...]

    def arrived(self, tol: float) -> bool:
        """Whether all models are within the relative gap `tol`."""
        return bool(np.all(self.gaps <= tol * self.values))

    def result(self) -> Result:
        """The outcome for one model, or for all as one, that has arrived."""
        value, gap = float(np.sum(self.values)), float(np.sum(self.gaps))
        return Result(self.seen.W.ravel(), Status.CONVERGED, value, gap, "curvature", self.history)


def chord(
    objective: Objective,
    start: np.ndarray | Seen,
    near: Near | None = None,
    *,
    tol: float,
    max_iter: int,
    callback: Callable[[Iteration], None] | None = None,
    history: tuple[Iteration, ...] = (),
) -> Chord:
    """A point nearer to the optimum of every model, by steps of one sweep over X each.

    ``w <- w - B^-1 g``, with one ``B`` for several steps. These are combined with those before by Anderson's
    method (Iterative procedures for nonlinear integral equations, J. ACM 12, 1965), in the norm of B. It
    ends where all models are within the relative gap `tol`, or where steps lead nowhere.

    Parameters
    ----------
    objective : Objective
        Of K logistic models, for which `chord_repays`.
    start : array of shape (q, K), or Seen
        The latter where a sweep has been there, for whatever penalty.
    near : Near, optional
        Of these models. One model gets its own where it begins, and new ones where steps are slow.
    tol : float
    max_iter : int
        Largest number of steps, if it is less than `STEPS`.
    callback : callable(Iteration), optional
    history : tuple of Iteration, optional
        Of an earlier phase that ended at `start`; its last entry is made anew.
    """
    design, s = objective.X, objective.s.reshape(len(objective.s), -1)
    penalty, n_penalised = objective.penalty[0], design.X.shape[1]
    seen, W = (start, start.W) if isinstance(start, Seen) else (None, start)
    alone, narrow = s.shape[1] == 1, len(W) <= NARROW
    last, slow = np.full(s.shape[1], np.inf), False
    steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rows = list(history[:-1])
    for k in range(min(STEPS, max_iter - len(rows)) + 1):
        if near is None or (alone and k > 0 and (narrow or slow)):
            seen, near = look_around(objective, W)
            steps = []
        elif not len(near.outputs):
            *found, extent = design.logistic_sweep(objective.y, s, W, np.zeros((len(s), 1)))
            seen = Seen(W, *found)._replace(moved=np.zeros(s.shape[1]))
            near = near._replace(outputs=seen.outputs[:, :1], extent=extent)
        elif seen is None:
            seen = Seen(W, *design.logistic_sweep(objective.y, s, W, near.outputs)[:5])
        if not steps:
            near_by = metrics(near, objective)
        g = seen.gradient.copy()
        g[:n_penalised] += penalty * W[:n_penalised]
        step = -np.column_stack([m.B @ column for m, column in zip(near_by, g.T, strict=True)])
        promised = -np.sum(g * step, axis=0)
        if steps and not np.all(promised < last):
            break
        values = seen.losses + 0.5 * penalty * np.sum(W[:n_penalised] ** 2, axis=0)
        flat = flattest(near.lightest, seen.largest)
        bounds = zip(near_by, promised, seen.moved, flat, strict=True)
        gaps = np.array([metric.gap(*of) for metric, *of in bounds])
        sums = float(np.sum(values)), float(np.linalg.norm(g)), float(np.sum(gaps))
        rows.append(Iteration(len(rows), *sums, design.passes, 0, float(k > 0)))
        if callback is not None:
            callback(rows[-1])
        best = Chord(seen, near, values, gaps, tuple(rows))
        if best.arrived(tol):
            break
        slow = len(steps) > 0 and promised[0] > SLOW * last[0]
        steps.append((W, step, g))
        last, W, seen = promised, _combined(steps[-DEPTH:]), None
    return best


def look_around(objective: Objective, w: np.ndarray) -> tuple[Seen, Near]:
    """One model at `w` (q, 1), and its curvature there."""
    s = objective.s.reshape(-1, 1)
    losses, g, D, S, extent = objective.X.logistic_curved_sweep(objective.y, s, w)
    return Seen(w, losses, g, S, np.zeros(1), np.max(np.abs(S), axis=0)), Near([D], lightest(s), S, extent)


def lightest(s: np.ndarray) -> float:
    """The least positive weight."""
    least = float(np.min(s))
    return least if least > 0 else float(np.min(s[s > 0]))


def flattest(lightest: float, largest: np.ndarray) -> np.ndarray:
    """The least second derivative of the loss of a row, where outputs are at most `largest` in size."""
    return lightest * np.exp(-largest) / (1 + np.exp(-largest)) ** 2


def metrics(near: Near, objective: Objective) -> list[Metric]:
    """``B = D + penalty`` of every model; the intercept has no penalty."""
    found = []
    for D in near.curvatures:
        B = D.copy()
        B.flat[: objective.X.X.shape[1] * (len(B) + 1) : len(B) + 1] += objective.penalty[0]
        diagonal = np.diagonal(B).copy()
        found.append(Metric(ScaledCholesky(B, penalised=True), diagonal, near.extent, near.excess))
    return found


def _combined(trail: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """The next W of every model: that after the combination of steps with the smallest norm of B."""
    Ws, steps, gradients = (np.stack(part) for part in zip(*trail, strict=True))
    after, step = Ws[-1] + steps[-1], steps[-1]
    if len(trail) == 1:
        return after
    moves, changes, bends = (np.diff(part, axis=0) for part in (Ws, steps, gradients))
    A = -np.einsum("iqk,jqk->kij", changes, bends)  # as B times a change of the step is minus that of g
    b = -np.einsum("qk,iqk->ki", step, bends)
    gamma = np.einsum(
        "kij,kj->ki", np.linalg.pinv((A + A.swapaxes(1, 2)) / 2, rcond=1e-12, hermitian=True), b
    )
    return after - np.einsum("ki,iqk->qk", gamma, moves + changes)
