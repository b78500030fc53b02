"""Minima in spans, and the descent made of them, against what they stand for."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from problems import problems
from scipy.sparse import csr_array, hstack, random_array

from secondorder.curvature import GaussNewton
from secondorder.kernels import compiled_at_any_size, features_repay
from secondorder.losses import Logistic, Softmax
from secondorder.models import Linear, design_matrix
from secondorder.models.compiled_design import CompiledDesign
from secondorder.objective import Objective
from secondorder.solvers import LinearProblem, LineSearch, Status, minimize, span_search
from secondorder.solvers import linear as solver
from secondorder.solvers.certificate import duality_gap
from secondorder.solvers.dual_bound import DualBound
from secondorder.solvers.dual_variables import balanced
from secondorder.solvers.intercept import solve_intercept
from secondorder.solvers.span_search import (
    EXACT,
    FeatureCoordinates,
    RowCoordinates,
    SpanSearch,
    curvature_in_span,
    lowest_in_span,
)

CONVEX = problems(losses=("softmax", "soft", "logistic"), dtypes=("f8",))


def span(problem, m, seed):
    """Directions without intercepts (P, m), their outputs, and the products of w and them in the penalty."""
    o = problem.objective
    D = np.random.default_rng(seed).standard_normal((problem.w.size, m)) * (o.penalty > 0)[:, None]
    V = np.column_stack([problem.w, D])
    return D, np.moveaxis(problem.J @ D, 2, 0).copy(), V.T @ (o.penalty[:, None] * V)


def searched(X, y, s, loss, n_outputs, penalty, intercept, w=None):
    """A fit by this search, whatever else would cost less."""
    problem = LinearProblem(X, y, s, loss, n_outputs, penalty, intercept)
    design = problem.design()
    start = np.zeros(design.shape[1] * n_outputs) if w is None else w
    start = design.centre(start.reshape(-1, n_outputs))
    if loss.shift_invariant:
        start = start - start.mean(axis=1, keepdims=True)
    result, _ = solver.descend_linear(problem.objective(design).at(start.ravel()), None, tol=1e-10)
    return replace(result, w=design.uncentre(result.w.reshape(-1, n_outputs)).ravel())


@given(problem=CONVEX, m=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_the_minimum_in_a_span_is_one(problem, m, seed):
    assume(np.any(problem.objective.penalty > 0))
    o = problem.objective
    point = o.at(problem.w)
    D, Z, Q = span(problem, m, seed)
    lowest = lowest_in_span(point, Z, Q, 1e-9)
    w = problem.w + D @ lowest.a
    w[len(w) - len(lowest.shift) :] += lowest.shift
    there = o.at(w)
    np.testing.assert_allclose(lowest.outputs, there.forward.outputs, atol=1e-9 * (1 + np.abs(w).max()))
    np.testing.assert_allclose(lowest.penalty, there.penalty_term, rtol=1e-9, atol=1e-9)
    assert there.value <= point.value * (1 + 1e-12)
    V = np.column_stack([w, D])
    again = lowest_in_span(there, Z, V.T @ (o.penalty[:, None] * V), 1e-9)
    assert again.promised <= EXACT * lowest.promised * (1 + 1e-6) + 1e-10 * point.value


@given(problem=CONVEX, m=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_curvature_in_a_span_is_the_same_compiled(problem, m, seed):
    point = problem.objective.at(problem.w)
    _, Z, _ = span(problem, m, seed)
    plain = curvature_in_span(point.H, Z)
    with compiled_at_any_size():
        compiled = curvature_in_span(point.H, Z)
    for a, b in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * (1 + np.abs(Z).max() ** 2))


@given(problem=CONVEX, n_steps=st.integers(1, 4))
def test_coordinates_of_rows_take_the_same_steps(problem, n_steps):
    assume(np.any(problem.objective.penalty > 0))
    point = problem.objective.at(problem.w)
    with patch.object(span_search, "MOST_HEAVY", 0):  # which have no coordinates of rows
        plain, rows = (
            SpanSearch(in_row_space=here, rtol=1e-3, max_products=n_steps)(point, GaussNewton(point), 1.0)
            for here in (False, True)
        )
    if plain.n_products != rows.n_products:
        return  # rounding decides
    np.testing.assert_allclose(rows.point.value, plain.point.value, rtol=1e-7, atol=1e-12 * point.value)
    there = problem.objective.at(rows.point.w)
    np.testing.assert_allclose(there.value, rows.point.value, rtol=1e-9, atol=1e-12 * point.value)
    atol = 1e-8 * (1 + point.squared_gradient)
    np.testing.assert_allclose(there.squared_gradient, rows.point.squared_gradient, rtol=1e-5, atol=atol)


@given(problem=CONVEX, n_points=st.integers(1, 5), in_row_space=st.booleans())
def test_a_mean_of_residuals_bounds_the_minimum(problem, n_points, in_row_space):
    """It is no worse than the duality gap of the last point, whatever points came before."""
    o = problem.objective
    K = o.model.n_outputs
    seen = o.y.argmax(axis=1) if o.y.ndim == 2 else o.y.astype(int)
    assume(np.any(o.penalty > 0) and len(np.unique(seen[o.s > 0])) >= max(K, 2))
    best = minimize(o, np.zeros_like(problem.w), tol=1e-12, max_iter=200)
    w = o.at(problem.w).w
    bound = None
    for step in range(n_points):
        point = balanced(solve_intercept(o.at(w), 1e-15))
        space = RowCoordinates(point) if in_row_space else FeatureCoordinates(point, None)
        here = space.of(point)
        bound = bound or DualBound(space)
        floor = bound.see(point, space.pull(point, here, space.downhill(point, here)))
        slack = 1e-9 * (1 + point.value)
        assert floor <= best.value + slack
        assert floor >= point.value - duality_gap(point) - slack
        w = 0.5 * (point.w + best.w) + 0.1**step * problem.v * (o.penalty > 0)


def test_a_certificate_follows_what_is_left():
    """Of conjugate gradients' residuals the smoothed ones tell, where the last go up and down."""
    rng = np.random.default_rng(5)
    X = csr_array(random_array((400, 300), density=0.05, rng=rng) * np.logspace(0, 2, 300))
    y = (np.arange(400) % 2).astype(float)
    problem = LinearProblem(X, y, np.ones(400), Logistic(), 1, 1.0, True)
    objective = problem.objective(problem.design())
    start = objective.at(np.zeros(len(objective.penalty)))
    best = solver.descend_linear(start, None, tol=1e-12)[0].value
    plain = 0.0
    for tol in (1e-2, 1e-4, 1e-6):
        found, point = solver.descend_linear(start, None, tol=tol)
        assert found.converged
        assert found.value - best <= found.gap
        plain = max(plain, duality_gap(objective.at(point.w)) / found.gap)
    assert plain > 2


