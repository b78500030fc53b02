"""Laws of the losses: derivatives, algebra of the output Hessian, tails."""

from contextlib import nullcontext

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import targets
from reference import derivative
from scipy.special import expit

from secondorder.kernels import compiled_at_any_size
from secondorder.kernels import logistic as logistic_kernels
from secondorder.kernels import softmax as softmax_kernels
from secondorder.losses import Logistic, OutputHessian, Softmax, Squared

LOSSES = [Softmax(), Logistic(), Squared()]
seeds = st.integers(0, 2**32 - 1)


def sample(loss, seed, n=6, scale=3.0):
    """Outputs, targets and weights, one of them 0."""
    rng = np.random.default_rng(seed)
    K = 1 if isinstance(loss, Logistic) else int(rng.integers(2, 7))
    S = scale * rng.standard_normal((n, K))
    s = rng.random(n)
    s[0] = 0.0
    return S, targets(loss, n, K, rng), s


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@given(seed=seeds)
def test_derivatives_are_those_of_the_value(loss, seed):
    S, y, s = sample(loss, seed)
    G, H = loss.derivatives(S, y, s)
    D = np.random.default_rng(seed).standard_normal(S.shape)
    slope = derivative(lambda t: s @ loss.value(S + t * D, y))
    np.testing.assert_allclose(np.sum(G * D), slope, rtol=1e-8, atol=1e-9)
    bend = derivative(lambda t: loss.derivatives(S + t * D, y, s)[0])
    np.testing.assert_allclose(H @ D, bend, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "loss", [*LOSSES, "soft"], ids=lambda loss: loss if loss == "soft" else type(loss).__name__
)
@given(seed=seeds, scale=st.sampled_from([0.1, 3.0, 300.0]), part=st.floats(0, 1))
def test_conjugates_bound_the_loss_and_touch_it_at_its_derivatives(loss, seed, scale, part):
    """``loss*(G) + loss(S) >= S'G`` (Fenchel & Young), for means of derivatives too."""
    soft = loss == "soft"
    loss = Softmax() if soft else loss
    S, y, s = sample(loss, seed, scale=scale)
    rng = np.random.default_rng(seed)
    if soft and isinstance(loss, Softmax):
        y = 2 * rng.dirichlet(np.ones(S.shape[1]), len(S))
    T = scale * rng.standard_normal(S.shape)
    G, other = (loss.derivatives(at, y, s)[0] for at in (S, T))
    rounding = 1e-13 * (1 + scale) ** 2
    touching = np.sum(S * G) - s @ loss.value(S, y)
    np.testing.assert_allclose(loss.conjugate(G, y, s), touching, atol=rounding)
    mean = G + part * (other - G)
    assert loss.conjugate(mean, y, s) >= np.sum(T * mean) - s @ loss.value(T, y) - rounding


def test_conjugates_keep_their_tail():
    """Where the probability of the target is next to 1."""
    g = np.array([[1e-20, -1e-20], [0.0, 0.0]])
    exact = 1e-20 * np.log(1e-20) - 1e-20
    ones = np.ones(2)
    np.testing.assert_allclose(Softmax().conjugate(g, np.array([1, 0]), ones), exact, rtol=1e-15)
    np.testing.assert_allclose(Logistic().conjugate(g[:, :1], np.zeros(2), ones), exact, rtol=1e-15)


@given(seed=seeds, rank_one=st.booleans())
def test_output_hessian_forms_agree(seed, rank_one):
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(4), 7)
    s = rng.random(7)
    H = OutputHessian(s[:, None] * P, np.sqrt(s)[:, None] * P if rank_one else None)
    blocks, V = H.blocks(), rng.standard_normal((7, 4))
    np.testing.assert_allclose(H @ V, np.einsum("nkl,nl->nk", blocks, V), atol=1e-14)
    np.testing.assert_allclose(H.diagonal(), np.einsum("nkk->nk", blocks), atol=1e-15)
    np.testing.assert_allclose(H.sum(), blocks.sum(axis=0), atol=1e-14)
    F = H.factor()
    np.testing.assert_allclose(F @ F.transpose(0, 2, 1), blocks, atol=1e-14)
    assert np.min(np.linalg.eigvalsh(blocks)) >= -1e-15


