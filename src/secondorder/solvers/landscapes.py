"""E and its gradient by sweeps over a dense X, without any array for other derivatives."""

from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import issparse

from secondorder.models.compiled_design import CompiledDesign
from secondorder.objective import Objective

CHORD = 0.1  # part of what a step of intercepts promised that the next with the same curvature may
STEPS = 20  # of intercepts, at most
SAFE, SHORT = 0.1, 1e-3  # the longest that need not be tried, and that are not halved
PER_CLASS, ROWS = 20, 1000  # rows of a sample that tells the curvature in the intercepts, or up to twice that
RIDGE = 1e-2  # part of its diagonal that is added to it
LEAST = 1e-6  # part that a class is taken to have at least, at the start


def sweeps_repay(objective: Objective) -> bool:
    """Whether X is dense, with one penalty on all its features, and large enough for compiled sweeps."""
    design, uniform = objective.X, objective.uniform
    dense = isinstance(design, CompiledDesign) and not issparse(design.X)
    return dense and uniform is not None and uniform[1] == design.X.shape[1] * objective.model.n_outputs


class View(NamedTuple):
    """E and its gradient at `W` (q, K)."""

    W: np.ndarray
    value: float
    gradient: np.ndarray


class Landscape(Protocol):
    """E as sweeps tell it; `start` is 0, but for intercepts that are about optimal."""

    start: np.ndarray

    def __call__(self, W: np.ndarray, left: float) -> View:
        """What is seen at `W`, with intercepts solved but for about `left`, if they are solved."""


class LogisticLandscape:
    """E of one logistic model, one sweep for each W."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.start = np.zeros((objective.X.shape[1], 1))
        if objective.X.intercept:
            p = np.clip(objective.s @ objective.y / np.sum(objective.s), LEAST, 1 - LEAST)
            self.start[-1] = np.log(p / (1 - p))

    def __call__(self, W: np.ndarray, left: float) -> View:
        """What is seen at `W`."""
        o = self._objective
        return _penalised(o, W, *o.X.logistic_gradient(o.y, o.s, W))


class SoftmaxLandscape:
    """E of a softmax model with the least of its intercepts, in float32.

    Intercepts are solved on the outputs by steps with the curvature there, which a sample of the rows tells.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        n, K = objective.X.shape[0], objective.model.n_outputs
        self._S = np.zeros((n, K), np.float32)
        self._weights = np.bincount(objective.y, weights=objective.s, minlength=K)
        weighty = np.flatnonzero(objective.s > 0)
        self._rows = weighty[:: max(1, len(weighty) // max(ROWS, PER_CLASS * K))]
        self.start = np.zeros((objective.X.shape[1], K))
        if objective.X.intercept:
            b = np.log(np.maximum(self._weights / np.sum(self._weights), LEAST))
            self.start[-1] = b - np.mean(b)

    def __call__(self, W: np.ndarray, left: float) -> View:
        """What is seen at `W` with better intercepts."""
        o, p = self._objective, self._objective.X.X.shape[1]
        if np.any(W[:p]):
            o.X.outputs(W, self._S)
        else:
            self._S[:] = 0
        if o.X.intercept:
            W = np.vstack([W[:p], self._solved(W[p], left)])
        loss, gradient = o.X.softmax_gradient(self._S, W, o.y, o.s)
        return _penalised(o, W, loss, gradient)

    def _solved(self, b: np.ndarray, left: float) -> np.ndarray:
        """Intercepts near the optimal ones, by Newton's method with one curvature for several steps."""
        value, g = self._pull(b)
        factor, last = None, np.inf
        for _ in range(STEPS):
            if not np.all(np.isfinite(g)):
                break
            if factor is None:
                factor = cho_factor(self._curvature(b))
            step = -cho_solve(factor, g)
            promised = -0.5 * float(g @ step)
            done = promised <= left
            if done and np.max(np.abs(step)) <= SAFE:
                b = b + step
                break
            factor, last = factor if promised <= CHORD * last else None, promised
            after, g = self._pull(b + step)
            while not after <= value and np.max(np.abs(step)) > SHORT:
                step, factor = step / 2, None
                after, g = self._pull(b + step)
            b, value = b + step, after
            if done:
                break
        return b - np.mean(b)

    def _pull(self, b: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss with these intercepts, and its gradient in them."""
        from secondorder.kernels import softmax_sweep

        return softmax_sweep.pull(self._S, b, self._objective.y, self._objective.s)

    def _curvature(self, b: np.ndarray) -> np.ndarray:
        """The curvature in the intercepts, nearly."""
        o = self._objective
        S, s = self._S[self._rows] + b.astype(np.float32), o.s[self._rows]
        P = np.exp(S - np.max(S, axis=1, keepdims=True))
        P /= np.sum(P, axis=1, keepdims=True)
        A = -(P * s[:, None].astype(np.float32)).T @ P * (np.sum(o.s) / np.sum(s))
        A = A.astype(np.float64)
        A.flat[:: len(A) + 1] -= np.sum(A, axis=1)
        A.flat[:: len(A) + 1] += RIDGE * self._weights + np.finfo(np.float32).eps * np.sum(self._weights)
        return A


def _penalised(objective: Objective, W: np.ndarray, loss: float, gradient: np.ndarray) -> View:
    """E from the loss."""
    p = objective.X.X.shape[1]
    penalty = objective.penalty[0]
    gradient[:p] += penalty * W[:p]
    return View(W, loss + 0.5 * penalty * float(np.sum(W[:p] ** 2)), gradient)
