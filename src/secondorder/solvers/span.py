"""The best start that solutions at hand make: the minimum of E among their linear combinations."""

from collections.abc import Sequence

import numpy as np

from secondorder.models.linear import LinearForward
from secondorder.objective import Objective, Point

EVALUATIONS = 8  # at most
SURE = 1e-3  # part of E below which a step keeps what it promises, and is the last


def best_in_span(
    objective: Objective, bases: Sequence[np.ndarray], mix: Sequence[float], n_models: int = 1
) -> Point:
    """The minimum of E over ``sum_j a_j W_j``, nearly, by Newton's method in the few variables a.

    One pass over X makes the outputs of all bases; combinations of them cost none. Solutions for
    neighbouring penalties and sets of rows span nearly all of the next one.

    Parameters
    ----------
    objective : Objective
        Of a linear model with K outputs.
    bases : sequence of array of shape (p + 1, K) or (p + 1, 1)
        ``W_j``; one column stands for K equal ones.
    mix : sequence of float
        ``a`` to begin with.
    n_models : int, default=1
        The K outputs are those of so many models of equal size, each with an ``a`` of its own.
    """
    design, K = objective.X, objective.model.n_outputs
    widths = np.cumsum([W.shape[1] for W in bases])[:-1]
    outputs = np.split(design.matmul(np.concatenate(bases, axis=1)), widths, axis=1)
    penalty = objective.penalty.reshape(-1, K)

    def sums(A: np.ndarray) -> np.ndarray:
        """The sum over the rows and outputs of each model."""
        return np.broadcast_to(A, (len(A), K)).sum(axis=0).reshape(n_models, -1).sum(axis=1)

    def combined(a: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
        """``sum_j a_j parts_j`` for the `a` of each model."""
        return sum(np.repeat(a_j, K // n_models) * part for a_j, part in zip(a.T, parts, strict=True))

    Q = np.array([[sums(penalty * U * V) for V in bases] for U in bases]).transpose(2, 0, 1)
    a = best = np.tile(np.asarray(mix, dtype=float), (n_models, 1))
    step, least = np.zeros_like(a), np.full(n_models, np.inf)
    for _ in range(EVALUATIONS):
        S = combined(a, outputs)
        losses, G, H = objective.loss.evaluate(S, objective.y, objective.s)
        pull = np.einsum("mij,mj->mi", Q, a)
        value = np.atleast_1d(losses) + 0.5 * np.sum(a * pull, axis=1)
        better = value < least
        best, least = np.where(better[:, None], a, best), np.where(better, value, least)
        g = np.array([sums(G * T) for T in outputs]).T + pull
        bent = [H @ np.broadcast_to(T, S.shape) for T in outputs]
        A = np.array([[sums(T * HT) for HT in bent] for T in outputs]).transpose(2, 0, 1) + Q
        newton = -np.einsum("mij,mj->mi", np.linalg.pinv(A, rcond=1e-13, hermitian=True), g)
        step = np.where(better[:, None], newton, step / 2)
        a = best + step
        if np.all(-np.sum(g * newton, axis=1) <= SURE * least):
            best = a
            break
    w, S = combined(best, bases).ravel(), combined(best, outputs)
    return Point(objective, LinearForward(lambda: w, design, S))
