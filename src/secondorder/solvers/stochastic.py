"""The outer loop over mini-batches."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from secondorder.losses.output_hessian import Array
from secondorder.objective import Objective
from secondorder.solvers.certificate import Status
from secondorder.solvers.first_order import UpdateRule
from secondorder.solvers.minimize import Iteration, Result
from secondorder.solvers.progress import Progress


def batches(n: int, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray | slice]:
    """Rows 0 ... n - 1 in parts of `size`, the last maybe smaller; in random order if `rng` is given."""
    order = None if rng is None or size >= n else rng.permutation(n)
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        yield rows if order is None else order[rows]


class Swept(NamedTuple):
    """Parameters and memory after a sweep, the mean value of its batches, and the last gradient's norm."""

    w: Array
    memory: Any
    value: float
    gradient_norm: float


def sweep(
    objective: Objective,
    w: Array,
    rule: UpdateRule,
    memory: Any,
    batch_size: int,
    rng: np.random.Generator | None = None,
) -> Swept:
    """One update for each mini-batch of all rows; ends early where the value ceases to be finite."""
    total, value, norm = float(objective.s.sum()), 0.0, 0.0
    for part in batches(objective.X.shape[0], batch_size, rng):
        weight = float(objective.s[part].sum())
        if weight == 0:
            continue
        point = objective.sample(part).at(w)
        value += weight / total * point.value
        norm = float(np.linalg.norm(point.gradient))
        if not np.isfinite(value + norm):
            return Swept(w, memory, np.inf, norm)
        change, memory = rule(point, memory)
        w = w + change
    return Swept(w, memory, value, norm)


def minimize_stochastic(
    objective: Objective,
    w: Array,
    rule: UpdateRule,
    *,
    judge: Progress,
    batch_size: int,
    max_iter: int = 200,
    rng: np.random.Generator | None = None,
    callback: Callable[[Iteration], None] | None = None,
) -> Result:
    """Minimise ``E(w)`` by one update for each mini-batch.

    An iteration is one sweep over the rows; the record begins with the start. The value in a record is the
    mean of the batches as they were
    met, each before its update, so it lags behind; the gradient norm is that of the last batch. If the value
    ceases to be finite, the parameters before that sweep are returned.

    Parameters
    ----------
    objective : Objective
    w : array of shape (P,)
        Start; its precision is that of all updates.
    rule : update rule
        For example `secondorder.solvers.first_order.Adam`.
    judge : Progress
    batch_size : int
    max_iter : int, default=200
        Largest number of sweeps.
    rng : numpy Generator, optional
        Shuffles the rows. Without it they are taken as they come.
    callback : callable(Iteration), optional

    Returns
    -------
    Result
    """
    objective = objective.astype(w.dtype)
    point, memory = objective.at(w), rule.start(w)
    value, norm, standing = point.value, float(np.linalg.norm(point.gradient)), judge.start(point)
    del point  # it holds all activations
    rows: list[Iteration] = []

    def record() -> None:
        held_out = standing.validation_loss, standing.validation_score
        rows.append(
            Iteration(len(rows), value, norm, standing.gap, 2 * len(rows) + 2, 0, 0.0, 0, None, *held_out)
        )
        if callback is not None:
            callback(rows[-1])

    record()
    reached = value  # at w, which a sweep that diverges leaves as it was
    while standing.status is None and len(rows) <= max_iter:
        swept = sweep(objective, w, rule, memory, batch_size, rng)
        standing = judge.follow(swept.value, swept.w, np.inf, standing)
        if standing.status is not Status.DIVERGED:
            w, memory, reached = swept.w, swept.memory, swept.value
        value, norm = swept.value, swept.gradient_norm
        record()
    kept, value = standing.best or (w, reached)
    return Result(kept, standing.status or Status.MAX_ITER, value, standing.gap, judge.name, tuple(rows))
