"""Laws of the linear model, the objective and its curvature, over every kind of problem."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Problem, problems
from reference import derivative, gradient, jacobian

from secondorder.curvature import GaussNewton, Hessian, LeadingTerm


def tolerance(problem: Problem) -> float:
    """Products are in the precision of X; gradients never are."""
    return 2e-5 if problem.objective.X.X.dtype == np.float32 else 1e-10


@given(problem=problems())
def test_gradient_is_that_of_the_value(problem):
    expected = gradient(lambda w: problem.objective.at(w).value, problem.w)
    got = problem.objective.at(problem.w).gradient
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-8 * max(1, np.max(np.abs(expected))))


@given(problem=problems())
def test_hessian_product_is_the_derivative_of_the_gradient(problem):
    point, tol = problem.objective.at(problem.w), tolerance(problem)
    expected = derivative(lambda t: problem.objective.at(problem.w + t * problem.v).gradient)
    scale = 1 + np.max(np.abs(expected))
    for A in (GaussNewton(point), Hessian(point)):
        np.testing.assert_allclose(A @ problem.v, expected, atol=max(tol, 1e-8) * scale)


@settings(max_examples=50)
@given(problem=problems(dtypes=("f8",)))
def test_dense_hessian_is_the_jacobian_of_the_gradient(problem):
    expected = jacobian(lambda w: problem.objective.at(w).gradient, problem.w)
    B = GaussNewton(problem.objective.at(problem.w))
    np.testing.assert_allclose(B.dense(), expected, atol=1e-8 * (1 + np.max(np.abs(expected))))
    np.testing.assert_allclose(
        B.diagonal(), np.diagonal(expected), atol=1e-8 * (1 + np.max(np.abs(expected)))
    )


@given(problem=problems())
def test_curvature_forms_agree_with_the_formula(problem):
    """Product, diagonal and dense all equal J'HJ + diag(penalty), written out."""
    point = problem.objective.at(problem.w)
    J, blocks = problem.J, point.H.blocks()
    expected = np.einsum("nkp,nkl,nlq->pq", J, blocks, J) + np.diag(problem.objective.penalty)
    B, scale = GaussNewton(point), 1 + np.max(np.abs(expected))
    np.testing.assert_allclose(B.dense(), expected, atol=1e-12 * scale)
    np.testing.assert_allclose(B.diagonal(), np.diagonal(expected), atol=1e-12 * scale)
    np.testing.assert_allclose(B @ problem.v, expected @ problem.v, atol=tolerance(problem) * 10 * scale)
    by_columns = super(GaussNewton, B).dense()
    np.testing.assert_allclose(by_columns, expected, atol=tolerance(problem) * 10 * scale)


@given(problem=problems())
def test_leading_term_is_an_upper_bound(problem):
    point = problem.objective.at(problem.w)
    B, L = GaussNewton(point).dense(), LeadingTerm(point)
    J = problem.J
    expected = np.einsum("nkp,nk,nkq->pq", J, point.H.d, J) + np.diag(problem.objective.penalty)
    scale = 1 + np.max(np.abs(expected))
    np.testing.assert_allclose(L.dense(), expected, atol=1e-12 * scale)
    np.testing.assert_allclose(L.diagonal(), np.diagonal(expected), atol=1e-12 * scale)
    np.testing.assert_allclose(L @ problem.v, expected @ problem.v, atol=tolerance(problem) * 10 * scale)
    assert np.min(np.linalg.eigvalsh(L.dense() - B)) >= -1e-12 * scale


@given(problem=problems())
def test_curvature_is_symmetric_and_not_negative(problem):
    B = GaussNewton(problem.objective.at(problem.w))
    v, w = problem.v, problem.w
    Bv, Bw, scale = B @ v, B @ w, tolerance(problem)
    np.testing.assert_allclose(w @ Bv, v @ Bw, atol=scale * (1 + np.linalg.norm(Bv) * np.linalg.norm(w)) * 10)
    assert v @ Bv >= -scale * 10 * (1 + np.linalg.norm(v) * np.linalg.norm(Bv))
    dense = B.dense()
    np.testing.assert_array_equal(dense, dense.T)
    assert np.min(np.linalg.eigvalsh(dense)) >= -1e-12 * max(1, np.max(dense))


