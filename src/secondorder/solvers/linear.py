"""Linear problems: in which variables, from where and in which steps the minimum is found."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import issparse

from secondorder.curvature import GaussNewton, LeadingTerm, SingleGaussNewton
from secondorder.kernels import COMPILING, dense_repays, features_repay, sparse_repays
from secondorder.kernels.threads import one_blas_thread
from secondorder.losses import Logistic, Loss, Softmax
from secondorder.losses.output_hessian import Array
from secondorder.models import Design, Linear, RowSpace, design_matrix, occupied, shortest
from secondorder.models.design import FEW
from secondorder.objective import Objective, Point
from secondorder.solvers.beginning import begin
from secondorder.solvers.certificate import Status, gaps_on_rows
from secondorder.solvers.chord import BOUND, NARROW, Near, chord, chord_repays, lightest
from secondorder.solvers.costs import (
    LARGEST_DENSE,
    LEAST_SEARCHED,
    STEEPEST_LOGISTIC,
    WORTH_A_CHORD,
    choose_preconditioner,
    worth_reducing,
)
from secondorder.solvers.minimize import Iteration, Result, descend
from secondorder.solvers.preconditioners import Cholesky, HalfJacobi, Jacobi, Refreshed, cholesky_for_each
from secondorder.solvers.span_search import SpanSearch
from secondorder.solvers.steps import LineSearch

CURVATURES = {"full": GaussNewton, "leading": LeadingTerm}
SOLVERS = ("auto", "newton-cg", "newton-cholesky", "newton-kronecker")

SCALED_AFTER = 12  # steps of a search in spans for which half of Jacobi's scaling is worth its pass
SAMPLED = 16  # rows of which a sample takes one, and more where that is more than
SAMPLE_BYTES = 2**25  # of rows copied, at most
SAMPLE_TOL = 1e-3  # relative gap to which a sample is solved: it is no closer to the whole
ROWS_PER_COLUMN = 50  # a sample has at least so many
SPARSE_ROWS_PER_COLUMN = 8  # the same for a sparse X
OUTWEIGHED = 16  # entries of a column in all rows whose curvature the penalty is to outweigh for that
ROWS_PER_CLASS = 10  # and about so many
FACTORED_RTOL = 0.03  # residual of a Newton system where a Cholesky factor stays good
FLAT = 0.1  # part of the penalty that the curvature of all the rows left out of it may come to
MOST = 0.5  # of the rows; more are not worth picking


def fit_linear(
    X: Array,
    y: Array,
    s: Array,
    *,
    loss: Loss,
    n_outputs: int,
    penalty: float,
    intercept: bool = True,
    solver: str = "auto",
    hessian: str = "full",
    w: Array | None = None,
    tol: float = 1e-8,
    max_iter: int = 100,
    callback: Callable[[Iteration], None] | None = None,
) -> Result:
    """Minimise ``sum_i s_i loss(x_i W + b, y_i) + penalty/2 |W|^2`` over W (p, K) and b (K,).

    Parameters
    ----------
    X : array or CSR array of shape (n, p)
    y : array
        Targets, as `loss` wants them.
    s : array of shape (n,)
        Weights of the rows.
    loss : Loss
    n_outputs : int
        K.
    penalty : float
        Not negative.
    intercept : bool, default=True
        Whether there is a b; it is not penalised.
    solver : {"auto", "newton-cg", "newton-cholesky", "newton-kronecker"}, default="auto"
    hessian : {"full", "leading"}, default="full"
        Curvature of the Newton system: the Hessian, or the upper bound `LeadingTerm`.
    w : array of shape (P,), optional
        Start: W with b as its last row, in C order. Zero by default.
    tol, max_iter, callback
        As in `minimize`.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If `solver` or `hessian` is unknown, class codes are out of range, or values of X are too large for
        their squares.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r}: choose one of {', '.join(SOLVERS)}.")
    if hessian not in CURVATURES:
        raise ValueError(f"hessian={hessian!r}: choose one of {', '.join(CURVATURES)}.")
    if isinstance(loss, Softmax) and y.ndim == 1 and not 0 <= np.min(y) <= np.max(y) < n_outputs:
        raise ValueError(
            f"y holds class codes from {np.min(y)} to {np.max(y)}: give 0 to n_outputs - 1 = {n_outputs - 1}."
        )
    problem = LinearProblem(X, y, s, loss, n_outputs, float(penalty), intercept)
    with blas_at_rest():
        return solve(problem, w, solver, hessian, tol=tol, max_iter=max_iter, callback=callback)


