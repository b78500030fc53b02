"""Small problems that the laws are stated over: every loss, dense and sparse, weighted and not."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_array

from secondorder.losses import Logistic, Softmax, Squared
from secondorder.models import Design, Linear
from secondorder.models.compiled_design import CompiledDesign
from secondorder.objective import Objective


@dataclass(frozen=True)
class Problem:
    """An objective and a point to look at it, with the matrix it was made from."""

    objective: Objective
    w: np.ndarray
    v: np.ndarray
    X: np.ndarray  # dense float64, whatever the objective holds

    @property
    def Z(self) -> np.ndarray:
        """The design matrix written out."""
        design = self.objective.X
        if not design.intercept:
            return self.X
        mean = 0.0 if design.mean is None else design.mean
        return np.column_stack([self.X - mean, np.ones(len(self.X))])

    @property
    def J(self) -> np.ndarray:
        """The Jacobian dS/dw written out, shape (n, K, P)."""
        K = self.objective.model.n_outputs
        return np.einsum("nj,kl->nkjl", self.Z, np.eye(K)).reshape(len(self.X), K, -1)


def targets(loss, n: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """Targets that `loss` takes; soft ones for K outputs if `loss` is given as "soft"."""
    if isinstance(loss, Logistic):
        return rng.integers(0, 2, n).astype(float)
    if isinstance(loss, Squared):
        return rng.standard_normal((n, K))
    return rng.integers(0, K, n)


@st.composite
def problems(draw, *, losses=("softmax", "soft", "logistic", "squared"), dtypes=("f8", "f4")):
    """Objectives over loss, shape, sparsity, precision, weights, intercept, penalty, centre and loops."""
    kind = draw(st.sampled_from(losses))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, p = draw(st.integers(1, 14)), draw(st.integers(1, 7))
    K = 1 if kind == "logistic" else draw(st.integers(1 if kind == "squared" else 2, 8))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    X = (rng.standard_normal((n, p)) * (rng.random((n, p)) < draw(st.sampled_from([0.3, 1.0])))).astype(dtype)
    s = rng.integers(0, 4, n) * rng.random(n) if draw(st.booleans()) else np.ones(n)
    s[0] = 1.0
    intercept = draw(st.booleans())
    held = csr_array(X) if draw(st.booleans()) else X
    make = CompiledDesign if draw(st.booleans()) else Design
    design = make(held, intercept, s if draw(st.booleans()) else None)
    loss = {
        "softmax": Softmax(),
        "soft": Softmax(),
        "logistic": Logistic(),
        "squared": Squared(),
    }[kind]
    y = rng.dirichlet(np.ones(K), n) if kind == "soft" else targets(loss, n, K, rng)
    penalty = np.full((p + intercept, K), draw(st.sampled_from([0.0, 0.1, 10.0])))
    if intercept:
        penalty[-1] = 0.0
    objective = Objective(Linear(K), loss, design, y, s, penalty.ravel())
    w, v = rng.standard_normal((2, penalty.size))
    return Problem(objective, w, v, X.astype(np.float64))
