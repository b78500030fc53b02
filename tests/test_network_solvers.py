"""Laws of the steps and updates for objectives that are not convex."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks
from reference import derivative

from secondorder.curvature import GaussNewton, Hessian
from secondorder.losses import Softmax, Squared
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design
from secondorder.objective import Objective
from secondorder.solvers import (
    SGD,
    AdaGrad,
    Adam,
    DiagonalLM,
    HessianFree,
    LevenbergMarquardt,
    Nesterov,
    Progress,
    RMSProp,
    Status,
    TrustRegion,
    Validation,
    fit_network,
    minimize,
    minimize_stochastic,
)
from secondorder.solvers.hessian_free import Sampled
from secondorder.solvers.network import SECOND_ORDER, SOLVERS, STOCHASTIC, choose_solver, resume_network
from secondorder.solvers.stochastic import batches

seeds = st.integers(0, 2**32 - 1)
STEPS = list(SECOND_ORDER.values())
UPDATES = [
    SGD(),
    SGD(momentum=0.9),
    Nesterov(),
    AdaGrad(),
    RMSProp(),
    Adam(),
    DiagonalLM(),
    DiagonalLM(floor=True),
]
PATIENT = Progress(tol=0.0, patience=10**9)


def spirals(n=120, seed=0, hidden=(8,), activation="tanh", alpha=1e-3):
    """Two classes wound into each other, and a network that can tell them apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    r = np.sqrt(rng.random(n))
    X = np.column_stack([r * np.sin(4 * r + np.pi * y), r * np.cos(4 * r + np.pi * y)])
    model = MLP((2, *hidden, 2), ACTIVATIONS[activation])
    o = Objective(model, Softmax(), Design(X), y, np.full(n, 1 / n), model.penalty(alpha))
    return o, model.initial(INITIAL_WEIGHTS["glorot_uniform"], rng)


@pytest.mark.parametrize(("curvature", "step"), STEPS, ids=SECOND_ORDER)
@given(net=networks(max_hidden=2))
@settings(max_examples=50)
def test_no_step_goes_up(curvature, step, net):
    """From any point, also where the Hessian is indefinite."""
    point, scale = net.point, step.initial_scale
    for _ in range(4):
        taken = step(point, curvature(point), scale)
        assert taken.point.value < point.value or (not taken.accepted and taken.point is point)
        assert taken.promised >= 0
        point, scale = taken.point, taken.scale
        assert np.isfinite(scale)


@given(seed=seeds)
@settings(max_examples=20)
def test_a_trust_region_leaves_a_saddle_by_negative_curvature(seed):
    """At a point whose gradient is tiny and whose Hessian is indefinite the step still goes down."""
    rng = np.random.default_rng(seed)
    model = MLP((2, 3, 1), ACTIVATIONS["tanh"], intercept=False)
    X = rng.standard_normal((20, 2))
    o = Objective(model, Squared(), Design(X, False), X[:, 0], np.full(20, 1 / 20), model.penalty(0))
    point = o.at(1e-6 * rng.standard_normal(model.n_parameters))  # w = 0 is a saddle
    assert np.linalg.eigvalsh(Hessian(point).dense())[0] < -1e-3
    step = TrustRegion()
    for _ in range(8):
        taken = step(point, Hessian(point), 1.0)
        point = taken.point
    assert point.value < 0.9 * o.at(np.zeros(model.n_parameters)).value


@given(net=networks(max_hidden=0, losses=("squared",)))
@settings(max_examples=40)
def test_one_undamped_step_solves_linear_least_squares(net):
    o = net.objective
    if o.model.output_activation.name != "identity" or not np.any(o.s):
        return
    point = net.point
    for step in (LevenbergMarquardt(1e-12), TrustRegion(1e6, rtol=1e-10), HessianFree(1e-12, rtol=1e-10)):
        taken = step(point, GaussNewton(point), step.initial_scale)
        best = np.linalg.lstsq(GaussNewton(point).dense(), -point.gradient, rcond=1e-10)[0]
        lowest = o.at(point.w + best).value
        assert taken.point.value - lowest <= 1e-5 * (point.value - lowest) + 1e-9 * (1 + point.value)


