"""Laws of the beginning by L-BFGS: E falls, its gradient is that of E, and no solution depends on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.linear_model import LogisticRegression
from secondorder.losses import Logistic, Softmax
from secondorder.solvers import Status, fit_linear, linear
from secondorder.solvers.beginning import begin
from secondorder.solvers.costs import choose_preconditioner
from secondorder.solvers.landscapes import LogisticLandscape, SoftmaxLandscape
from secondorder.solvers.linear import LinearProblem
from secondorder.solvers.preconditioners import GaussNewton, Kronecker
from secondorder.solvers.quasi_newton import quasi_newton

seeds = st.integers(0, 2**32 - 1)


def problem(seed, n=400, p=6, K=4, penalty=1.0, intercept=True, scale=1.0):
    """Overlapping classes with weights, some of them 0; K = 1 is for two classes."""
    rng = np.random.default_rng(seed)
    X = scale * rng.standard_normal((n, p)) + rng.standard_normal(p)
    y = np.argmax(X @ rng.standard_normal((p, max(K, 2))) + rng.gumbel(size=(n, max(K, 2))), axis=1)
    y[: max(K, 2)] = np.arange(max(K, 2))
    s = rng.integers(1, 4, n) * (rng.random(n) < 0.8).astype(float)
    s[: max(K, 2)] = 1
    if K == 1:
        return LinearProblem(X, y.astype(float), s, Logistic(), 1, penalty, intercept, compiled=True)
    return LinearProblem(X, y, s, Softmax(), K, penalty, intercept, compiled=True)


def landscape_of(objective):
    """E of either model."""
    return (LogisticLandscape if objective.model.n_outputs == 1 else SoftmaxLandscape)(objective)


@given(seed=seeds, K=st.sampled_from([1, 3, 7]), intercept=st.booleans(), scale=st.sampled_from([0.1, 1, 10]))
def test_what_is_seen_is_e_and_its_gradient(seed, K, intercept, scale):
    objective = (one := problem(seed, K=K, intercept=intercept)).objective(one.design())
    W = scale * np.random.default_rng(seed).standard_normal((objective.X.shape[1], K))
    seen = landscape_of(objective)(W, 1e-3)
    point = objective.at(seen.W.ravel())
    size = np.abs(objective.X.rmatmul(np.ones((len(objective.s), 1)))) + len(objective.s)
    assert np.isclose(seen.value, point.value, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(seen.gradient, point.gradient.reshape(-1, K), atol=2e-5 * scale * np.max(size))
    np.testing.assert_array_equal(seen.W[: objective.X.X.shape[1]], W[: objective.X.X.shape[1]])


@given(seed=seeds, scale=st.sampled_from([0.1, 1.0]))
def test_intercepts_seen_leave_little_to_gain(seed, scale):
    objective = (one := problem(seed)).objective(one.design())
    W = scale * np.random.default_rng(seed).standard_normal((7, 4))
    landscape, left = SoftmaxLandscape(objective), 1e-3
    seen = landscape(W, left)
    point = objective.at(seen.W.ravel())
    g, A = point.pull[0], point.H.sum()
    assert 0.5 * g @ np.linalg.pinv(A, rcond=1e-10) @ g <= 10 * left


@given(seed=seeds, intercept=st.booleans())
def test_kronecker_at_zero_is_the_inverse_curvature(seed, intercept):
    objective = (one := problem(seed, intercept=intercept)).objective(one.design())
    start = SoftmaxLandscape(objective).start.ravel()
    v = np.random.default_rng(seed).standard_normal((objective.X.shape[1], 4))
    v = (v - v.mean(axis=1, keepdims=True)).ravel()
    Bv = GaussNewton(objective.at(start)) @ v
    np.testing.assert_allclose(Kronecker.at_zero(objective) @ Bv, v, atol=1e-3 * np.max(np.abs(v)))


@given(seed=seeds, K=st.sampled_from([1, 5]), penalty=st.sampled_from([0.01, 1.0, 100.0]))
@settings(max_examples=20)
def test_e_falls_and_steps_are_counted(seed, K, penalty):
    objective = (one := problem(seed, K=K, penalty=penalty)).objective(one.design())
    metric = Kronecker.at_zero(objective) if K > 1 else np.eye(objective.X.shape[1]) / len(objective.s)
    rows = []
    before = objective.X.passes
    found = quasi_newton(
        objective, landscape_of(objective), metric, tol=1e-5, max_iter=9, callback=rows.append
    )
    assert tuple(rows) == found.history
    values = [row.value for row in rows]
    assert np.all(np.diff(values) < 0)
    assert [row.iteration for row in rows] == list(range(len(rows)))
    per_trial = 1 if K == 1 else 2
    assert objective.X.passes - before <= per_trial * (1 + sum(row.n_trials for row in rows) + 4)
    point = objective.at(found.W.ravel())
    assert np.isclose(point.value, values[-1], rtol=1e-5)


@pytest.mark.parametrize("K", [1, 6, 30])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-11])
def test_solutions_are_certified_and_those_of_newton(K, intercept, tol, monkeypatch):
    one = problem(0, n=9000, p=130, K=K, intercept=intercept, penalty=10.0)
    begun = []

    def remembered(*args, **options):
        begun.append(begin(*args, **options))
        return begun[-1]

    monkeypatch.setattr(linear, "begin", remembered)
    options = {"loss": one.loss, "n_outputs": K, "penalty": 10.0, "intercept": intercept, "tol": tol}
    found = fit_linear(one.X, one.y, one.s, **options)
    assert len(begun[0].history) > 1
    other = fit_linear(one.X, one.y, one.s, **options, solver="newton-cg")
    assert found.status is Status.CONVERGED
    assert found.relative_gap <= tol
    assert abs(found.value - other.value) <= tol * other.value
    again = fit_linear(one.X, one.y, one.s, **options)
    np.testing.assert_array_equal(found.w, again.w)


def test_uneven_features_begin_with_newton():
    def found(one):
        design = one.design()
        chosen = choose_preconditioner(design, 1, "auto")
        return begin(one.objective(design), chosen, tol=1e-6, max_iter=10)

    one = problem(0, n=3000, p=130, K=1)
    assert found(one) is not None
    one.X[:, 0] *= 1000
    assert found(one) is None


@pytest.mark.parametrize("K", [1, 6, 30])
def test_half_of_the_iterations_are_left_to_newton(K):
    one = problem(0, n=9000, p=130, K=K, penalty=10.0)
    options = {"loss": one.loss, "n_outputs": K, "penalty": 10.0, "tol": 1e-8}
    rows = []
    found = fit_linear(one.X, one.y, one.s, **options, max_iter=14, callback=rows.append)
    assert found.status is Status.CONVERGED
    assert [row.iteration for row in rows] == list(range(len(rows)))
    assert found.n_trials == sum(row.n_trials for row in rows)


def test_rows_of_weight_0_are_in_no_sample():
    one = problem(3, n=4000, p=6, K=4)
    one.s[:] = 1
    one.s[::2] = 0
    objective = one.objective(one.design())
    seen = SoftmaxLandscape(objective)(np.zeros((7, 4)), 1e-6)
    assert np.all(np.isfinite(seen.W))
    assert np.max(np.abs(objective.at(seen.W.ravel()).pull[0])) <= 1e-2 * np.sum(one.s)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("K", [1, 6, 30])
def test_bad_values_are_named(bad, K):
    one = problem(0, n=9000, p=130, K=K)
    one.X[4000, 70] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        LogisticRegression().fit(one.X, one.y)
