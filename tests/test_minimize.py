"""Laws of the outer loop: what it reaches, certifies, counts and refuses."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Problem, problems
from scipy.sparse import csr_array, random_array

from secondorder.curvature import GaussNewton, LeadingTerm
from secondorder.losses import Logistic, Softmax, Squared
from secondorder.models import Linear, design_matrix
from secondorder.models.compiled_design import CompiledDesign
from secondorder.models.design import Design
from secondorder.objective import Objective
from secondorder.solvers import (
    Blocks,
    Cholesky,
    Jacobi,
    Kronecker,
    LineSearch,
    Refreshed,
    Status,
    fit_linear,
    minimize,
)
from secondorder.solvers.certificate import duality_gap
from secondorder.solvers.costs import choose_preconditioner
from secondorder.solvers.dual_variables import balanced, imbalance
from secondorder.solvers.intercept import solve_intercept
from secondorder.solvers.linear import SOLVERS, LinearProblem
from secondorder.solvers.preconditioners import HalfJacobi
from secondorder.solvers.steps import minimize_along

seeds = st.integers(0, 2**32 - 1)
CLASSIFIERS = ("softmax", "soft", "logistic")


def penalised(problem: Problem) -> Problem:
    """The problem with a penalty of at least 0.1 on all but the intercept."""
    o = problem.objective
    penalty = np.maximum(o.penalty.reshape(-1, o.model.n_outputs), 0.1)
    if o.X.intercept:
        penalty[-1] = 0
    objective = Objective(o.model, o.loss, o.X, o.y, o.s, penalty.ravel())
    return Problem(objective, problem.w, problem.v, problem.X)


def blobs(seed, n=60, p=5, K=3, overlap=2.0):
    """Gaussian classes that overlap."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    return overlap * rng.standard_normal((n, p)) + rng.standard_normal((K, p))[y], y


def well_posed(problem: Problem) -> bool:
    """Whether every class has a row of positive weight, so that the intercepts are finite."""
    o = problem.objective
    if not o.X.intercept or o.y.ndim == 2 or isinstance(o.loss, Squared):
        return True
    K = max(2, o.model.n_outputs)
    return bool(np.all(np.bincount(o.y.astype(int), weights=o.s, minlength=K) > 0))


@settings(max_examples=60)
@given(problem=problems(losses=CLASSIFIERS, dtypes=("f8",)))
def test_reaches_the_minimum_and_bounds_the_distance_to_it(problem):
    problem = penalised(problem)
    if not well_posed(problem):
        return
    best = minimize(problem.objective, problem.w, tol=1e-13, max_iter=200)
    rough = minimize(problem.objective, problem.w, tol=1e-2, max_iter=200)
    assert rough.status is Status.CONVERGED
    assert rough.relative_gap <= 1e-2
    assert rough.value - best.value <= rough.gap * (1 + 1e-9) + 1e-12 * best.value
    g = problem.objective.at(best.w).gradient
    assert np.max(np.abs(g)) <= 1e-4 * (1 + abs(best.value))


@given(problem=problems(losses=CLASSIFIERS, dtypes=("f8",)), t=st.floats(-1, 1))
def test_duality_gap_bounds_the_decrease_to_any_other_point(problem, t):
    """E(w) - E(w + d) <= gap for every d, once the intercepts are solved."""
    problem = penalised(problem)
    if not well_posed(problem):
        return
    point = solve_intercept(problem.objective.at(problem.w), 1e-15)
    gap = duality_gap(point)
    other = problem.objective.at(point.w + t * problem.v)
    slack = 1e-9 * (1 + abs(point.value)) * (1 + np.linalg.norm(problem.v))
    assert point.value - other.value <= gap + slack
    downhill = problem.objective.at(point.w - point.gradient / (1 + np.linalg.norm(point.gradient)))
    assert point.value - downhill.value <= gap + slack


@given(problem=problems(losses=CLASSIFIERS, dtypes=("f8",)))
def test_solved_intercepts_have_no_gradient_and_cost_no_pass(problem):
    problem = penalised(problem)
    if not well_posed(problem):
        return
    point = problem.objective.at(problem.w)
    passes = problem.objective.X.passes
    solved = solve_intercept(point, 1e-18)
    assert problem.objective.X.passes == passes
    assert solved.value <= point.value
    K = point.forward.n_intercepts
    if K:
        assert np.max(np.abs(solved.gradient[-K:])) <= 1e-6 * (1 + point.value)


