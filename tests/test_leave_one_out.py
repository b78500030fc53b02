"""Leave-one-out predictions, beside Newton steps written out row by row and beside exact fits."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from problems import problems
from scipy.sparse import csr_array
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from secondorder.losses import Logistic, Softmax, Squared
from secondorder.models.compiled_design import CompiledDesign
from secondorder.solvers import LinearProblem, Status, fit_linear, leave_one_out, refit_some, refit_without

pytestmark = pytest.mark.usefixtures("one_thread")


def solution(problem, tol=1e-13):
    """The parameters that solve a `LinearProblem`."""
    parts = {name: getattr(problem, name) for name in ("loss", "n_outputs", "penalty", "intercept")}
    result = fit_linear(problem.X, problem.y, problem.s, tol=tol, **parts)
    assert result.status in (Status.CONVERGED, Status.PRECISION)
    return result.w


def real(name, C):
    """The problem of a dataset of scikit-learn, standardised, and its solution."""
    X, codes = getattr(datasets, f"load_{name}")(return_X_y=True)
    problem = classify(StandardScaler().fit_transform(X), codes, C)
    return problem, solution(problem)


def classify(X, codes, C, s=None, intercept=True):
    """The problem of telling the classes `codes` apart."""
    K = int(codes.max()) + 1
    y, loss = (codes.astype(float), Logistic()) if K == 2 else (codes, Softmax())
    s = np.ones(len(codes)) if s is None else s
    return LinearProblem(X, y, s, loss, 1 if K == 2 else K, 1 / C, intercept)


def overlapping(K, n, p, seed=0):
    """Rows of classes that no linear function separates, and their codes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, np.argmax(X[:, :K] + rng.gumbel(size=(n, K)), axis=1)


def mean_loss(problem, S):
    return np.average(problem.loss.value(S, problem.y), weights=problem.s)


