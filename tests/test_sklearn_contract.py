"""The estimator is scikit-learn's in all that users of scikit-learn may do with it."""

import copy
import io
import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn.linear_model
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from secondorder.linear_model import LogisticRegression, LogisticRegressionCV, _classifier
from secondorder.solvers.linear import SOLVERS

pytestmark = pytest.mark.usefixtures("one_thread")

CS = [0.01, 0.1, 1.0, 10.0]


def ours(**parameters):
    """The estimator, converged to rounding."""
    return LogisticRegression(tol=1e-13, **parameters)


def theirs(**parameters):
    """Scikit-learn's, converged likewise."""
    return sklearn.linear_model.LogisticRegression(
        solver="newton-cholesky", tol=1e-10, max_iter=1000, **parameters
    )


def data(n_classes=2, n=120, p=5, seed=0):
    """Classes that overlap, on features of several scales."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    noisy = 1.5 * X[:, :n_classes] + rng.gumbel(size=(n, n_classes))
    return X * np.geomspace(0.5, 20, p) + 3, np.argmax(noisy, axis=1)


@pytest.fixture(params=[2, 3], ids=["binary", "multiclass"])
def problem(request):
    return data(request.param)


def variants():
    """Estimators with every solver, and with the parameters that change what a fit does."""
    for solver in SOLVERS:
        yield LogisticRegression(solver=solver)
    yield LogisticRegression(fit_intercept=False)
    yield LogisticRegression(class_weight="balanced")
    # Three folds, as scikit-learn checks its own with: some of the checks have no five rows of a class.
    yield LogisticRegressionCV(cv=3)
    yield LogisticRegressionCV(cv=3, Cs=2, scoring=None, class_weight="balanced")
    yield LogisticRegressionCV(cv=3, Cs=2, refit=False, fit_intercept=False)
    yield LogisticRegressionCV(cv=3, Cs="auto", selection="1se")


def checks():
    """Scikit-learn's checks of every variant."""
    for variant in variants():
        for estimator, check in estimator_checks_generator(variant):
            name = check.func.__name__
            # Asks to call nearly every row the heavy class, which a function through 0 cannot do:
            # scikit-learn's own estimator fails it without intercept.
            if name == "check_class_weight_classifiers" and not estimator.fit_intercept:
                continue
            yield pytest.param(estimator, check, id=f"{variant}-{name}")


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_check(estimator, check):
    check(estimator)


COMPOSITIONS = {
    "pipeline": lambda model: make_pipeline(StandardScaler(), model),
    "grid": lambda model: GridSearchCV(model, {"C": CS}, scoring="neg_log_loss"),
    "calibrated": lambda model: CalibratedClassifierCV(model, cv=3),
    "one-vs-rest": OneVsRestClassifier,
}


