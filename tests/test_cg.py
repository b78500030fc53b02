"""Every way that conjugate gradients can end, and what holds at each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondorder.solvers import CGStatus, conjugate_gradient

seeds = st.integers(0, 2**32 - 1)


def system(seed, n=8, *, smallest=0.1):
    """A symmetric matrix with eigenvalues from `smallest` to 10, and a right-hand side."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = Q * np.linspace(smallest, 10, n) @ Q.T
    return (A + A.T) / 2, rng.standard_normal(n)


def model(A, b, x):
    """``1/2 x'Ax - b'x``."""
    return 0.5 * x @ A @ x - b @ x


@given(seed=seeds, preconditioned=st.booleans())
def test_solves_in_n_steps(seed, preconditioned):
    A, b = system(seed)
    M = np.diag(1 / np.diag(A)) if preconditioned else None
    cg = conjugate_gradient(A, b, M=M, rtol=1e-9, max_iter=20)
    assert cg.status is CGStatus.CONVERGED
    assert cg.n_iter <= 10
    np.testing.assert_allclose(A @ cg.x, b, atol=1e-7)
    np.testing.assert_allclose(cg.residual, b - A @ cg.x, atol=1e-10)


@given(seed=seeds, steps=st.integers(1, 8), smallest=st.sampled_from([0.1, 0.0, -3.0]))
def test_decrease_is_that_of_the_model_and_grows(seed, steps, smallest):
    A, b = system(seed, smallest=smallest)
    before = 0.0
    for k in range(1, steps + 1):
        cg = conjugate_gradient(A, b, rtol=0, max_iter=k)
        np.testing.assert_allclose(cg.decrease(b), -model(A, b, cg.x), atol=1e-9 * (1 + cg.x @ cg.x))
        assert b @ cg.x > 0, "not a descent direction for g = -b"
        if cg.status is CGStatus.NEGATIVE_CURVATURE:
            break
        assert cg.decrease(b) >= before - 1e-12
        before = cg.decrease(b)


@given(seed=seeds, radius=st.floats(1e-3, 1e3), smallest=st.sampled_from([0.1, -3.0]), scaled=st.booleans())
def test_stays_within_the_radius(seed, radius, smallest, scaled):
    """The norm is that of M^-1; the boundary is met exactly where the walk would leave."""
    A, b = system(seed, smallest=smallest)
    m = np.linspace(0.5, 2, len(b)) if scaled else np.ones(len(b))
    cg = conjugate_gradient(A, b, M=np.diag(m), radius=radius, rtol=1e-8, max_iter=50)
    norm = np.sqrt(cg.x @ (cg.x / m))
    assert norm <= radius * (1 + 1e-8)
    if cg.status in (CGStatus.BOUNDARY, CGStatus.NEGATIVE_CURVATURE):
        np.testing.assert_allclose(norm, radius, rtol=1e-8)
    np.testing.assert_allclose(cg.residual, b - A @ cg.x, atol=1e-8 * (1 + radius))
    assert b @ cg.x > 0


def test_negative_curvature_at_once_gives_the_gradient_not_its_opposite():
    cg = conjugate_gradient(np.diag([-1.0, 2.0]), np.array([1.0, 0.1]))
    assert cg.status is CGStatus.NEGATIVE_CURVATURE
    np.testing.assert_array_equal(cg.x, [1.0, 0.1])


def test_zero_right_hand_side_needs_no_product():
    cg = conjugate_gradient(np.eye(3), np.zeros(3))
    assert (cg.status, cg.n_iter) == (CGStatus.CONVERGED, 0)
    np.testing.assert_array_equal(cg.x, np.zeros(3))


def test_singular_but_consistent_is_solved():
    A = np.diag([1.0, 2.0, 0.0])
    cg = conjugate_gradient(A, np.array([1.0, 1.0, 0.0]), rtol=1e-12)
    assert cg.status is CGStatus.CONVERGED
    np.testing.assert_allclose(cg.x, [1.0, 0.5, 0.0])


@given(seed=seeds, atol=st.floats(1e-6, 1e-1))
def test_stops_at_the_absolute_residual(seed, atol):
    A, b = system(seed)
    cg = conjugate_gradient(A, b, rtol=0, atol=atol)
    assert np.linalg.norm(b - A @ cg.x) <= atol * (1 + 1e-6)


@pytest.mark.parametrize("max_iter", [0, 1, 3])
def test_max_iter_counts_products(max_iter):
    class Counting:
        products = 0

        def __matmul__(self, v):
            self.products += 1
            return np.arange(1, 9) * v

    A = Counting()
    cg = conjugate_gradient(A, np.ones(8), rtol=0, max_iter=max_iter)
    assert (cg.status, cg.n_iter, A.products) == (CGStatus.MAX_ITER, max_iter, max_iter)
