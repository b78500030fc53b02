"""Sparse matrices whose columns are mostly empty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from secondorder.losses import Logistic, Softmax
from secondorder.models import occupied
from secondorder.solvers import fit_linear, linear


@given(seed=st.integers(0, 2**32 - 1), n_outputs=st.integers(1, 3), intercept=st.booleans())
def test_outputs_are_those_of_the_parameters_spread_over_all_columns(seed, n_outputs, intercept):
    rng = np.random.default_rng(seed)
    X = csr_array(random_array((6, 60), density=0.04, rng=rng, format="csr"))
    found = occupied(X)
    W = rng.standard_normal((found.X.shape[1] + intercept, n_outputs))
    spread = found.spread(W.ravel(), n_outputs).reshape(-1, n_outputs)
    p = X.shape[1]
    np.testing.assert_array_equal(found.X @ W[: found.X.shape[1]], X @ spread[:p])
    np.testing.assert_array_equal(spread[p:], W[found.X.shape[1] :])
    assert np.count_nonzero(spread[:p]) == found.X.shape[1] * n_outputs


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_a_fit_is_the_same_without_empty_columns(monkeypatch, n_outputs, intercept):
    rng = np.random.default_rng(0)
    X = csr_array(random_array((50, 2000), density=0.01, rng=rng, format="csr"))
    y = rng.integers(0, max(2, n_outputs), 50)
    loss, y = (Logistic(), y.astype(float)) if n_outputs == 1 else (Softmax(), y)

    def fit():
        return fit_linear(
            X, y, np.ones(50), loss=loss, n_outputs=n_outputs, penalty=0.1, intercept=intercept, tol=1e-10
        )

    assert occupied(X) is not None
    found = fit()
    monkeypatch.setattr(linear, "occupied", lambda X: None)
    whole = fit()
    assert found.w.shape == whole.w.shape
    assert found.converged
    np.testing.assert_allclose(found.value, whole.value, rtol=2e-10)
    np.testing.assert_allclose(found.w, whole.w, atol=1e-5 * np.abs(whole.w).max())


def test_empty_columns_stay_where_others_are_few_or_entries_many():
    rng = np.random.default_rng(1)
    assert occupied(random_array((3, 100), density=0.5, rng=rng, format="csr")) is None, "hardly any empty"
    assert occupied(csr_array(np.eye(30, 40)[:, :20].repeat(9, axis=0))) is None, "too many entries"
    assert occupied(random_array((3, 100), density=0.1, rng=rng, format="csc")) is None
    assert occupied(csr_array((3, 100))) is None, "all empty"
    assert occupied(np.zeros((3, 100))) is None