@given(problems())
def test_it_is_one_newton_step_without_the_row(problem):
    """With the Hessian of the other rows written out, whatever the loss, the matrix and its shape."""
    o = problem.objective
    if not o.penalty.any():
        return
    point, J = o.at(problem.w), problem.J
    S_loo, blocks = leave_one_out(point), point.H.blocks()
    assert S_loo.dtype == np.float64
    parts = np.einsum("nkp,nkl,nlq->npq", J, blocks, J)
    rank = np.linalg.matrix_rank(parts.sum(axis=0) + np.diag(o.penalty))
    for i, S in enumerate(point.forward.outputs):
        B = parts.sum(axis=0) - parts[i] + np.diag(o.penalty)
        values, vectors = np.linalg.eigh(B)
        kept = slice(-rank, None)  # a shift of all outputs is no part of any step
        if values[kept][0] < 1e-5 * values[-1]:
            continue  # nearly nothing is left to determine the intercept
        step = vectors[:, kept] @ ((vectors[:, kept].T @ (J[i].T @ point.G[i])) / values[kept])
        np.testing.assert_allclose(S_loo[i], S + J[i] @ step, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("shape", [(30, 4), (12, 40)])
def test_it_is_exact_for_a_quadratic(shape, intercept):
    rng = np.random.default_rng(0)
    X, s = rng.standard_normal(shape), rng.uniform(0.5, 2, shape[0])
    problem = LinearProblem(X, rng.standard_normal((shape[0], 2)), s, Squared(), 2, 0.7, intercept)
    w = solution(problem)
    rows = np.arange(shape[0])
    np.testing.assert_allclose(
        leave_one_out(problem.at(w)), refit_without(problem, w, rows), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("C", [0.01, 1])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_it_is_near_exact_fits(name, C):
    problem, w = real(name, C)
    S_loo, rows = leave_one_out(problem.at(w)), np.arange(0, len(problem.s), 7)
    exact = problem.loss.value(refit_without(problem, w, rows), problem.y[rows])
    approximate = problem.loss.value(S_loo[rows], problem.y[rows])
    fitted = problem.loss.value(problem.at(w).forward.outputs[rows], problem.y[rows])
    assert abs(np.mean(approximate - exact)) < 0.04 * np.mean(exact - fitted)
    assert np.all(approximate > fitted)


@pytest.mark.parametrize("K", [2, 4])
def test_classes_may_come_in_any_order(K):
    X, codes = overlapping(K, 80, 5)
    turned = (codes + 1) % K
    problems = [classify(X, labels, 1.0) for labels in (codes, turned)]
    first, second = (leave_one_out(problem.at(solution(problem))) for problem in problems)
    np.testing.assert_allclose(second, -first if K == 2 else np.roll(first, 1, axis=1), atol=1e-6)


@pytest.mark.parametrize("K", [2, 3])
def test_a_row_goes_with_all_its_weight(K):
    """An exact fit without a row of weight 2 is one without both its copies."""
    X, codes = overlapping(K, 60, 4)
    s = np.random.default_rng(1).integers(1, 4, 60).astype(float)
    problem, copies = classify(X, codes, 1.0, s), np.repeat(np.arange(60), s.astype(int))
    w, others = solution(problem), copies[copies != 7]
    W = solution(classify(X[others], codes[others], 1.0)).reshape(5, -1)
    exact = refit_without(problem, w, np.array([7]))[0]
    np.testing.assert_allclose(exact, X[7] @ W[:-1] + W[-1], atol=1e-4)
    approximate, fitted = leave_one_out(problem.at(w))[7], problem.at(w).forward.outputs[7]
    assert np.max(np.abs(approximate - exact)) < 0.2 * np.max(np.abs(fitted - exact))


@pytest.mark.parametrize("K", [2, 3])
def test_a_row_of_weight_0_changes_nothing(K):
    X, codes = overlapping(K, 60, 4)
    s = (np.arange(60) >= 10).astype(float)
    with_them, without = classify(X, codes, 1.0, s), classify(X[10:], codes[10:], 1.0)
    w = solution(without)
    S_loo = leave_one_out(with_them.at(w))
    np.testing.assert_allclose(S_loo[10:], leave_one_out(without.at(w)), rtol=1e-9)
    np.testing.assert_array_equal(S_loo[:10], with_them.at(w).forward.outputs[:10])


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_row_space_changes_nothing(K, intercept, dtype):
    """A sparse matrix goes without it."""
    X, codes = overlapping(K, 25, 60)
    X[np.abs(X) < 0.5] = 0
    X = X.astype(dtype)
    dense, sparse = (classify(held, codes, 1.0, intercept=intercept) for held in (X, csr_array(X)))
    w = solution(dense)
    np.testing.assert_allclose(leave_one_out(dense.at(w)), leave_one_out(sparse.at(w)), rtol=1e-7)


def test_features_may_be_penalised_unevenly():
    """Then a wide matrix has no row space to go to, as a sparse one."""
    X, codes = overlapping(3, 15, 20)
    points = [classify(held, codes, 1.0).at(np.ones(63)) for held in (X, csr_array(X))]
    uneven = [replace(point.objective, penalty=np.repeat(np.arange(21.0)[::-1], 3)) for point in points]
    dense, sparse = (leave_one_out(objective.at(np.ones(63))) for objective in uneven)
    np.testing.assert_allclose(dense, sparse, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("K", [2, 3])
def test_compiled_loops_change_nothing(K, dtype):
    X, codes = overlapping(K, 300, 6)
    problem = classify(X.astype(dtype), codes, 1.0)
    w = solution(problem)
    point = replace(problem, compiled=True).at(w)
    assert type(point.forward.X) is CompiledDesign
    np.testing.assert_allclose(leave_one_out(point), leave_one_out(problem.at(w)), rtol=1e-9)


def test_a_tall_matrix_is_read_twice_and_never_copied():
    X, codes = overlapping(2, 200_000, 20)
    point = classify(X, codes, 1.0).at(np.zeros(21))
    assert point.H.d.shape == (200_000, 1)
    leave_one_out(point)
    before = point.forward.X.passes
    tracemalloc.start()
    leave_one_out(point)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert point.forward.X.passes == before + 2
    assert peak < 0.6 * X.nbytes


def test_without_penalty_a_repeated_column_changes_nothing():
    X, codes = overlapping(3, 100, 4)
    problem = classify(X, codes, np.inf)
    W = solution(problem, tol=1e-10).reshape(5, 3)
    again = classify(np.column_stack([X, X[:, 0]]), codes, np.inf)
    halves = np.vstack([W[0] / 2, W[1:4], W[0] / 2, W[4]])
    S_loo = leave_one_out(again.at(halves.ravel()))
    np.testing.assert_allclose(S_loo, leave_one_out(problem.at(W.ravel())), rtol=1e-5)


def test_a_row_that_is_all_the_data_has_a_leverage_of_1():
    """Rounding must not make it more, or the system of the row singular."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        X, s = rng.standard_normal((3, 2)), np.array([1.0, 0.0, 0.0])
        problem = LinearProblem(X, np.array([0, 1, 1]), s, Softmax(), 2, 0.1, True)
        assert np.all(np.isfinite(leave_one_out(problem.at(3 * rng.standard_normal(6)))))


def test_a_row_alone_with_its_class_or_feature_leaves_the_outputs_finite():
    """With next to no penalty too."""
    X = np.vstack([np.eye(6), np.zeros((3, 6))])
    for codes in (np.array([0, 1, 2, 0, 1, 0, 1, 0, 1]), np.array([0, 1, 0, 0, 1, 0, 1, 0, 1])):
        for C in (1.0, 1e6, 1e12):
            problem = classify(X, codes, C)
            assert np.all(np.isfinite(leave_one_out(problem.at(solution(problem, tol=1e-8)))))


def test_too_many_parameters_are_told():
    """Those of the row space are few."""
    X, codes, w = np.eye(8, 6000), np.arange(8) % 2, np.zeros(6001)
    assert leave_one_out(classify(X, codes, 1.0).at(w)).shape == (8, 1)
    problem = classify(csr_array(X), codes, 1.0)
    with pytest.raises(ValueError, match=r"6001 parameters is too large.*cross-validation with folds"):
        leave_one_out(problem.at(w))


def test_equal_changes_of_all_classes_are_none():
    X, codes = overlapping(3, 40, 4)
    point = classify(X, codes, 1.0).at(np.zeros(15))
    moved = leave_one_out(point) - point.forward.outputs
    np.testing.assert_allclose(moved.sum(axis=1), 0, atol=1e-12)


def test_all_rows_refitted_are_the_truth():
    problem, w = real("iris", 100)
    S_loo, n = leave_one_out(problem.at(w)), len(problem.s)
    refits = refit_some(problem, w, S_loo, n_rows=n)
    np.testing.assert_array_equal(np.sort(refits.rows), np.arange(n))
    exact = np.empty_like(S_loo)
    exact[refits.rows] = refits.exact
    assert refits.error == pytest.approx(mean_loss(problem, S_loo) - mean_loss(problem, exact), abs=1e-12)


def test_the_error_is_estimated_without_bias():
    """Over many draws of 5 rows; each is much nearer to the truth than the mean of 5 rows drawn evenly."""
    X, codes = overlapping(3, 40, 15, seed=2)
    s = np.random.default_rng(5).integers(1, 3, 40).astype(float)
    problem = classify(X, codes, 3.0, s)
    w = solution(problem)
    S_loo = leave_one_out(problem.at(w))
    truth = refit_some(problem, w, S_loo, n_rows=40)
    order = np.argsort(truth.rows)
    exact = truth.exact[order]
    assert truth.error == pytest.approx(mean_loss(problem, S_loo) - mean_loss(problem, exact), abs=1e-12)
    errors = np.array([refit_some(problem, w, S_loo, seed=seed).error for seed in range(40)])
    assert abs(errors.mean() - truth.error) < 3 * errors.std() / 40**0.5
    parts = s * (problem.loss.value(S_loo, problem.y) - problem.loss.value(exact, problem.y)) / s.mean()
    assert np.mean((errors - truth.error) ** 2) < 0.2 * parts.var() / 5


def test_refits_are_the_same_for_a_seed():
    problem, w = real("wine", 1.0)
    S_loo = leave_one_out(problem.at(w))
    first, second = (refit_some(problem, w, S_loo, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.exact, second.exact)
    np.testing.assert_array_equal(first.approximate, S_loo[first.rows])
    assert len(first.rows) == 5


def test_doubt_is_told_where_the_approximation_is_poor():
    for C, doubtful in ((0.01, False), (1, False), (100, True)):
        problem, w = real("wine", C)
        assert refit_some(problem, w, leave_one_out(problem.at(w))).doubtful is doubtful


def test_no_solution_without_a_row_is_told():
    """The second or the third row alone keeps the classes from being separable."""
    problem = classify(np.arange(4.0)[:, None], np.array([0, 1, 0, 1]), np.inf)
    w = solution(problem, tol=1e-8)
    assert np.all(np.isnan(refit_without(problem, w, np.array([1, 2]))))
    refits = refit_some(problem, w, leave_one_out(problem.at(w)))
    assert refits.doubtful


@pytest.mark.parametrize("scale", [1e7, 1e12])
def test_wide_features_of_unequal_scales_are_right_or_refused(scale):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 80))
    y = (X[:, 1] > 0).astype(float)
    X[:, 0] *= scale
    problem = LinearProblem(X, y, np.ones(30), Logistic(), 1, 100.0, True)
    w = fit_linear(X, y, np.ones(30), loss=Logistic(), n_outputs=1, penalty=100.0, tol=1e-10).w
    if scale > 1e8:
        with pytest.raises(ValueError, match="scale the features"):
            leave_one_out(problem.at(w))
    else:
        rows = np.arange(5)
        np.testing.assert_allclose(
            leave_one_out(problem.at(w))[rows], refit_without(problem, w, rows), atol=0.01
        )
