"""Laws of the single sweeps for tall data: every bound holds, no sweep is made twice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from secondorder.losses import Logistic, Softmax
from secondorder.models import Design
from secondorder.solvers import Status, fit_linear
from secondorder.solvers.certificate import curvature_gap, dual_gap_nearby, duality_gap
from secondorder.solvers.chord import Near, chord, chord_repays, flattest, look_around, metrics
from secondorder.solvers.intercept import solve_intercept
from secondorder.solvers.linear import LinearProblem
from secondorder.solvers.minimize import minimize

seeds = st.integers(0, 2**32 - 1)


def problem(seed, n=2000, p=6, penalty=0.1, n_models=1, intercept=True, scale=1.0):
    """A problem of two classes that overlap, of one model or of several with weights of their own."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    y = (X @ rng.standard_normal(p) + rng.logistic(size=n) > 0).astype(float)
    X = scale * X + rng.standard_normal(p)
    y[:2] = 0, 1
    s = rng.random(n) + 0.5
    if n_models > 1:
        s = s[:, None] * (rng.random((n, n_models)) < 0.8)
    return LinearProblem(X, y, s, Logistic(), n_models, penalty, intercept, compiled=True)


def objective_of(models):
    """The objective, centred at the plain mean."""
    return models.objective(models.design(models.X.mean(axis=0)))


def alone(models, k):
    """One of several models."""
    return replace(models, s=np.ascontiguousarray(models.s[:, k]), n_outputs=1)


def optimum(models):
    """E at the optimum of one model."""
    return fit_linear(
        models.X, models.y, models.s, loss=Logistic(), n_outputs=1, penalty=models.penalty,
        intercept=models.intercept, tol=1e-13, solver="newton-cg",
    ).value  # fmt: skip


@given(seed=seeds, penalty=st.floats(1e-4, 1e3), distance=st.floats(0, 3), intercept=st.booleans())
def test_the_gap_by_curvature_is_a_bound(seed, penalty, distance, intercept):
    one = problem(seed, n=60, p=3, penalty=penalty, intercept=intercept)
    objective = objective_of(one)
    q = objective.X.shape[1]
    rng = np.random.default_rng(seed)
    best = minimize(objective, np.zeros(q), tol=1e-13)
    w = best.w[:, None] + distance * rng.standard_normal((q, 1)) / np.sqrt(60)
    w_near = w + distance * rng.standard_normal((q, 1)) / np.sqrt(60)
    (seen, here), (_, near) = look_around(objective, w), look_around(objective, w_near)
    some = objective.sample(slice(None, None, 2))
    D = some.X.gram(some.at(w_near.ravel()).H.d[:, 0])
    estimate = near._replace(curvatures=[D], excess=float(np.sum(one.s) / np.sum(one.s[::2])))
    value = objective.at(w.ravel()).value
    distance = np.max(np.abs(seen.outputs - near.outputs))
    for known, moved in ((here, 0.0), (near, distance), (estimate, distance)):
        (metric,) = metrics(known, objective)
        g = objective.at(w.ravel()).gradient
        flat = flattest(known.lightest, seen.largest[0])
        assert metric.gap(g, g @ (metric.B @ g), moved, flat) >= (value - best.value) * (1 - 1e-9) - 1e-12


@given(seed=seeds, penalty=st.floats(1e-2, 1e3), shift=st.floats(-2, 2), spread=st.floats(1, 5))
def test_the_dual_gap_is_a_bound_wherever_the_intercept_is(seed, penalty, shift, spread):
    one = problem(seed, n=60, p=3, penalty=penalty)
    objective, rng = objective_of(one), np.random.default_rng(seed)
    best = minimize(objective, np.zeros(4), tol=1e-13)
    point = objective.at(best.w + shift * np.append(rng.standard_normal(3) / 10, 1))
    c = point.H.d[:, 0] * spread ** rng.uniform(-1, 1, 60) * (rng.random(60) < 0.7)
    flow = objective.X.rmatmul(c[:, None])[:, 0]
    gap = dual_gap_nearby(point.gradient, flow, penalty, spread)
    assert gap >= (point.value - best.value) * (1 - 1e-9) - 1e-12
    solved = solve_intercept(point, 1e-15)
    np.testing.assert_allclose(
        dual_gap_nearby(solved.gradient, flow, penalty, spread), duality_gap(solved), rtol=1e-6, atol=1e-12
    )
    balanced = np.append(point.gradient[:-1], 0.0)
    assert dual_gap_nearby(balanced, flow, penalty, np.inf) == np.inf, "from nobody knows how far"


