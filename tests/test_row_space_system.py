"""Newton's system in coordinates of the row space, against the same system in all parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import problems
from scipy.sparse import csr_array, random_array

from secondorder.curvature import GaussNewton, LeadingTerm
from secondorder.kernels import compiled_at_any_size, features_repay
from secondorder.losses import Softmax
from secondorder.models import Linear, design_matrix
from secondorder.models.design import CompiledDesign
from secondorder.objective import Objective
from secondorder.solvers import CGStatus, LineSearch, conjugate_gradient, fit_linear
from secondorder.solvers import linear as solver
from secondorder.solvers.row_space_system import RowSpaceSystem


def systems(problem, curvature=GaussNewton):
    """The curvature at a point of `problem`, its right-hand side, and the two in coordinates."""
    point = problem.objective.at(problem.w)  # not in the row space, so neither is its gradient
    A, b = curvature(point), -point.gradient
    return A, b, RowSpaceSystem(A, b)


@given(problem=problems(dtypes=("f8",)), curvature=st.sampled_from([GaussNewton, LeadingTerm]))
def test_coordinates_stand_for_the_vectors(problem, curvature):
    A, b, system = systems(problem, curvature)
    v, V = system.b, b
    scale = 1 + np.abs(problem.X).max() ** 2 * len(problem.X)
    for _ in range(3):
        np.testing.assert_allclose(system.lift(v), V, rtol=1e-9, atol=1e-9 * np.abs(V).max())
        S = (problem.J @ V).reshape(system.outputs(v).shape)
        np.testing.assert_allclose(system.outputs(v), S, rtol=1e-9, atol=1e-9 * scale * np.abs(V).max())
        w, W = system @ v, A @ V
        size = np.linalg.norm(V) * (np.linalg.norm(V) + np.linalg.norm(W))
        np.testing.assert_allclose(system.inner(v, w), V @ W, rtol=1e-9, atol=1e-9 * size)
        np.testing.assert_allclose(system.inner(v, v), V @ V, rtol=1e-9, atol=1e-9 * size)
        v, V = w, W


@given(problem=problems(dtypes=("f8",)), rtol=st.sampled_from([0.25, 1e-2]), steps=st.integers(1, 4))
def test_conjugate_gradients_take_the_same_steps(problem, rtol, steps):
    A, b, system = systems(problem)
    plain = conjugate_gradient(A, b, rtol=rtol, max_iter=steps)
    cg = conjugate_gradient(system, system.b, rtol=rtol, max_iter=steps, inner=system.inner)
    if plain.status is CGStatus.NEGATIVE_CURVATURE or cg.status is not plain.status:
        return  # rounding decides
    assert cg.n_iter == plain.n_iter
    atol = 1e-7 * np.abs(plain.x).max()
    np.testing.assert_allclose(system.lift(cg.x), plain.x, rtol=1e-7, atol=atol)
    np.testing.assert_allclose(cg.decrease(system.b, system.inner), plain.decrease(b), rtol=1e-7, atol=1e-12)


@given(problem=problems(dtypes=("f8",)))
def test_a_line_search_takes_the_same_step(problem):
    point = problem.objective.at(problem.w)
    plain = LineSearch(max_products=3)(point, GaussNewton(point), 1.0)
    step = LineSearch(max_products=3, in_row_space=True)(point, GaussNewton(point), 1.0)
    if step.cg_status is not plain.cg_status or step.n_products != plain.n_products:
        return  # rounding decides
    assert step.point.value <= point.value
    np.testing.assert_allclose(step.promised, plain.promised, rtol=1e-6, atol=1e-10 * abs(point.value))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 40)),
    n_outputs=st.integers(1, 20),
    dtype=st.sampled_from([np.float64, np.float32]),
    weighted=st.booleans(),
    intercept=st.booleans(),
)
def test_products_by_feature_are_those_of_the_matrix(seed, shape, n_outputs, dtype, weighted, intercept):
    rng = np.random.default_rng(seed)
    X = random_array(shape, density=0.2, rng=rng, dtype=dtype, format="csr")
    U = rng.standard_normal((shape[0], n_outputs))
    design = CompiledDesign(X, intercept, rng.random(shape[0]) if weighted else None)
    Z = X.toarray().astype(float)
    if intercept:
        Z = np.column_stack([Z - (0.0 if design.mean is None else design.mean), np.ones(len(Z))])
    XXU = Z[:, : shape[1]] @ (Z[:, : shape[1]].T @ U)
    np.testing.assert_allclose(super(CompiledDesign, design).row_gram_product(U), XXU, atol=1e-10)
    before = design.passes
    np.testing.assert_allclose(design.row_gram_product(U), XXU, atol=1e-10)
    np.testing.assert_allclose(design.rmatmul(U), Z.T @ U, atol=1e-10)
    assert design.passes == before + 2
    assert "features" in vars(design), "the copy is made once"


def text(rng, n=40, p=900, n_outputs=5, scale=1.0):
    """Sparse counts, most features in few rows, and classes that some of them tell."""
    X = random_array((n, p), density=0.03, rng=rng, format="csr")
    X.data = np.ceil(3 * X.data) * scale
    y = rng.integers(0, n_outputs, n)
    X = csr_array(X + csr_array(np.eye(n_outputs, p)[y] * scale))
    return X, y


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_fit_is_the_same_with_coordinates_and_without(monkeypatch, intercept, weighted):
    rng = np.random.default_rng(1)
    X, y = text(rng)
    s = rng.integers(0, 3, len(y)).astype(float) if weighted else np.ones(len(y))

    def fit(w=None):
        options = {"penalty": 0.1, "intercept": intercept, "solver": "newton-cg", "tol": 1e-10}
        with compiled_at_any_size():
            return fit_linear(X, y, s, loss=Softmax(), n_outputs=5, w=w, **options)

    start = rng.standard_normal((X.shape[1] + intercept) * 5)
    with compiled_at_any_size():
        assert features_repay(X, 5)
    found, warm = fit(), fit(start)
    monkeypatch.setattr(solver, "features_repay", lambda X, n_outputs: False)
    plain = fit()
    for result in (found, warm):
        assert result.status is plain.status
        assert result.relative_gap <= 1e-10
        np.testing.assert_allclose(result.value, plain.value, rtol=2e-10)
        np.testing.assert_allclose(result.w, plain.w, atol=1e-3 * np.abs(plain.w).max())
    assert found.n_products <= 1.1 * plain.n_products + 2


def test_a_step_reads_x_once_for_each_product_and_thrice_more():
    rng = np.random.default_rng(2)
    X, y = text(rng)
    design = CompiledDesign(X, True, np.ones(len(y)))
    penalty = np.ones((X.shape[1] + 1, 5))
    penalty[-1] = 0
    objective = Objective(Linear(5), Softmax(), design, y, np.ones(len(y)), penalty.ravel())
    point = objective.at(rng.standard_normal(penalty.size))
    before = design.passes
    step = LineSearch(in_row_space=True)(point, GaussNewton(point), 1.0)
    assert step.n_products > 0
    # The gradient, the outputs of b, and the way back from the coordinates: the line search needs none.
    assert design.passes - before == 3 + step.n_products


def test_outputs_carried_along_are_those_of_the_parameters():
    """Large values with a mean far from 0 do not part them."""
    rng = np.random.default_rng(3)
    X, y = text(rng, scale=100.0)
    X.data += 1000.0
    with compiled_at_any_size():
        result = fit_linear(
            X, y, np.ones(len(y)), loss=Softmax(), n_outputs=5, penalty=1.0, solver="newton-cg"
        )
    design = design_matrix(X, n_outputs=5)
    S = design.matmul(result.w.reshape(-1, 5))
    value = Softmax().value(S, y).sum() + 0.5 * np.sum(result.w[:-5] ** 2)
    np.testing.assert_allclose(value, result.value, rtol=1e-7)


def test_only_wide_sparse_problems_are_worth_a_copy():
    rng = np.random.default_rng(4)
    wide = random_array((500, 300000), density=0.001, rng=rng, format="csr")
    assert features_repay(wide, 10)
    assert not features_repay(wide, 1), "one output"
    assert not features_repay(csr_array(wide.T), 10), "more rows than columns"
    assert not features_repay(wide[:, :5000], 10), "vectors that a cache holds"
    assert not features_repay(wide.tocsc(), 10)
    assert not features_repay(np.ones((5, 5)), 10)


def test_zero_weight_rows_have_no_coordinates():
    rng = np.random.default_rng(5)
    X, y = text(rng)
    s = np.where(np.arange(len(y)) < 10, 0.0, 1.0)
    penalty = np.ones((X.shape[1], 5))
    objective = Objective(Linear(5), Softmax(), CompiledDesign(X, False), y, s, penalty.ravel())
    point = objective.at(np.zeros(penalty.size))
    system = RowSpaceSystem(GaussNewton(point), -point.gradient)
    cg = conjugate_gradient(system, system.b, rtol=1e-3, inner=system.inner)
    R = np.split(cg.x[:-1], 2)[1].reshape(-1, 5)
    np.testing.assert_array_equal(np.any(R != 0, axis=1), s > 0)
