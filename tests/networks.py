"""Small networks that the laws are stated over: every depth, activation and loss."""

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from problems import targets

from secondorder.losses import Logistic, Softmax, Squared
from secondorder.models import ACTIVATIONS, MLP, Design
from secondorder.objective import Objective, Point

KINKED = ("relu", "leaky_relu", "leaky_tanh", "hard_tanh")
SMOOTH = tuple(sorted(set(ACTIVATIONS) - set(KINKED) - {"sign"}))
H = 2e-4  # step of differences, which must not go over a kink


@dataclass(frozen=True)
class Network:
    """An objective, and a point and a direction to look at it."""

    objective: Objective
    w: np.ndarray
    v: np.ndarray

    @property
    def point(self) -> Point:
        """The point."""
        return self.objective.at(self.w)

    @property
    def n_hidden(self) -> int:
        """The number of hidden layers."""
        return len(self.objective.model.widths) - 2

    def pieces(self, w: np.ndarray) -> np.ndarray:
        """On which side of the kinks of the activations every unit is."""
        Z = np.concatenate([Z.ravel() for Z in self.objective.at(w).forward.Z])
        return np.stack([Z > 0, np.abs(Z) > 1])

    def assume_smooth(self) -> None:
        """Leave out examples with a kink within reach of the differences."""
        model = self.objective.model
        if not {model.activation.name, model.output_activation.name} & set(KINKED):
            return
        here = self.pieces(self.w)
        for d in (self.v, *np.eye(len(self.w))):
            for t in (-3 * H, 3 * H):
                assume(np.array_equal(self.pieces(self.w + t * d), here))


@st.composite
def networks(
    draw, *, max_hidden=3, activations=KINKED + SMOOTH, losses=("softmax", "soft", "logistic", "squared")
):
    """Networks over depth, widths, activation, output activation, loss, weights, biases and penalty."""
    kind = draw(st.sampled_from(losses))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, p = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    K = 1 if kind == "logistic" else draw(st.integers(1 if kind == "squared" else 2, 4))
    hidden = draw(st.lists(st.integers(1, 4), max_size=max_hidden))
    activation = ACTIVATIONS[draw(st.sampled_from(activations))]
    output = ACTIVATIONS[draw(st.sampled_from(["identity", "tanh"]))]
    model = MLP((p, *hidden, K), activation, output, intercept=draw(st.booleans()))
    loss = {"softmax": Softmax(), "soft": Softmax(), "logistic": Logistic(), "squared": Squared()}[kind]
    y = rng.dirichlet(np.ones(K), n) if kind == "soft" else targets(loss, n, K, rng)
    s = rng.integers(0, 4, n) * rng.random(n) if draw(st.booleans()) else np.ones(n)
    penalty = model.penalty(draw(st.sampled_from([0.0, 0.1])))
    X = Design(rng.standard_normal((n, p)), model.intercept)
    w, v = rng.standard_normal((2, model.n_parameters))
    return Network(Objective(model, loss, X, y, s, penalty), w, v)
