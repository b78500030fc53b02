"""Newton's method for X of few features and two classes: a sweep for a step, a Hessian for several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from secondorder.losses import Logistic
from secondorder.models.compiled_design import CompiledDesign
from secondorder.models.linear import LinearForward, LinearRay
from secondorder.objective import Objective, Point, Ray
from secondorder.solvers.certificate import Status, curvature_gap, dual_gap_nearby
from secondorder.solvers.minimize import Iteration, Result
from secondorder.solvers.preconditioners import ScaledCholesky
from secondorder.solvers.steps import minimize_along

BOUND = "curvature"  # the name of the certificate
STEPS = 16  # at most
FREE_STEPS = 8  # the same without penalty, where there may be no optimum
DEPTH = 3  # steps combined
SLOW = 0.1  # part of the decrease last promised that makes another Hessian worth its sweeps
CHEAP = 2  # sweeps for a Hessian; a dearer one is to save more steps than it costs
FAR = 1000  # times the gap asked for: where curvature from elsewhere promises that, it is not good for long
BLURRED = 0.01  # part of the least curvature that rounding may come to
STEEP = 0.5  # part of the slope at the start of a step that its end may have
ROUNDED = 1e-14  # part of E below which what a step promises is rounding
NARROW = 16  # columns for which a Hessian costs no more than a sweep


def chord_repays(objective: Objective) -> bool:
    """Whether there are compiled sweeps for this objective; X is dense for several models or no penalty."""
    design, K, uniform = objective.X, objective.model.n_outputs, objective.uniform
    one = uniform is not None and uniform[1] == design.X.shape[1] * K
    free = K == 1 and not np.any(objective.penalty)
    compiled = isinstance(design, CompiledDesign) and ((one and K == 1) or not issparse(design.X))
    return compiled and (one or free) and isinstance(objective.loss, Logistic)


class Near(NamedTuple):
    """The curvature of the losses of K models at one w, which is to be near the optimum of each.

    `curvatures`, if made yet, are ``Z' H_k Z`` (q, q), or an estimate of it that is at most `excess` times
    that; `outputs` (n, 1) are those at that w; `extent` (q,) holds the largest ``|z_ij|``, or infinity. Both
    are found at the start of a `chord`, and w is there, if they are not given. `lightest` is the least
    positive weight of a row.
    """

    curvatures: Sequence[np.ndarray]
    lightest: float
    outputs: np.ndarray = np.empty((0, 1))
    extent: np.ndarray = np.empty(0)
    excess: float = 1.0


@dataclass(frozen=True, eq=False)
class Metric:
    """``B = D + penalty`` of one model near by: its factor, and what bounds E at another point by it.

    `flow` is the column of D that belongs to an intercept, without penalty.
    """

    B: ScaledCholesky
    penalty: float
    flow: np.ndarray | None
    diagonal: np.ndarray
    extent: np.ndarray
    excess: float

    @cached_property
    def squared_reach(self) -> float:
        """An upper bound of ``z_i' B^-1 z_i`` for all rows; infinite if rounding may have a part in B."""
        if not np.all(np.isfinite(self.extent)):
            return np.inf
        inverse = self.B.inverse()
        condition = float(np.max(self.diagonal * np.diagonal(inverse)))
        rounding = condition * len(inverse) * np.finfo(float).eps
        if not self.B.exact or rounding > BLURRED or not np.all(self.diagonal > 0):
            return np.inf
        return float(self.extent @ np.abs(inverse) @ self.extent)

    @property
    def hopeless(self) -> bool:
        """Whether nothing bounds E: there is no penalty, and B may be singular."""
        return self.penalty == 0 and not np.isfinite(self.squared_reach)

    def gap(self, g: np.ndarray, promised: float, moved: float, flattest: float) -> float:
        """The bound of ``E - E*`` where the gradient is g, and ``g' B^-1 g`` is `promised`.

        `moved` is the largest difference of an output from where B was taken, `flattest` the least second
        derivative of the loss of a row: the curvature there is at least ``exp(-moved) B / excess``, and
        ``z_i z_i'`` times that derivative. Without penalty there is no bound if B may be singular.
        """
        if self.hopeless:
            return np.inf
        with np.errstate(over="ignore"):
            grown = self.excess * float(np.exp(moved))
        dual = dual_gap_nearby(g, self.flow, self.penalty, grown) if self.penalty > 0 else np.inf
        reach = grown * self.squared_reach
        if np.isfinite(reach) and flattest > 0:
            reach = min(reach, 1 / flattest)
        return min(dual, curvature_gap(grown * float(promised), reach))


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
        return Result(self.seen.W.ravel(), Status.CONVERGED, value, gap, BOUND, self.history)