def test_single_precision_curvature_flushes_what_would_be_denormal():
    H = OutputHessian(np.array([[1e-31, 0.5]]), np.array([[1e-31, 0.5]])).single
    assert H.d.dtype == H.u.dtype == np.float32
    np.testing.assert_array_equal(H.d, np.float32([[0.0, 0.5]]))


@given(seed=seeds)
def test_leading_hessian_is_an_upper_bound(seed):
    S, y, s = sample(Softmax(), seed)
    _, H = Softmax().derivatives(S, y, s)
    assert np.min(np.linalg.eigvalsh(H.leading.blocks() - H.blocks())) >= -1e-15


@given(seed=seeds, shift=st.floats(-50, 50))
def test_softmax_does_not_see_a_shift_of_all_scores(seed, shift):
    S, y, s = sample(Softmax(), seed)
    np.testing.assert_allclose(Softmax().value(S + shift, y), Softmax().value(S, y), rtol=1e-9, atol=1e-12)
    _, H = Softmax().derivatives(S, y, s)
    np.testing.assert_allclose(H @ np.ones_like(S), 0, atol=1e-15)


@given(seed=seeds)
def test_softmax_of_two_is_logistic(seed):
    z, y, s = sample(Logistic(), seed, scale=20.0)
    S = np.column_stack([np.zeros(len(z)), z])
    np.testing.assert_allclose(Softmax().value(S, y.astype(int)), Logistic().value(z, y), rtol=1e-13)
    G2, H2 = Softmax().derivatives(S, y.astype(int), s)
    G1, H1 = Logistic().derivatives(z, y, s)
    np.testing.assert_allclose(G2[:, 1:], G1, rtol=1e-13)
    np.testing.assert_allclose((H2 @ np.column_stack([0 * z, z]))[:, 1:], H1 @ z, rtol=1e-9, atol=1e-13)


@given(seed=seeds)
def test_hard_labels_are_soft_labels_of_one(seed):
    S, y, s = sample(Softmax(), seed)
    soft = np.eye(S.shape[1])[y]
    np.testing.assert_allclose(Softmax().value(S, soft), Softmax().value(S, y), rtol=1e-12, atol=1e-15)
    G, H = Softmax().derivatives(S, soft, s)
    hard_G, hard_H = Softmax().derivatives(S, y, s)
    np.testing.assert_allclose(G, hard_G, atol=1e-15)
    np.testing.assert_allclose(H.d, hard_H.d, atol=1e-15)


@given(seed=seeds)
def test_soft_labels_need_not_sum_to_one(seed):
    """A row with labels (a, b) is a row of weight a for the one and one of weight b for the other."""
    S, _, s = sample(Softmax(), seed)
    y = np.random.default_rng(seed).random(S.shape)
    S_each, y_each = np.repeat(S, S.shape[1], axis=0), np.tile(np.arange(S.shape[1]), len(S))
    s_each = (s[:, None] * y).ravel()
    np.testing.assert_allclose(
        s @ Softmax().value(S, y), s_each @ Softmax().value(S_each, y_each), rtol=1e-12
    )
    G, H = Softmax().derivatives(S, y, s)
    G_each, H_each = Softmax().derivatives(S_each, y_each, s_each)
    np.testing.assert_allclose(G, G_each.reshape(*S.shape, -1).sum(axis=1), atol=1e-13)
    np.testing.assert_allclose(H.blocks(), H_each.blocks().reshape(len(S), -1, *H.blocks().shape[1:]).sum(1))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("z", [-1e3, -710.0, -40.0, -1.0, 0.0, 1.0, 40.0, 710.0, 1e3])
