"""Compiled products against NumPy, for all shapes, precisions and numbers of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from secondorder.kernels import csr, dense, threads
from secondorder.losses import OutputHessian

sizes = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(1, 230),
    "p": st.integers(1, 70),
    "K": st.integers(1, 13),
    "dtype": st.sampled_from([np.float64, np.float32]),
    "rank_one": st.booleans(),
    "parts": st.integers(1, 4),
}


def case(seed, n, p, K, dtype, rank_one):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, p)) * (rng.random((n, p)) < 0.6)).astype(dtype)
    P = rng.dirichlet(np.full(K, rng.choice([0.01, 1.0])), n)
    P = np.where(P > 1e-30, P, 0).astype(dtype)
    return (
        X,
        OutputHessian(P, P, shift_invariant=True) if rank_one else OutputHessian(P),
        rng.standard_normal((p, K)),
        rng.standard_normal(K),
        rng.standard_normal((n, K)),
    )


@pytest.fixture
def share(monkeypatch):
    """Make every call share its rows among a number of threads, whatever its size."""

    def among(parts):
        monkeypatch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        monkeypatch.setattr(threads, "n_threads", lambda: parts)

    return among


@pytest.mark.parametrize("kernels", [dense, csr], ids=["dense", "csr"])
@given(**sizes)
@settings(max_examples=60)
def test_products_equal_numpy(kernels, seed, n, p, K, dtype, rank_one, parts):
    X, H, W, bias, U = case(seed, n, p, K, dtype, rank_one)
    held = X if kernels is dense else csr_array(X)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        patch.setattr(threads, "n_threads", lambda: parts)
        S, XU = kernels.matmul(held, W, bias), kernels.rmatmul(held, U)
        B, sums = kernels.product(held, H.d, H.u, H.shift_invariant, W, bias)
    X = X.astype(np.float64)
    np.testing.assert_allclose(S, X @ W + bias, atol=1e-12 * p)
    np.testing.assert_allclose(XU, X.T @ U, atol=1e-12 * n)
    HXW = H @ (X @ W + bias)
    tol = (1e-13 if dtype is np.float64 else 1e-5) * n * p
    np.testing.assert_allclose(B, X.T @ HXW, atol=tol)
    np.testing.assert_allclose(sums, HXW.sum(axis=0), atol=tol)
    assert S.dtype == XU.dtype == np.float64
    assert B.dtype == dtype


@pytest.mark.parametrize("kernels", [dense, csr], ids=["dense", "csr"])
def test_results_are_bitwise_equal_from_run_to_run(kernels, share):
    share(3)
    X, H, W, bias, _ = case(0, 500, 40, 7, np.float64, True)
    held = X if kernels is dense else csr_array(X)
    first, second = (kernels.product(held, H.d, H.u, H.shift_invariant, W, bias) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@given(n=st.integers(1, 1000), work=st.integers(0, 10**9))
def test_row_bounds_cover_all_rows_once(n, work):
    bounds = threads.row_bounds(n, work)
    assert bounds[0] == 0
    assert bounds[-1] == n
    assert np.all(np.diff(bounds) > 0)


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=60), parts=st.integers(1, 8))
def test_nonzero_bounds_cover_all_rows_once(counts, parts):
    indptr = np.concatenate([[0], np.cumsum(counts)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "n_threads", lambda: parts)
        bounds = threads.nonzero_bounds(indptr, 10**9)
    assert bounds[0] == 0
    assert bounds[-1] == len(counts)
    assert np.all(np.diff(bounds) >= 0)


def test_an_error_in_a_thread_reaches_the_caller(share):
    share(2)

    def fail(i):
        if i == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.run(fail, [(0,), (1,)])