@pytest.mark.parametrize("make", [None, Jacobi, HalfJacobi, Cholesky, Kronecker, Blocks])
@pytest.mark.parametrize("loss", ["softmax", "logistic"])
@given(seed=seeds, intercept=st.booleans())
@settings(max_examples=15)
def test_a_preconditioner_changes_the_path_not_the_optimum(make, loss, seed, intercept):
    X, y = blobs(seed, K=3 if loss == "softmax" else 2)
    K, loss = (3, Softmax()) if loss == "softmax" else (1, Logistic())
    design = Design(X * np.logspace(-2, 2, X.shape[1]), intercept, np.ones(len(X)))
    penalty = np.full((design.shape[1], K), 0.3)
    penalty[X.shape[1] :] = 0
    objective = Objective(
        Linear(K), loss, design, y.astype(float) if K == 1 else y, np.ones(len(X)), penalty.ravel()
    )
    start = np.zeros(penalty.size)
    plain = minimize(objective, start, tol=1e-14, max_iter=300)
    rule = LineSearch(preconditioner=make and Refreshed(make, cost=3), tol=1e-14)
    result = minimize(objective, start, step=rule, tol=1e-14)
    assert result.relative_gap <= 1e-13
    np.testing.assert_allclose(result.value, plain.value, rtol=1e-12)


@pytest.mark.parametrize("make", [Jacobi, HalfJacobi, Cholesky, Kronecker, Blocks])
@given(seed=seeds, intercept=st.booleans())
@settings(max_examples=25)
def test_preconditioners_are_symmetric_positive_definite(make, seed, intercept):
    X, y = blobs(seed, n=20, p=4)
    design = Design(X, intercept, np.ones(len(X)))
    objective = Objective(Linear(3), Softmax(), design, y, np.ones(20), np.full(design.shape[1] * 3, 0.1))
    rng = np.random.default_rng(seed)
    M = make(objective.at(rng.standard_normal(objective.penalty.size)))
    matrix = np.column_stack([M @ e for e in np.eye(objective.penalty.size)])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5 * np.max(matrix))
    assert np.min(np.linalg.eigvalsh((matrix + matrix.T) / 2)) > 0


@pytest.mark.parametrize("compiled", [True, False])
@given(seed=seeds, intercept=st.booleans(), spread=st.floats(0, 8))
@settings(max_examples=25)
def test_cholesky_inverts_the_curvature_of_outputs_that_sum_to_0(compiled, seed, intercept, spread):
    X, y = blobs(seed, n=40, p=4)
    X = X * np.logspace(-spread, spread, 4)
    design = design_matrix(X, intercept=intercept, weights=np.ones(40), compiled=compiled)
    penalty = np.full((design.shape[1], 3), 0.1)
    penalty[4:] = 0
    objective = Objective(Linear(3), Softmax(), design, y, np.ones(40), penalty.ravel())
    rng = np.random.default_rng(seed)
    scale = np.append(np.logspace(spread, -spread, 4), 1)[: design.shape[1], None]
    point = objective.at((scale * rng.standard_normal(penalty.shape)).ravel())
    v = scale * rng.standard_normal(penalty.shape)
    v = (v - np.mean(v, axis=1, keepdims=True)).ravel()
    B, M = GaussNewton(point).dense(), Cholesky(point)
    error = M @ (B @ v) - v
    assert error @ (B @ error) <= (1e-2 if compiled else 1e-7) ** 2 * (v @ (B @ v))


