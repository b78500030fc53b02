"""The row space of a wide matrix, by either of its factorisations."""

from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secondorder.models import RowSpace, design_matrix, row_space


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 12),
    intercept=st.booleans(),
    few=st.sampled_from([0, 250]),
    twice=st.booleans(),
)
def test_rows_are_combinations_of_an_orthonormal_basis(seed, n, intercept, few, twice):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 30)) * rng.uniform(0.1, 10, 30) + 3.0
    if twice:
        X[-1] = X[0]
    design = design_matrix(X, intercept=intercept, weights=rng.random(n) + 0.1)
    with patch.object(row_space, "FEW_ROWS", few):
        space = RowSpace(design)
    centred = X - design.mean if intercept else X
    V = rng.standard_normal((space.L.shape[1] + intercept, 2))
    W = space.lift(V)
    atol = 1e-9 * np.abs(X).max() ** 2
    np.testing.assert_allclose(space.L @ space.L.T, centred @ centred.T, atol=atol)
    np.testing.assert_allclose(centred @ W[:30], space.L @ V[: space.L.shape[1]], atol=atol)
    np.testing.assert_allclose(np.sum(W[:30] ** 2, axis=0), np.sum(V[: space.L.shape[1]] ** 2, axis=0))
    np.testing.assert_allclose(space.project(W), V, atol=1e-7)


def test_the_projection_of_zero_reads_nothing():
    X = np.random.default_rng(0).standard_normal((5, 30))
    space = RowSpace(design := design_matrix(X))
    before, W = design.passes, np.zeros((31, 2))
    W[-1] = 1, 2
    np.testing.assert_array_equal(space.project(W), [*np.zeros((space.L.shape[1], 2)), [1, 2]])
    assert design.passes == before


def test_scales_that_a_small_pivot_may_hide_are_found_otherwise():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((8, 40)) * np.logspace(0, -12, 8)[:, None]
    space = RowSpace(design_matrix(X, intercept=False))
    found = np.linalg.norm(space.L, axis=0)
    np.testing.assert_allclose(np.sort(found), np.linalg.svd(X)[1][::-1], rtol=1e-3)
    assert not space.faithful
