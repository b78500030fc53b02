"""Compiled products against NumPy, for all shapes, precisions and numbers of threads."""

from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from secondorder.array_api import column_sums
from secondorder.kernels import (
    blocks,
    compiled_at_any_size,
    csr,
    dense,
    elementary,
    gram,
    softmax,
    softmax_sweep,
    sparse_sweep,
    sweep,
    threads,
    triangular,
    vectors,
)
from secondorder.losses import Logistic, OutputHessian, Softmax

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


def product(kernels, X, H, W, bias, mean):
    """The product by `kernels`, with memory of its own."""
    loop = partial(csr.product, room={}) if kernels is csr else dense.product
    return loop(X, H.d, H.u, H.shift_invariant, W, bias, mean)


@pytest.fixture
def share(monkeypatch):
    """Make every call share its rows among a number of threads, whatever its size."""

    def among(parts):
        monkeypatch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        monkeypatch.setattr(threads, "n_threads", lambda: parts)

    return among


@pytest.mark.parametrize(("kernels", "order"), [(dense, "C"), (dense, "F"), (dense, "A"), (csr, "C")])
@given(**sizes)
@settings(max_examples=60)
def test_products_equal_numpy(kernels, order, seed, n, p, K, dtype, rank_one, parts):
    X, H, W, bias, U = case(seed, n, p, K, dtype, rank_one)
    mean = U[0, 0] * W[:, 0]
    held = csr_array(X) if kernels is csr else np.array(X, order="C" if order == "A" else order)
    if order == "A":
        held = np.repeat(X, 2, axis=1)[:, ::2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        patch.setattr(threads, "n_threads", lambda: parts)
        S = kernels.matmul(held, W, bias, mean)
        XU = csr.rmatmul(held, U, 0 * mean)[:-1] if kernels is csr else kernels.rmatmul(held, U)
        B, B32 = (product(kernels, held, form, W, bias, mean) for form in (H, H.single))
    X = X.astype(np.float64)
    expected = (X - mean) @ W + bias
    np.testing.assert_allclose(S, expected, atol=1e-12 * p)
    np.testing.assert_allclose(XU, X.T @ U, atol=1e-12 * n)
    HXW = H @ expected
    expected = np.vstack([(X - mean).T @ HXW, HXW.sum(axis=0)])
    tol = (1e-13 if dtype is np.float64 else 1e-5) * n * p
    np.testing.assert_allclose(B, expected, atol=tol)
    np.testing.assert_allclose(B32, expected, atol=1e-5 * n * p)
    assert S.dtype == XU.dtype == B.dtype == np.float64


@given(**sizes, centred=st.booleans(), intercept=st.booleans())
@settings(max_examples=60)
def test_sums_of_outer_products_equal_numpy(seed, n, p, K, dtype, rank_one, parts, centred, intercept):
    X, H, W, _, U = case(seed, n, p, K, dtype, rank_one)
    mean = W[:, 0] * centred
    Z = np.column_stack([X - mean, np.ones(n)])[:, : p + intercept]
    c = U[:, 0] ** 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        patch.setattr(threads, "n_threads", lambda: parts)
        G = gram.gram(X, mean, p + intercept, c, np.float64)
        G32 = gram.gram(X, mean, p + intercept, c, np.float32)
        sparse = gram.sparse_gram(csr_array(X), c)
        d = H.diagonal().astype(np.float64)
        u = None if H.u is None else H.u.astype(np.float64)
        A = gram.hessian(X, mean, p + intercept, d, u, np.arange(K), np.float64)
        A32 = gram.hessian(X, mean, p + intercept, d, u, np.arange(K)[1:], np.float32)
    np.testing.assert_allclose(G, Z.T @ (c[:, None] * Z), atol=1e-12 * n * (1 + c.max()))
    np.testing.assert_allclose(G32, G, atol=1e-4 * n * (1 + c.max()))
    raw = np.column_stack([X, np.ones(n)]).astype(np.float64)
    np.testing.assert_allclose(sparse, raw.T @ (c[:, None] * raw), atol=1e-12 * n * (1 + c.max()))
    blocks = H.blocks().astype(np.float64)
    np.testing.assert_allclose(A, np.einsum("ij,il,ikm->jklm", Z, Z, blocks), atol=1e-6 * n)
    np.testing.assert_allclose(A32, A[:, 1:, :, 1:], atol=1e-4 * n)


@given(x=st.floats(-1000, 0), e=st.floats(0, 1))
def test_elementary_functions_are_exact_to_rounding(x, e):
    assert elementary.exp_negative(x) == pytest.approx(np.exp(x), rel=1e-15, abs=1e-307)
    assert elementary.log1p_fraction(e) == pytest.approx(np.log1p(e), rel=1e-15, abs=1e-307)


def test_elementary_functions_at_the_ends():
    assert elementary.exp_negative(0.0) == 1.0
    assert elementary.exp_negative(-np.inf) == 0.0
    assert np.isnan(elementary.exp_negative(np.nan))
    assert elementary.log1p_fraction(0.0) == 0.0
    assert np.isnan(elementary.log1p_fraction(np.nan))


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), p=st.integers(1, 9), length=st.integers(0, 20))
def test_outer_products_of_sparse_rows_in_no_order_and_with_duplicates(seed, n, p, length):
    rng = np.random.default_rng(seed)
    indices, c = rng.integers(0, p, n * length), rng.random(n)
    X = csr_array((rng.standard_normal(n * length), indices, length * np.arange(n + 1)), (n, p))
    Z = np.column_stack([X.toarray(), np.ones(n)])
    np.testing.assert_allclose(gram.sparse_gram(X, c), Z.T @ (c[:, None] * Z), atol=1e-11)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 300), parts=st.integers(1, 4))