@given(seed=seeds, K=st.integers(3, 6))
@settings(max_examples=20)
def test_blocks_of_all_rows_are_those_of_the_hessian(seed, K):
    """`Blocks` inverts each, but for equal changes of all classes; compiled loops do it in float32."""
    X, y = blobs(seed, n=40, p=12, K=K)
    designs = Design(X, True, np.ones(40)), CompiledDesign(X, True, np.ones(40))
    penalty = np.full((13, K), 0.1)
    penalty[-1] = 0
    w, v = np.random.default_rng(seed).standard_normal((2, 13, K)) / 3
    w, v = w.ravel(), (v - v.mean(axis=1, keepdims=True)).ravel()
    for design in designs:
        point = Objective(Linear(K), Softmax(), design, y, np.ones(40), penalty.ravel()).at(w)
        B = GaussNewton(point).dense()
        inverse = np.column_stack([np.linalg.solve(B[k::K, k::K], v[k::K]) for k in range(K)])
        inverse -= inverse.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(Blocks(point) @ v, inverse.ravel(), rtol=1e-2, atol=1e-3 * np.max(inverse))


@given(seed=seeds)
@settings(max_examples=20)
def test_kronecker_is_exact_where_all_rows_curve_alike(seed):
    """At w = 0 the first Newton step takes one product."""
    X, y = blobs(seed)
    design = Design(X, True, np.ones(len(X)))
    penalty = np.full((design.shape[1], 3), 0.5)
    penalty[-1] = 0
    objective = Objective(Linear(3), Softmax(), design, y, np.ones(len(X)), penalty.ravel())
    rule = LineSearch(preconditioner=Refreshed(Kronecker, cost=1), rtol=1e-4)
    result = minimize(objective, np.zeros(penalty.size), step=rule, max_iter=1)
    assert result.n_products == 1


class Reads(Design):
    """A design that counts its reads by kind."""

    def __init__(self, *args):
        self.forward = self.backward = 0
        super().__init__(*args)

    def matmul(self, W):
        self.forward += 1
        return super().matmul(W)

    def rmatmul(self, U):
        self.backward += 1
        return super().rmatmul(U)


@pytest.mark.parametrize("curvature", [GaussNewton, LeadingTerm])
@pytest.mark.parametrize("loss", [Logistic(), Softmax()], ids=lambda loss: type(loss).__name__)
@given(seed=seeds, intercept=st.booleans(), overlap=st.floats(0.3, 3))
@settings(max_examples=15)
def test_one_forward_and_one_backward_pass_an_iteration_none_a_trial(
    curvature, loss, seed, intercept, overlap
):
    X, y = blobs(seed, K=2, overlap=overlap)
    K = 1 if isinstance(loss, Logistic) else 2
    design = Reads(X, intercept)
    penalty = np.full((design.shape[1], K), 0.01)
    penalty[X.shape[1] :] = 0
    y = y.astype(float) if K == 1 else y
    objective = Objective(Linear(K), loss, design, y, np.ones(len(X)), penalty.ravel())
    result = minimize(objective, np.zeros(penalty.size), curvature=curvature, tol=1e-8, max_iter=30)
    assert result.n_iter >= 1
    assert result.n_trials >= result.n_iter
    assert design.forward == result.n_iter + result.n_products, "none at w = 0"
    more = design.backward - (1 + result.n_iter + result.n_products)
    assert 0 <= more <= 3 * intercept, "in the end, for the certificate of so few rows"
    assert result.passes == design.forward + design.backward


@given(seed=seeds)
@settings(max_examples=10)
def test_a_compiled_product_is_one_pass(seed):
    X, y = blobs(seed)
    design = CompiledDesign(X, True)
    penalty = np.full((design.shape[1], 3), 0.1)
    penalty[-1] = 0
    objective = Objective(Linear(3), Softmax(), design, y, np.ones(len(X)), penalty.ravel())
    result = minimize(objective, np.zeros(penalty.size), tol=1e-8)
    assert 0 <= result.passes - (1 + 2 * result.n_iter + result.n_products) <= 3, "for the certificate"


@given(seed=seeds, overlap=st.floats(0.1, 3))
@settings(max_examples=30)
def test_the_value_never_rises(seed, overlap):
    X, y = blobs(seed, overlap=overlap)
    result = fit_linear(X, y, np.ones(len(X)), loss=Softmax(), n_outputs=3, penalty=1e-4, solver="newton-cg")
    values = [row.value for row in result.history]
    assert result.status is Status.CONVERGED
    assert all(b <= a * (1 + 1e-13) for a, b in pairwise(values))


