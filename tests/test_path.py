"""Laws of the path: every cell is what a fit of its own would find, and costs less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from secondorder.curvature import GaussNewton
from secondorder.kernels import compiled_at_any_size
from secondorder.losses import Logistic, Softmax
from secondorder.models.linear import RowForward
from secondorder.solvers import Status, fit_linear, linear, path
from secondorder.solvers.chord import Seen, chord
from secondorder.solvers.linear import FLAT, LinearProblem, without_flat_rows
from secondorder.solvers.path import Fold, fit_path
from secondorder.solvers.span import Solution, best_in_span, combined

PENALTIES = [100.0, 1.0, 0.01]
seeds = st.integers(0, 2**32 - 1)


def sample(seed, n, p, n_classes, sparse=False):
    """X, y, s and what else a fit asks for; classes overlap."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * (rng.random((n, p)) < 0.5 if sparse else 1.0)
    scores = X @ rng.standard_normal((p, n_classes)) / np.sqrt(p) + rng.gumbel(size=(n, n_classes))
    y = np.argmax(scores, axis=1)
    y[:n_classes] = range(n_classes)
    y[n_classes : 2 * n_classes] = range(n_classes)
    problem = (
        {"loss": Logistic(), "n_outputs": 1}
        if n_classes == 2
        else {"loss": Softmax(), "n_outputs": n_classes}
    )
    return (
        csr_array(X) if sparse else X,
        y.astype(float) if n_classes == 2 else y,
        rng.random(n) + 0.5,
        problem,
    )