def test_vector_updates_equal_numpy(seed, n, parts):
    x, r, p, Ap = np.random.default_rng(seed).standard_normal((4, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        patch.setattr(threads, "n_threads", lambda: parts)
        new_x, new_r, new_p, out = x.copy(), r.copy(), p.copy(), x.copy()
        squares = vectors.descend(new_x, new_r, p, Ap, 0.3)
        vectors.extend(new_p, r, -0.7)
        vectors.add_product(out, r, p)
        product = vectors.dot(r, p)
    np.testing.assert_allclose(new_x, x + 0.3 * p, atol=1e-14)
    np.testing.assert_allclose(new_r, r - 0.3 * Ap, atol=1e-14)
    np.testing.assert_allclose(new_p, r - 0.7 * p, atol=1e-14)
    np.testing.assert_allclose(out, x + r * p, atol=1e-13)
    assert squares == pytest.approx(new_r @ new_r)
    assert product == pytest.approx(r @ p, abs=1e-12 * n)


@pytest.mark.parametrize("kernels", [dense, csr], ids=["dense", "csr"])
def test_results_are_bitwise_equal_from_run_to_run(kernels, share):
    share(3)
    X, H, W, bias, _ = case(0, 500, 40, 7, np.float64, True)
    held = X if kernels is dense else csr_array(X)
    first, second = (product(kernels, held, H, W, bias, W[:, 0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


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


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 1500), K=st.integers(1, 7))
def test_column_sums(seed, n, K):
    A = np.random.default_rng(seed).standard_normal((n, K))
    with compiled_at_any_size():
        sums, sizes = column_sums(A)
    np.testing.assert_allclose(sums, np.sum(A, axis=0), atol=1e-11)
    np.testing.assert_allclose(sizes, np.sum(np.abs(A), axis=0), rtol=1e-12)


def models(seed, n, p, K, dtype, order):
    """X, its mean, targets, weights (some of them 0), and W with the intercepts in its last row."""
    rng = np.random.default_rng(seed)
    X = np.asarray(rng.standard_normal((n, p)), dtype, order=order)
    s = rng.random((n, K)) * (rng.random((n, K)) < 0.8)
    return X, rng.standard_normal(p), rng.random(n), s, rng.standard_normal((p + 1, K))


layouts = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(1, 1200),
    "p": st.integers(1, 20),
    "dtype": st.sampled_from([np.float64, np.float32]),
    "order": st.sampled_from("CF"),
}


@given(K=st.integers(1, 7), **layouts)
def test_one_sweep_gives_losses_and_gradients(seed, n, p, K, dtype, order):
    X, mean, y, s, W = models(seed, n, p, K, dtype, order)
    near = np.random.default_rng(seed).standard_normal((n, 1))
    found = sweep.sweep(X, mean, y, s, W[:p], W[p], near)
    Z = np.column_stack([X - mean, np.ones(n)])
    check_sweep(found, Z, y, s, W, near)
    np.testing.assert_array_equal(found.extent, np.max(np.abs(Z), axis=0))


@given(n_threads=st.integers(1, 4), **layouts)
def test_one_sweep_over_sparse_rows(seed, n, p, dtype, order, n_threads):
    X, mean, y, s, W = models(seed, n, p, 1, dtype, order)
    X *= np.random.default_rng(seed).random((n, p)) < 0.3
    near = np.random.default_rng(seed).standard_normal((n, 1))
    with (
        patch.object(threads, "n_threads", lambda: n_threads),
        patch.object(threads, "MULTIPLICATIONS_PER_THREAD", 1),
    ):
        found = sparse_sweep.sweep(csr_array(X), mean, y, s, W[:p], W[p], near)
    check_sweep(found, np.column_stack([X - mean, np.ones(n)]), y, s, W, near)


def check_sweep(found, Z, y, s, W, near):
    """Compare what was found with the plain formulas."""
    n, K = s.shape
    np.testing.assert_allclose(found.outputs, Z @ W, atol=1e-12 * Z.shape[1])
    G, _ = Logistic().derivatives(Z @ W, y, s)
    values = Logistic().value(Z @ W, y).reshape(n, K)
    np.testing.assert_allclose(found.losses, np.sum(s * values, axis=0), rtol=1e-11)
    np.testing.assert_allclose(found.gradient, Z.T @ G, atol=1e-10 * n)
    np.testing.assert_array_equal(found.moved, np.max(np.abs(found.outputs - near), axis=0))
    np.testing.assert_array_equal(found.largest, np.max(np.abs(found.outputs), axis=0))


@given(**layouts)
def test_one_sweep_gives_the_gradient_of_one_model(seed, n, p, dtype, order):
    X, mean, y, s, W = models(seed, n, p, 1, dtype, order)
    loss, gradient = sweep.gradient(X, mean, y, s[:, 0], W[:p, 0], W[p, 0])
    Z = np.column_stack([X - mean, np.ones(n)])
    np.testing.assert_allclose(loss, s[:, 0] @ Logistic().value(Z @ W, y), rtol=1e-11)
    np.testing.assert_allclose(
        gradient[:, None], Z.T @ Logistic().derivatives(Z @ W, y, s)[0], atol=1e-10 * n
    )


@given(K=st.integers(2, 40), scale=st.sampled_from([0.1, 1.0, 30.0]), **layouts)
def test_softmax_by_a_sweep_forward_and_one_back(seed, n, p, K, scale, dtype, order):
    X, mean, _, s, W = models(seed, n, p, K, dtype, order)
    y, s, W = np.random.default_rng(seed).integers(0, K, n), s[:, 0], scale * W
    S = np.empty((n, K), np.float32)
    dense.matmul(X, W[:p], np.zeros(K), mean, S)
    Z = np.column_stack([X - mean, np.ones(n)])
    size = (np.abs(X) + np.abs(mean)) @ np.abs(W[:p])
    assert np.all(np.abs(S - Z[:, :p] @ W[:p]) <= 1e-6 * size)
    outputs = S.astype(np.float64) + W[p].astype(np.float32)
    G, _ = Softmax().derivatives(outputs, y, s)
    loss, gradient = softmax_sweep.back(X, mean, S, W[p], y, s)
    losses = Softmax().value(outputs, y)
    rounding = 1e-6 * (1 + np.max(np.abs(outputs), axis=1))
    assert abs(loss - s @ losses) <= s @ (rounding + 1e-5 * losses)
    size = np.column_stack([np.abs(X) + np.abs(mean), np.ones(n)])
    close = (size.T @ (s * rounding))[:, None] + 1e-30
    assert np.all(np.abs(gradient - Z.T @ G) <= close)
    again, pull = softmax_sweep.pull(S, W[p], y, s)
    assert abs(again - loss) <= 1e-12 * loss
    assert np.all(np.abs(pull - G.sum(axis=0)) <= close[p])


@given(x=st.floats(-200, 0))
def test_exponential_in_single_precision(x):
    x32 = np.float32(x)
    found = elementary.exp_negative_single(x32)
    assert np.isclose(found, np.exp(np.float64(x32)), rtol=3e-7, atol=2e-38)


@given(intercept=st.booleans(), **layouts)
def test_one_sweep_gives_the_curvature_as_well(seed, n, p, intercept, dtype, order):
    X, mean, y, s, W = models(seed, n, p, 1, dtype, order)
    q = p + intercept
    Z = np.column_stack([X - mean, np.ones(n)])[:, :q]
    losses, gradient, curvature, S, extent = sweep.curved_sweep(X, mean, y, s, W[:q])
    np.testing.assert_allclose(S, Z @ W[:q], atol=1e-12 * p)
    G, H = Logistic().derivatives(Z @ W[:q], y, s)
    np.testing.assert_allclose(losses, s[:, 0] @ Logistic().value(Z @ W[:q], y), rtol=1e-11)
    np.testing.assert_allclose(gradient, Z.T @ G, atol=1e-10 * n)
    np.testing.assert_allclose(curvature, Z.T @ (H.d * Z), atol=1e-10 * n)
    np.testing.assert_array_equal(extent, np.max(np.abs(Z), axis=0))


@given(**layouts)
def test_gram_of_some_rows(seed, n, p, dtype, order):
    X, mean, _, s, _ = models(seed, n, p, 1, dtype, order)
    chosen = np.random.default_rng(seed).random(n) < 0.3
    part = gram.gram_of_rows(X, mean, p + 1, s[:, 0], np.flatnonzero(chosen))
    whole = gram.gram(X, mean, p + 1, s[:, 0] * chosen, np.float64)
    np.testing.assert_allclose(part, whole, atol=1e-11 * n)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 200), size=st.floats(1e-150, 1e150))