@pytest.mark.parametrize("solver", SOLVERS)
@given(seed=seeds)
@settings(max_examples=10)
def test_squared_error_is_solved_by_one_exact_newton_step(solver, seed):
    X, _ = blobs(seed)
    Y = np.random.default_rng(seed).standard_normal((len(X), 2))
    result = fit_linear(
        X, Y, np.ones(len(X)), loss=Squared(), n_outputs=2, penalty=0.7, solver=solver, tol=1e-12
    )
    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    W = np.linalg.solve(Xc.T @ Xc + 0.7 * np.eye(X.shape[1]), Xc.T @ Yc)
    np.testing.assert_allclose(result.w.reshape(-1, 2)[:-1], W, atol=1e-5)
    np.testing.assert_allclose(result.w.reshape(-1, 2)[-1], (Y - X @ W).mean(0), atol=1e-5)


@given(seed=seeds, n=st.integers(3, 20), K=st.integers(2, 4), intercept=st.booleans(), single=st.booleans())
@settings(max_examples=40)
def test_a_wide_problem_is_the_same_in_its_row_space(seed, n, K, intercept, single):
    X, y = blobs(seed, n=max(n, K), p=45, K=K)
    X += 3.0  # far from 0
    X = X.astype(np.float32) if single else X
    options = {"loss": Softmax(), "n_outputs": K, "penalty": 0.2, "intercept": intercept}
    options |= {"tol": 1e-13, "max_iter": 300}
    wide = fit_linear(X, y, np.ones(len(X)), **options)
    plain = fit_linear(X.astype(float), y, np.ones(len(X)), solver="newton-cg", **options)
    assert wide.relative_gap <= 1e-13
    np.testing.assert_allclose(wide.value, plain.value, rtol=1e-11)
    # Only the sum over classes is free, and that of the intercepts alone.
    W, V = (r.w.reshape(-1, K) - r.w.reshape(-1, K).mean(axis=1, keepdims=True) for r in (wide, plain))
    np.testing.assert_allclose(W, V, atol=1e-4 * np.max(np.abs(V)) + 1e-6)


@given(seed=seeds, stretch=st.floats(0.01, 300))
@settings(max_examples=40)
def test_the_search_along_a_ray_ends_flat_and_lower(seed, stretch):
    """Whatever the length of the direction."""
    X, y = blobs(seed)
    design = design_matrix(X)
    objective = Objective(Linear(3), Softmax(), design, y, np.ones(len(X)), np.full(18, 0.1))
    point = objective.at(np.random.default_rng(seed).standard_normal(18))
    d = -stretch * point.gradient / np.linalg.norm(point.gradient)
    slope, passes = point.gradient @ d, design.passes
    ray = point.along(d)
    trial, t, _ = minimize_along(ray, slope)
    assert trial.value < point.value
    assert abs(ray.slope(trial, t)) <= 0.1 * abs(slope)
    np.testing.assert_allclose(trial.w, point.w + t * d)
    assert design.passes == passes + 1


@given(seed=seeds)
@settings(max_examples=10)
def test_the_leading_term_reaches_the_same_optimum_in_more_steps(seed):
    X, y = blobs(seed)
    options = {"loss": Softmax(), "n_outputs": 3, "penalty": 1.0, "max_iter": 1000}
    full, leading = (fit_linear(X, y, np.ones(len(X)), hessian=h, **options) for h in ("full", "leading"))
    assert leading.status is Status.CONVERGED
    assert leading.n_iter > full.n_iter
    np.testing.assert_allclose(leading.value, full.value, rtol=2e-8)


def test_max_iter_is_kept_and_reported():
    X, y = blobs(0, overlap=0.1)
    result = fit_linear(X, y, np.ones(len(X)), loss=Softmax(), n_outputs=3, penalty=1e-6, max_iter=2)
    assert (result.status, result.n_iter) == (Status.MAX_ITER, 2)
    assert "max_iter" in result.reason
    assert "MAX_ITER" in repr(result)


def test_more_precision_than_there_is_ends_and_says_so():
    X, y = blobs(0)
    result = fit_linear(X, y, np.ones(len(X)), loss=Softmax(), n_outputs=3, penalty=0.1, tol=0.0)
    assert result.status is Status.PRECISION
    assert result.relative_gap < 1e-20


