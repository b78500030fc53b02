"""Bad input gives a clear exception and hard input a true answer or a true warning; nothing hangs."""

import signal
import threading
import warnings

import numpy as np
import pytest
import sklearn.linear_model
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from secondorder.linear_model import LogisticRegression
from secondorder.solvers import Status
from secondorder.solvers.linear import SOLVERS

pytestmark = pytest.mark.usefixtures("one_thread")

SECONDS = 20


@pytest.fixture(autouse=True)
def time_limit():
    """Fail a test that hangs, where the platform can."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        pytest.fail(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def features(n, p, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p))


def labels(n, n_classes):
    """Each class in turn, two fifths of the rows in the next: no function of other random numbers."""
    moved = np.random.default_rng(1).random(n) < 0.4
    moved[:n_classes] = False
    return (np.arange(n) + moved) % n_classes


def put(a, value, dtype=None):
    """A copy of `a` with `value` in its first place."""
    a = np.array(a, dtype=dtype)
    a.flat[0] = value
    return a


X, Y, ONES = features(40, 3), labels(40, 2), np.ones(40)

REFUSED = {
    "NaN": ({"X": put(X, np.nan)}, ValueError, "X contains NaN"),
    "NaN in CSR": ({"X": csr_array(put(X, np.nan))}, ValueError, "X contains NaN"),
    "inf": ({"X": put(X, np.inf)}, ValueError, "X contains infinity"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, ValueError, "0 sample"),
    "one row": ({"X": X[:1], "y": Y[:1]}, ValueError, "only one class"),
    "no columns": ({"X": X[:, :0]}, ValueError, "0 feature"),
    "one class": ({"y": ONES}, ValueError, "only one class.*1"),
    "strings": ({"X": np.full((40, 3), "a")}, ValueError, "convert string to float"),
    "0-d": ({"X": 3.0}, ValueError, "Expected 2D array"),
    "1-d": ({"X": X[:, 0]}, ValueError, "Expected 2D array"),
    "3-d": ({"X": X[:, :, None]}, ValueError, "dim 3"),
    "ragged": ({"X": [[1, 2], [3]], "y": [0, 1]}, ValueError, "inhomogeneous"),
    "complex": ({"X": X + 0j}, ValueError, "Complex data not supported"),
    "object string": ({"X": put(X, "a", object)}, ValueError, "convert string to float: 'a'"),
    "object dict": ({"X": put(X, {}, object)}, TypeError, "string or a real number, not 'dict'"),
    "1e200": ({"X": 1e200 * X}, ValueError, "too large.*Scale the features"),
    "1e200 once": ({"X": put(X, 1e200)}, ValueError, "too large.*Scale the features"),
    "1e200 CSR": ({"X": csr_array(1e200 * X)}, ValueError, "too large.*Scale the features"),
    "1e200 wide": ({"X": 1e200 * features(40, 80)}, ValueError, "too large.*Scale the features"),
    "1e200 not penalised": ({"X": 1e200 * X, "C": np.inf}, ValueError, "too large.*Scale the features"),
    "y None": ({"y": None}, ValueError, "requires y to be passed"),
    "y short": ({"y": Y[:-1]}, ValueError, r"inconsistent numbers of samples: \[40, 39\]"),
    "y continuous": ({"y": X[:, 0]}, ValueError, "Unknown label type: continuous"),
    "y indicators": ({"y": np.eye(3, dtype=int)[labels(40, 3)]}, ValueError, "y should be a 1d array"),
    "y mixed": ({"y": np.array([1, "a"] * 20, object)}, ValueError, "Unknown label type"),
    "y None among": ({"y": np.array([None, "a"] * 20, object)}, ValueError, "Unknown label type"),
    "y NaN": ({"y": put(Y, np.nan, float)}, ValueError, "contains NaN"),
    "y NaN object": ({"y": put(Y, np.nan, object)}, ValueError, "contains NaN"),
    "weight negative": ({"sample_weight": put(ONES, -1)}, ValueError, "Negative values.*sample_weight"),
    "weight NaN": ({"sample_weight": put(ONES, np.nan)}, ValueError, "sample_weight contains NaN"),
    "weight inf": ({"sample_weight": put(ONES, np.inf)}, ValueError, "sample_weight contains infinity"),
    "weight string": ({"sample_weight": ["a"] * 40}, ValueError, "convert string to float"),
    "weights 0": ({"sample_weight": 0 * ONES}, ValueError, "weights must contain at least one non-zero"),
    "weights short": ({"sample_weight": ONES[:-1]}, ValueError, r"sample_weight.shape == \(39,\)"),
    "weights 2-d": ({"sample_weight": np.ones((40, 2))}, ValueError, "weights must be 1D"),
    "weights of a class 0": ({"sample_weight": 1.0 * Y}, ValueError, "sample_weight makes .* class 0"),
    "balanced, weights of a class 0": (
        {"sample_weight": 1.0 * Y, "class_weight": "balanced"}, ValueError, "sample_weight makes .* class 0",
    ),
    "class_weight 0": ({"class_weight": {1: 0}}, ValueError, "class_weight makes .* class 1"),
    "class_weight unknown": ({"class_weight": {7: 1}}, ValueError, "not in class_weight"),
    "class_weight string": ({"class_weight": "even"}, ValueError, "class_weight.*'even'"),
}  # fmt: skip
BAD_PARAMETERS = {
    "C": (0, -1.0, np.nan, -np.inf, "1", None, [1], 1j),
    "tol": (-1, np.nan, "1", None),
    "max_iter": (-1, 1.5, 100.0, np.nan, "1", None),
    "solver": ("lbfgs", "", None, 3, ["auto"]),
    "l1_ratio": (0.5, 1, np.nan, "0", None),
    "fit_intercept": ("yes", "False", None, 2),
}
REFUSED |= {
    f"{name}={value!r}": ({name: value}, ValueError, f"^{name}={value!r}".replace("[", r"\["))
    for name, values in BAD_PARAMETERS.items()
    for value in values
}
REFUSED |= {
    f"class_weight={value}": ({"class_weight": {0: value}}, ValueError, "^class_weight=.*(finite|negative)")
    for value in (-1, np.nan, np.inf)
}


@pytest.mark.parametrize(("given", "exception", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_fitted_is_refused(given, exception, message):
    given = {"X": X, "y": Y, "sample_weight": None} | given
    data = [given.pop(name) for name in ("X", "y", "sample_weight")]
    with pytest.raises(exception, match=f"(?s){message}"):
        LogisticRegression(**given).fit(*data)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (X[:, :2], "X has 2 features, but LogisticRegression is expecting 3"),
        (put(X, np.nan), "X contains NaN"),
        (X[0], "Expected 2D array"),
        (np.full((2, 3), "a"), "convert string to float"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_what_cannot_be_predicted_is_refused(method, rows, message):
    with pytest.raises(ValueError, match=message):
        getattr(LogisticRegression().fit(X, Y), method)(rows)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(LogisticRegression(), method)(X)


def outcome(model, X, y):
    """The fitted model and the text of its warning, which is the only one; "" if it converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert {w.category for w in caught} <= {ConvergenceWarning}
    assert len(caught) == (model.result_.status is not Status.CONVERGED)
    return model, "".join(str(w.message) for w in caught)