def test_tails_keep_their_relative_accuracy(z, compiled):
    """Against 60 digits: value, p - y and p (1 - p), also where p or 1 - p is far below rounding."""
    with mpmath.workdps(60):
        small, large = mpmath.exp(-abs(z)) / (1 + mpmath.exp(-abs(z))), 1 / (1 + mpmath.exp(-abs(z)))
        p = large if z >= 0 else small
        value = float(mpmath.log1p(mpmath.exp(-abs(z))) + (abs(z) if z > 0 else 0))
        slope, bend = float(p), float(small * large)
    S, y, s = np.array([[z]]), np.zeros(1), np.ones(1)
    both = np.array([[0.0, z]])
    if compiled:
        at, G, d = logistic_kernels.evaluate(S, y, s[:, None])
        got = [at[0], G[0, 0], d[0, 0]]
        at, G, P = softmax_kernels.evaluate(both, np.array([0]), s)
        also = [at, G[0, 1], -G[0, 0], P[0, 1]]
    else:
        G, H = Logistic().derivatives(S, y, s)
        got = [Logistic().value(S, y)[0], G[0, 0], H.d[0, 0]]
        G, H = Softmax().derivatives(both, np.array([0]), s)
        also = [Softmax().value(both, np.array([0]))[0], G[0, 1], -G[0, 0], H.d[0, 1]]
    np.testing.assert_allclose(got, [value, slope, bend], rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(also, [value, slope, slope, slope], rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("loss", LOSSES[:2], ids=lambda loss: type(loss).__name__)
@given(seed=seeds)
def test_scores_of_a_thousand_are_finite(loss, seed):
    S, y, s = sample(loss, seed, scale=1e3)
    G, H = loss.derivatives(S, y, s)
    assert np.all(np.isfinite(loss.value(S, y)))
    assert np.all(np.isfinite(G))
    assert np.all(np.isfinite(H @ S))


@given(seed=seeds, n=st.sampled_from([1, 9, 150]), scale=st.sampled_from([1.0, 30.0, 1000.0]))
def test_compiled_loops_equal_the_plain_ones(seed, n, scale):
    S, y, s = sample(Softmax(), seed, n=n, scale=scale)
    value, G, P = softmax_kernels.evaluate(S, y, s)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax_kernels, "MANY", 2)
        for few, many in zip((value, G, P), softmax_kernels.evaluate(S, y, s), strict=True):
            np.testing.assert_allclose(many, few, rtol=1e-12, atol=1e-300)
    plain_G, plain_H = Softmax().derivatives(S, y, s)
    np.testing.assert_allclose(value, s @ Softmax().value(S, y), rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(G, plain_G, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(s[:, None] * P, plain_H.d, rtol=1e-12, atol=1e-300)
    c = S[0] / 2
    pull, total = softmax_kernels.pull(S, c, y, s), np.sum(s)
    np.testing.assert_allclose(pull, Softmax().derivatives(S + c, y, s)[0].sum(axis=0), atol=1e-13 * total)
    z, y, s = sample(Logistic(), seed, n=9, scale=scale)
    value, G, d = logistic_kernels.evaluate(z, y, s[:, None])
    plain_G, plain_H = Logistic().derivatives(z, y, s)
    np.testing.assert_allclose(value[0], s @ Logistic().value(z, y), rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(G, plain_G, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(d, plain_H.d, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("compiled", [True, False])
@given(seed=seeds, n_models=st.integers(2, 7))
def test_logistic_models_side_by_side_are_those_alone(seed, n_models, compiled):
    rng = np.random.default_rng(seed)
    n = 1100 // n_models + 3  # more than a block
    S, y, s = rng.normal(0, 3, (n, n_models)), rng.random(n), rng.random((n, n_models))
    with compiled_at_any_size() if compiled else nullcontext():
        values, G, H = Logistic().evaluate(S, y, s)
        for k in range(n_models):
            alone = Logistic().evaluate(S[:, [k]], y, np.ascontiguousarray(s[:, k]))
            np.testing.assert_allclose(values[k], alone[0], rtol=1e-14)
            np.testing.assert_allclose(G[:, [k]], alone[1], rtol=1e-14)
            np.testing.assert_allclose(H.d[:, [k]], alone[2].d, rtol=1e-14)


def test_margin_is_positive_where_the_target_is_on_top():
    S = np.array([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
    np.testing.assert_array_equal(Softmax().margin(S, np.array([1, 2])), [1.0, -1.0])
    z = np.array([[2.0], [2.0], [2.0]])
    np.testing.assert_array_equal(Logistic().margin(z, np.array([1.0, 0.0, 0.5])), [2.0, -2.0, -np.inf])
    assert np.all(Softmax().margin(S, expit(S)) < 0)
    assert np.all(Squared().margin(S, S) < 0)