@pytest.mark.parametrize("K", [2, 3])
def test_complete_separation_is_told(K):
    X, y = blobs(0, K=K, overlap=0.01)
    binary = K == 2
    result = fit_linear(
        X,
        y.astype(float) if binary else y,
        np.ones(len(X)),
        loss=Logistic() if binary else Softmax(),
        n_outputs=1 if binary else K,
        penalty=0.0,
    )
    assert result.status is Status.SEPARATED


def test_quasi_complete_separation_is_told():
    """Both classes at x = 0, only one on each side."""
    x = np.array([-2.0, -1.0, 0.0, 0.0, 1.0, 2.0])[:, None]
    y = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    result = fit_linear(x, y, np.ones(6), loss=Logistic(), n_outputs=1, penalty=0.0)
    assert result.status is Status.SEPARATED


@given(seed=seeds)
@settings(max_examples=20)
def test_without_penalty_the_gradient_vanishes_also_for_collinear_columns(seed):
    X, y = blobs(seed, n=80, overlap=4.0)
    X = np.column_stack([X, X[:, :2] @ [[1.0], [2.0]], np.ones(len(X))])
    result = fit_linear(X, y, np.ones(len(X)), loss=Softmax(), n_outputs=3, penalty=0.0, tol=1e-14)
    assert result.status in (Status.CONVERGED, Status.PRECISION)
    assert result.certificate == "newton decrement"
    assert result.history[-1].gradient_norm <= 1e-5


def test_overflow_at_the_start_is_refused():
    X, y = blobs(0)
    with pytest.raises(ValueError, match="overflows"):
        fit_linear(X * 1e200, y, np.ones(len(X)), loss=Softmax(), n_outputs=3, penalty=1.0)


def test_callback_sees_every_row_of_the_history():
    X, y = blobs(0)
    rows = []
    result = fit_linear(X, y, np.ones(len(X)), loss=Softmax(), n_outputs=3, penalty=0.1, callback=rows.append)
    assert tuple(rows) == result.history
    assert [row.iteration for row in rows] == list(range(result.n_iter + 1))


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
@pytest.mark.parametrize("penalty", [1e10, 1.0])
@pytest.mark.parametrize("far", [1e3, -1e3, 1e6])
def test_a_start_where_the_loss_is_flat_is_no_optimum(loss, penalty, far):
    """All probabilities are 0 or 1 there, and the curvature in the intercept is 0."""
    X, y = blobs(0, K=3 if loss == "softmax" else 2)
    loss, K, y = (Softmax(), 3, y) if loss == "softmax" else (Logistic(), 1, y.astype(float))
    options = {"loss": loss, "n_outputs": K, "penalty": penalty, "tol": 1e-10}
    w = np.zeros((X.shape[1] + 1, K))
    w[-1, 0] = far
    result = fit_linear(X, y, np.ones(len(X)), w=w.ravel(), **options)
    assert result.status is Status.CONVERGED
    np.testing.assert_allclose(result.value, fit_linear(X, y, np.ones(len(X)), **options).value, rtol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e6])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_unit_of_the_features_changes_nothing(solver, unit, penalty):
    X, y = blobs(0)
    options = {"loss": Softmax(), "n_outputs": 3, "solver": solver, "tol": 1e-10}
    one = fit_linear(X, y, np.ones(len(X)), penalty=penalty, **options)
    other = fit_linear(unit * X, y, np.ones(len(X)), penalty=penalty * unit**2, **options)
    assert other.status is Status.CONVERGED
    np.testing.assert_allclose(other.value, one.value, rtol=1e-9)