@given(net=networks(max_hidden=2, activations=("tanh", "softplus")), damping=st.floats(1e-3, 10))
@settings(max_examples=40)
def test_levenberg_marquardt_promises_what_its_model_gives(net, damping):
    point = net.point
    taken = LevenbergMarquardt(acceleration=False)(point, GaussNewton(point), damping)
    if not (taken.accepted and taken.n_trials == 1):
        return
    d, B = taken.point.w - point.w, GaussNewton(point).dense()
    diagonal = np.diag(np.maximum(np.diag(B), 1e-2 * np.max(np.diag(B))))
    np.testing.assert_allclose(
        (B + damping * diagonal) @ d, -point.gradient, atol=1e-8 * (1 + np.max(np.diag(B)))
    )
    np.testing.assert_allclose(taken.promised, -point.gradient @ d - d @ B @ d / 2, rtol=1e-6, atol=1e-12)


def test_the_second_tangent_bends_the_step_of_levenberg_marquardt_into_the_valley():
    """Along ``d + a/2`` the outputs agree with the linear model to one order more than along d."""
    o, w = spirals()
    point = o.at(w)
    plain, bent = (
        LevenbergMarquardt(acceleration=a)(point, GaussNewton(point), 0.3).point.w - w for a in (False, True)
    )
    a = 2 * (bent - plain)
    S2 = point.forward.second_tangent(plain)
    B = GaussNewton(point).dense()
    B += 0.3 * np.diag(np.maximum(np.diag(B), 1e-2 * np.max(np.diag(B))))
    np.testing.assert_allclose(B @ a, -point.forward.vjp(point.H @ S2), atol=1e-9)
    np.testing.assert_allclose(S2, derivative(lambda t: o.at(w + t * plain).forward.jvp(plain)), atol=1e-8)


@pytest.mark.parametrize("solver", [*SECOND_ORDER, "adam", "nesterov", "diagonal-lm"])
def test_the_spirals_are_told_apart(solver):
    o, w = spirals(hidden=(12,))
    rate = 0.1 if solver == "diagonal-lm" else None
    rate = 0.02 if solver == "adam" else rate
    result = fit_network(
        o,
        w,
        judge=PATIENT,
        solver=solver,
        learning_rate=rate,
        max_iter=400,
        batch_size=20,
        rng=np.random.default_rng(0),
    )
    predicted = o.at(result.w).forward.outputs.argmax(axis=1)
    assert np.mean(predicted == o.y) >= 0.9
    assert result.value < 0.4 * o.at(w).value


@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_second_order_ends_where_the_gradient_vanishes(solver):
    o, w = spirals(alpha=0.02)
    result = fit_network(o, w, judge=Progress(1e-10, 10), solver=solver, max_iter=500)
    assert result.status in (Status.SETTLED, Status.STATIONARY)
    assert np.linalg.norm(o.at(result.w).gradient) <= 1e-4
    assert all(b.value <= a.value for a, b in pairwise(result.history))
    assert result.certificate == "local model"


@pytest.mark.parametrize("update", UPDATES, ids=repr)
@given(seed=seeds)
@settings(max_examples=10)
def test_updates_go_down_on_all_rows_at_once(update, seed):
    """With one batch of all rows and a small rate every rule is a descent method."""
    o, w = spirals(seed=seed)
    memory, point = update.start(w), o.at(w)
    update = type(update)(**{**vars(update), "rate": 1e-4})
    change, memory = update(point, memory)
    assert change @ point.gradient < 0
    assert o.at(w + change).value < point.value