def test_a_long_walk_begins_anew_once_the_gradient_has_come_down(monkeypatch):
    rng = np.random.default_rng(6)
    X = csr_array(random_array((400, 300), density=0.05, rng=rng) * np.logspace(0, 2, 300))
    y = (np.arange(400) % 2).astype(float)
    problem = LinearProblem(X, y, np.ones(400), Logistic(), 1, 1.0, True)
    objective = problem.objective(problem.design())
    start = solve_intercept(objective.at(np.zeros(len(objective.penalty))), 1e-12)
    long = span_search.LASTING + 1
    for n_steps, fell, forgets in ((3, np.inf, False), (long, 0.0, False), (long, np.inf, True)):
        monkeypatch.setattr(span_search, "FELL", fell)
        search = SpanSearch(rtol=1e-9, max_products=n_steps)
        there = search(start, GaussNewton(start), 1.0).point
        search.max_products = 1
        fresh = SpanSearch(max_products=1)
        onwards, anew = (rule(there, GaussNewton(there), 1.0).point for rule in (search, fresh))
        assert np.allclose(onwards.w, anew.w, rtol=1e-9) == forgets


@given(seed=st.integers(0, 2**32 - 1), C=st.sampled_from([0.01, 1.0, 100.0]), intercept=st.booleans())
def test_a_descent_ends_where_newtons_does(seed, C, intercept):
    rng = np.random.default_rng(seed)
    X = random_array((60, 120), density=0.1, rng=rng, format="csr")
    y, s = rng.integers(0, 2, 60).astype(float), rng.random(60)
    y[:2] = 0, 1
    result = searched(X, y, s, Logistic(), 1, 1 / C, intercept)
    penalty = np.full(120 + intercept, 1 / C)
    if intercept:
        penalty[-1] = 0
    objective = Objective(Linear(1), Logistic(), design_matrix(X, intercept=intercept), y, s, penalty)
    newton = minimize(objective, np.zeros(len(penalty)), step=LineSearch(tol=1e-10), tol=1e-10)
    assert result.relative_gap <= 1e-10
    np.testing.assert_allclose(result.value, newton.value, rtol=3e-10)


@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float64, np.float32]), K=st.integers(1, 4))
def test_squares_and_sizes_of_entries(seed, dtype, K):
    rng = np.random.default_rng(seed)
    X = random_array((20, 15), density=0.3, rng=rng, dtype=dtype, format="csr")
    X.data *= rng.choice([-1, 1], X.nnz) * rng.choice([0, 1e-3, 1], X.nnz)
    design = CompiledDesign(X, True, np.ones(20))
    D = rng.random((20, K))
    np.testing.assert_allclose(design.squared_rmatmul(D), super(CompiledDesign, design).squared_rmatmul(D))
    assert design.sizes() == super(CompiledDesign, design).sizes()


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 40)),
    n_outputs=st.integers(1, 20),
    dtype=st.sampled_from([np.float64, np.float32]),
    weighted=st.booleans(),
    intercept=st.booleans(),
)
def test_products_by_feature_are_those_of_the_matrix(seed, shape, n_outputs, dtype, weighted, intercept):
    rng = np.random.default_rng(seed)
    X = random_array(shape, density=0.2, rng=rng, dtype=dtype, format="csr")
    U = rng.standard_normal((shape[0], n_outputs))
    design = CompiledDesign(X, intercept, rng.random(shape[0]) if weighted else None)
    Z = X.toarray().astype(float)
    if intercept:
        Z = np.column_stack([Z - (0.0 if design.mean is None else design.mean), np.ones(len(Z))])
    XXU = Z[:, : shape[1]] @ (Z[:, : shape[1]].T @ U)
    np.testing.assert_allclose(super(CompiledDesign, design).row_gram_product(U), XXU, atol=1e-10)
    before = design.passes
    np.testing.assert_allclose(design.row_gram_product(U), XXU, atol=1e-10)
    np.testing.assert_allclose(design.rmatmul(U), Z.T @ U, atol=1e-10)
    assert design.passes == before + 2
    assert "features" in vars(design), "the copy is made once"