@pytest.mark.parametrize("weight", [1.0, 1e-2, 1e-5, 1e-8])
def test_a_row_of_little_weight_stands_against_separation(weight):
    x = np.repeat([-1.0, 1.0, 1.5], [50, 50, 1])[:, None]
    y, s = np.repeat([0.0, 1.0, 0.0], [50, 50, 1]), np.repeat([1.0, weight], [100, 1])
    result = fit_linear(x, y, s, loss=Logistic(), n_outputs=1, penalty=0.0, tol=1e-12)
    assert result.status is not Status.SEPARATED


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_fit_keeps_one_history(penalty):
    X, y = blobs(0, n=12, p=40, overlap=1.0)
    rows = []
    options = {"loss": Softmax(), "n_outputs": 3, "penalty": penalty}
    result = fit_linear(X, y, np.ones(len(X)), callback=rows.append, **options)
    assert [row.iteration for row in rows] == list(range(result.n_iter + 1))
    assert [row.n_products for row in rows] == [row.n_products for row in result.history]
    assert result.history[-1].gap == result.gap


@pytest.mark.parametrize(("option", "value"), [("solver", "newton-cholseky"), ("hessian", "both")])
def test_unknown_options_of_the_engine_are_refused(option, value):
    X, y = blobs(0)
    with pytest.raises(ValueError, match=value):
        fit_linear(X, y, np.ones(len(X)), loss=Softmax(), n_outputs=3, penalty=1.0, **{option: value})


@pytest.mark.parametrize(
    ("shape", "n_outputs", "kind"),
    [
        ((1000, 10), 1, Cholesky),
        ((1000, 10), 5, Cholesky),
        ((60_000, 784), 10, Blocks),
        ((20_000, 2000), 50, Kronecker),
        ((1000, 9000), 1, None),
    ],
)
def test_the_preconditioner_follows_from_the_sizes(shape, n_outputs, kind):
    """Of shapes alone: the matrix is a view of one number."""
    design = Design(np.broadcast_to(np.ones(1), shape), True)
    chosen = choose_preconditioner(design, n_outputs, "auto")
    assert (chosen and chosen.make) is kind


def test_a_preconditioner_is_made_again_when_it_has_been_paid_for():
    made = []
    kept = Refreshed(lambda point: made.append(point) or len(made), cost=10, until=lambda point: "until")
    assert kept(0) == "until"
    assert kept.budget == 10
    kept.charge(10)
    assert kept(1) == 1
    kept.charge(9)
    assert kept(2) == 1
    kept.charge(1)
    assert kept(3) == 2
    assert made == [1, 3]


def test_what_one_solve_spends_counts_at_the_beginning_of_the_next():
    """Not in its last steps, unless it alone has spent as much."""
    made = []
    kept = Refreshed(lambda point: made.append(point) or len(made), cost=10)
    for solve in range(5):
        kept.begin()
        for step in range(2):
            kept((solve, step))
            kept.charge(3)
    assert made == [(0, 0), (2, 0), (4, 0)]
    kept.charge(4)
    kept((4, 2))
    assert made[-1] == (4, 2)


def test_what_serves_the_first_step_serves_it_alone():
    kept = Refreshed(lambda point: "made", cost=10, first=lambda point: "first" if point == 0 else None)
    assert kept(0) == "first"
    assert kept.budget == np.inf
    assert kept(0) == "made"
    assert Refreshed(kept.make, cost=10, first=lambda point: None)(0) == "made"


@given(seed=st.integers(0, 2**32 - 1), n_outputs=st.integers(1, 3), intercept=st.booleans())
@settings(max_examples=15)
def test_without_penalty_the_solution_is_the_shortest(seed, n_outputs, intercept):
    """Collinear columns of any scale: no other W with these outputs has a smaller norm."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 4)) @ rng.standard_normal((4, 7))
    X = np.column_stack([X, X[:, 0], np.full(60, 3.0 * intercept)]) * 10.0 ** rng.integers(-3, 4)
    y = rng.integers(0, max(2, n_outputs), 60)
    loss, targets = (Logistic(), y.astype(float)) if n_outputs == 1 else (Softmax(), y)
    result = fit_linear(
        X, targets, np.ones(60), loss=loss, n_outputs=n_outputs, penalty=0.0, intercept=intercept, tol=1e-10
    )
    S = X @ result.w.reshape(-1, n_outputs)[: X.shape[1]] + intercept * result.w[-n_outputs:]
    np.testing.assert_allclose(np.sum(loss.value(S, targets)), result.value, rtol=1e-7)
    W = result.w.reshape(-1, n_outputs)[: X.shape[1]]
    Z = X - X.mean(axis=0) if intercept else X
    rows = np.linalg.svd(Z)[2][:4]
    np.testing.assert_allclose(rows.T @ (rows @ W), W, atol=1e-6 * np.max(np.abs(W)))
    assert result.status in (Status.CONVERGED, Status.SEPARATED)


def test_nearly_collinear_columns_keep_what_they_say():
    """Directions that are almost null, but tell the classes apart, belong to the shortest solution."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((2000, 20))
    X = rng.standard_normal((2000, 1)) + 1e-6 * Z
    y = (rng.random(2000) < 1 / (1 + np.exp(-Z @ rng.standard_normal(20)))).astype(float)
    result = fit_linear(X, y, np.ones(2000), loss=Logistic(), n_outputs=1, penalty=0.0, max_iter=50)
    S = X @ result.w[:-1, None] + result.w[-1]
    np.testing.assert_allclose(np.sum(Logistic().value(S, y)), result.value, rtol=1e-6)


