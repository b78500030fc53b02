"""Other implementations find the same solution, and certificates on real data are true."""

import warnings

import mpmath
import numpy as np
import pytest
import sklearn.linear_model
import statsmodels.api
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from secondorder.linear_model import LogisticRegression

pytestmark = pytest.mark.usefixtures("one_thread")

CS = [0.01, 1, 100]


def theirs(C, X, y, **parameters):
    """Scikit-learn's solution, by the one of its solvers that comes close to rounding."""
    return sklearn.linear_model.LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000, **parameters
    ).fit(X, y)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scaled", [False, True], ids=["raw", "standardised"])
@pytest.mark.parametrize("C", CS)
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_scikit_learn_finds_the_same(name, C, scaled, fit_intercept, optimality):
    """The same coefficients, and no lower objective."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = StandardScaler().fit_transform(X) if scaled else X
    model = LogisticRegression(C, tol=1e-13, fit_intercept=fit_intercept).fit(X, y)
    other = theirs(C, X, y, fit_intercept=fit_intercept)
    largest = np.max(np.abs(model.coef_))
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=0, atol=1e-6 * largest)
    largest = max(largest, np.max(np.abs(model.intercept_)))
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=0, atol=1e-6 * largest)
    point = optimality(model, X, y)
    assert point.value <= optimality(other, X, y).value * (1 + 1e-9)
    point.check(model.result_, model.tol)


def overlapping(n_classes, n=200, p=4, seed=0):
    """Classes that no linear function separates."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, np.argmax(X[:, :n_classes] + rng.gumbel(size=(n, n_classes)), axis=1)


@pytest.mark.parametrize("solver", ["auto", "newton-cg"])
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_statsmodels_finds_the_same(n_classes, solver):
    """Maximum likelihood, in coefficients relative to those of the first class."""
    X, y = overlapping(n_classes)
    model = LogisticRegression(np.inf, tol=1e-14, solver=solver).fit(X, y)
    make = statsmodels.api.Logit if n_classes == 2 else statsmodels.api.MNLogit
    other = make(y, statsmodels.api.add_constant(X)).fit(method="newton", tol=1e-12, disp=False)
    W = np.column_stack([model.intercept_, model.coef_])
    W = W if n_classes == 2 else W[1:] - W[0]
    np.testing.assert_allclose(W, other.params.reshape(X.shape[1] + 1, -1).T, rtol=1e-6, atol=1e-6)
    P = model.predict_proba(X)
    np.testing.assert_allclose(P[:, 1] if n_classes == 2 else P, other.predict(), rtol=1e-6)
    np.testing.assert_allclose(-model.result_.value, other.llf, rtol=1e-12)


class Exact:
    """A small problem in 50 digits; the intercept of class 0, and for two classes all of it, is 0."""

    def __init__(self, n_classes, C, n=12, p=2):
        X, self.y = overlapping(n_classes, n=n, p=max(p, n_classes), seed=3)
        self.X, self.C = X[:, :p], C
        self.s = np.random.default_rng(4).integers(1, 4, n) / 2.0
        self.K, self.p = n_classes, p
        self._rows = [[mpmath.mpf(x) for x in row] for row in self.X.tolist()]

    def _split(self, w):
        """Coefficients and intercepts of all classes from the free parameters."""
        n_rows = 1 if self.K == 2 else self.K
        W = [list(w[k * self.p : (k + 1) * self.p]) for k in range(n_rows)]
        b = [mpmath.mpf(0), *w[n_rows * self.p :]]
        return ([[mpmath.mpf(0)] * self.p, *W] if self.K == 2 else W), b

    def value(self, W, b):
        """``E / C``; W of shape (1, p) for two classes."""
        W = [[mpmath.mpf(v) for v in row] for row in W]
        W, b = ([[0] * self.p, *W], [0, *b]) if len(W) == 1 else (W, list(b))
        total = mpmath.fsum(v * v for row in W for v in row) / (2 * self.C)
        for x, y, s in zip(self._rows, self.y, self.s, strict=True):
            S = [mpmath.fdot(x, row) + mpmath.mpf(c) for row, c in zip(W, b, strict=True)]
            total += s * mpmath.log(mpmath.fsum(mpmath.exp(v - S[y]) for v in S))
        return total

    def gradient(self, *w):
        """That of the value in the free parameters."""
        W, b = self._split(w)
        gW = [[v / self.C for v in row] for row in W]
        gb = [mpmath.mpf(0)] * self.K
        for x, y, s in zip(self._rows, self.y, self.s, strict=True):
            e = [mpmath.exp(mpmath.fdot(x, row) + c) for row, c in zip(W, b, strict=True)]
            for k in range(self.K):
                g = s * (e[k] / mpmath.fsum(e) - (k == y))
                gb[k] += g
                gW[k] = [a + g * v for a, v in zip(gW[k], x, strict=True)]
        return [v for row in gW[self.K == 2 :] for v in row] + gb[1:]

    def solve(self):
        """``W`` and ``b`` in the gauge of the estimator, by Newton's method."""
        n_free = (1 if self.K == 2 else self.K) * self.p + self.K - 1
        W, b = self._split(mpmath.findroot(self.gradient, [mpmath.mpf(0)] * n_free, tol=1e-60))
        if self.K == 2:
            return W[1:], b[1:]
        return W, [v - mpmath.fsum(b) / self.K for v in b]


@pytest.fixture(scope="module", params=[(2, 0.1), (2, 10), (3, 0.1), (3, 10)], ids=str)
def exact(request):
    """A problem and its solution."""
    with mpmath.workdps(50):
        problem = Exact(*request.param)
        W, b = problem.solve()
        yield problem, W, b, problem.value(W, b)


def test_fifty_digits_give_the_same(exact):
    problem, W, b, least = exact
    model = LogisticRegression(problem.C, tol=1e-22).fit(problem.X, problem.y, problem.s)
    np.testing.assert_allclose(model.coef_, np.array(W, float), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.intercept_, np.array(b, float), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.result_.value, float(least), rtol=1e-14)


@pytest.mark.parametrize("max_iter", range(5))
def test_the_gap_bounds_the_error(exact, max_iter):
    """Wherever the iteration is stopped, in 50 digits."""
    problem, _, _, least = exact
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(problem.C, tol=1e-12, max_iter=max_iter)
        model.fit(problem.X, problem.y, problem.s)
    error = float(problem.value(model.coef_.tolist(), model.intercept_.tolist()) - least)
    assert 0 <= error <= model.result_.gap * (1 + 1e-6) + 1e-12 * float(least)


@pytest.mark.parametrize("C", CS)
@pytest.mark.parametrize("name", ["a9a", "mushrooms", "arcene", "covtype20k", "usps", "rcv1_small"])
def test_certificates_on_real_data_are_true(name, C, real_data, optimality):
    """Dense and sparse, tall and wide: value and gap are those at the coefficients given."""
    X, y = real_data(name)
    model = LogisticRegression(C, tol=1e-9).fit(X, y)
    point = optimality(model, X, y)
    point.check(model.result_, model.tol, LogisticRegression(C, tol=1e-13).fit(X, y).result_.value)
    if name in ("a9a", "mushrooms"):
        assert point.value <= optimality(theirs(C, X, y), X, y).value * (1 + 1e-9)