def assert_optimal(model, X, y, optimality):
    """It converged, its certificate is true, and scikit-learn finds nothing lower."""
    assert model.result_.status is Status.CONVERGED
    point = optimality(model, X, y)
    point.check(model.result_, model.tol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = sklearn.linear_model.LogisticRegression(
            C=model.C, solver="newton-cholesky", tol=1e-10, max_iter=1000, fit_intercept=model.fit_intercept
        ).fit(X, y)
        least = optimality(other, X, y).value
    assert not point.value > least * (1 + 1e-9)


SCALES = np.array([1e-8, 1e-3, 1e3, 1e8])
HARD = {
    "constant column": lambda: np.column_stack([features(60, 3), np.full(60, 7.0)]),
    "zero column": lambda: np.column_stack([features(60, 3), np.zeros(60)]),
    "constant columns": lambda: np.full((60, 4), 0.1),
    "zero columns": lambda: np.zeros((60, 4)),
    "constant columns, wide": lambda: np.full((10, 40), 7.0),
    "zero columns, wide": lambda: np.zeros((10, 40)),
    "duplicated columns": lambda: np.tile(features(60, 3), 3),
    "scaled columns": lambda: features(60, 4) * SCALES,
    "scaled columns far from 0": lambda: (features(60, 4) + 5) * SCALES,
    "all columns small": lambda: features(60, 4) * 1e-8,
    "all columns large": lambda: features(60, 4) * 1e8,
    "wide": lambda: features(20, 100),
    "wide, scaled columns": lambda: features(20, 100) * np.geomspace(1e-8, 1e8, 100),
    "one column": lambda: features(60, 1),
    "a row for each class": lambda: features(3, 4),
    "one row for each class, the same": lambda: np.ones((3, 2)),
    "far from 0": lambda: features(60, 3) + 1e6,
}


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
def test_hard_features_get_the_optimum(make, n_classes, solver, container, fit_intercept, optimality):
    X = make()
    X = X[:n_classes] if len(X) == 3 else X
    y = labels(len(X), n_classes)
    model = LogisticRegression(tol=1e-9, solver=solver, fit_intercept=fit_intercept).fit(container(X), y)
    assert_optimal(model, X, y, optimality)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("solver", ["auto", "newton-cholesky"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_minimum_of_1e_14_is_found(n_classes, solver, container, fit_intercept, optimality):
    """Separable rows of size 1e8: all probabilities end within 1e-16 of 0 or 1."""
    X, y = features(20, 40) * 1e8, labels(20, n_classes)
    model = LogisticRegression(tol=1e-9, solver=solver, fit_intercept=fit_intercept).fit(container(X), y)
    assert_optimal(model, X, y, optimality)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("C", [1e-10, 1e10])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_extreme_penalties_get_the_optimum(n_classes, C, solver, optimality):
    X, y = features(60, 4), labels(60, n_classes)
    assert_optimal(LogisticRegression(C, tol=1e-9, solver=solver).fit(X, y), X, y, optimality)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_class_of_one_row_gets_the_optimum(n_classes, solver, optimality):
    X, y = features(1000, 3), np.zeros(1000, int)
    y[: n_classes - 1] = np.arange(1, n_classes)
    assert_optimal(LogisticRegression(tol=1e-9, solver=solver).fit(X, y), X, y, optimality)


# Products of squares of 1e100 overflow but where the Hessian is brought to unit diagonal.
HUGE = [(solver, size) for solver in SOLVERS for size in (1e10, 1e30)]
HUGE += [("auto", 1e100), ("newton-cholesky", 1e100)]


@pytest.mark.parametrize(("solver", "size"), HUGE)
@pytest.mark.parametrize("shape", [(60, 3), (20, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_huge_values_are_solved_or_the_warning_says_why_not(n_classes, solver, shape, size):
    X, y = size * features(*shape), labels(shape[0], n_classes)
    model, text = outcome(LogisticRegression(solver=solver), X, y)
    assert np.all(np.isfinite(model.coef_))
    remedy = {Status.CONVERGED: "", Status.MAX_ITER: "Raise max_iter", Status.PRECISION: "cale the features"}
    assert remedy[model.result_.status] in text


def parted(n, n_classes, rng):
    """Linear functions tell all classes apart."""
    X = rng.standard_normal((n, 4))
    return X, np.argmax(X @ rng.standard_normal((4, n_classes)), axis=1), np.ones(n, bool)


def mixed(n, n_classes, rng):
    """Classes that nothing tells apart."""
    y = rng.integers(0, n_classes, n)
    y[:n_classes] = np.arange(n_classes)
    return rng.standard_normal((n, 4)), y


def revealed(n, n_classes, rng):
    """Classes that overlap, and a 0-1 feature that is 1 for some rows of class 0 only."""
    X, y = mixed(n, n_classes, rng)
    told = (y == 0) & (rng.random(n) < 0.5)
    told[0] = True
    return np.column_stack([X, told]), y, told


def touching(n, n_classes, rng):
    """One feature puts the classes in order, but for rows on the borders."""
    y = np.sort(np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)]))
    borders = np.arange(1, n_classes)
    x = np.concatenate([y + rng.uniform(0.1, 0.9, n), borders, borders])
    told = np.arange(len(x)) < n
    return x[:, None], np.concatenate([y, borders - 1, borders]), told


def one_apart(n, n_classes, rng):
    """One feature tells the last class from the others, which overlap."""
    X, y = mixed(n, n_classes, rng)
    last = y == n_classes - 1
    X[:, 0] = np.where(last, 1, -1) * (0.1 + np.abs(X[:, 0]))
    return X, y, last


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("make", [parted, revealed, touching, one_apart])
def test_separation_is_told(make, n_classes, solver, seed):
    """Complete or quasi-complete, without penalty: finite coefficients, the rows told apart, a warning."""
    X, y, told = make(80, n_classes, np.random.default_rng(seed))
    model, text = outcome(LogisticRegression(C=np.inf, solver=solver), X, y)
    assert model.result_.status is Status.SEPARATED
    assert "Separation" in text
    assert "Set a finite C" in text
    assert f"for class {n_classes - 1}, along the features 0" in text or make is not one_apart
    assert np.all(np.isfinite(model.coef_))
    np.testing.assert_array_equal(model.predict(X)[told], y[told])


def assert_most_likely(X, y, solver, fit_intercept=True):
    """Without penalty the probabilities are scikit-learn's, and the decrement is an honest estimate."""
    X0 = X - X.mean(axis=0) if fit_intercept else X  # which theirs needs to be precise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = sklearn.linear_model.LogisticRegression(
            C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000, fit_intercept=fit_intercept
        ).fit(X0, y)
    model = LogisticRegression(C=np.inf, solver=solver, tol=1e-12, fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X0), rtol=0, atol=1e-5)
    least = -np.sum(other.predict_log_proba(X0)[np.arange(len(y)), y])
    value = model.set_params(tol=1e-8).fit(X, y).result_.value
    np.testing.assert_allclose(value, least, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_little_overlap_is_no_separation(n_classes, solver):
    """Classes in order but for one row of each beyond the border: the likelihood has a maximum."""
    X, y, told = touching(80, n_classes, np.random.default_rng(0))
    X[~told] += 0.05 * np.repeat([1, -1], n_classes - 1)[:, None]
    assert_most_likely(X, y, solver)


NOT_PENALISED = ("one column", "duplicated columns", "far from 0", "constant columns", "zero columns")


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", NOT_PENALISED)
def test_without_penalty_the_likelihood_is_maximised(name, n_classes, solver, fit_intercept):
    """Also where many coefficients give it."""
    assert_most_likely(HARD[name](), labels(60, n_classes), solver, fit_intercept)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_too_few_iterations_are_told(n_classes):
    model, text = outcome(LogisticRegression(max_iter=1), features(60, 3), labels(60, n_classes))
    assert model.result_.status is Status.MAX_ITER
    assert model.n_iter_.tolist() == [1]
    assert "max_iter=1 Newton iterations were too few" in text
    assert "Raise max_iter" in text


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_zero_tolerance_ends_at_rounding(n_classes, solver, optimality):
    """Certified, or told that rounding is in the way; in either case as good as float64 allows."""
    X, y = features(60, 3), labels(60, n_classes)
    model, text = outcome(LogisticRegression(tol=0, solver=solver), X, y)
    assert model.result_.status in (Status.CONVERGED, Status.PRECISION)
    assert not text or text.startswith("Precision")
    assert not text or "Raise tol" in text
    point = optimality(model, X, y)
    assert point.gap <= 1e-15 * point.value


@pytest.mark.parametrize(("offset", "counts"), [(0.0, False), (100.0, False), (1e6, True)])
def test_rounding_of_coefficients_to_float32_is_told_where_it_counts(offset, counts):
    X = (features(300, 4) + offset).astype(np.float32)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for seed in range(4):  # now and then it rounds to next to the same
            y = X[:, 0] - offset + np.random.default_rng(seed).logistic(size=300) > 0
            assert LogisticRegression(tol=1e-6).fit(X, y).result_.status is Status.CONVERGED
    assert any("coef_" in str(warning.message) for warning in seen) == counts


def test_a_warm_start_from_what_is_not_finite_begins_anew():
    X, y = features(100, 3), np.arange(100) % 2
    model = LogisticRegression(warm_start=True).fit(X, y)
    expected = model.coef_.copy()
    model.coef_[0, 0] = np.nan
    np.testing.assert_array_equal(model.fit(X, y).coef_, expected)