@given(d=st.floats(1e-12, 1e3), R=st.floats(1e-6, 1e3))
def test_the_gap_by_curvature_grows_with_both(d, R):
    gap = curvature_gap(d, R)
    assert gap >= d / 2
    assert gap <= curvature_gap(1.01 * d, R)
    assert gap <= curvature_gap(d, 1.01 * R) * (1 + 1e-6)
    if d * R < 1e-6:
        assert gap <= 0.5 * d * (1 + np.sqrt(d * R))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("n_models", [1, 4])
def test_a_chord_arrives_within_its_bound(n_models, intercept):
    models = problem(1, n=5000, n_models=n_models, intercept=intercept)
    objective = objective_of(models)
    start, near = np.zeros((objective.X.shape[1], n_models)), None
    if n_models > 1:
        near = Near([objective.X.gram(models.s[:, k] / 4) for k in range(n_models)], 0.5)
    for _ in range(5):
        found = chord(objective, start, near, tol=1e-8, max_iter=100)
        start, near = found.seen, found.near
    assert found.arrived(1e-8)
    for k in range(n_models):
        model = alone(models, k) if n_models > 1 else models
        best = optimum(model)
        assert found.values[k] - found.gaps[k] <= best * (1 + 1e-13)
        assert found.values[k] <= best * (1 + 1e-8)


def test_every_step_is_one_pass_and_what_is_known_costs_none():
    objective = objective_of(problem(2))
    before, design = objective.X.passes, objective.X
    found = chord(objective, np.zeros((7, 1)), tol=1e-10, max_iter=100)
    assert found.arrived(1e-10)
    assert design.passes - before == len(found.history) > 2
    again = chord(objective, found.seen, found.near, tol=1e-10, max_iter=100)
    assert design.passes - before == len(found.history)
    assert again.arrived(1e-10)
    assert again.result().status is Status.CONVERGED
    np.testing.assert_array_equal(again.seen.W, found.seen.W)


def test_steps_that_lead_nowhere_are_not_taken():
    objective = objective_of(problem(3))
    found = chord(objective, np.zeros((7, 1)), tol=0.0, max_iter=100)
    assert not found.arrived(0.0)
    np.testing.assert_allclose(found.values[0], optimum(problem(3)), rtol=1e-12)
    assert len(found.history) < 12
    assert len(chord(objective, np.zeros((7, 1)), tol=0.0, max_iter=0).history) == 1


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fit_of_tall_data_goes_by_sweeps(dtype, scale):
    tall = problem(4, n=40_000, p=8, penalty=1e-3, scale=scale)
    X = tall.X.astype(dtype)
    one = {"loss": Logistic(), "n_outputs": 1, "penalty": tall.penalty}
    fit = fit_linear(X, tall.y, tall.s, tol=1e-6, **one)
    assert fit.status is Status.CONVERGED
    assert fit.certificate == "curvature"
    assert fit.passes <= 8
    other = fit_linear(X, tall.y, tall.s, tol=1e-10, solver="newton-cg", **one)
    assert other.certificate == "duality gap"
    assert -1e-9 * other.value <= fit.value - other.value <= fit.gap + 1e-9 * other.value


def rare(seed, n, p, dtype=float):
    """A sparse X of features from common to rare, most of them without spread, and labels it tells of."""
    rng = np.random.default_rng(seed)
    X = (rng.random((n, p)) < np.geomspace(0.3, 3 / n, p)) * rng.choice([1.0, 1.0, 2.0], (n, p))
    y = (X @ rng.standard_normal(p) * 2 + rng.logistic(size=n) > 2).astype(float)
    return csr_array(X.astype(dtype)), y


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("intercept", [True, False])
def test_a_fit_of_sparse_data_with_few_features_goes_by_sweeps(penalty, dtype, intercept):
    X, y = rare(7, 20_000, 60, dtype)
    s = np.ones(len(y))
    one = {"loss": Logistic(), "n_outputs": 1, "penalty": penalty, "intercept": intercept}
    fit = fit_linear(X, y, s, tol=1e-6, **one)
    assert fit.status is Status.CONVERGED
    assert fit.certificate == "curvature"
    other = fit_linear(X, y, s, tol=1e-10, solver="newton-cg", **one)
    assert other.certificate == "duality gap"
    assert -1e-9 * other.value <= fit.value - other.value <= fit.gap + 1e-9 * other.value
    again = fit_linear(X, y, s, tol=1e-6, **one)
    np.testing.assert_array_equal(fit.w, again.w)