def chord(
    objective: Objective,
    start: np.ndarray | Seen,
    near: Near | None = None,
    look: Callable[[np.ndarray], tuple[Seen, Near]] | None = None,
    *,
    tol: float,
    max_iter: int,
    callback: Callable[[Iteration], None] | None = None,
    history: tuple[Iteration, ...] = (),
) -> Chord:
    """A point nearer to the optimum of every model, by steps of one sweep over X each.

    ``w <- w - B^-1 g``, with one ``B`` for several steps. These are combined with those before by Anderson's
    method (Iterative procedures for nonlinear integral equations, J. ACM 12, 1965), in the norm of B. Where
    a step of one model ends on a slope, it is cut or drawn out to where E is least, as its outputs tell.
    It ends where all models are within the relative gap `tol`, or where steps lead nowhere.

    Parameters
    ----------
    objective : Objective
        Of K logistic models, for which `chord_repays`.
    start : array of shape (q, K), or Seen
        The latter where a sweep has been there, for whatever penalty.
    near : Near, optional
        Of these models.
    look : callable(W) -> (Seen, Near), optional
        What is seen at W, with the curvature there: for a start without `near`, or too far from it. Without
        it one model has `look_around`, and asks for more where steps are slow.
    tol : float
    max_iter : int
        Largest number of steps, those of `history` included, if that leaves less than `STEPS`.
    callback : callable(Iteration), optional
    history : tuple of Iteration, optional
        Of an earlier phase that ended at `start`; its last entry is made anew.
    """
    seen, W = (start, start.W) if isinstance(start, Seen) else (None, start)
    alone, narrow = W.shape[1] == 1, len(W) <= NARROW
    last, again = np.full(W.shape[1], np.inf), False
    steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rows = list(history[:-1])
    best: Chord | None = None
    most = STEPS if objective.penalty[0] > 0 else FREE_STEPS
    for _ in range(min(most, max_iter - len(rows)) + 1):
        first, looked = best is None, near is None or again
        if near is None or again:
            (seen, near), steps, again = look(W) if look else look_around(objective, W), [], False
        elif seen is None or not len(near.outputs):
            seen, near = _swept(objective, W, near)
        lowers = best is not None and alone and last[0] > ROUNDED * best.values[0]
        known = looked and bool(near.curvatures)  # a step that lowers E is then not worth another look
        if best is not None and lowers and not (known and _energy(objective, seen)[0] < best.values[0]):
            turn = _turn(objective, best.seen, seen)
            if turn is not None:
                W, again = turn, True
                continue
        if not steps:
            near = near if near.curvatures else _surveyed(objective, near)
            near_by = metrics(near, objective)
        g, W = _slopes(objective, seen), seen.W
        step = -np.column_stack([m.B @ column for m, column in zip(near_by, g.T, strict=True)])
        promised = -np.sum(g * step, axis=0)
        if best is not None and not np.all(promised < last):
            if not lowers:
                break
            if steps:
                again = True
                continue
        values, gaps = _bounds(objective, seen, near.lightest, near_by, g, promised)
        sums = float(np.sum(values)), float(np.linalg.norm(g)), float(np.sum(gaps))
        known_row = first and len(history) > 0
        of_step = history[-1][5:9] if known_row else (0, float(not first))
        rows.append(Iteration(len(rows), *sums, objective.X.passes, *of_step))
        if callback is not None and not known_row:
            callback(rows[-1])
        best = Chord(seen, near, values, gaps, tuple(rows))
        if best.arrived(tol) or any(metric.hopeless for metric in near_by):
            break
        far = look is not None and first and not looked and np.any(promised > FAR * tol * values)
        slow = len(steps) > 0 and _is_slow(promised[0], last[0], tol * values[0], objective.X.X)
        again = bool(far or (alone and look is None and (narrow or slow)))
        steps.append((W, step, g))
        last, W, seen = promised, _combined(steps[-DEPTH:]), None
    assert best is not None
    return best


def _is_slow(promised: float, last: float, goal: float, X: Any) -> bool:
    """Whether another Hessian repays: the steps to `goal`, each as good as the last, cost more than it."""
    if promised <= SLOW * last or goal <= 0:
        return promised > SLOW * last
    cost = (X.nnz if issparse(X) else X.size) / X.shape[0] / NARROW  # in sweeps
    return bool(cost <= CHEAP or np.log(promised / goal) / np.log(last / promised) > 1 + cost)