def folds_of(n, n_folds, seed=0):
    """Folds of which each leaves out some rows, and one of which takes others twice."""
    rng = np.random.default_rng(seed)
    of_row = np.concatenate([np.arange(n) % 2, rng.permutation(n) % n_folds])[-n:]
    of_row[:10] = n_folds  # in no fold, so that all classes are in all
    folds = [Fold((of_row != k).astype(float), np.flatnonzero(of_row == k)) for k in range(n_folds)]
    folds[0].counts[of_row == 1] *= 2
    return folds


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("n", "p", "n_classes", "sparse"),
    [(300, 6, 2, False), (200, 5, 3, False), (40, 90, 2, False), (40, 90, 3, False), (150, 40, 2, True),
     (150, 40, 4, True), (3000, 12, 2, False), (2000, 30, 3, False)],
)  # fmt: skip
def test_every_cell_is_a_fit_of_its_own(n, p, n_classes, sparse, intercept):
    X, y, s, problem = sample(n, n, p, n_classes, sparse)
    problem["intercept"] = intercept
    folds = folds_of(n, 3)
    for stage in fit_path(X, y, s, PENALTIES, folds=folds, tol=1e-10, **problem):
        own = fit_linear(X, y, s, penalty=stage.penalty, tol=1e-10, **problem)
        assert stage.whole.status is Status.CONVERGED
        np.testing.assert_allclose(stage.whole.value, own.value, rtol=2e-10)
        np.testing.assert_allclose(stage.whole.w, own.w, atol=3e-4)
        for fold, cell in zip(folds, stage.folds, strict=True):
            own = fit_linear(X, y, s * fold.counts, penalty=stage.penalty, tol=1e-10, **problem)
            assert cell.result.status is Status.CONVERGED
            assert cell.result.relative_gap <= 1e-10
            np.testing.assert_allclose(cell.result.value, own.value, rtol=2e-10)
            np.testing.assert_allclose(cell.result.w, own.w, atol=3e-4)
            W = cell.result.w.reshape(-1, problem["n_outputs"])
            S = X[fold.held_out] @ W[:p] + (W[p] if intercept else 0)
            np.testing.assert_allclose(cell.outputs, S, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("together", [True, False])
def test_tall_problems_of_few_features(together, dtype, monkeypatch):
    X, y, s, problem = sample(7, 30_000, 8, 2)
    X, tol = X.astype(dtype), 1e-9 if dtype == np.float64 else 1e-6
    if not together:
        monkeypatch.setattr(path, "TOGETHER_BYTES", 0)
    calls = []
    monkeypatch.setattr(path, "chord", lambda *a, **k: calls.append(chord(*a, **k)) or calls[-1])
    folds = folds_of(30_000, 3)
    stages = list(fit_path(X, y, s, [*PENALTIES, 0.0], folds=folds, tol=tol, **problem))
    assert len(calls) == (3 if together else 12)
    for stage in stages:
        own = fit_linear(X, y, s, penalty=stage.penalty, tol=tol, **problem)
        assert stage.whole.status is Status.CONVERGED
        assert len(stage.whole.history) == stage.whole.n_iter + 1
        assert stage.whole.n_iter <= stage.whole.passes
        np.testing.assert_allclose(stage.whole.value, own.value, rtol=2 * tol)
        np.testing.assert_allclose(stage.point.value, own.value, rtol=2 * tol)
        assert stage.point.forward.outputs.shape == (30_000, 1)
        for fold, cell in zip(folds, stage.folds, strict=True):
            own = fit_linear(X, y, s * fold.counts, penalty=stage.penalty, tol=tol, **problem)
            assert cell.result.status is Status.CONVERGED
            np.testing.assert_allclose(cell.result.value, own.value, rtol=2 * tol)
            S = X[fold.held_out] @ cell.result.w[:8] + cell.result.w[8]
            np.testing.assert_allclose(cell.outputs[:, 0], S, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_folds", [0, 3])
def test_what_is_known_belongs_to_the_curvature_at_hand(n_folds, monkeypatch):
    """The distance of outputs from where the curvature was taken is never understated."""
    X, y, s, problem = sample(9, 40_000, 8, 2)

    def seen(objective, start, near, look, **options):
        if isinstance(start, Seen):
            distance = np.max(np.abs(start.outputs - near.outputs), axis=0)
            assert np.all(start.moved >= distance * (1 - 1e-12))
            starts.append(start)
        return chord(objective, start, near, look, **options)

    starts = []
    monkeypatch.setattr(path, "chord", seen)
    folds = folds_of(40_000, 3)[:n_folds]
    for stage in fit_path(3 * X, y, s, np.geomspace(1e3, 1e-2, 30), folds=folds, tol=1e-4, **problem):
        assert stage.whole.status is Status.CONVERGED
        assert len(stage.whole.history) <= 5
    assert len(starts) > 10


@pytest.mark.parametrize(
    ("limit", "p", "sparse"), [("TOGETHER_BYTES", 5, False), ("CACHED_BYTES", 150, True)]
)
def test_folds_come_out_the_same_together_and_one_by_one(limit, p, sparse, monkeypatch):
    X, y, s, problem = sample(0, 200, p, 2, sparse)
    folds = folds_of(200, 4)
    together = list(fit_path(X, y, s, PENALTIES, folds=folds, tol=1e-12, **problem))
    monkeypatch.setattr(path, limit, 0)
    for a, b in zip(together, fit_path(X, y, s, PENALTIES, folds=folds, tol=1e-12, **problem), strict=True):
        for one, other in zip(a.folds, b.folds, strict=True):
            np.testing.assert_allclose(one.result.value, other.result.value, rtol=1e-11)
            np.testing.assert_allclose(one.outputs, other.outputs, atol=1e-4)


def test_folds_come_out_the_same_with_factors_of_their_own_and_without(monkeypatch):
    """Also of an X whose rows do not lie one after the other."""
    X, y, s, problem = sample(2, 2000, 30, 4)
    penalties, folds = np.geomspace(1e3, 1e-3, 8), folds_of(2000, 4)
    own = list(fit_path(X, y, s, penalties, folds=folds, tol=1e-12, **problem))
    monkeypatch.setattr(path, "FACTOR_BYTES", 0)
    shared = fit_path(np.asfortranarray(X), y, s, penalties, folds=folds, tol=1e-12, **problem)
    for a, b in zip(own, shared, strict=True):
        for one, other in zip(a.folds, b.folds, strict=True):
            assert one.result.status is other.result.status is Status.CONVERGED
            np.testing.assert_allclose(one.result.value, other.result.value, rtol=1e-11)
            np.testing.assert_allclose(one.outputs, other.outputs, atol=1e-4)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("searches", [True, False])
@pytest.mark.parametrize("rounded", [1.0, np.inf])
def test_a_path_is_the_same_in_coordinates_of_rows(intercept, searches, rounded, monkeypatch):
    rng = np.random.default_rng(7)
    X = random_array((60, 6000), density=0.01, rng=rng, format="csr")
    s, y = rng.random(60) + 0.5, np.arange(60) % 4
    folds, problem = folds_of(60, 3), {"loss": Softmax(), "n_outputs": 4, "intercept": intercept}
    monkeypatch.setattr(path, "SEARCH", 0 if searches else np.inf)
    monkeypatch.setattr(path, "ROUNDED", rounded)

    def stages():
        with compiled_at_any_size():
            return list(fit_path(X, y, s, PENALTIES, folds=folds, tol=1e-9, **problem))

    found = stages()
    assert isinstance(found[-1].point.forward, RowForward)
    monkeypatch.setattr(linear, "features_repay", lambda X, n_outputs: False)
    plain = stages()
    for stage, other in zip(found, plain, strict=True):
        assert not isinstance(other.point.forward, RowForward)
        np.testing.assert_allclose(stage.whole.w, other.whole.w, atol=1e-3)
        np.testing.assert_allclose(stage.point.value, other.point.value, rtol=2e-9)
        for cell, same, fold in zip(stage.folds, other.folds, folds, strict=True):
            assert cell.result.converged
            np.testing.assert_allclose(cell.result.value, same.result.value, rtol=2e-9)
            W = cell.result.w[: 6000 * 4].reshape(6000, 4)
            S = X[fold.held_out] @ W + (cell.result.w[6000 * 4 :] if intercept else 0.0)
            np.testing.assert_allclose(cell.outputs, S, atol=1e-9)


@pytest.mark.parametrize("solver", ["newton-cg", "newton-cholesky", "newton-kronecker"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_solvers_agree(solver, n_classes):
    X, y, s, problem = sample(1, 150, 8, n_classes)
    folds = folds_of(150, 3)
    for stage in fit_path(X, y, s, PENALTIES, folds=folds, tol=1e-10, solver=solver, **problem):
        for fold, cell in zip(folds, stage.folds, strict=True):
            own = fit_linear(X, y, s * fold.counts, penalty=stage.penalty, tol=1e-10, **problem)
            np.testing.assert_allclose(cell.result.value, own.value, rtol=2e-10)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_penalty_at_the_end(n_classes):
    X, y, s, problem = sample(2, 400, 4, n_classes)
    folds = folds_of(400, 3)
    last = list(fit_path(X, y, s, [1.0, 0.0], folds=folds, tol=1e-9, **problem))[-1]
    for fold, cell in zip(folds, last.folds, strict=True):
        own = fit_linear(X, y, s * fold.counts, penalty=0.0, tol=1e-9, **problem)
        np.testing.assert_allclose(cell.result.value, own.value, rtol=1e-8)
        assert cell.result.status is Status.CONVERGED
    np.testing.assert_allclose(last.point.value, last.whole.value, rtol=1e-12)


def test_penalties_are_read_one_by_one():
    X, y, s, problem = sample(3, 60, 3, 2)
    seen = []

    def penalties():
        for penalty in PENALTIES:
            seen.append(penalty)
            yield penalty

    stages = fit_path(X, y, s, penalties(), **problem)
    for k in range(len(PENALTIES)):
        next(stages)
        assert len(seen) == k + 1


def test_solutions_nearby_save_iterations():
    X, y, s, problem = sample(4, 2000, 60, 3)
    penalties = np.logspace(2, -3, 8)
    stages = list(fit_path(X, y, s, penalties, folds=folds_of(2000, 4), tol=1e-6, **problem))
    cold = [fit_linear(X, y, s, penalty=penalty, tol=1e-6, **problem).n_iter for penalty in penalties]
    warm = [stage.whole.n_iter for stage in stages]
    on_folds = [cell.result.n_iter for stage in stages for cell in stage.folds]
    assert sum(warm) <= 0.7 * sum(cold)
    assert sum(on_folds) <= 4 * 0.5 * sum(cold)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n_classes=st.sampled_from([2, 3]), n_bases=st.integers(2, 4))
def test_the_best_in_a_span_is_stationary_there(seed, n_classes, n_bases):
    X, y, s, problem = sample(seed % 100, 50, 4, n_classes)
    K = problem["n_outputs"]
    whole = LinearProblem(X, y, s, problem["loss"], K, 1.0, True)
    objective = whole.objective(whole.design())
    rng = np.random.default_rng(seed)
    bases = [0.3 * rng.standard_normal((5, K)) for _ in range(n_bases)]
    mix = rng.standard_normal(n_bases)
    start = objective.at(sum(a * W for a, W in zip(mix, bases, strict=True)).ravel())
    solutions = [Solution(W, objective.X.matmul(W)) for W in bases]
    a = best_in_span(objective, solutions, mix)
    found = objective.at(combined(a, bases, K).ravel())
    assert found.value <= start.value * (1 + 1e-12)
    # No member of the span is much better.
    slopes = np.array([W.ravel() @ found.gradient for W in bases])
    B = np.array([[U.ravel() @ (GaussNewton(found) @ V.ravel()) for V in bases] for U in bases])
    assert 0.5 * slopes @ np.linalg.lstsq(B, slopes, rcond=1e-12)[0] <= 0.01 * found.value


@pytest.mark.parametrize("n_classes", [2, 4])
def test_rows_left_out_hardly_change_the_curvature(n_classes):
    X, y, s, problem = sample(5, 4000, 6, n_classes)
    penalty, K = 0.01, problem["n_outputs"]
    whole = LinearProblem(X, y, s, problem["loss"], K, penalty, True)
    objective = whole.objective(whole.design())
    far = objective.at(40 * np.random.default_rng(0).standard_normal(7 * K))
    lean = without_flat_rows(far)
    assert lean.forward.X.shape[0] < 2000
    difference = GaussNewton(far).dense() - GaussNewton(lean).dense()
    eigenvalues = np.linalg.eigvalsh(difference)
    assert eigenvalues[0] >= -1e-9
    assert eigenvalues[-1] <= FLAT * penalty
    near = objective.at(np.zeros(7 * K))
    assert without_flat_rows(near) is near


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("shape", [(30, 3), (30, 50)])
def test_features_without_variation(shape, intercept, n_classes):
    _, y, s, problem = sample(6, 30, 3, n_classes)
    folds = folds_of(30, 3)
    stages = list(fit_path(np.zeros(shape), y, s, PENALTIES, folds=folds, intercept=intercept, **problem))
    for stage in stages:
        assert stage.whole.status is Status.CONVERGED
        for cell in stage.folds:
            assert cell.result.status is Status.CONVERGED
            W = cell.result.w.reshape(-1, problem["n_outputs"])
            np.testing.assert_allclose(W[: shape[1]], 0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e5, 1e7, 1e9])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_wide_problems_of_unequal_scales_are_not_certified_by_rounding(scale, n_classes):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((60, 300))
        X[:, 0] *= scale
        codes = np.digitize(X[:, 1], [0.0] if n_classes == 2 else [-0.5, 0.5])
        _, _, _, problem = sample(0, 60, 3, n_classes)
        y, s = codes.astype(float) if n_classes == 2 else codes, np.ones(60)
        folds = folds_of(60, 3)
        for stage in fit_path(X, y, s, [1e3, 1.0, 1e-2], folds=folds, tol=1e-8, **problem):
            weights = [s, *(fold.counts for fold in folds)]
            results = [stage.whole, *(cell.result for cell in stage.folds)]
            for part, result in zip(weights, results, strict=True):
                plain = fit_linear(
                    X, y, part, penalty=stage.penalty, tol=1e-10, solver="newton-cg", **problem
                )
                assert result.gap >= 0
                excess = LinearProblem(X, y, part, penalty=stage.penalty, intercept=True, **problem)
                if result.status is Status.CONVERGED:
                    assert excess.at(result.w).value <= plain.value * (1 + 1e-7)