@given(seed=seeds)
@settings(max_examples=10)
def test_first_steps_are_those_of_the_papers(seed):
    o, w = spirals(seed=seed)
    point = o.at(w)
    g = point.gradient
    steps = {
        SGD(0.1): -0.1 * g,
        SGD(0.1, 0.9): -0.1 * g,
        Nesterov(0.1, 0.9): -0.19 * g,  # to the look-ahead of the first velocity
        AdaGrad(0.1, 0.0): -0.1 * np.sign(g),
        RMSProp(0.1, 0.9, 0.0): -0.1 / np.sqrt(0.1) * np.sign(g),
        Adam(0.1, eps=0.0): -0.1 * np.sign(g),
    }
    for rule, expected in steps.items():
        np.testing.assert_allclose(rule(point, rule.start(w))[0], expected, rtol=1e-9)


@given(seed=seeds, floor=st.booleans(), delta=st.floats(0.01, 1))
@settings(max_examples=20)
def test_diagonal_lm_divides_by_the_accumulated_curvature(seed, floor, delta):
    """For a quadratic objective h is exact, so that rate 1 is Newton's step where the Hessian is diagonal."""
    rng = np.random.default_rng(seed)
    X = np.diag(rng.uniform(0.5, 2, 4))
    model = MLP((4, 1), intercept=False)
    o = Objective(model, Squared(), Design(X, False), rng.standard_normal(4), np.ones(4), model.penalty(0))
    point = o.at(rng.standard_normal(4))
    rule = DiagonalLM(1.0, delta, floor, every=1)
    change, memory = rule(point, rule.start(point.w))
    h = np.diag(Hessian(point).dense())
    np.testing.assert_allclose(memory.h, h)
    np.testing.assert_allclose(change, -point.gradient / (np.maximum(h, delta) if floor else h + delta))
    _, later = rule(o.at(point.w + change), memory)
    np.testing.assert_allclose(later.h, h)


@given(n=st.integers(1, 50), size=st.integers(1, 60), seed=seeds)
def test_batches_hold_every_row_once(n, size, seed):
    rng = np.random.default_rng(seed)
    for order in (rng, None):
        parts = [np.arange(n)[rows] for rows in batches(n, size, order)]
        assert sorted(np.concatenate(parts).tolist()) == list(range(n))
        assert all(len(part) == size for part in parts[:-1])


def test_sampled_curvature_is_right_on_average_and_better_than_even_draws():
    o, w = spirals(n=400)
    result = fit_network(o, w, judge=PATIENT, solver="lm", max_iter=30)
    point = o.at(result.w)
    B = GaussNewton(point).dense()
    rng = np.random.default_rng(0)

    def error(sampled, draws):
        mean = np.mean([sampled(point).dense() for _ in range(draws)], axis=0)
        return np.linalg.norm(mean - B) / np.linalg.norm(B)

    class Even(Sampled):
        def __call__(self, point):
            rows = self.rng.choice(400, len(np.unique(self.rng.choice(400, self.n_rows))), replace=False)
            return GaussNewton(point.objective.sample(rows).at(point.w))

    assert error(Sampled(100, rng), 400) <= 0.05
    once = [np.mean([error(kind(100, rng), 1) for _ in range(30)]) for kind in (Sampled, Even)]
    assert once[0] < 0.7 * once[1]


@pytest.mark.parametrize("solver", ["sgd", "nesterov", "gd"])
def test_divergence_is_told_and_leaves_finite_parameters(solver):
    o, w = spirals(hidden=(8, 8), activation="relu")
    with np.errstate(all="ignore"):
        result = fit_network(
            o, w, judge=PATIENT, solver=solver, learning_rate=1e6, max_iter=50, batch_size=30
        )
    assert result.status is Status.DIVERGED
    assert np.isfinite(result.value)  # that of the parameters returned
    assert np.all(np.isfinite(result.w))
    assert np.isfinite(o.at(result.w).value)


