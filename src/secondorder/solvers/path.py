"""The solutions for many penalties, on all rows and on parts of them, each started from those nearby."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from secondorder.array_api import dot
from secondorder.losses import Logistic, Loss
from secondorder.losses.output_hessian import Array
from secondorder.models import RowSpace, design_matrix
from secondorder.models.linear import LinearForward, RowForward
from secondorder.objective import Objective, Point
from secondorder.solvers.certificate import DualityGaps, Status, certified_gaps, gaps_on_rows
from secondorder.solvers.chord import Chord, Near, Seen, chord, chord_repays, lightest, metrics, sweep_around
from secondorder.solvers.costs import choose_preconditioner, product_cost, worth_reducing
from secondorder.solvers.linear import (
    LinearProblem,
    blas_at_rest,
    descend_linear,
    solve,
    solve_sample,
    span_search,
)
from secondorder.solvers.minimize import Iteration, Result
from secondorder.solvers.preconditioners import (
    Cholesky,
    ForEach,
    Jacobi,
    Refreshed,
    cholesky_for_each,
)
from secondorder.solvers.span import Solution, best_in_span, combined

TOGETHER_BYTES = 160_000_000  # of memory for the folds solved together
CACHED_BYTES = 2**20  # of parameters that the products of a sparse X reach quickly
FACTOR_BYTES = 40_000_000  # of memory for factors of folds that are solved one after the other
SMALL = 1e-8  # part of a sum over all rows below which that over a fold is not made by subtraction
ROUNDING = 1e-14  # of a sum, relative to the larger of two whose difference it is
ARRAYS = 10  # of the size of the outputs are alive while they are
SEARCH = 150  # multiplications that a search in a span takes for each output of each row
SEARCH_ARRAYS = 12  # of the size of the outputs that it takes beside them
ROUNDED = 1e4  # times as much rounding as a product has asks for another
REMEMBERED = 3  # solutions on each part of the rows that a search starts from


class Fold(NamedTuple):
    """A part of the rows to train on, as a weight for each of them, and the rows to be scored."""

    counts: Array  # (n,): how often each row is in the training part, 0 for rows held out
    held_out: Array  # positions of the rows to be scored


class Cell(NamedTuple):
    """The solution for one penalty on one fold, and the outputs it gives for the rows held out."""

    result: Result
    outputs: Array  # (len(held_out), K)


class Stage(NamedTuple):
    """The solutions for one penalty: on all rows, also as a `Point` with the outputs of all, and on folds."""

    penalty: float
    whole: Result
    point: Point
    folds: list[Cell]


def fit_path(
    X: Array,
    y: Array,
    s: Array,
    penalties: Iterable[float],
    *,
    loss: Loss,
    n_outputs: int,
    intercept: bool = True,
    solver: str = "auto",
    folds: Sequence[Fold] = (),
    tol: float = 1e-8,
    max_iter: int = 100,
) -> Iterator[Stage]:
    """Minimise ``sum_i s_i loss(x_i W + b, y_i) + penalty/2 |W|^2`` for every penalty and every fold.

    The solution on all rows starts from the best combination of those for the penalties before; that on
    a fold from the best one of the new solution on all rows and of the older ones of both. They share a
    preconditioner, but for factors of their own where these have been earned and are small. Folds of two
    classes are solved together, as columns of one product with X, and a wide dense X is reduced to its row
    space once. Where it is, or where a dense X has few features, all rows are one more fold of two classes,
    and every fold starts from its own older solutions. A fold is a weight for each row, no copy of rows.

    Parameters
    ----------
    X, y, s, loss, n_outputs, intercept, solver, tol, max_iter
        As in `fit_linear`.
    penalties : iterable of float
        From the largest to the smallest. It is read one by one, after the last stage has been given out.
    folds : sequence of Fold
        Each multiplies `s` by its counts.

    Yields
    ------
    Stage
        One for each penalty. Its `point` may be in the variables of the row space of X.
    """
    problem = LinearProblem(X, y, s, loss, n_outputs, 1.0, intercept)
    with blas_at_rest():
        path = _Path(problem, solver, folds, {"tol": tol, "max_iter": max_iter})
    for penalty in penalties:
        with blas_at_rest():
            stage = path.advance(float(penalty))
        yield stage


class _Solved(NamedTuple):
    """One model or several: the result and what holds for X, the point, and what later ones start from."""

    result: Result
    point: Point
    solution: Solution
    outputs: np.ndarray
    gaps: Sequence[float] | np.ndarray
    values: Sequence[float] | np.ndarray


NOTHING = Solution(np.zeros((1, 1)), np.zeros((1, 1)))


class _Path:
    """What one stage leaves to the next: the reduced problem, the preconditioners and the last solutions."""

    def __init__(
        self, problem: LinearProblem, solver: str, folds: Sequence[Fold], options: dict[str, Any]
    ) -> None:
        self.problem, self.solver, self.folds, self.options = problem, solver, folds, options
        self.design = self.small = problem.design()
        self.space: RowSpace | None = None
        if solver == "auto" and worth_reducing(self.design, problem.n_outputs, 1 + len(folds)):
            self.space = RowSpace(self.design)
            self.small = design_matrix(self.space.L, intercept=problem.intercept, n_outputs=problem.n_outputs)
        self.separate = isinstance(problem.loss, Logistic)
        n, K = problem.X.shape[0], problem.n_outputs
        remembered = 8 * n * K * REMEMBERED * (1 + len(folds))
        repays = SEARCH * n * K <= product_cost(self.small, K)
        self.searches = repays and remembered <= TOGETHER_BYTES
        room = TOGETHER_BYTES // (8 * n * (ARRAYS + SEARCH_ARRAYS * self.searches))
        cached = not issparse(problem.X) or 8 * self.small.shape[1] * len(folds) <= CACHED_BYTES
        together = max(1, room) if self.separate and cached else 1
        self.preconditioner = choose_preconditioner(self.small, problem.n_outputs, solver)
        factored = self.preconditioner is not None and self.preconditioner.make is Cholesky
        dense = isinstance(self.small.X, np.ndarray)  # rare features make solutions differ too much
        self.chords = (
            dense
            and factored
            and not self.searches
            and not self.space
            and problem.penalty > 0
            and chord_repays(problem.objective(self.small))
        )
        if self.chords or (self.space is not None and self.separate):
            folds = [Fold(np.ones(n, dtype=np.uint8), np.arange(0)), *folds]  # the whole is the first
        self.own_factors = factored and 4 * (self.small.shape[1] * K) ** 2 * len(folds) <= FACTOR_BYTES
        self.groups = [folds[i : i + together] for i in range(0, len(folds), together)]
        self.of_groups = [self._for_group(len(group)) for group in self.groups]
        few = self.separate and len(self.groups) == 1
        self.weights = _weights(problem.s, self.groups[0]) if few else None  # for all stages
        if self.chords:
            self.left_out = [[np.flatnonzero(fold.counts == 0) for fold in group] for group in self.groups]
            every = np.concatenate([rows for group in self.left_out for rows in group])
            self.once = bool(np.all(np.bincount(every, minlength=n) == 1))  # each row by one fold
        self.near: list[Near | None] = [None for _ in self.groups]
        search = span_search(problem.objective(self.small), self.preconditioner, options["tol"])
        coupled = solver == "auto" and problem.loss.shift_invariant
        self.in_rows = coupled and search is not None and search.in_row_space
        self.known: list[Seen | np.ndarray] = []  # the last solutions
        self.trail: list[Solution] = []  # the last on all rows, newest first
        self.trails: list[list[Solution]] = [[] for _ in self.groups]
        self.w: np.ndarray | None = None  # the last one in the variables of X

    def advance(self, penalty: float) -> Stage:
        """The stage for the next penalty."""
        problem = replace(self.problem, penalty=penalty)
        if penalty == 0:
            return self._without_penalty(problem)
        if self.chords:
            return self._by_chords(problem)
        if self.space is not None and self.separate:
            return self._in_row_space(problem)
        trail = self.trail or [NOTHING]
        whole = self._solve(problem, trail, _onwards(trail), self.preconditioner)
        point, newest = Point(whole.point.objective, whole.point.forward), whole.solution
        if self.space is not None and not self.space.faithful:
            point = problem.objective(self.design).at(whole.result.w)
        result = self._uncentred(whole.result, problem.n_outputs)
        del whole  # it holds arrays as large as the outputs
        cells = [cell for g in range(len(self.groups)) for cell in self._group(problem, g, newest)]
        self.trail, self.w = [newest, *self.trail[: REMEMBERED - 1]], result.w
        return Stage(penalty, result, point, cells)

    def _in_row_space(self, problem: LinearProblem) -> Stage:
        """The stage for a wide dense X of two classes, where the whole is solved as one of the folds."""
        cells: list[Cell] = []
        steps: tuple[Iteration, ...] = ()
        if not self.trails[0]:
            whole = self._solve(problem, [NOTHING], [1.0], self.preconditioner)
            steps, self.trails = whole.result.history, [[whole.solution] for _ in self.groups]
        for g, group in enumerate(self.groups):
            part, own = self._part(problem, group), self.trails[g]
            solved = self._solve(part, own, _onwards(own), self.of_groups[g], steps)
            own[:] = [solved.solution, *([] if steps else own[: REMEMBERED - 1])]
            cells += self._cells(part, group, solved)
            if g == 0:
                point = self._first(problem, solved, cells[0].result)
        result = cells[0].result
        self.w = result.w
        return Stage(problem.penalty, result, point, cells[1:])

    def _by_chords(self, problem: LinearProblem) -> Stage:
        """The stage for a tall X of few features, where the whole is solved as one of the folds."""
        cells: list[Cell] = []
        if not self.known:
            w = self._rough_solution(problem)
            self.known = [np.repeat(w, len(group), axis=1) for group in self.groups]
        for g, group in enumerate(self.groups):
            part = self._part(problem, group)
            objective = part.objective(self.small)
            found = self._swept(objective, g)
            if found is None:
                solved = self._solve(part, [NOTHING], [1.0], self.of_groups[g])
            else:
                solved, self.near[g] = self._solved_by(found, part, g), found.near
            self.known[g] = solved.solution.W
            if found is not None and len(self.groups) == 1 and found.arrived(self.options["tol"]):
                self.known[g] = found.seen  # with the outputs of all models
            cells += self._cells(part, group, solved)
            if g == 0:
                point = self._first(problem, solved, cells[0].result)
            self.small.passes = 0
        result = cells[0].result
        self.w = result.w
        return Stage(problem.penalty, result, point, cells[1:])

    def _swept(self, objective: Objective, g: int) -> Chord | None:
        """The models of a group by single sweeps; None where the curvature is not finite."""
        if g > 0 and self.near[g] is None:
            return None
        shared = len(self.groups) > 1 or len(self.groups[0]) > 1
        look = partial(self._look_around, objective) if g == 0 and shared else None
        try:
            return chord(objective, self.known[g], self.near[g], look, **self.options)
        except FloatingPointError:
            return None

    def _rough_solution(self, problem: LinearProblem) -> np.ndarray:
        """Where every group starts (q, 1): the solution on a sample of the rows, or on all."""
        sample = problem.sample()
        if sample is None:
            found = solve(problem, None, self.solver, "full", callback=None, **self.options)
        else:
            found = solve_sample(sample, self.solver)
        self.small.passes = math.ceil(found.passes * (sample or problem).X.shape[0] / problem.X.shape[0])
        W = self.small.centre(found.w[:, None])
        return W if found.converged else np.zeros_like(W)

    def _look_around(self, objective: Objective, W: np.ndarray) -> tuple[Seen, Near]:
        """The first group at `W`, and the curvature of every group where the first model is there."""
        seen, extent = sweep_around(objective, W)
        near = self._near(np.ascontiguousarray(seen.outputs[:, :1]), extent, lightest(self.problem.s))
        self.near = list(near)
        return seen, near[0]

    def _near(self, outputs: np.ndarray, extent: np.ndarray, lightest: float) -> list[Near]:
        """The curvature of the models of every group, where all rows have the `outputs` (n, 1)."""
        problem, design = self.problem, self.small
        design.passes += 1  # over the rows that one or the other fold leaves out
        c = problem.loss.evaluate(outputs, problem.y, problem.s)[2].d[:, 0]
        parts = [[design.gram_of_rows(c, rows) for rows in group] for group in self.left_out]
        whole = sum(part for group in parts for part in group) if self.once else design.gram(c)

        def curvature(fold: Fold, part: np.ndarray) -> np.ndarray:
            D = whole - part
            if np.max(fold.counts) > 1 or np.trace(D) <= SMALL * np.trace(whole):
                return design.gram(c * fold.counts)
            D.flat[:: len(D) + 1] -= ROUNDING * len(D) * np.diagonal(whole)  # not more than there is
            return D

        return [
            Near([curvature(*of) for of in zip(group, part, strict=True)], lightest, outputs, extent)
            for group, part in zip(self.groups, parts, strict=True)
        ]

    def _first(self, problem: LinearProblem, solved: "_Solved", result: Result) -> Point:
        """The first model of those solved together, which is that of all rows and has the `result`."""
        certified = solved.gaps[0] <= self.options["tol"] * abs(solved.values[0])
        if not certified or (self.space is not None and not self.space.faithful):
            return problem.objective(self.design).at(self.design.centre(result.w[:, None]).ravel())
        w, S = solved.solution.W[:, 0], np.ascontiguousarray(solved.outputs[:, :1])
        return Point(problem.objective(self.small), LinearForward(lambda: w, self.small, S))

    def _solved_by(self, found: Chord, part: LinearProblem, g: int) -> "_Solved":
        """The models of a group by single sweeps, or from where these led to by others."""
        objective, W = part.objective(self.small), found.seen.W
        if not found.arrived(self.options["tol"]):
            preconditioner = self.of_groups[g]
            if g == 0 and self.preconditioner is not None:
                self.preconditioner.current = metrics(found.near, objective)[0].B
            return self._solve(part, [Solution(W, W[:0])], [1.0], preconditioner, found.history)
        point = Point(objective, LinearForward(W.ravel, self.small, found.seen.outputs))
        return _Solved(
            found.result(), point, self._solution(point), point.forward.outputs, found.gaps, found.values
        )

    def _group(self, problem: LinearProblem, g: int, newest: Solution) -> list[Cell]:
        """The solutions on some folds, solved together, from the new one on all rows and older ones."""
        own, bases, mix = self.trails[g], [newest], [1.0]
        for ours, theirs, weight in zip(own, self.trail, _onwards(own), strict=True):
            bases, mix = [*bases, ours, theirs], [*mix, weight, -weight]
        part = self._part(problem, self.groups[g])
        solved = self._solve(part, bases, mix, self.of_groups[g])
        own[:] = [solved.solution, *own[: REMEMBERED - 1]]
        return self._cells(part, self.groups[g], solved)

    def _part(self, problem: LinearProblem, group: Sequence[Fold]) -> LinearProblem:
        """The problems of some folds as one: their models are separate outputs, with weights of their own."""
        if not self.separate:
            return replace(problem, s=problem.s * group[0].counts)
        s = self.weights if self.weights is not None else _weights(problem.s, group)
        return replace(problem, s=s, n_outputs=len(group))

    def _solve(
        self,
        problem: LinearProblem,
        bases: Sequence[Solution],
        mix: Sequence[float],
        preconditioner: Refreshed | None,
        steps: tuple[Iteration, ...] = (),
    ) -> "_Solved":
        """The solution of one or several models, from the best combination of `bases`; `steps` led there."""
        if not steps:
            self.design.passes = self.small.passes = 0
        several = problem.s.ndim == 2
        judge = DualityGaps(self.options["tol"]) if several else None
        options = self.options | {"judge": judge, "history": steps, "nearby": True}
        objective, K = problem.objective(self.small), problem.n_outputs
        a = np.array([mix])
        if self.searches and len(bases) > 1:
            a = best_in_span(objective, bases, mix, K if several else 1, self.in_rows)
        if preconditioner is not None:
            preconditioner.begin()
        start, rounding = self._start(objective, bases, a)
        result, point = descend_linear(start, preconditioner, solver=self.solver, **options)
        if self.space is None:
            gaps, values = certified_gaps(point) if several else ([result.gap], [result.value])
            solution = self._solution(point, rounding)
            return _Solved(result, point, solution, point.forward.outputs, gaps, values)
        W = point.w.reshape(-1, K)
        gaps, values, outputs = gaps_on_rows(point, self.space, problem.penalty)
        lifted = self.space.lift(W).ravel()
        history = tuple(row._replace(passes=self.design.passes) for row in result.history)
        found = replace(result, w=lifted, history=history)
        solution, reached = self._solution(point), (Status.CONVERGED, Status.PRECISION)
        if not several and gaps[0] <= self.options["tol"] * abs(values[0]):
            found = found.with_certificate(float(values[0]), float(gaps[0]))
        elif not several and result.status in reached:
            found, point = self._on_X(problem, found)
            outputs = point.forward.outputs
        return _Solved(found, point, solution, outputs, gaps, values)

    def _start(self, objective: Objective, bases: Sequence[Solution], a: np.ndarray) -> tuple[Point, float]:
        """The combination of `bases`, and the rounding of its outputs."""
        (n, q), K = self.small.shape, objective.model.n_outputs
        W = combined(a, [W for W, _, _ in bases], K)
        if not self.in_rows:
            return objective.at(np.broadcast_to(W, (q, K)).ravel()), 1.0
        S = np.ascontiguousarray(np.broadcast_to(combined(a, [S for _, S, _ in bases], K), (n, K)))
        W = np.ascontiguousarray(np.broadcast_to(W, (n + 1, K)))
        R, b = W[:n], W[n]
        forward = RowForward.of(self.small, S, R, b if self.small.intercept else b[:0])
        rounding = 1 + float(np.abs(a[0]) @ [solution.rounding for solution in bases])
        if rounding > ROUNDED:
            forward, rounding = forward.anew(), 1.0
        square = dot(R.ravel(), forward.outputs.ravel()) - np.sum(R, axis=0) @ b
        return Point(objective, forward, float(objective.penalty[0] * square / 2)), rounding

    def _solution(self, point: Point, rounding: float = 1.0) -> Solution:
        """Its parameters, and the outputs if a search will want them."""
        S = point.forward.outputs
        if self.in_rows:
            b = point.forward.intercept if len(point.forward.intercept) else np.zeros(S.shape[1])
            return Solution(np.vstack([point.forward.rows, b]), S, rounding)
        return Solution(point.w.reshape(-1, S.shape[1]), S if self.searches else np.empty((0, S.shape[1])))

    def _on_X(self, problem: LinearProblem, found: Result) -> tuple[Result, Point]:
        """The solution of one model from one that is nearly right, by iterations on X itself."""
        chosen: Refreshed | None = Refreshed(Jacobi, cost=1)
        if self.space is None:
            chosen = choose_preconditioner(self.design, problem.n_outputs, self.solver)
        objective = problem.objective(self.design)
        options = self.options | {"solver": self.solver, "history": found.history}
        return descend_linear(objective.at(found.w), chosen, **options)

    def _cells(self, part: LinearProblem, group: Sequence[Fold], solved: "_Solved") -> list[Cell]:
        """The solutions of the folds that were solved together."""
        if not self.separate:
            own = self._uncentred(solved.result, part.n_outputs)
            return [Cell(own, solved.outputs[group[0].held_out])]
        cells, tol = [], self.options["tol"]
        for k, (fold, gap, value) in enumerate(zip(group, solved.gaps, solved.values, strict=True)):
            own = replace(
                solved.result, w=solved.result.w[k :: len(group)], value=float(value), gap=float(gap)
            )
            outputs = solved.outputs[:, k : k + 1]
            if gap <= tol * abs(value):
                own = own.with_certificate(float(value), float(gap))
            elif solved.result.status in (Status.CONVERGED, Status.PRECISION):
                alone = replace(part, s=np.ascontiguousarray(part.s[:, k]), n_outputs=1)
                own, end = self._on_X(alone, own)
                outputs = end.forward.outputs
            cells.append(Cell(self._uncentred(own, 1), outputs[fold.held_out]))
        return cells

    def _uncentred(self, result: Result, n_outputs: int) -> Result:
        """The result with the intercept that belongs to X itself."""
        return replace(result, w=self.design.uncentre(result.w.reshape(-1, n_outputs)).ravel())

    def _for_group(self, n_models: int) -> Refreshed | None:
        """The preconditioner for some folds: that for all rows, until ones of their own have been earned.

        A factor of its own remains good for a fold as the penalty falls, where that for all rows gets worse:
        the curvature stays with the few rows that are hard to tell apart, and falls with the penalty.
        """
        whole = self.preconditioner
        if whole is None or not (self.separate or self.own_factors):
            return whole
        if whole.make is Jacobi:
            return Refreshed(Jacobi, cost=1)

        def until(point: Point) -> Any:
            if whole.current is not None:
                return ForEach([whole.current] * n_models) if self.separate else whole.current
            return whole.until(point) if whole.until else None

        if not self.separate:
            return Refreshed(whole.make, whole.cost, until)
        return Refreshed(cholesky_for_each, whole.cost * n_models, until)  # products take hardly longer

    def _without_penalty(self, problem: LinearProblem) -> Stage:
        """The stage for penalty 0: the shortest solutions, each on its own."""
        K = problem.n_outputs

        def outputs(result: Result) -> Point:
            return problem.objective(self.design).at(self.design.centre(result.w.reshape(-1, K)).ravel())

        def solved(problem: LinearProblem, w: np.ndarray | None) -> Result:
            return solve(problem, w, self.solver, "full", callback=None, **self.options)

        whole = solved(problem, self.w)
        self.w = whole.w
        cells = []
        for fold in self.folds:
            result = solved(replace(problem, s=problem.s * fold.counts), whole.w)
            cells.append(Cell(result, outputs(result).forward.outputs[fold.held_out]))
        return Stage(0.0, whole, outputs(whole), cells)


def _onwards(trail: Sequence[Solution]) -> list[float]:
    """The combination of the last solutions, newest first, that goes on as they came."""
    return [2.0, -1.0, *[0.0] * (len(trail) - 2)] if len(trail) > 1 else [1.0] * len(trail)


def _weights(s: Array, group: Sequence[Fold]) -> Array:
    """The weights of the rows in each of some folds, shape (n, len(group))."""
    return s[:, None] * np.column_stack([fold.counts for fold in group])