def blas_at_rest() -> AbstractContextManager:
    """One thread for BLAS: our loops over X need the processors, and small factors wait long for others."""
    return one_blas_thread() if COMPILING else nullcontext()


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """What `fit_linear` minimises."""

    X: Array
    y: Array
    s: Array
    loss: Loss
    n_outputs: int
    penalty: float
    intercept: bool
    compiled: bool = False
    raised: float = 1.0  # what the weights of a sample were multiplied by

    def design(self, mean: Array | None = None) -> Design:
        """The design matrix, centred at `mean` or at that of its own rows."""
        return design_matrix(
            self.X,
            intercept=self.intercept,
            n_outputs=self.n_outputs,
            weights=self.s,
            mean=mean,
            compiled=self.compiled,
        )

    def objective(self, design: Design) -> Objective:
        """The objective for X in the form of `design`."""
        strengths = np.full((design.shape[1], self.n_outputs), self.penalty)
        if self.intercept:
            strengths[-1] = 0.0
        return Objective(Linear(self.n_outputs), self.loss, design, self.y, self.s, strengths.ravel())

    def at(self, w: Array) -> Point:
        """The objective at the parameters `w` (P,) as `fit_linear` returns them."""
        design = self.design()
        return self.objective(design).at(design.centre(w.reshape(-1, self.n_outputs)).ravel())

    def sample(self) -> "LinearProblem | None":
        """One row of every `SAMPLED` or more, its weight raised, if it is a problem much like the whole."""
        X, n = self.X, self.X.shape[0]
        if issparse(X):
            # A column may have hardly any entries in the sample: it takes a penalty that outweighs them.
            every = max(SAMPLED, math.ceil((X.data.nbytes + X.indices.nbytes) / SAMPLE_BYTES))
            rows_per_column = SPARSE_ROWS_PER_COLUMN
            strong = self.penalty >= OUTWEIGHED * STEEPEST_LOGISTIC * np.mean(self.s)
            repays = strong and sparse_repays(X, self.n_outputs) and isinstance(self.loss, Logistic)
        else:
            every = max(SAMPLED, math.ceil(getattr(X, "nbytes", 0) / SAMPLE_BYTES))
            rows_per_column = ROWS_PER_COLUMN
            repays = dense_repays(X, self.n_outputs)
        m = n // every
        if not repays or m < rows_per_column * (X.shape[1] + 1):
            return None
        rows = every * np.arange(m) + np.random.default_rng(0).integers(0, every, m)
        y, s = self.y[rows], self.s[rows]
        if not np.min(self._weights_of_classes(y, s)) > np.sum(s) * ROWS_PER_CLASS / m:
            return None
        raised = float(np.sum(self.s) / np.sum(s))
        part = X[rows] if issparse(X) else X.take(rows, axis=0)
        return replace(self, X=part, y=y, s=raised * s, compiled=True, raised=raised)

    def _weights_of_classes(self, y: Array, s: Array) -> Array:
        """What the rows of each class weigh together; of all rows, where there are no classes."""
        if isinstance(self.loss, Softmax) and y.ndim == 1:
            return np.bincount(y, weights=s, minlength=self.n_outputs)
        if isinstance(self.loss, Logistic):
            return np.array([s @ y, s @ (1 - y)])
        return np.array([np.sum(s)])


def solve(problem: LinearProblem, w: Array | None, solver: str, hessian: str, **options: Any) -> Result:
    """The solution of `problem`, by the way that costs least."""
    present = occupied(problem.X) if w is None and problem.penalty > 0 else None
    if present is not None:
        found = solve(replace(problem, X=present.X), w, solver, hessian, **options)
        return replace(found, w=present.spread(found.w, problem.n_outputs))
    n_outputs, passes, mean, nearby = problem.n_outputs, 0, None, None
    whole = w is not None or hessian != "full" or options["max_iter"] == 0
    sample = None if whole else problem.sample()
    if sample is not None:
        found = solve_sample(sample, solver)
        w = found.w if found.status is Status.CONVERGED else None
        about = sample.design()
        passes, mean = math.ceil(found.passes * sample.X.shape[0] / problem.X.shape[0]), about.mean
        nearby = partial(_curvature_nearby, problem, sample, about)
    design = problem.design(mean)
    design.passes += passes
    if w is None:
        start = np.zeros((design.shape[1], n_outputs))
    else:
        start = design.centre(w.reshape(-1, n_outputs))
        if problem.loss.shift_invariant:
            start = start - start.mean(axis=1, keepdims=True)
    if solver == "auto" and worth_reducing(design, n_outputs):
        result = _solve_in_row_space(problem, design, start, hessian, options)
    else:
        result = _solve_by_columns(problem, design, start, nearby, solver, hessian, options)
    W = result.w.reshape(-1, n_outputs)
    tall = isinstance(design.X, np.ndarray) and design.shape[1] <= min(design.shape[0], LARGEST_DENSE)
    if problem.penalty == 0 and tall and result.certificate != BOUND:  # that proves that there is but one
        W = shortest(design, W)
    return replace(result, w=design.uncentre(W).ravel())