def test_systems_with_a_factor_in_single_precision(seed, n, size):
    rng = np.random.default_rng(seed)
    R = rng.standard_normal((n, n)).astype(np.float32) / n
    np.fill_diagonal(R, 1 + rng.random(n))
    v = size * rng.standard_normal(n)
    U = np.triu(R).astype(float)
    x = triangular.solve(*triangular.prepared(R), v)
    np.testing.assert_allclose(U.T @ (U @ x), v, atol=1e-5 * size * n)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 200), K=st.integers(2, 12), far=st.floats(0, 300))
def test_the_diagonal_of_a_softmax_hessian_equals_numpy(seed, n, K, far):
    rng = np.random.default_rng(seed)
    S, y = far * rng.standard_normal((n, K)), rng.integers(0, K, n)
    _, H = Softmax().derivatives(S, y, rng.random(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        patch.setattr(threads, "n_threads", lambda: 3)
        compiled = softmax.curvatures(H.d, H.u)
    np.testing.assert_allclose(compiled, H.diagonal(), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("order", ["C", "F"])
@given(**sizes, m=st.integers(5, 300))
@settings(max_examples=40)
def test_gram_matrices_of_samples(order, seed, n, p, K, dtype, rank_one, parts, m):
    """All rows give them exactly; any number of rows their weight, and so the last entry, but for a step."""
    X, H, W, _, _ = case(seed, n, p, K, dtype, rank_one)
    mean, D = W[:, 0], np.asarray(H.d, np.float64)
    Z = np.column_stack([X - mean, np.ones(n)])
    exact = np.einsum("ij,ik,il->kjl", Z, D, Z)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
        patch.setattr(threads, "n_threads", lambda: parts)
        whole = blocks.grams(np.asarray(X, order=order), mean, p + 1, D, n)
        sample = blocks.grams(np.asarray(X, order=order), mean, p + 1, D, m)
    scale = 1e-5 * np.max(np.abs(exact))
    np.testing.assert_allclose(np.triu(whole), np.triu(exact), rtol=1e-4, atol=scale)
    step = D.sum(axis=0) / m
    assert np.all(np.abs(sample[:, -1, -1] - exact[:, -1, -1]) <= 0.51 * step + 1e-4 * exact[:, -1, -1])


@given(seed=st.integers(0, 2**32 - 1), q=st.integers(1, 40), K=st.integers(1, 9))
@settings(max_examples=20)
def test_systems_with_triangular_factors(seed, q, K):
    rng = np.random.default_rng(seed)
    U = np.triu(rng.standard_normal((K, q, q)) / q) + 2 * np.eye(q)
    V = rng.standard_normal((K, q))
    solved = V.astype(np.float32)
    blocks.solve((U + np.tril(rng.standard_normal((q, q)), -1)).astype(np.float32), solved)
    np.testing.assert_allclose(np.einsum("kji,kjl,kl->ki", U, U, solved), V, atol=1e-3)
