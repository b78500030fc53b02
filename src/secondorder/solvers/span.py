"""The best start that solutions at hand make: the minimum of E among their linear combinations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from secondorder.objective import Objective

BLOCK = 2**17  # numbers multiplied at a time, which fit a cache
EVALUATIONS = 8  # at most
SURE = 1e-3  # part of E below which a step keeps what it promises, and is the last


class Solution(NamedTuple):
    """Parameters ``W`` (p + 1, K) and the outputs ``S = Z W`` (n, K) they give.

    In coordinates of the row space `W` is R (n, K) above the intercept, for the weights ``(X - 1 m')' R``.
    `S` may have been combined from others: its rounding is at most so many times that of a product with X.
    """

    W: np.ndarray
    S: np.ndarray
    rounding: float = 1.0


def best_in_span(
    objective: Objective,
    bases: Sequence[Solution],
    mix: Sequence[float],
    n_models: int = 1,
    of_rows: bool = False,
) -> np.ndarray:
    """The a that minimise E over ``sum_j a_j W_j``, nearly, by Newton's method in these few variables.

    No pass over X: the outputs are combined like the parameters. Solutions for neighbouring penalties and
    sets of rows span nearly all of the next one.

    Parameters
    ----------
    objective : Objective
        Of a linear model with K outputs and one penalty on all features.
    bases : sequence of Solution
        One column stands for K equal ones.
    mix : sequence of float
        ``a`` to begin with.
    n_models : int, default=1
        The K outputs are those of so many models of equal size, each with an ``a`` of its own.
    of_rows : bool, default=False
        Whether the bases are in coordinates of the row space; then they are of one model.

    Returns
    -------
    array of shape (n_models, len(bases))
    """
    K, n = objective.model.n_outputs, len(objective.s)

    def by_model(A: np.ndarray) -> np.ndarray:
        """An array (n, K) as (n_models, n K / n_models)."""
        return A.reshape(n, n_models, -1).swapaxes(0, 1).reshape(n_models, -1)

    T = np.stack([by_model(np.broadcast_to(S, (n, K))) for _, S, _ in bases], axis=1)
    Q = _products_of_rows(objective, bases) if of_rows else _inner_products(objective, bases, n_models)
    a = best = np.tile(np.asarray(mix, dtype=float), (n_models, 1))
    step, least = np.zeros_like(a), np.full(n_models, np.inf)
    for _ in range(EVALUATIONS):
        S = np.matmul(a[:, None, :], T).reshape(n_models, n, -1).swapaxes(0, 1).reshape(n, K)
        losses, G, H = objective.loss.evaluate(S, objective.y, objective.s)
        pull = np.einsum("mij,mj->mi", Q, a)
        value = np.atleast_1d(losses) + 0.5 * np.sum(a * pull, axis=1)
        better = value < least
        best, least = np.where(better[:, None], a, best), np.where(better, value, least)
        g = np.matmul(T, by_model(G)[:, :, None])[:, :, 0] + pull
        A = Q + _products(T, by_model(H.d))
        if H.u is not None:
            u, ones = by_model(H.u), np.ones(K // n_models)
            sums = np.stack([(t * u).reshape(n_models, n, -1) @ ones for t in T.swapaxes(0, 1)], axis=1)
            A -= np.matmul(sums, sums.swapaxes(1, 2))
        newton = -np.einsum("mij,mj->mi", np.linalg.pinv(A, rcond=1e-13, hermitian=True), g)
        step = np.where(better[:, None], newton, step / 2)
        a = best + step
        if np.all(-np.sum(g * newton, axis=1) <= SURE * least):
            best = a
            break
    return best


def combined(a: np.ndarray, Ws: Sequence[np.ndarray], n_outputs: int) -> np.ndarray:
    """``sum_j a_j W_j`` for `a` of shape (n_models, m) and matrices of `n_outputs` columns in all."""
    return sum(np.repeat(a_j, n_outputs // len(a)) * W for a_j, W in zip(a.T, Ws, strict=True))


def _products_of_rows(objective: Objective, bases: Sequence[Solution]) -> np.ndarray:
    """``penalty W_i' W_j`` of the features from the outputs, shape (1, m, m)."""
    R = np.stack([W[: len(S)].ravel() for W, S, _ in bases])
    T = np.stack([(S - W[len(S) :].sum(axis=0)).ravel() for W, S, _ in bases])
    Q = R @ T.T
    return np.max(objective.penalty) * (Q + Q.T)[None] / 2


def _products(T: np.ndarray, d: np.ndarray) -> np.ndarray:
    """``T diag(d) T'`` of every model, a row at a time: BLAS is slow where a matrix is so wide."""
    m = T.shape[1]
    A = np.empty((len(T), m, m))
    for j in range(m):
        row = T[:, j] * d
        A[:, j, : j + 1] = A[:, : j + 1, j] = np.matmul(T[:, : j + 1], row[:, :, None])[:, :, 0]
    return A


def _inner_products(objective: Objective, bases: Sequence[Solution], n_models: int) -> np.ndarray:
    """``penalty W_i' W_j`` of the features, for each model, shape (n_models, m, m)."""
    Ws = [W for W, _, _ in bases]
    p, K = objective.X.X.shape[1], objective.model.n_outputs
    rows, Q = max(1, BLOCK // (K * len(Ws))), np.zeros((n_models, len(Ws), len(Ws)))
    for i in range(0, p, rows):
        block = slice(i, min(i + rows, p))
        V = np.stack([np.broadcast_to(W[block], (block.stop - i, K)) for W in Ws])
        V = V.reshape(*V.shape[:2], n_models, -1).transpose(2, 0, 1, 3).reshape(n_models, len(Ws), -1)
        Q += np.matmul(V, V.swapaxes(1, 2))
    return np.max(objective.penalty, initial=0.0) * Q
