"""Training of networks: which method, from the size of the network, and its parts put together."""

from collections.abc import Callable
from typing import Any

import numpy as np

from secondorder.curvature import GaussNewton, Hessian
from secondorder.losses.output_hessian import Array
from secondorder.objective import Objective
from secondorder.solvers.diagonal_lm import DiagonalLM
from secondorder.solvers.first_order import SGD, AdaGrad, Adam, Nesterov, RMSProp
from secondorder.solvers.hessian_free import HessianFree
from secondorder.solvers.levenberg_marquardt import LevenbergMarquardt
from secondorder.solvers.minimize import Iteration, Result, minimize
from secondorder.solvers.progress import Progress
from secondorder.solvers.stochastic import minimize_stochastic
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
        One of `SOLVERS`.
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
    if solver == "auto":
        solver = choose_solver(len(w))
    if solver in SECOND_ORDER:
        curvature, step = SECOND_ORDER[solver]
        options: dict[str, Any] = {"judge": judge, "max_iter": max_iter, "callback": callback}
        return minimize(objective, w, curvature=curvature, step=step, **options)
    if solver not in STOCHASTIC:
        raise ValueError(f"solver={solver!r}: choose one of {', '.join(SOLVERS)}.")
    rule = STOCHASTIC[solver]() if learning_rate is None else STOCHASTIC[solver](rate=learning_rate)
    return minimize_stochastic(
        objective,
        w,
        rule,
        judge=judge,
        batch_size=objective.X.shape[0] if solver == "gd" else batch_size,
        max_iter=max_iter,
        rng=rng,
        callback=callback,
    )