def test_a_start_that_is_not_finite_is_refused():
    o, w = spirals()
    with pytest.raises(ValueError, match="overflows"), np.errstate(all="ignore"):
        minimize(o, np.full_like(w, np.nan), step=LevenbergMarquardt(), judge=PATIENT)


@pytest.mark.parametrize("solver", ["lm", "adam"])
def test_validation_rows_choose_among_iterations(solver):
    o, w = spirals(n=40, hidden=(20, 20), alpha=0.0)
    held_out, _ = spirals(n=60, seed=1, hidden=(20, 20))
    validation = Validation(held_out, lambda S: float(np.mean(S.argmax(axis=1) == held_out.y)))
    result = fit_network(
        o,
        w,
        judge=Progress(1e-4, 5, validation),
        solver=solver,
        max_iter=200,
        batch_size=10,
        rng=np.random.default_rng(0),
    )
    losses = [row.validation_loss for row in result.history]
    np.testing.assert_allclose(held_out.at(result.w).value, min(losses), rtol=1e-12)
    if result.status is Status.OVERFITTING:
        assert min(losses[-5:]) >= min(losses) - 1e-4 * abs(min(losses))
    assert all(0 <= row.validation_score <= 1 for row in result.history)


def test_a_settled_objective_ends_the_fit_after_patience_iterations():
    judge = Progress(tol=0.5, patience=3)
    o, w = spirals()
    result = minimize_stochastic(o, w, SGD(1e-9), judge=judge, batch_size=10, max_iter=50)
    assert (result.status, result.n_iter) == (Status.SETTLED, 3)


@pytest.mark.parametrize("solver", [*SECOND_ORDER, *STOCHASTIC])
def test_resumed_iterations_are_those_of_one_fit(solver):
    """One after the other, with what the solver remembers, from the same shuffles."""
    o, w = spirals()
    whole = fit_network(
        o, w, judge=PATIENT, solver=solver, max_iter=3, rng=np.random.default_rng(1), batch_size=50
    )
    memory, rng = None, np.random.default_rng(1)
    for _ in range(3):
        w, value, memory = resume_network(o, w, memory, solver=solver, rng=rng, batch_size=50)
    np.testing.assert_allclose(w, whole.w, rtol=1e-12)
    np.testing.assert_allclose(value, whole.value, rtol=1e-12)


def test_many_rows_sample_their_curvature():
    """And read X only for the gradient and for each trial."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10_000, 20)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = MLP((20, 100, 2), ACTIVATIONS["relu"])
    o = Objective(model, Softmax(), Design(X), y, np.full(len(X), 1e-4), model.penalty(1e-6))
    w = model.initial(INITIAL_WEIGHTS["glorot_uniform"], 0)
    assert choose_solver(len(w)) == "gauss-newton-cg"
    result = fit_network(o, w, judge=PATIENT, max_iter=8, rng=rng)
    assert result.n_products > 8
    assert result.passes == 2 + result.n_trials + result.n_iter
    assert result.value < 0.3


def test_sizes_choose_the_solver():
    assert [choose_solver(p) for p in (1, 2000, 2001)] == ["lm", "lm", "gauss-newton-cg"]


def test_unknown_solvers_are_refused():
    o, w = spirals()
    with pytest.raises(ValueError, match="choose one of auto, lm"):
        fit_network(o, w, judge=PATIENT, solver="lbfgs")
    assert "lbfgs" not in SOLVERS


def test_sign_warns_that_only_the_last_layer_learns():
    o, w = spirals(activation="sign", alpha=0.0)
    with pytest.warns(UserWarning, match="derivative of sign is zero"):
        result = fit_network(o, w, judge=PATIENT, solver="lm", max_iter=3)
    last = o.model.shapes[-1][0] * 2
    np.testing.assert_array_equal(result.w[:-last], w[:-last])
    assert result.value < o.at(w).value