@pytest.mark.parametrize("loss", [Logistic(), Softmax(), Squared()], ids=lambda loss: type(loss).__name__)
def test_a_start_from_a_sample_leads_to_the_same_optimum(loss):
    """Also where the sample has no weight, or lacks a class, or there are no classes."""
    rng = np.random.default_rng(0)
    n, K = 20_000, 3 if isinstance(loss, Softmax) else 1
    X = rng.standard_normal((n, 5))
    S = X @ rng.standard_normal((5, K))
    y = S[:, 0] if isinstance(loss, Squared) else np.argmax(S + rng.gumbel(size=S.shape), axis=1)
    y = (S[:, 0] > rng.logistic(size=n)).astype(float) if isinstance(loss, Logistic) else y
    for s in (np.ones(n), (np.arange(n) < 12).astype(float), np.where(y == np.max(y), 1e-9, 1.0)):
        problem = LinearProblem(X, y, s, loss, K, 1.0, True, compiled=True)
        drawn = problem.sample()
        assert (drawn is not None) == (
            np.all(s == 1) or (isinstance(loss, Squared) and s[0] == 1 and s[-1] == 1)
        )
        result = fit_linear(X, y, s, loss=loss, n_outputs=K, penalty=1.0, tol=1e-10)
        cold = fit_linear(X, y, s, loss=loss, n_outputs=K, penalty=1.0, tol=1e-10, w=np.zeros(6 * K))
        assert result.status is Status.CONVERGED
        np.testing.assert_allclose(result.value, cold.value, rtol=1e-9)
        np.testing.assert_allclose(result.w, cold.w, atol=1e-3)


