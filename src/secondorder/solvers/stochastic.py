"""The outer loop over mini-batches."""

from collections.abc import Callable, Iterator

import numpy as np

from secondorder.losses.output_hessian import Array
from secondorder.objective import Objective
from secondorder.solvers.certificate import Status
from secondorder.solvers.first_order import UpdateRule
from secondorder.solvers.minimize import Iteration, Result
from secondorder.solvers.progress import Progress, Standing


def batches(n: int, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray | slice]:
    """The rows 0 ... n - 1 in parts of `size` (the last may be smaller), in random order if `rng` is given."""
    order = None if rng is None or size >= n else rng.permutation(n)
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        yield rows if order is None else order[rows]


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

    An iteration is one sweep over the rows in random order. The value in its record is the mean of the
    batches as they were met, each before its update, so it lags behind; the gradient norm is likewise that
    of the last batch. If the value ceases to be finite, the parameters before that sweep are returned.

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
    n, memory, passes = objective.X.shape[0], rule.start(w), 0
    share = objective.s / objective.s.sum()
    standing, rows, value = Standing(), [], np.nan
    while standing.status is None and len(rows) < max_iter:
        before, value = (w, value), 0.0
        for part in batches(n, batch_size, rng):
            if not np.any(share[part]):
                continue
            point = objective.sample(part).at(w)
            value += float(share[part].sum()) * point.value
            change, memory = rule(point, memory)
            w = w + change
            if not np.isfinite(value):
                break
        passes += 2
        standing = judge.follow(value, w, np.inf, standing)
        norm = float(np.linalg.norm(point.gradient))
        row = Iteration(len(rows) + 1, value, norm, standing.gap, passes)
        held_out = {name: getattr(standing, name) for name in ("validation_loss", "validation_score")}
        rows.append(row._replace(**held_out))
        if callback is not None:
            callback(rows[-1])
    status = standing.status or Status.MAX_ITER
    w, value = standing.best or (before if status is Status.DIVERGED else (w, value))
    return Result(w, status, value, standing.gap, judge.name, tuple(rows))
