"""Laws of the multilayer perceptron: its derivatives, its curvature, and what its layers tell."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import KINKED, SMOOTH, H, networks
from reference import derivative, gradient, jacobian
from scipy.sparse import csr_array

from secondorder.curvature import BackpropagatedDiagonal, GaussNewton, Hessian
from secondorder.losses import Softmax, Squared
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design, Linear
from secondorder.models.row_blocks import ROWS, RowBlocks
from secondorder.objective import Objective

KINKS = {"relu": [0], "leaky_relu": [0], "leaky_tanh": [0], "hard_tanh": [-1, 1], "sign": [0]}


def close(got, expected, rtol=1e-6):
    """Equal to `rtol` of the largest entry (and of 1, for what is 0)."""
    np.testing.assert_allclose(
        got, expected, rtol=0, atol=rtol * max(1.0, np.max(np.abs(expected), initial=0))
    )


def second_derivative(f, h=1e-2):
    """``f''(0)`` by a seven-point stencil, error ``h^6``."""
    terms = [(1, 270), (2, -27), (3, 2)]
    return (sum(c * (f(k * h) + f(-k * h)) for k, c in terms) - 490 * f(0)) / (180 * h**2)


def differences(f, w):
    """The Jacobian of `f` at `w` by differences that stay on one side of every kink."""
    return jacobian(lambda u: f(w + H / 1e-3 * (u - w)), w) / (H / 1e-3)


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(z=st.floats(-6, 6))
def test_slope_and_bend_of_activations_are_their_derivatives(name, z):
    f, Z = ACTIVATIONS[name], np.array([[z]])
    if any(abs(z - kink) < 0.01 for kink in KINKS.get(name, [])):
        return
    slope, bend = f.slope(Z, f.value(Z)), f.bend(Z, f.value(Z))
    np.testing.assert_allclose(slope, derivative(lambda t: f.value(Z + t)), atol=1e-9)
    np.testing.assert_allclose(bend, derivative(lambda t: f.slope(Z + t, f.value(Z + t))), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_finite_far_out_and_keep_their_precision(name, dtype):
    f, Z = ACTIVATIONS[name], np.array([[-1e3, -1.0, 0.0, 1.0, 1e3]], dtype)
    A = f.value(Z)
    for values in (A, f.slope(Z, A), f.bend(Z, A)):
        assert values.dtype == dtype
        assert np.all(np.isfinite(values))


@given(net=networks())
def test_jvp_and_second_tangent_are_derivatives_of_the_outputs(net):
    net.assume_smooth()
    forward = net.point.forward

    def along(t):
        return net.objective.at(net.w + t * net.v).forward

    close(forward.jvp(net.v), derivative(lambda t: along(t).outputs, H))
    close(forward.second_tangent(net.v), derivative(lambda t: along(t).jvp(net.v), H))
    np.testing.assert_allclose(forward.along(net.v)(0.3).outputs, along(0.3).outputs)


@given(net=networks())
def test_vjp_is_the_adjoint_of_jvp_and_vjp_derivative_its_derivative(net):
    net.assume_smooth()
    U = np.random.default_rng(0).standard_normal(net.point.G.shape)
    forward = net.point.forward
    Jv = forward.jvp(net.v)
    np.testing.assert_allclose(
        np.sum(Jv * U), net.v @ forward.vjp(U), atol=1e-12 * (1 + np.sum(np.abs(Jv * U)))
    )
    expected = derivative(lambda t: net.objective.at(net.w + t * net.v).forward.vjp(U), H)
    close(forward.vjp_derivative(net.v, U), expected)


@given(net=networks())
def test_gradient_is_that_of_the_value(net):
    net.assume_smooth()
    expected = gradient(lambda w: net.objective.at(net.w + H / 1e-3 * (w - net.w)).value, net.w) / (H / 1e-3)
    close(net.point.gradient, expected)


@settings(max_examples=60)
@given(net=networks())
def test_gauss_newton_is_the_jacobian_twice_around_the_curvature_of_the_loss(net):
    """Product, diagonal and dense matrix, with the Jacobian by differences."""
    net.assume_smooth()
    point = net.point
    J = differences(lambda w: net.objective.at(w).forward.outputs, net.w)
    expected = np.einsum("nkp,nkl,nlq->pq", J, point.H.blocks(), J) + np.diag(net.objective.penalty)
    B = GaussNewton(point)
    close(B @ net.v, expected @ net.v)
    close(B.dense(), expected)
    close(B.diagonal(), np.diagonal(expected))
    assert np.min(np.linalg.eigvalsh(B.dense())) >= -1e-12 * max(1, np.max(np.abs(expected)))


@settings(max_examples=60)
@given(net=networks())
def test_exact_hessian_is_the_jacobian_of_the_gradient(net):
    """Product, diagonal and dense matrix."""
    net.assume_smooth()
    expected = differences(lambda w: net.objective.at(w).gradient, net.w)
    A = Hessian(net.point)
    close(A @ net.v, expected @ net.v)
    close(A.dense(), expected)
    close(A.diagonal(), np.diagonal(expected))
    close(A.dense(), A.dense().T, 1e-12)
    bending = net.point.forward.vjp_derivative(net.v, net.point.G)
    close(GaussNewton(net.point) @ net.v + bending, A @ net.v, 1e-12)


@given(net=networks(max_hidden=1))
def test_second_order_backpropagation_is_exact_up_to_one_hidden_layer(net):
    D = BackpropagatedDiagonal(net.point)
    expected = Hessian(net.point).diagonal()
    close(D.diagonal(), expected, 1e-12)
    close(D @ net.v, expected * net.v, 1e-12)
    close(D.dense(), np.diag(expected), 1e-12)


@given(seed=st.integers(0, 2**32 - 1), depth=st.integers(1, 6), name=st.sampled_from(KINKED + SMOOTH))
def test_second_order_backpropagation_is_exact_for_chains_of_single_units(seed, depth, name):
    rng = np.random.default_rng(seed)
    model = MLP((1,) * (depth + 1), ACTIVATIONS[name])
    X = Design(rng.standard_normal((3, 1)))
    o = Objective(model, Squared(), X, rng.standard_normal(3), np.ones(3), model.penalty(0))
    point = o.at(rng.standard_normal(model.n_parameters))
    close(BackpropagatedDiagonal(point).diagonal(), Hessian(point).diagonal(), 1e-12)


@given(net=networks())
def test_without_gradient_second_order_backpropagation_is_not_negative(net):
    """And is the diagonal of Gauss-Newton where it is exact."""
    point = net.point
    d = point.forward.backpropagate_diagonal(point.H, 0 * point.G)
    assert np.min(d) >= -1e-12 * max(1, np.max(d))
    if net.n_hidden <= 1:
        close(d, point.forward.gauss_newton_diagonal(point.H), 1e-12)


@given(net=networks(activations=SMOOTH))
def test_derivatives_by_layer_are_those_of_the_rest_of_the_network(net):
    """First derivatives in every Z and A; second ones down to the last hidden layer, where all is kept."""
    point, o, model = net.point, net.objective, net.objective.model
    layers = point.forward.layer_derivatives(point.H, point.G)
    kinds = [model.activation] * net.n_hidden + [model.output_activation]

    def loss(layer, Z=None, A=None):
        """The weighted loss of each row, from what goes into or comes out of `layer`."""
        for at in range(layer, len(layers)):
            A = kinds[at].value(Z) if A is None else A
            if at + 1 < len(layers):
                Z, A = Design(A, model.intercept).matmul(point.forward.layers[at + 1]), None
        return o.s * o.loss.value(A, o.y)

    for at, found in enumerate(layers):
        Z, A = point.forward.Z[at], point.forward.activations[at]
        for unit, e in enumerate(np.eye(Z.shape[1])):
            in_Z = partial(lambda at, Z, e, t: loss(at, Z=Z + t * e), at, Z, e)
            in_A = partial(lambda at, A, e, t: loss(at, A=A + t * e), at, A, e)
            close(found.dE_dZ[:, unit], derivative(in_Z))
            close(found.dE_dA[:, unit], derivative(in_A))
            if at >= net.n_hidden - 1:
                close(found.d2E_dZ2[:, unit], second_derivative(in_Z))
                close(found.d2E_dA2[:, unit], second_derivative(in_A))


@given(net=networks(max_hidden=0))
def test_a_perceptron_without_hidden_layers_is_the_linear_model(net):
    o = net.objective
    if o.model.output_activation.name != "identity":
        return
    linear = Objective(Linear(o.model.n_outputs), o.loss, o.X, o.y, o.s, o.penalty).at(net.w)
    close(net.point.value, linear.value, 1e-13)
    close(net.point.gradient, linear.gradient, 1e-13)
    for kind in (GaussNewton, Hessian):
        close(kind(net.point) @ net.v, kind(linear) @ net.v, 1e-13)
    close(GaussNewton(net.point).dense(), GaussNewton(linear).dense(), 1e-13)
    close(GaussNewton(net.point).diagonal(), GaussNewton(linear).diagonal(), 1e-13)


@given(net=networks())
def test_single_precision_is_double_precision_rounded(net):
    o = net.objective
    single = Objective(o.model, o.loss, Design(o.X.X.astype(np.float32), o.X.intercept), o.y, o.s, o.penalty)
    here, there = single.at(net.w), net.point
    pairs = [
        (here.gradient, there.gradient),
        (GaussNewton(here) @ net.v, GaussNewton(there) @ net.v),
        (GaussNewton(here).diagonal(), GaussNewton(there).diagonal()),
    ]
    if o.model.activation.name in SMOOTH:
        pairs.append((Hessian(here) @ net.v, Hessian(there) @ net.v))
    for got, expected in pairs:
        assert got.dtype == np.float64
        close(got, expected, 2e-3)


@given(net=networks())
def test_sparse_inputs_are_dense_ones(net):
    o = net.objective
    sparse = Objective(o.model, o.loss, Design(csr_array(o.X.X), o.X.intercept), o.y, o.s, o.penalty)
    here, there = sparse.at(net.w), net.point
    close(here.gradient, there.gradient, 1e-12)
    close(GaussNewton(here).dense(), GaussNewton(there).dense(), 1e-12)
    close(GaussNewton(here).diagonal(), GaussNewton(there).diagonal(), 1e-12)
    close(Hessian(here) @ net.v, Hessian(there) @ net.v, 1e-12)


@given(net=networks(), size=st.integers(1, 6))
def test_gradients_of_batches_average_to_that_of_all_rows(net, size):
    o = net.objective
    n = len(o.s)
    parts = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    parts = [part for part in parts if np.any(o.s[part])]
    if not parts:
        return
    shares = [o.s[part].sum() / o.s.sum() for part in parts]
    mean = sum(share * o.sample(part).at(net.w).gradient for share, part in zip(shares, parts, strict=True))
    close(mean, net.point.gradient, 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_rows_change_nothing(dtype):
    """All that a network on many rows tells is what it tells in one piece."""
    rng = np.random.default_rng(0)
    model, n = MLP((3, 6, 5, 4), ACTIVATIONS["tanh"]), 2 * ROWS + 5
    X = Design(rng.standard_normal((n, 3)).astype(dtype))
    o = Objective(model, Softmax(), X, rng.integers(0, 4, n), rng.random(n), model.penalty(0.0))
    w, v = rng.standard_normal((2, model.n_parameters))
    point = o.at(w)
    H, G = point.H, point.G
    whole, blocks = model.forward_block(w, X), point.forward
    assert isinstance(blocks, RowBlocks)
    calls = {
        "outputs": lambda f: f.outputs,
        "along": lambda f: f.along(v)(0.1).outputs,
        "jvp": lambda f: f.jvp(v),
        "second_tangent": lambda f: f.second_tangent(v),
        "vjp": lambda f: f.vjp(G),
        "vjp_derivative": lambda f: f.vjp_derivative(v, G),
        "gauss_newton_product": lambda f: f.gauss_newton_product(H, v),
        "hessian_product": lambda f: f.hessian_product(H, G, v),
        "gauss_newton_diagonal": lambda f: f.gauss_newton_diagonal(H),
        "gauss_newton_dense": lambda f: f.gauss_newton_dense(H),
        "backpropagate_diagonal": lambda f: f.backpropagate_diagonal(H, G),
        "slopes": lambda f: f.slopes[1],
        "layer_derivatives": lambda f: np.concatenate(f.layer_derivatives(H, G)[0], axis=1),
    }
    for name, call in calls.items():
        passes = X.passes
        got, expected = call(blocks), call(whole)
        assert got.dtype == expected.dtype, name
        close(
            got / np.max(np.abs(expected)),
            expected / np.max(np.abs(expected)),
            1e-12 if dtype == np.float64 else 1e-4,
        )
        assert X.passes - passes <= 4, name


@pytest.mark.parametrize("name", INITIAL_WEIGHTS)
@given(seed=st.integers(0, 2**32 - 1), intercept=st.booleans())
@settings(max_examples=10)
def test_initial_weights_have_the_spread_they_promise(name, seed, intercept):
    n_in, n_out = 60, 90
    W = INITIAL_WEIGHTS[name](n_in, n_out, intercept, np.random.default_rng(seed))
    assert W.shape == (n_in + intercept, n_out)
    variance = {
        "glorot_uniform": 2 / (n_in + n_out),
        "glorot_normal": 2 / (n_in + n_out),
        "he": 2 / n_in,
        "uniform": 1 / 12,
        "glorot_twelfth": 2 / (n_in + n_out) / 12,
        "nguyen_widrow": (0.7 * n_out ** (1 / n_in)) ** 2 / n_in,
    }
    np.testing.assert_allclose(np.var(W[:n_in]), variance[name], rtol=0.15)
    if intercept and name in ("glorot_normal", "he"):
        assert not np.any(W[-1])


def test_a_network_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="widths"):
        MLP((3,))
    with pytest.raises(ValueError, match="widths"):
        MLP((3, 0, 2))