def solve_sample(sample: LinearProblem, solver: str) -> Result:
    """The solution of the problem for a sample of the rows, no better than that makes sense."""
    return solve(sample, None, solver, "full", tol=SAMPLE_TOL, max_iter=30, callback=None)


def _solve_by_columns(
    problem: LinearProblem,
    design: Design,
    start: Array,
    nearby: Callable[[Array], Near | None] | None,
    solver: str,
    hessian: str,
    options: dict[str, Any],
) -> Result:
    """The solution in the variables there are."""
    objective, simple = problem.objective(design), hessian == "full" and options["max_iter"] > 0
    half = options | {"max_iter": options["max_iter"] // 2}  # the rest is Newton's
    chosen = choose_preconditioner(design, problem.n_outputs, solver)
    untouched = simple and solver == "auto" and not np.any(start)
    begun = begin(objective, chosen, **half) if untouched else None
    if begun is not None:
        start, options = begun.W, options | {"history": begun.history}
    if begun is not None and begun.arrived:  # a step more at most
        metric = begun.metric
        chosen = Refreshed(lambda point: metric, cost=np.inf)
    elif (
        simple
        and chosen is not None
        and chosen.make is Cholesky
        and chosen.cost <= WORTH_A_CHORD
        and chord_repays(objective)
    ):
        near = nearby(start) if nearby else None
        return _by_chord(problem, design, start, near, chosen, options)
    return _minimize(problem, design, start.ravel(), chosen, hessian, options | {"solver": solver})


def _curvature_nearby(
    problem: LinearProblem, sample: LinearProblem, about: Design, start: Array
) -> Near | None:
    """The curvature by a sample of the rows with the design `about`, unless that of all rows is as cheap."""
    if about.shape[1] <= NARROW or issparse(about.X):
        return None
    D = about.hessian(sample.objective(about).at(start.ravel()).H)
    return Near([D], lightest(problem.s), excess=sample.raised)


def _by_chord(
    problem: LinearProblem,
    design: Design,
    start: Array,
    near: Near | None,
    chosen: Refreshed,
    options: dict[str, Any],
) -> Result:
    """The minimum for a tall X from a `start` near it, by single sweeps if they get there."""
    try:
        found = chord(problem.objective(design), start, near, **options)
    except FloatingPointError:  # for which the other way has the words
        return _minimize(problem, design, start.ravel(), chosen, "full", options)
    if found.arrived(options["tol"]):
        return found.result()
    return _minimize(
        problem, design, found.seen.W.ravel(), chosen, "full", options | {"history": found.history}
    )


def _minimize(
    problem: LinearProblem,
    design: Design,
    w: Array,
    preconditioner: Refreshed | None,
    hessian: str,
    options: dict[str, Any],
) -> Result:
    """The minimum of the objective for X in the form of `design`, from `w`."""
    return descend_linear(problem.objective(design).at(w), preconditioner, hessian=hessian, **options)[0]


def descend_linear(
    start: Point,
    preconditioner: Refreshed | None,
    *,
    solver: str = "auto",
    hessian: str = "full",
    nearby: bool = False,
    tol: float,
    **options: Any,
) -> tuple[Result, Point]:
    """The minimum of a linear model's objective, from `start`, and the point there.

    `nearby` tells that it is so near that Newton's method converges at once.
    """
    objective = start.objective
    curvature, n_outputs = CURVATURES[hessian], objective.model.n_outputs
    coupled, penalised = objective.loss.shift_invariant, bool(np.any(objective.penalty))
    if solver == "auto" and penalised and curvature is GaussNewton and (coupled or n_outputs == 1):
        search = span_search(objective, preconditioner, tol)
        if search is not None:
            return descend(search.begin(start), step=search, tol=tol, **options)
    # With one output, or nearby, a factor stays so good that a product reduces the residual more than a step.
    factored = preconditioner is not None and preconditioner.make in (Cholesky, cholesky_for_each)
    single = coupled and n_outputs > 2
    lean = curvature is GaussNewton and penalised
    fast = SingleGaussNewton if single else GaussNewton
    return descend(
        start,
        curvature=(lambda point: fast(without_flat_rows(point))) if lean else curvature,
        fallback=GaussNewton if lean else None,
        step=LineSearch(
            preconditioner=preconditioner,
            tol=tol if coupled else tol / n_outputs,
            rtol=FACTORED_RTOL if factored and (nearby or not coupled) else LineSearch.rtol,
        ),
        tol=tol,
        **options,
    )


def span_search(objective: Objective, preconditioner: Refreshed | None, tol: float) -> SpanSearch | None:
    """The steps for a penalised model of a sparse X, with one convex loss and no factor.

    Dense features, or few, may be so ill-conditioned that it takes thousands of steps, where conjugate
    gradients on one quadratic after the other end by what rounding leaves of them, or by their number.
    """
    X = objective.X.X
    if not issparse(X) or X.shape[1] < LEAST_SEARCHED:
        return None
    if preconditioner is None:
        if features_repay(X, objective.model.n_outputs):
            return SpanSearch(in_row_space=True, tol=tol)
        return SpanSearch(Refreshed(HalfJacobi, SCALED_AFTER, until=lambda point: None), tol=tol)
    return SpanSearch(Refreshed(Jacobi, SCALED_AFTER), tol=tol) if preconditioner.make is Jacobi else None


def without_flat_rows(point: Point) -> Point:
    """The point for its curvature alone, without rows that hardly have any, should these be the most.

    What they add to the curvature is at most `FLAT` times the penalty in any direction, as the largest
    eigenvalue of ``z_i z_i' (x) H_i`` is at most ``|z_i|^2 trace(H_i)``. So it is nearly the same.
    """
    o, design = point.objective, point.forward.X
    n = design.shape[0]
    if not isinstance(design.X, np.ndarray) or n < 2 * FEW:
        return point
    limit = FLAT * float(np.max(o.penalty))

    def curved(part: Design, diagonals: np.ndarray, limit: float) -> np.ndarray:
        """The rows but for those that come to `limit` together, shallow ones first."""
        depth = part.squared_norms * np.sum(diagonals, axis=1)
        order = np.argsort(depth)
        return np.sort(order[np.searchsorted(np.cumsum(depth[order]), limit) :])

    m, diagonals = design.thinned.shape[0], point.H.diagonal()
    if len(curved(design.thinned, diagonals[:: n // FEW], limit * m / n)) > MOST * m:
        return point
    kept = curved(design, diagonals, limit)
    if not 0 < len(kept) <= min(MOST * n, SAMPLE_BYTES / design.X[0].nbytes):
        return point
    part = design.rows(kept)
    objective = replace(o, X=part, y=o.y[kept], s=o.s[kept])
    return Point(objective, replace(point.forward, X=part, outputs=point.forward.outputs[kept]))


def _solve_in_row_space(
    problem: LinearProblem, design: Design, start: Array, hessian: str, options: dict[str, Any]
) -> Result:
    """The solution for a wide dense X, found in as many variables as X has rows."""
    n_outputs, callback = problem.n_outputs, options["callback"]
    space = RowSpace(design)
    small = design_matrix(space.L, intercept=design.intercept, n_outputs=n_outputs)
    V = space.project(start).ravel()

    def on_X(row: Iteration) -> Iteration:
        """The row with the passes over X, of which the small problem makes none."""
        return row._replace(passes=design.passes)

    inner = options | {"callback": callback and (lambda row: callback(on_X(row)))}
    chosen = choose_preconditioner(small, n_outputs, "auto")
    reduced, inner_point = descend_linear(problem.objective(small).at(V), chosen, hessian=hessian, **inner)
    lifted = space.lift(reduced.w.reshape(-1, n_outputs)).ravel()
    found = replace(reduced, w=lifted, history=tuple(map(on_X, reduced.history)))
    if reduced.status not in (Status.CONVERGED, Status.PRECISION):
        return found
    if problem.penalty > 0:
        (gap,), (value,), _ = gaps_on_rows(inner_point, space, problem.penalty)
        if gap <= options["tol"] * abs(value):
            return found.with_certificate(float(value), float(gap))
    # Rounding in L needs iterations on X itself.
    jacobi = Refreshed(Jacobi, cost=1)
    return _minimize(problem, design, lifted, jacobi, hessian, options | {"history": found.history})