@given(problem=problems())
def test_vjp_is_the_adjoint_of_jvp(problem):
    point = problem.objective.at(problem.w)
    U = np.random.default_rng(0).standard_normal(point.G.shape)
    Jv, JU = point.forward.jvp(problem.v), point.forward.vjp(U)
    np.testing.assert_allclose(np.sum(Jv * U), problem.v @ JU, atol=1e-10 * (1 + np.sum(np.abs(Jv * U))))
    np.testing.assert_allclose(Jv, problem.J @ problem.v, atol=1e-10 * (1 + np.max(np.abs(Jv))))


@given(problem=problems(), t=st.floats(-2, 2))
def test_a_point_along_a_ray_is_the_point_there(problem, t):
    point = problem.objective.at(problem.w)
    ray = point.along(problem.v)
    trial, direct = ray(t), problem.objective.at(problem.w + t * problem.v)
    np.testing.assert_allclose(trial.value, direct.value, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        trial.gradient, direct.gradient, atol=1e-9 * (1 + np.max(np.abs(direct.gradient)))
    )
    slope = ray.slope(trial, t)
    np.testing.assert_allclose(slope, direct.gradient @ problem.v, atol=1e-9 * (1 + abs(slope)))


@given(problem=problems())
def test_shift_moves_the_intercept(problem):
    point = problem.objective.at(problem.w)
    if not point.forward.n_intercepts:
        return
    K = problem.objective.model.n_outputs
    c = np.arange(1.0, K + 1)
    moved = point.shift(c)
    direct = problem.objective.at(moved.w)
    np.testing.assert_array_equal(moved.w[-K:], problem.w[-K:] + c)
    np.testing.assert_array_equal(moved.w[:-K], problem.w[:-K])
    np.testing.assert_allclose(moved.value, direct.value, rtol=1e-12)


@given(problem=problems())
def test_centre_and_uncentre_are_inverse_and_keep_the_outputs(problem):
    design, K = problem.objective.X, problem.objective.model.n_outputs
    W = problem.w.reshape(-1, K)
    np.testing.assert_allclose(design.centre(design.uncentre(W)), W, atol=1e-12)
    W = design.uncentre(W)
    S = problem.X @ W[: problem.X.shape[1]] + (W[-1] if design.intercept else 0)
    np.testing.assert_allclose(problem.objective.at(problem.w).forward.outputs, S, atol=1e-10)


@given(problem=problems(), repeats=st.lists(st.integers(0, 3), min_size=14, max_size=14))
def test_weights_are_repetition(problem, repeats):
    """Value, gradient and curvature of a row with weight k are those of k copies of it."""
    o, n = problem.objective, len(problem.X)
    k = np.array(repeats[:n])
    weighted = type(o)(o.model, o.loss, o.X, o.y, k.astype(float), o.penalty)
    rows = np.repeat(np.arange(n), k)
    if len(rows) == 0:
        return
    design = type(o.X)(o.X.X[rows], o.X.intercept)
    design.mean = o.X.mean
    repeated = type(o)(o.model, o.loss, design, o.y[rows], np.ones(len(rows)), o.penalty)
    a, b = weighted.at(problem.w), repeated.at(problem.w)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-12)
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-11 * (1 + np.max(np.abs(b.gradient))))
    A, B = GaussNewton(a).dense(), GaussNewton(b).dense()
    np.testing.assert_allclose(A, B, atol=1e-11 * (1 + np.max(np.abs(B))))


@given(problem=problems(losses=("softmax",)), seed=st.integers(0, 1000))
def test_relabelling_the_classes_permutes_the_gradient(problem, seed):
    o, K = problem.objective, problem.objective.model.n_outputs
    order = np.random.default_rng(seed).permutation(K)
    renamed = type(o)(o.model, o.loss, o.X, np.argsort(order)[o.y], o.s, o.penalty)
    W = problem.w.reshape(-1, K)
    a, b = o.at(problem.w), renamed.at(W[:, order].ravel())
    np.testing.assert_allclose(a.value, b.value, rtol=1e-12)
    np.testing.assert_allclose(a.gradient.reshape(-1, K)[:, order].ravel(), b.gradient, atol=1e-10)
