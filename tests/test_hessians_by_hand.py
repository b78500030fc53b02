"""Derivatives worked by hand, in the examples and in closed form, are those of the engine."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SMOOTH

from secondorder.curvature import GaussNewton, Hessian
from secondorder.losses import Logistic, Squared
from secondorder.models import ACTIVATIONS, MLP, Design, Linear
from secondorder.objective import Objective

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(params=["linear", "tanh"])
def example(request, monkeypatch):
    """An example as a module."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module(f"hessian_by_hand_{request.param}_chain")


def quantities(example):
    """All that an example prints of its derivation."""
    chain = example.chain()
    if hasattr(example, "first_order"):
        return example.first_order(chain) + [q for j in (1, 2, 3, 4) for q in example.second_order(chain, j)]
    return example.forward_quantities(chain) + example.backward_quantities(chain)


def test_the_example_prints_all_its_quantities(example, capsys):
    example.main()
    printed = capsys.readouterr().out
    for quantity in quantities(example):
        assert f" {quantity.name} " in printed
        assert quantity.remark in printed


def test_the_matrix_is_that_of_differences(example):
    A = Hessian(example.chain().at(example.W)).dense()
    by_differences = example.differences(example.chain())
    by_differences = by_differences[1] if isinstance(by_differences, tuple) else by_differences
    np.testing.assert_allclose(A, by_differences, rtol=1e-5, atol=1e-6)


def test_linear_chain_is_as_printed_but_for_two_misprints(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("hessian_by_hand_linear_chain")
    found = quantities(example)
    assert [q.name for q in found if q.value != q.printed] == ["h1", "d2L/dL2"]
    A = Hessian(example.chain().at(example.W)).dense()
    np.testing.assert_allclose(A, [[9800, 6160, 4400], [6160, 3528, 2640], [4400, 2640, 1800]], rtol=1e-12)
    for k, j in ((3, 2), (2, 1), (3, 1)):
        np.testing.assert_allclose(sum(example.bridge_terms(example.chain(), k, j)), A[k - 1, j - 1])


def test_tanh_chain_differs_from_the_report_just_where_a_remark_says_so(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("hessian_by_hand_tanh_chain")
    found = quantities(example)
    for quantity in found:
        assert quantity.agrees == (not quantity.remark), quantity
    wrong = {q.name for q in found if q.name[0] == "H" and q.remark}
    assert wrong == {"H24", "H42", "H44"}
    values = {q.name: q.value for q in found}
    np.testing.assert_allclose([values["H24"], values["H44"]], [0.3576, 0.00188], rtol=1e-3)


@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(SMOOTH))
def test_gradients_of_three_layers_by_the_chain_rule(seed, name):
    """``L = 1/N sum |y - W3' h2 - b3|^2``, ``h2 = g(W2' h1 + b2)``, ``h1 = g(W1' x + b1)``, any g."""
    rng = np.random.default_rng(seed)
    n, widths, g = 5, (3, 4, 2, 2), ACTIVATIONS[name]
    model = MLP(widths, g)
    X, y, w = (
        rng.standard_normal((n, 3)),
        rng.standard_normal((n, 2)),
        rng.standard_normal(model.n_parameters),
    )
    o = Objective(model, Squared(), Design(X), y, np.full(n, 2 / n), model.penalty(0))
    (W1, b1), (W2, b2), (W3, b3) = [(W[:-1], W[-1]) for W in model.unpack(w)]
    z1 = X @ W1 + b1
    h1 = g.value(z1)
    z2 = h1 @ W2 + b2
    h2 = g.value(z2)
    residual = 2 * (h2 @ W3 + b3 - y) / n
    back2 = (residual @ W3.T) * g.slope(z2, h2)
    back1 = (back2 @ W2.T) * g.slope(z1, h1)
    by_hand = [X.T @ back1, back1.sum(0), h1.T @ back2, back2.sum(0), h2.T @ residual, residual.sum(0)]
    point = o.at(w)
    np.testing.assert_allclose(point.value, np.mean(np.sum((y - h2 @ W3 - b3) ** 2, axis=1)), rtol=1e-12)
    np.testing.assert_allclose(point.gradient, np.concatenate([part.ravel() for part in by_hand]), atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), perceptron=st.booleans())
def test_logistic_hessian_is_x_r_x(seed, perceptron):
    """``H = X' R X`` with ``R = diag(p (1 - p))``, diagonal ``sum p (1 - p) x^2``, gradient ``X'(p - y)``."""
    rng = np.random.default_rng(seed)
    X, y, w = rng.standard_normal((9, 4)), rng.integers(0, 2, 9).astype(float), rng.standard_normal(4)
    model = MLP((4, 1), intercept=False) if perceptron else Linear(1)
    point = Objective(model, Logistic(), Design(X, False), y, np.ones(9), np.zeros(4)).at(w)
    p = 1 / (1 + np.exp(-X @ w))
    R = np.diag(p * (1 - p))
    np.testing.assert_allclose(point.gradient, X.T @ (p - y), atol=1e-12)
    for kind in (GaussNewton, Hessian):
        np.testing.assert_allclose(kind(point).dense(), X.T @ R @ X, atol=1e-12)
        np.testing.assert_allclose(
            kind(point).diagonal(), np.sum((p * (1 - p))[:, None] * X**2, axis=0), atol=1e-12
        )
