"""The plain path on arrays of a GPU, where there is one."""

import numpy as np
import pytest

from secondorder.losses import Logistic, Softmax, Squared
from secondorder.models import Design, Linear
from secondorder.objective import Objective

KINDS = {"softmax": Softmax(), "logistic": Logistic(), "squared": Squared()}


def torch_arrays():
    """To a PyTorch tensor on the GPU, and back."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    return lambda a: torch.asarray(a, device="cuda"), lambda a: a.cpu().numpy()


def cupy_arrays():
    """To a CuPy array, and back."""
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        pytest.skip("CuPy sees no GPU")
    return cupy.asarray, cupy.asnumpy


@pytest.mark.parametrize("arrays", [torch_arrays, cupy_arrays])
@pytest.mark.parametrize("kind", KINDS)
def test_point_is_the_same_on_a_gpu(kind, arrays):
    there, back = arrays()
    rng = np.random.default_rng(0)
    n, p, K = 500, 20, 1 if kind == "logistic" else 4
    X, s, v = rng.standard_normal((n, p)), rng.random(n), rng.standard_normal((p + 1) * K)
    y = {
        "softmax": rng.integers(0, K, n),
        "logistic": rng.integers(0, 2, n).astype(float),
        "squared": rng.standard_normal((n, K)),
    }[kind]
    found = []
    for to, fro in ((np.asarray, np.asarray), (there, back)):
        design = Design(to(X), True, to(s))
        objective = Objective(Linear(K), KINDS[kind], design, to(y), to(s), to(np.full(len(v), 0.1)))
        point = objective.at(to(0.1 * v))
        trial = point.along(to(v))(0.5)
        product = point.forward.gauss_newton_product(point.H, to(v))
        diagonal = point.forward.gauss_newton_diagonal(point.H)
        arrays_found = [fro(a) for a in (point.gradient, trial.gradient, product, diagonal)]
        found.append([point.value, trial.value, *arrays_found])
    for here, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, here, rtol=1e-9, atol=1e-9)
