"""The plain path runs on any array that speaks the array API, not on NumPy alone."""

import array_api_strict as xp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.losses import Logistic, Softmax, Squared
from secondorder.models import Design, Linear
from secondorder.objective import Objective

LOSSES = {"softmax": Softmax(), "soft": Softmax(), "logistic": Logistic(), "squared": Squared()}


@pytest.mark.parametrize("kind", LOSSES)
@given(seed=st.integers(0, 2**32 - 1), intercept=st.booleans())
@settings(max_examples=20)
def test_point_is_the_same_on_strict_arrays(kind, seed, intercept):
    rng = np.random.default_rng(seed)
    n, p, K = 6, 3, 1 if kind == "logistic" else 4
    X, s = rng.standard_normal((n, p)), rng.random(n)
    y = {
        "softmax": rng.integers(0, K, n),
        "soft": rng.random((n, K)),
        "logistic": rng.integers(0, 2, n).astype(float),
        "squared": rng.standard_normal((n, K)),
    }[kind]
    w, v = rng.standard_normal((2, (p + intercept) * K))
    points, values = [], []
    for array in (np.asarray, xp.asarray):
        design = Design(array(X), intercept, array(s))
        objective = Objective(
            Linear(K), LOSSES[kind], design, array(y), array(s), array(np.full(len(w), 0.1))
        )
        point = objective.at(array(w))
        trial = point.along(array(v))(0.5)
        product = point.forward.gauss_newton_product(point.H, array(v))
        values.append([point.value, trial.value, point.along(array(v)).slope(trial, 0.5)])
        points.append([point.gradient, trial.gradient, product, point.forward.gauss_newton_diagonal(point.H)])
        margin = LOSSES[kind].margin(point.forward.outputs, array(y))
        points[-1].append(margin)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)
    for plain, strict in zip(*points, strict=True):
        np.testing.assert_allclose(np.asarray(strict), plain, rtol=1e-10, atol=1e-12)