@pytest.mark.parametrize("compose", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_takes_the_place_of_scikit_learn_s_estimator(problem, compose):
    """Inside any meta-estimator, and cross-validated, it gives the probabilities that theirs gives."""
    X, y = problem
    mine, other = compose(ours()), compose(theirs())
    np.testing.assert_allclose(
        mine.fit(X, y).predict_proba(X), other.fit(X, y).predict_proba(X), rtol=1e-4, atol=1e-6
    )
    assert getattr(mine, "best_params_", None) == getattr(other, "best_params_", None)


def test_cross_validated_predictions_are_scikit_learn_s(problem):
    mine, other = (cross_val_predict(m, *problem, method="predict_proba") for m in (ours(), theirs()))
    np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_shapes_are_scikit_learn_s(problem, fit_intercept):
    X, y = problem
    mine = ours(fit_intercept=fit_intercept).fit(X, y)
    other = theirs(fit_intercept=fit_intercept).fit(X, y)
    for name in ("coef_", "intercept_", "n_iter_", "classes_"):
        a, b = getattr(mine, name), getattr(other, name)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    for name in METHODS:
        for rows in (X, X[:1]):
            a, b = getattr(mine, name)(rows), getattr(other, name)(rows)
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert fit_intercept or not np.any(mine.intercept_)


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize(
    "copied", [lambda model: pickle.loads(pickle.dumps(model)), through_joblib, copy.deepcopy]
)
def test_copies_predict_the_same(problem, copied):
    X, y = problem
    model = LogisticRegression().fit(X, y)
    twin = copied(model)
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    assert repr(twin.result_) == repr(model.result_)


def test_clones_are_unfitted_and_fit_the_same(problem):
    model = LogisticRegression(C=3, tol=1e-5, class_weight="balanced", warm_start=True)
    before = model.get_params()
    model.fit(*problem)
    twin = clone(model)
    assert twin.get_params() == model.get_params() == before
    assert not hasattr(twin, "coef_")
    np.testing.assert_array_equal(twin.fit(*problem).coef_, model.coef_)


def test_sparse_coefficients_change_nothing_else(problem):
    X, y = problem
    model = LogisticRegression(warm_start=True).fit(X, y)
    dense, expected = model.coef_.copy(), model.predict_proba(X)
    for name, has_type in [("sparsify", sp.issparse), ("densify", lambda a: isinstance(a, np.ndarray))]:
        for _ in range(2):
            assert getattr(model, name)() is model
            assert has_type(model.coef_)
            assert model.coef_.shape == dense.shape
            for rows in (X, sp.csr_array(X)):
                got = model.predict_proba(rows)
                assert isinstance(got, np.ndarray)
                np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_array_equal(model.coef_, dense)


def test_feature_names_are_kept_and_compared(problem):
    X, y = problem
    named = pd.DataFrame(X, columns=list("abcde"))
    model = LogisticRegression().fit(named, y)
    assert model.feature_names_in_.tolist() == list("abcde")
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        plain = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(named), plain, rtol=1e-12)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(named[list("edcba")])
    assert not hasattr(model.fit(X, y), "feature_names_in_")


