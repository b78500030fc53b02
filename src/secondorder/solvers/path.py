"""The solutions for many penalties, on all rows and on parts of them, each started from those nearby."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from secondorder.losses import Loss
from secondorder.losses.output_hessian import Array
from secondorder.objective import Point
from secondorder.solvers.linear import LinearProblem, fit_linear
from secondorder.solvers.minimize import Result


class Fold(NamedTuple):
    """A part of the rows to train on, as a weight for each of them, and the rows to be scored."""

    counts: Array  # (n,): how often each row is in the training part, 0 for rows held out
    held_out: Array  # positions of the rows to be scored


class Cell(NamedTuple):
    """The solution for one penalty on one fold, and the outputs it gives for the rows held out."""

    result: Result
    outputs: Array  # (len(held_out), K)


class Stage(NamedTuple):
    """The solutions for one penalty: on all rows, also as a `Point` with the outputs of all, and on folds."""

    penalty: float
    whole: Result
    point: Point
    folds: list[Cell]


def fit_path(
    X: Array,
    y: Array,
    s: Array,
    penalties: Iterable[float],
    *,
    loss: Loss,
    n_outputs: int,
    intercept: bool = True,
    solver: str = "auto",
    folds: Sequence[Fold] = (),
    tol: float = 1e-8,
    max_iter: int = 100,
) -> Iterator[Stage]:
    """Minimise ``sum_i s_i loss(x_i W + b, y_i) + penalty/2 |W|^2`` for every penalty and every fold.

    Parameters
    ----------
    X, y, s, loss, n_outputs, intercept, solver, tol, max_iter
        As in `fit_linear`.
    penalties : iterable of float
        From the largest to the smallest. It is read one by one, after the last stage has been given out.
    folds : sequence of Fold
        Each multiplies `s` by its counts.

    Yields
    ------
    Stage
        One for each penalty.
    """
    w = None
    for penalty in penalties:
        problem = LinearProblem(X, y, s, loss, n_outputs, float(penalty), intercept)
        options: dict[str, Any] = {
            "loss": loss,
            "n_outputs": n_outputs,
            "penalty": float(penalty),
            "intercept": intercept,
            "solver": solver,
            "tol": tol,
            "max_iter": max_iter,
        }
        whole = fit_linear(X, y, s, w=w, **options)
        w = whole.w
        design = problem.design(np.zeros(X.shape[1]) if intercept else None)
        point = problem.objective(design).at(w)
        cells = []
        for fold in folds:
            part = replace(problem, s=s * fold.counts)
            result = fit_linear(X, y, part.s, w=w, **options)
            S = design.matmul(result.w.reshape(-1, n_outputs))
            cells.append(Cell(result, S[fold.held_out]))
        yield Stage(float(penalty), whole, point, cells)
