"""Training of networks: which method, from the size of the network, and its parts put together."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from secondorder.curvature import GaussNewton, Hessian
from secondorder.losses.output_hessian import Array
from secondorder.objective import Objective
from secondorder.solvers.diagonal_lm import DiagonalLM
from secondorder.solvers.first_order import SGD, AdaGrad, Adam, Nesterov, RMSProp, UpdateRule
from secondorder.solvers.hessian_free import HessianFree, Sampled
from secondorder.solvers.levenberg_marquardt import LevenbergMarquardt
from secondorder.solvers.minimize import Iteration, Result, minimize
from secondorder.solvers.progress import Progress
from secondorder.solvers.stochastic import minimize_stochastic, sweep
from secondorder.solvers.trust_region import TrustRegion

# Curvature and step of the methods that see all rows at every step.
SECOND_ORDER: dict[str, tuple[Callable, Any]] = {
    "lm": (GaussNewton, LevenbergMarquardt()),
    "gauss-newton-cg": (GaussNewton, HessianFree()),
    "newton-trust-region": (Hessian, TrustRegion()),
}
# Update of the methods that see a mini-batch, given a learning rate.
STOCHASTIC: dict[str, Callable[..., Any]] = {
    "diagonal-lm": DiagonalLM,
    "gd": SGD,
    "sgd": SGD,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
}
SOLVERS = ("auto", *SECOND_ORDER, *STOCHASTIC)

LARGEST_DENSE = 2000  # parameters up to which the dense Gauss-Newton matrix is worth solving
SAMPLE = 3000  # rows that the curvature of "gauss-newton-cg" is sampled from, where there are many more


def choose_solver(n_parameters: int) -> str:
    """The method for a network of that many parameters."""
    return "lm" if n_parameters <= LARGEST_DENSE else "gauss-newton-cg"


def fit_network(
    objective: Objective,
    w: Array,
    *,
    judge: Progress,
    solver: str = "auto",
    learning_rate: float | None = None,
    batch_size: int = 200,
    max_iter: int = 200,
    rng: np.random.Generator | None = None,
    callback: Callable[[Iteration], None] | None = None,
) -> Result:
    """Minimise `objective`, the loss of a network, from `w`.

    Parameters
    ----------
    objective : Objective
    w : array of shape (P,)
        Start.
    judge : Progress
        Says when to end.
    solver : str, default="auto"
        One of `SOLVERS`; "auto" is "lm" for small networks and above "gauss-newton-cg", which samples
        its curvature where there are many rows.
    learning_rate : float, optional
        Of the methods in `STOCHASTIC`; each has a default of its own.
    batch_size : int, default=200
        Rows in a mini-batch; "gd" takes all.
    max_iter : int, default=200
        Largest number of iterations, for mini-batches of sweeps.
    rng : numpy Generator, optional
        Shuffles the rows.
    callback : callable(Iteration), optional

    Returns
    -------
    Result
    """
    if objective.model.activation.name == "sign" and len(objective.model.widths) > 2:
        warnings.warn(
            "The derivative of sign is zero: only the last layer is trained. Use tanh for one with a slope.",
            stacklevel=2,
        )
    solver = choose_solver(len(w)) if solver == "auto" else solver
    options: dict[str, Any] = {"judge": judge, "max_iter": max_iter, "callback": callback}
    if solver not in SECOND_ORDER:
        size = objective.X.shape[0] if solver == "gd" else batch_size
        update = _update(solver, learning_rate)
        return minimize_stochastic(objective, w, update, batch_size=size, rng=rng, **options)
    curvature, step = _curvature_and_step(solver, objective, rng)
    return minimize(objective, w, curvature=curvature, step=step, **options)


def resume_network(
    objective: Objective,
    w: Array,
    memory: Any,
    *,
    solver: str = "auto",
    learning_rate: float | None = None,
    batch_size: int = 200,
    rng: np.random.Generator | None = None,
) -> tuple[Array, float, Any]:
    """One iteration on `objective` from the parameters `w` and the `memory` of the last (None at first).

    The memory is what the update rule remembers, or the scale of a step. Returns parameters, value and
    memory; if the iteration diverged the value is not finite and the others are as they were.
    """
    solver = choose_solver(len(w)) if solver == "auto" else solver
    if solver in SECOND_ORDER:
        curvature, rule = _curvature_and_step(solver, objective, rng)
        point = objective.at(w)
        taken = rule(point, curvature(point), rule.initial_scale if memory is None else memory)
        return taken.point.w, taken.point.value, taken.scale
    update = _update(solver, learning_rate)
    memory = update.start(w) if memory is None else memory
    size = objective.X.shape[0] if solver == "gd" else batch_size
    swept = sweep(objective.astype(w.dtype), w, update, memory, size, rng)
    if not np.isfinite(swept.value):
        return w, swept.value, memory
    return swept.w, swept.value, swept.memory


def _curvature_and_step(
    solver: str, objective: Objective, rng: np.random.Generator | None
) -> tuple[Callable, Any]:
    """The parts of a second-order method; Gauss-Newton-CG samples the curvature of many rows."""
    curvature, step = SECOND_ORDER[solver]
    if solver == "gauss-newton-cg" and objective.X.shape[0] > 3 * SAMPLE:
        curvature = Sampled(SAMPLE, rng or np.random.default_rng(0))
    return curvature, step


def _update(solver: str, learning_rate: float | None) -> UpdateRule:
    """The update rule of a method for mini-batches."""
    if solver not in STOCHASTIC:
        raise ValueError(f"solver={solver!r}: choose one of {', '.join(SOLVERS)}.")
    return STOCHASTIC[solver]() if learning_rate is None else STOCHASTIC[solver](rate=learning_rate)