def wide_indices(X):
    """CSR with 64-bit indices."""
    X = sp.csr_array(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def mapped(X, folder):
    """A memory map that can only be read."""
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


CONTAINERS = {
    "list": lambda X, _: X.tolist(),
    "pandas": lambda X, _: pd.DataFrame(X),
    "polars": lambda X, _: pl.DataFrame(X, schema=[f"x{j}" for j in range(X.shape[1])]),
    "fortran": lambda X, _: np.asfortranarray(X),
    "strided": lambda X, _: np.repeat(X, 2, axis=1)[:, ::2],
    "integers": lambda X, _: X.astype(np.int16),
    "memory map": mapped,
    "float32": lambda X, _: X.astype(np.float32),
    "float32 csr": lambda X, _: sp.csr_array(X, dtype=np.float32),
    "csr matrix": lambda X, _: sp.csr_matrix(X),
    "csr array": lambda X, _: sp.csr_array(X),
    "csr int64": lambda X, _: wide_indices(X),
    "csc": lambda X, _: sp.csc_array(X),
    "coo": lambda X, _: sp.coo_array(X),
}


@pytest.fixture(scope="module", params=[120, 60_000], ids=["plain", "compiled"])
def contained(request):
    """Integers, half of them 0, which every container and precision holds; labels; coefficients."""
    X, y = data(3, n=request.param, p=24)
    X = np.round(X * np.tile([1, 0], 12))
    return X, y, ours().fit(X, y).coef_


def as_bytes(X):
    """What X holds, to compare."""
    if sp.issparse(X):
        arrays = (X.data, *X.coords) if X.format == "coo" else (X.data, X.indices, X.indptr)
        return [a.tobytes() for a in arrays]
    return np.asarray(X).tobytes()


@pytest.mark.parametrize("contain", CONTAINERS.values(), ids=CONTAINERS)
def test_the_container_of_X_is_irrelevant(contained, contain, tmp_path):
    """The same numbers give the same coefficients whatever holds them, and are left as they are."""
    X, y, expected = contained
    held = contain(X, tmp_path)
    before = as_bytes(held)
    coef = ours().fit(held, y).coef_
    np.testing.assert_allclose(coef, expected, rtol=0, atol=1e-6 * np.max(np.abs(expected)))
    assert as_bytes(held) == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_coefficients_have_the_precision_of_X(problem, dtype):
    X, y = problem
    model = LogisticRegression().fit(X.astype(dtype), y)
    expected = np.float32 if dtype == np.float32 else np.float64
    assert model.coef_.dtype == model.intercept_.dtype == expected
    assert model.predict_proba(X.astype(dtype)).dtype == expected


@pytest.mark.parametrize("order", ["C", "F", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_X_is_not_copied(order, dtype):
    """Neither fit nor predict ever holds as many bytes as the values of X."""
    X, y = data(n=40_000, p=200)
    X = sp.csr_array(X, dtype=dtype) if order == "csr" else X.astype(dtype, order=order)
    size = X.data.nbytes
    model = LogisticRegression().fit(X, y)  # compiles what is to be compiled
    tracemalloc.start()
    model.fit(X, y).predict_proba(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size


ROUTED = {
    "pipeline": lambda model: make_pipeline(StandardScaler().set_fit_request(sample_weight=True), model),
    "grid": lambda model: GridSearchCV(model.set_score_request(sample_weight=True), {"C": CS}),
    "calibrated": lambda model: CalibratedClassifierCV(model, cv=3),
}


@pytest.mark.parametrize("compose", ROUTED.values(), ids=ROUTED)
def test_sample_weight_is_routed_to_the_fit(problem, compose):
    """With metadata routing, weights given to a meta-estimator do there what they do for theirs."""
    X, y = problem
    s = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    with config_context(enable_metadata_routing=True):
        mine, other, unweighted = (
            compose(model.set_fit_request(sample_weight=True)) for model in (ours(), theirs(), ours())
        )
        mine, other = (m.fit(X, y, sample_weight=s).predict_proba(X) for m in (mine, other))
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
        assert np.max(np.abs(mine - unweighted.fit(X, y).predict_proba(X))) > 1e-3


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_warm_start_goes_on_from_the_solution(problem, fit_intercept):
    model = LogisticRegression(warm_start=True, fit_intercept=fit_intercept).fit(*problem)
    cold = model.n_iter_[0]
    assert model.fit(*problem).n_iter_[0] <= 1 < cold
    assert model.sparsify().fit(*problem).n_iter_[0] <= 1


@pytest.mark.parametrize("change", ["classes", "labels", "features", "intercept", "C"])
def test_warm_start_never_changes_the_solution(problem, change):
    """A start that fits the new problem only in part, or not at all, leaves the optimum where it is."""
    X, y = problem
    model = ours(warm_start=True).fit(X, y)
    if change == "classes":
        y = data(5 - len(model.classes_))[1]
    elif change == "labels":
        y = y + 1
    elif change == "features":
        X = X[:, :3]
    else:
        model.set_params(**({"C": 0.1} if change == "C" else {"fit_intercept": False}))
    expected = clone(model).fit(X, y)
    model.fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, rtol=1e-5, atol=1e-6)


def test_fit_does_not_change_parameters(problem):
    weights = {0: 1.0, 1: 2.0, 2: 3.0}
    model = LogisticRegression(2, tol=1e-4, class_weight=weights, max_iter=50, random_state=3)
    before = model.get_params()
    model.fit(*problem)
    assert model.get_params() == before
    assert model.class_weight is weights
    assert weights == {0: 1.0, 1: 2.0, 2: 3.0}


@pytest.mark.parametrize("size", [1, 1e2, 1e4])
def test_probabilities_and_their_logarithms(problem, size):
    """Rows sum to 1; the logarithms agree where the probabilities can, and stay finite where these are 0."""
    X, y = problem
    model = LogisticRegression().fit(X, y)
    model.coef_ *= size
    model.intercept_ *= size
    P, L, S = model.predict_proba(X), model.predict_log_proba(X), model.decision_function(X)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-12)
    assert np.all(np.isfinite(L))
    assert np.all(L <= 0)
    normal = np.finfo(float).tiny <= P
    np.testing.assert_allclose(np.exp(L[normal]), P[normal], rtol=1e-11)
    assert np.all(P[~normal] <= np.finfo(float).tiny)
    assert size < 1e4 or np.any(P == 0)
    odds = L[:, 1] - L[:, 0]
    np.testing.assert_allclose(odds, S if S.ndim == 1 else S[:, 1] - S[:, 0], rtol=1e-9, atol=1e-12)
    best = np.argmax(S, axis=1) if S.ndim == 2 else (S > 0).astype(int)
    np.testing.assert_array_equal(model.predict(X), best)


METHODS = ("decision_function", "predict", "predict_proba", "predict_log_proba")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 20), slice(None, None, 7)])
def test_plain_rows_are_not_checked_and_answered_the_same(problem, monkeypatch, method, dtype, rows):
    X, y = problem
    model = LogisticRegression().fit(X.astype(dtype), y)
    X = X[rows].astype(dtype)
    checked = getattr(model, method)(pd.DataFrame(X))
    monkeypatch.setattr(_classifier, "validate_data", None)
    plain = getattr(model, method)(X)
    assert plain.dtype == checked.dtype
    rounding = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(plain, checked, rtol=rounding, atol=rounding)
    with pytest.raises(TypeError):  # everything else is checked
        getattr(model, method)(X.tolist())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_row_that_is_not_finite_is_refused_for_any_coefficients(problem, value):
    X, y = problem
    model = LogisticRegression().fit(X, y)
    model.coef_[:] = 0
    row = X[:1].copy()
    row[0, 2] = value
    for method in METHODS:
        with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
            getattr(model, method)(row)