def text(rng, n=40, p=900, n_outputs=5, scale=1.0):
    """Sparse counts, most features in few rows, and classes that some of them tell."""
    X = random_array((n, p), density=0.03, rng=rng, format="csr")
    X.data = np.ceil(3 * X.data) * scale
    y = rng.integers(0, n_outputs, n)
    X = csr_array(X + csr_array(np.eye(n_outputs, p)[y] * scale))
    return X, y


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_fit_is_the_same_with_coordinates_and_without(monkeypatch, intercept, weighted):
    rng = np.random.default_rng(1)
    X, y = text(rng)
    s = rng.integers(0, 3, len(y)).astype(float) if weighted else np.ones(len(y))

    def fit(w=None):
        with compiled_at_any_size():
            return searched(X, y, s, Softmax(), 5, 0.1, intercept, w)

    start = rng.standard_normal((X.shape[1] + intercept) * 5)
    with compiled_at_any_size():
        assert features_repay(X, 5)
    found, warm = fit(), fit(start)
    monkeypatch.setattr(solver, "features_repay", lambda X, n_outputs: False)
    plain = fit()
    for result in (found, warm):
        assert result.status is plain.status
        assert result.relative_gap <= 1e-10
        np.testing.assert_allclose(result.value, plain.value, rtol=2e-10)
        np.testing.assert_allclose(result.w, plain.w, atol=1e-3 * np.abs(plain.w).max())
    assert found.n_products <= 1.2 * plain.n_products + 2


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_constant_feature_costs_no_steps(n_classes):
    rng = np.random.default_rng(4)
    X = csr_array(random_array((2000, 300), density=0.02, rng=rng, data_sampler=rng.standard_normal))
    y = np.argmax(X @ rng.standard_normal((300, n_classes)) + rng.gumbel(size=(2000, n_classes)), axis=1)
    with_one = csr_array(hstack([X, np.full((2000, 1), 3.0)]))
    loss, K, y = (Logistic(), 1, y.astype(float)) if n_classes == 2 else (Softmax(), n_classes, y)
    s = np.ones(2000)
    free = searched(X, y, s, loss, K, 0.1, True)
    penalised = searched(with_one, y, s, loss, K, 0.1, False)
    assert penalised.n_products <= free.n_products + 2
    assert penalised.status is Status.CONVERGED


def test_a_step_reads_x_twice_or_in_coordinates_of_rows_once():
    rng = np.random.default_rng(2)
    X, y = text(rng)
    design = CompiledDesign(X, True, np.ones(len(y)))
    penalty = np.ones((X.shape[1] + 1, 5))
    penalty[-1] = 0
    objective = Objective(Linear(5), Softmax(), design, y, np.ones(len(y)), penalty.ravel())
    for in_row_space, per_step in ((False, 2), (True, 1)):
        point = objective.at(rng.standard_normal(penalty.size))
        before = design.passes
        step = SpanSearch(in_row_space=in_row_space)(point, GaussNewton(point), 1.0)
        assert step.n_products > 1
        assert design.passes - before == per_step * step.n_products + 1  # the last says that it is the last


def test_outputs_carried_along_are_those_of_the_parameters():
    """Large values with a mean far from 0 do not part them."""
    rng = np.random.default_rng(3)
    X, y = text(rng, scale=100.0)
    X.data += 1000.0
    with compiled_at_any_size():
        result = searched(X, y, np.ones(len(y)), Softmax(), 5, 1.0, True)
    design = design_matrix(X, n_outputs=5)
    S = design.matmul(result.w.reshape(-1, 5))
    value = Softmax().value(S, y).sum() + 0.5 * np.sum(result.w[:-5] ** 2)
    np.testing.assert_allclose(value, result.value, rtol=1e-7)


def test_only_wide_sparse_problems_are_worth_a_copy():
    rng = np.random.default_rng(4)
    wide = random_array((500, 300000), density=0.001, rng=rng, format="csr")
    assert features_repay(wide, 10)
    assert not features_repay(wide, 1), "one output"
    assert not features_repay(csr_array(wide.T), 10), "more rows than columns"
    assert not features_repay(wide[:, :5000], 10), "vectors that a cache holds"
    assert not features_repay(wide.tocsc(), 10)
    assert not features_repay(np.ones((5, 5)), 10)
