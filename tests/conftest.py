"""Settings and data that all tests share."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"  # before SciPy: scikit-learn checks array API input only then

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from scipy.sparse import issparse
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

# The first example of a test may compile the loops, which takes seconds.
settings.register_profile(
    "secondorder", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("secondorder")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data():
    """``load(name) -> X, y`` for the real datasets in a folder shared/data beside the checkout."""
    if not (DATA / "load.py").exists():
        pytest.skip("needs a folder shared/data beside the checkout")
    spec = importlib.util.spec_from_file_location("real_data", DATA / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load


@pytest.fixture(scope="module")
def one_thread():
    """BLAS on one thread: small problems gain nothing from more, and on a busy machine wait for them."""
    with threadpool_limits(1):
        yield


class Optimality(NamedTuple):
    """The objective divided by C at fitted coefficients, and how far it can be from its minimum.

    `gap` is ``C/2 |dE/dW|^2`` where a Newton step of the intercepts leads, and twice what that promises;
    `free` is the decrease that they still promise. `rounding` and `free_rounding` are what rounding
    errors in the scores and in the sums over rows can make of them. `wide` tells of a dense X with more
    columns than rows.
    """

    value: float
    gap: float
    rounding: float
    free: float
    free_rounding: float
    wide: bool

    def check(self, result, tol, lowest=None):
        """Assert that the `result` tells the truth and is certified to `tol`.

        A duality gap is at most 1.5 times that from the gradient. Where it is closer, it holds against the
        `lowest` value known, as other bounds do.
        """
        # Making the coefficients of the classes sum to 0 lowers value and gap by the same amount.
        gained = result.value - self.value
        gained *= gained > 1e-12 * self.value
        claimed, found = result.gap**0.5, (self.gap + gained) ** 0.5
        about = 0.22 * claimed + (self.rounding + 1e-3 * tol * self.value) ** 0.5
        closer = result.certificate == "curvature" or found - claimed > about
        assert lowest is not None or not closer
        if lowest is not None:
            assert self.value - lowest <= result.gap + 1e-12 * self.value
        assert self.free <= result.gap + 1e-15 * self.value + self.free_rounding  # of intercepts too
        if result.certificate != "curvature":
            # Bounds that are not made from the gradient but from X X' add what rounding may hide of it.
            assert claimed - found <= about + self.wide * (0.02 * tol * self.value) ** 0.5
        assert -1e-9 <= (result.value - self.value) / self.value <= tol + 1e-9
        assert result.gap <= tol * result.value


@pytest.fixture(scope="session")
def optimality():
    """``optimality(model, X, y) -> Optimality``, in plain NumPy and SciPy."""

    def measure(model, X, y):
        S, magnitude = (f(X) @ f(model.coef_).T + f(model.intercept_) for f in (lambda a: a, abs))
        W, n_classes = model.coef_.astype(float), len(model.classes_)
        if n_classes == 2:
            S = np.column_stack([np.zeros(len(S)), S])
        target = np.searchsorted(model.classes_, y)[:, None] == np.arange(n_classes)
        lead = np.where(target, -np.inf, S - S[target][:, None])  # over the score of the target
        losses = np.logaddexp(0, logsumexp(lead, axis=1))
        others = np.exp(lead - losses[:, None])  # probabilities, 0 for the target
        G = np.where(target, -others.sum(axis=1, keepdims=True), others)
        P = np.where(target, np.exp(-losses)[:, None], others)
        H = -(P.T @ P)  # of the intercepts; rows sum to 0
        np.fill_diagonal(H, 0)
        np.fill_diagonal(H, -H.sum(axis=1))
        # The dual variables are residuals with sums 0: after a Newton step of the intercepts.
        c = model.fit_intercept * np.linalg.pinv(H, hermitian=True) @ G.sum(axis=0)
        apart = c - np.where(target, c, 0).sum(axis=1, keepdims=True)  # from the target's
        balanced = G - P * (apart - np.sum(others * apart, axis=1, keepdims=True))
        imbalance = c @ G.sum(axis=0)
        if n_classes == 2:
            G, H, balanced = G[:, 1:], H[1:, 1:], balanced[:, 1:]
        doubt = 1e-15 * np.abs(G) * (4 + magnitude.max(axis=1, keepdims=True))
        flattest = max(np.linalg.eigvalsh(H)[int(n_classes > 2)], 1e-300)  # but for the shift of all classes
        mean = np.asarray(X.mean(axis=0)).reshape(-1, 1) * model.fit_intercept
        g = X.T @ balanced - mean * balanced.sum(axis=0) + W.T / model.C
        gap, free = 0.5 * model.C * np.sum(g**2) + imbalance, imbalance / 2
        rounding = 0.5 * model.C * np.sum((abs(X).T @ doubt + abs(mean) * doubt.sum(axis=0)) ** 2)
        free_rounding = 0.5 * model.fit_intercept * np.sum(doubt.sum(axis=0) ** 2) / flattest
        value, wide = losses.sum() + np.sum(W**2) / (2 * model.C), not issparse(X) and np.diff(X.shape)[0] > 0
        return Optimality(value, gap, rounding, free, free_rounding, wide)

    return measure