LABELS = {
    "strings": np.array(["no", "perhaps", "yes"]),
    "objects": np.array(["no", "perhaps", "yes"], dtype=object),
    "negative": np.array([-7, 0, 300]),
    "floats": np.array([-1.0, 2.0, 4.0]),
    "single": np.array([0, 1, 2], dtype=np.float32),
    "large floats": np.array([0.0, 2.0**55, 2.0**60]),
    "half": np.array([0, 1, 2], dtype=np.float16),
    "large": np.array([2**62, 2**62 + 1]),
    "largest": np.array([2**63 - 2, 2**63 - 1]),
    "two": np.array([-1.0, 1.0]),
    "bool": np.array([False, True]),
    "pandas": pd.array(["a", "b", "c"]),
    "categories": pd.Categorical(["a", "b", "c"]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_are_only_names(problem, labels):
    """Other names for the classes, in the same order, give the same coefficients and come back."""
    X, codes = problem
    if np.max(codes) >= len(labels):
        X, codes = data(2, seed=1)
    y = labels[codes]
    model, expected = LogisticRegression().fit(X, y), LogisticRegression().fit(X, codes)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.classes_, np.unique(np.asarray(y)))
    np.testing.assert_array_equal(model.predict(X), np.asarray(labels)[expected.predict(X)])
    assert model.predict(X).dtype == model.classes_.dtype == np.asarray(y).dtype
    assert 0.5 < model.score(X, y) < 1


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_prints_one_line_per_iteration(problem, capsys, verbose):
    """After the names of the columns and the start."""
    model = LogisticRegression(verbose=verbose).fit(*problem)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == verbose * (2 + model.n_iter_[0])
    assert [int(line.split()[0]) for line in lines[1:]] == list(range(len(lines) - 1))