@given(seed=seeds, start=st.floats(0, 10))
def test_one_model_is_found_from_afar(seed, start):
    X, y = rare(seed, 3000, 30)
    y[:2] = 0, 1
    objective = LinearProblem(X, y, np.ones(3000), Logistic(), 1, 0.1, True, compiled=True)
    objective = objective.objective(objective.design())
    W = start * np.random.default_rng(seed).standard_normal((31, 1))
    found = chord(objective, W, tol=1e-6, max_iter=100)
    values = [row.value for row in found.history]
    assert found.values[0] <= values[0]
    if start < 1:
        assert found.arrived(1e-6)


def free(seed, p, intercept=True):
    """A tall problem without penalty."""
    return problem(seed, n=20_000, p=p, penalty=0.0, intercept=intercept)


@given(seed=seeds, p=st.sampled_from([2, 6, 20]), intercept=st.booleans(), tol=st.sampled_from([1e-3, 1e-9]))
@settings(max_examples=15)
def test_the_bound_needs_no_penalty(seed, p, intercept, tol):
    one = free(seed, p, intercept)
    options = {"loss": one.loss, "n_outputs": 1, "penalty": 0.0, "intercept": intercept}
    found = fit_linear(one.X, one.y, one.s, tol=tol, **options)
    lowest = optimum(one)
    assert found.certificate == "curvature"
    assert found.relative_gap <= tol
    assert -1e-12 * lowest <= found.value - lowest <= found.gap + 1e-12 * lowest


@pytest.mark.parametrize("what", ["collinear", "nearly collinear", "constant"])
def test_without_penalty_collinear_features_get_the_shortest_solution_and_no_bound(what):
    one = free(0, 6)
    X = one.X.copy()
    X[:, 5] = X[:, 0] + X[:, 1] if what != "constant" else 2.0
    X[:, 5] += 1e-9 * one.X[:, 5] if what == "nearly collinear" else 0.0
    options = {"loss": one.loss, "n_outputs": 1, "penalty": 0.0, "tol": 1e-9}
    found, plain = (fit_linear(X, one.y, one.s, solver=solver, **options) for solver in ("auto", "newton-cg"))
    assert found.status is Status.CONVERGED
    assert found.certificate == "newton decrement"
    assert found.value <= plain.value * (1 + 1e-9)
    if what != "nearly collinear":
        np.testing.assert_allclose(found.w, plain.w, atol=1e-4)


@pytest.mark.parametrize("rows", [20_000, 3])
def test_separation_is_never_taken_for_an_optimum(rows):
    """Of all rows, or only of those few in which a feature is not 0."""
    one = free(1, 6)
    X, y = one.X.copy(), one.y
    X[rows:, 0] = 0.0
    X[:rows, 0] = 5.0 * (2 * y[:rows] - 1)
    found = fit_linear(X, y, one.s, loss=one.loss, n_outputs=1, penalty=0.0, tol=1e-3)
    assert found.status is Status.SEPARATED


def test_rows_and_columns_of_no_weight():
    tall = problem(5, n=40_000, p=8)
    X = tall.X.copy()
    X[:, 3] = 0.0
    s = np.where(np.arange(40_000) % 3 == 0, 0.0, tall.s)
    one = {"loss": Logistic(), "n_outputs": 1, "penalty": 1e-6}
    fit = fit_linear(X, tall.y, s, tol=1e-8, **one)
    kept = fit_linear(X[s > 0], tall.y[s > 0], s[s > 0], tol=1e-8, solver="newton-cg", **one)
    assert fit.certificate == "curvature"
    np.testing.assert_allclose(fit.value, kept.value, rtol=2e-8)
    np.testing.assert_allclose(fit.w[3], 0.0, atol=1e-12)


def test_only_where_there_are_sweeps():
    tall = problem(6)
    assert chord_repays(objective_of(tall))
    assert chord_repays(objective_of(replace(tall, penalty=0.0)))
    assert not chord_repays(objective_of(replace(tall, loss=Softmax(), n_outputs=3)))
    assert not chord_repays(objective_of(replace(tall, penalty=0.0, n_outputs=3)))
    sparse = replace(tall, X=csr_array(tall.X))
    assert chord_repays(sparse.objective(sparse.design()))
    free = replace(sparse, penalty=0.0)
    assert not chord_repays(free.objective(free.design())), "the extent of the features is not known"
    plain = replace(sparse, X=sparse.X.tocsc())
    assert not chord_repays(plain.objective(Design(plain.X)))