def _swept(objective: Objective, W: np.ndarray, near: Near) -> tuple[Seen, Near]:
    """The models at `W`, compared with what is near by: that is `W` itself if it has no outputs yet."""
    if not len(near.outputs):
        seen, extent = sweep_around(objective, W)
        return seen, near._replace(outputs=seen.outputs[:, :1], extent=extent)
    s = objective.s.reshape(len(objective.s), -1)
    return Seen(W, *objective.X.logistic_sweep(objective.y, s, W, near.outputs)[:5]), near


def _bounds(
    objective: Objective,
    seen: Seen,
    lightest: float,
    near_by: Sequence[Metric],
    g: np.ndarray,
    promised: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """E of every model, and the bound of ``E - E*``."""
    bounds = zip(near_by, g.T, promised, seen.moved, flattest(lightest, seen.largest), strict=True)
    gaps = np.array([metric.gap(*of) for metric, *of in bounds])
    return _energy(objective, seen), gaps


def _energy(objective: Objective, seen: Seen) -> np.ndarray:
    """E of every model."""
    return seen.losses + 0.5 * objective.penalty[0] * np.sum(seen.W[: objective.X.X.shape[1]] ** 2, axis=0)


def _slopes(objective: Objective, seen: Seen) -> np.ndarray:
    """The gradient of E, shape (q, K)."""
    g, p = seen.gradient.copy(), objective.X.X.shape[1]
    g[:p] += objective.penalty[0] * seen.W[:p]
    return g


def _turn(objective: Objective, before: Seen, after: Seen) -> np.ndarray | None:
    """Where E is least along the last step of one model, if that ended where E is still or again steep."""
    w, d = before.W.ravel(), (after.W - before.W).ravel()
    begin, end = (float(d @ _slopes(objective, seen)[:, 0]) for seen in (before, after))
    fell = np.all(_energy(objective, after) <= _energy(objective, before))
    if (fell and abs(end) <= STEEP * abs(begin)) or begin >= 0:
        return None
    forward = LinearForward(lambda: w, objective.X, before.outputs)
    ray = LinearRay(forward, d, after.outputs - before.outputs)
    point, t, _ = minimize_along(Ray(Point(objective, forward), d, ray), begin)
    return point.w[:, None] if t > 0 else None


def look_around(objective: Objective, w: np.ndarray) -> tuple[Seen, Near]:
    """One model at `w` (q, 1), and its curvature there, if one sweep finds both."""
    s = objective.s.reshape(-1, 1)
    losses, g, D, S, extent = objective.X.logistic_curved_sweep(objective.y, s, w)
    near = Near([] if D is None else [D], lightest(s), S, extent)
    return Seen(w, losses, g, S, np.zeros(1), np.max(np.abs(S), axis=0)), near


def _surveyed(objective: Objective, near: Near) -> Near:
    """One model with its curvature, by a pass of its own."""
    _, _, H = objective.loss.evaluate(near.outputs, objective.y, objective.s)
    return near._replace(curvatures=[objective.X.gram(H.d[:, 0])])


def sweep_around(objective: Objective, W: np.ndarray) -> tuple[Seen, np.ndarray]:
    """The models at `W`, of which the first is near by; and the extent of ``z``."""
    s = objective.s.reshape(len(objective.s), -1)
    *found, extent = objective.X.logistic_sweep(objective.y, s, W, np.zeros((len(s), 1)))
    moved = np.array([0.0, *[np.inf] * (s.shape[1] - 1)])  # far from the optimum nobody asks of the others
    return Seen(W, *found)._replace(moved=moved), extent


def lightest(s: np.ndarray) -> float:
    """The least positive weight."""
    least = float(np.min(s))
    return least if least > 0 else float(np.min(s[s > 0]))


def flattest(lightest: float, largest: np.ndarray) -> np.ndarray:
    """The least second derivative of the loss of a row, where outputs are at most `largest` in size."""
    return lightest * np.exp(-largest) / (1 + np.exp(-largest)) ** 2


def metrics(near: Near, objective: Objective) -> list[Metric]:
    """``B = D + penalty`` of every model; the intercept has no penalty."""
    found, penalty = [], objective.penalty[0]
    for D in near.curvatures:
        B = D.copy()
        B.flat[: objective.X.X.shape[1] * (len(B) + 1) : len(B) + 1] += penalty
        diagonal = np.diagonal(B).copy()
        flow = D[:, -1] if objective.X.intercept else None
        factor = ScaledCholesky(B, penalised=True)
        found.append(Metric(factor, penalty, flow, diagonal, near.extent, near.excess))
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
