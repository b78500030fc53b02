"""Newton's method with one Hessian for all steps, for several logistic models of few features at once."""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from secondorder.losses import Logistic
from secondorder.models.design import CompiledDesign, Design
from secondorder.solvers.linear import LinearProblem
from secondorder.solvers.minimize import Iteration
from secondorder.solvers.preconditioners import ScaledCholesky

SWEEPS = 8  # at most
DEPTH = 3  # steps combined
SPARE = 0.25  # part of the tolerated gap at which to stop


def chord_repays(problem: LinearProblem, design: Design) -> bool:
    """Whether there is a compiled sweep for X."""
    dense = isinstance(design, CompiledDesign) and not issparse(design.X)
    return dense and design.X.flags.c_contiguous and problem.intercept and isinstance(problem.loss, Logistic)


def chord(
    problem: LinearProblem,
    design: Any,
    W: np.ndarray,
    D: np.ndarray,
    *,
    weight: float,
    tol: float,
    max_iter: int,
) -> tuple[np.ndarray, tuple[Iteration, ...]]:
    """A `W` nearer to the optimum of every model, and the history of the steps, each of one sweep over X.

    ``w <- w - B^-1 g`` with ``B = share D + penalty`` for all steps, where `D` is the curvature of the loss
    of all rows at a point nearby and `share` the part of their weight that the model has. Steps are combined
    with those before by Anderson's method (Iterative procedures for nonlinear integral equations, J. ACM
    12, 1965), in the norm of B. One sweep gives the gradients of all models; outputs are not kept.

    Parameters
    ----------
    problem : LinearProblem
        Of K logistic models: s of shape (n, K).
    design : CompiledDesign
        Of ``problem.X``.
    W : array of shape (p + 1, K)
    D : array of shape (p + 1, p + 1)
    weight : float
        Of all rows.
    tol : float
        Relative gap to come to.
    max_iter : int
        Largest number of steps, if it is less than `SWEEPS`.
    """
    factors = [factor(D * share, problem.penalty) for share in np.sum(problem.s, axis=0) / weight]
    p, best, decrement = len(D) - 1, W, np.full(W.shape[1], np.inf)
    trail: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    history: list[Iteration] = []
    for k in range(min(SWEEPS, max_iter + 1)):
        losses, g = design.logistic_gradients(problem.y, problem.s, W)
        value = losses + 0.5 * problem.penalty * np.sum(W[:p] ** 2, axis=0)
        g[:p] += problem.penalty * W[:p]
        step = -np.column_stack([M @ column for M, column in zip(factors, g.T, strict=True)])
        promised = -np.sum(g * step, axis=0)
        if not np.all(promised < decrement):
            break
        gaps = np.sum(g[:p] ** 2, axis=0) / (2 * problem.penalty)
        norm, length = float(np.linalg.norm(g)), float(k > 0)
        row = Iteration(k, float(np.sum(value)), norm, float(np.sum(gaps)), design.passes, 0, length)
        history.append(row)
        best, decrement = W, promised
        if np.all(gaps <= SPARE * tol * value):
            break
        trail.append((W, step, g))
        W = _combined(trail[-DEPTH:])
    return best, tuple(history)


def _combined(trail: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """The next W of every model: that after the combination of steps with the smallest norm of B."""
    Ws, steps, gradients = (np.stack(part) for part in zip(*trail, strict=True))
    after, step = Ws[-1] + steps[-1], steps[-1]
    if len(trail) == 1:
        return after
    moves, changes, bends = (np.diff(part, axis=0) for part in (Ws, steps, gradients))
    A = -np.einsum("iqk,jqk->kij", changes, bends)  # as B times a change of the step is minus that of g
    b = -np.einsum("qk,iqk->ki", step, bends)
    gamma = np.einsum(
        "kij,kj->ki", np.linalg.pinv((A + A.swapaxes(1, 2)) / 2, rcond=1e-12, hermitian=True), b
    )
    return after - np.einsum("ki,iqk->qk", gamma, moves + changes)


def factor(B: np.ndarray, penalty: float) -> ScaledCholesky:
    """The factor of ``B + penalty``, of which the intercept has none; `B` is overwritten."""
    B.flat[: -1 : len(B) + 1] += penalty
    return ScaledCholesky(B, penalised=True)