def test_curvature_in_float32_gives_way_where_it_leads_nowhere():
    """Features whose differences float32 does not see: the optimum is reached all the same."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 30)) @ rng.standard_normal((30, 30)) + 1e7 * rng.standard_normal((4000, 1))
    y = rng.integers(0, 3, 4000)
    result = fit_linear(
        X, y, np.ones(4000), loss=Softmax(), n_outputs=3, penalty=1e-3, solver="newton-cg", max_iter=300
    )
    exact = fit_linear(
        X, y, np.ones(4000), loss=Softmax(), n_outputs=3, penalty=1e-3, solver="newton-cholesky", max_iter=300
    )
    assert exact.status is Status.CONVERGED
    assert result.status is not Status.CONVERGED or result.value <= exact.value * (1 + 1e-7)


def test_class_codes_out_of_range_are_told():
    with pytest.raises(ValueError, match="class codes from 0 to 3: give 0 to n_outputs - 1 = 2"):
        fit_linear(np.eye(4), np.arange(4), np.ones(4), loss=Softmax(), n_outputs=3, penalty=1.0)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("b", [-30.0, -38.0, -40.0, -300.0])
@pytest.mark.parametrize("penalty", [1.0, 1e6])
def test_a_class_whose_curvature_is_lost_beside_others_is_not_forgotten(sparse, b, penalty):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 150))
    X, y = np.vstack([A, -A, np.zeros((3, 150))]), rng.integers(0, 2, 603)
    y[-3:] = 2
    start = np.zeros((151, 3))
    start[-1, 2] = b
    data = csr_array(X) if sparse else X, y, np.ones(603)
    options = {"loss": Softmax(), "n_outputs": 3, "penalty": penalty}
    lowest = fit_linear(*data, **options, tol=1e-10).value
    found = fit_linear(*data, **options, tol=1e-4, w=start.ravel())
    assert found.status is Status.CONVERGED
    assert found.value - lowest <= found.gap <= 1e-4 * found.value


def test_squares_of_a_matrix_by_columns_are_its_own():
    X = random_array((60, 60), density=0.1, rng=np.random.default_rng(0), format="csc")
    D = np.random.default_rng(1).random((60, 2))
    np.testing.assert_allclose(Design(X, False).squared_rmatmul(D), X.toarray().T ** 2 @ D)


@given(
    seed=seeds,
    n_classes=st.integers(2, 4),
    tied=st.sampled_from([1.0, 1e3, 1e6]),
    penalty=st.sampled_from([1e-3, 1.0]),
    off=st.sampled_from([0.0, 1e-8, 1e-5, 1e-3]),
    n=st.sampled_from([40, 2500]),
)
def test_a_bound_holds_beside_intercepts_that_are_nearly_solved(seed, n_classes, tied, penalty, off, n):
    """From where a feature that hardly varies and the intercepts hide each other, far from the optimum."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal((n, 2)), tied + rng.standard_normal(n) / 10])
    target = rng.permutation(np.arange(n) % n_classes)
    loss, y, K = (Logistic(), target.astype(float), 1) if n_classes == 2 else (Softmax(), target, n_classes)
    strengths = np.repeat([penalty] * 3 + [0.0], K)
    s = rng.uniform(0.5, 2, n)
    o = Objective(Linear(K), loss, design_matrix(csr_array(X)), y, s, strengths)
    best = minimize(o, np.zeros(4 * K), tol=1e-10, max_iter=200)
    W = best.w.reshape(4, K) + rng.standard_normal((4, K)) * [[1e-3], [1e-3], [1.0], [0.0]]
    W[3] -= tied * (W[2] - best.w.reshape(4, K)[2])
    start = solve_intercept(o.at(W.ravel()), 1e-15).shift(off * rng.standard_normal(K))
    rounding = 1e-13 * tied * np.sum(np.abs(W)) * np.sum(s)
    for gradient_known in (False, True):
        point = solve_intercept(start, np.inf)
        if gradient_known:
            assert np.all(np.isfinite(point.gradient))
        same = balanced(point)
        assert same.value == point.value
        if not np.all(np.isfinite(imbalance(same))):
            assert off > 0
            continue
        np.testing.assert_allclose(np.sum(same.residuals, axis=0), 0, atol=2e-12 * np.sum(point.pull[1]))
        assert duality_gap(same) >= (point.value - best.value) * (1 - 1e-9) - rounding
        plain = point.forward.vjp(same.residuals) + strengths * same.w
        np.testing.assert_allclose(same.gradient, plain, rtol=1e-9, atol=1e-11 * tied * np.sum(s))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_start_tied_to_the_intercept_is_not_called_solved(solver, n_classes):
    """What a nearly solved intercept promises is little, and much more beside a large feature."""
    rng = np.random.default_rng(1)
    X = csr_array(np.column_stack([rng.standard_normal((200, 2)), 1e3 + rng.standard_normal(200) / 10]))
    y, one = rng.integers(0, n_classes, 200), np.ones(200)
    loss, K = (Logistic(), 1) if n_classes == 2 else (Softmax(), n_classes)
    y = y if K > 1 else y.astype(float)
    fit = partial(fit_linear, X, y, one, loss=loss, n_outputs=K, penalty=1e-3, solver=solver)
    best = fit(tol=1e-12)
    for tol in (1e-3, 1e-5, 1e-7):
        for far in (1e-3, 1e-2, 0.1, 1.0):
            w = best.w.reshape(4, K).copy()
            w[2] += far
            w[3] -= 1e3 * far
            found = fit(tol=tol, w=w.ravel())
            assert found.converged
            assert found.value - best.value <= found.gap + 1e-10 * best.value
