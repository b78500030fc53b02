"""The solutions for many values of C."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from secondorder.linear_model._classifier import LinearClassifier, TrainingData
from secondorder.linear_model._logistic import LogisticRegression
from secondorder.linear_model._report import explain_grid
from secondorder.solvers import Result, Status
from secondorder.solvers.linear import LinearProblem
from secondorder.solvers.path import Fold, Stage, fit_path
from secondorder.solvers.penalties import UnfoldingPenalties


class LogisticPath(NamedTuple):
    """What `logistic_regression_path` gives.

    Attributes
    ----------
    Cs : ndarray of shape (n_Cs,)
    coefs : ndarray of shape (n_Cs, 1 or n_classes, n_features)
    intercepts : ndarray of shape (n_Cs, 1 or n_classes)
    results : tuple of secondorder.solvers.Result
        The record of each solve, with its certificate.
    classes : ndarray of shape (n_classes,)
    """

    Cs: np.ndarray
    coefs: np.ndarray
    intercepts: np.ndarray
    results: tuple[Result, ...]
    classes: np.ndarray


class Grid:
    """The values of C that the parameter `Cs` stands for.

    Raises
    ------
    ValueError
        If it stands for none.
    """

    def __init__(self, Cs: Any) -> None:
        self._given = None if isinstance(Cs, str) and Cs == "auto" else _values(Cs)

    @property
    def n_distinct(self) -> int | None:
        """The number of different values; None where it will only be known in the end."""
        return None if self._given is None else len(np.unique(self._given))

    def in_order(self, solved: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """All values in the order given, and the position of each among those `solved`, which ascend."""
        values = np.array(solved) if self._given is None else self._given
        return values, np.searchsorted(solved, values)

    def solve(
        self, model: LinearClassifier, data: TrainingData, folds: Sequence[Fold] = ()
    ) -> Iterator[tuple[float, Stage]]:
        """Each different C, from the smallest, with the solutions for it."""
        unfolding = UnfoldingPenalties(LinearProblem(*data, 0.0, model.fit_intercept))
        Cs = None if self._given is None else np.unique(self._given)
        stages = fit_path(
            *data[:3],
            unfolding if Cs is None else 1 / Cs,
            loss=data.loss,
            n_outputs=data.n_outputs,
            intercept=model.fit_intercept,
            solver=model.solver,
            folds=folds,
            tol=model.tol,
            max_iter=model.max_iter,
        )
        for i in itertools.count():
            with model._values_told(data.X):
                stage = next(stages, None)
            if stage is None:
                return
            if Cs is None:
                unfolding.see(stage.point)
            yield 1 / stage.penalty if Cs is None else float(Cs[i]), stage


def _values(Cs: Any) -> np.ndarray:
    """The values of C in a list, or so many from 1e-4 to 1e4."""
    if isinstance(Cs, Integral) and not isinstance(Cs, bool) and int(Cs) >= 1:
        return np.logspace(-4, 4, int(Cs))
    try:
        values = np.array(Cs, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    with np.errstate(divide="ignore", over="ignore"):
        usable = np.all(values > 0) and np.all(np.isfinite(1 / values))
    if not (values.ndim == 1 and values.size and usable):
        raise ValueError(
            f"Cs={Cs!r}: give positive numbers (np.inf for no penalty), how many of them to take "
            "from 1e-4 to 1e4, or 'auto'."
        )
    return values


def warn_of(
    failed: Sequence[tuple[float, str, Result]],
    n_fits: int,
    model: LinearClassifier,
    X: Any,
    chosen: float | None,
    stacklevel: int,
) -> None:
    """One ConvergenceWarning for all fits that `failed`, given as in `explain_grid`, if there are any."""
    if failed:
        text = explain_grid(failed, n_fits, model, X, chosen)
        warnings.warn(text, ConvergenceWarning, stacklevel=stacklevel + 1)


def logistic_regression_path(
    X: Any,
    y: Any,
    *,
    Cs: Any = 10,
    fit_intercept: bool = True,
    class_weight: dict[Any, float] | str | None = None,
    solver: str = "auto",
    tol: float = 1e-8,
    max_iter: int = 100,
    sample_weight: Any = None,
) -> LogisticPath:
    """The coefficients of `LogisticRegression` for many values of C, each started from the one before.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    Cs : int, array-like or "auto", default=10
        As in `LogisticRegressionCV`.
    fit_intercept, class_weight, solver, tol, max_iter
        As in `LogisticRegression`.
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    LogisticPath
        A named tuple of `Cs` in the order given, `coefs`, `intercepts`, `results` and `classes`.
        (Scikit-learn's former function of this name gave coefficients and intercepts in one array.)

    Raises
    ------
    ValueError
        If a parameter or the data cannot be used.

    Warns
    -----
    ConvergenceWarning
        One, which names every C whose gap did not come down to `tol`, with cause and remedy.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from secondorder.linear_model import logistic_regression_path
    >>> path = logistic_regression_path(*load_iris(return_X_y=True), Cs=[0.01, 1, 100])
    >>> path.coefs.shape
    (3, 3, 4)
    >>> max(result.relative_gap for result in path.results) <= 1e-8
    True
    """
    model = LogisticRegression(
        tol=tol, fit_intercept=fit_intercept, class_weight=class_weight, solver=solver, max_iter=max_iter
    )
    model._check_parameters()
    grid = Grid(Cs)
    _, data = model._prepare(X, y, sample_weight)
    solved, wholes = [], []
    for C, stage in grid.solve(model, data):
        solved.append(C)
        wholes.append(stage.whole)
    failed = [
        (C, "all rows", result)
        for C, result in zip(solved, wholes, strict=True)
        if result.status is not Status.CONVERGED
    ]
    warn_of(failed, len(wholes), model, data.X, None, stacklevel=2)
    values, order = grid.in_order(solved)
    coefs, intercepts = zip(*(model._coefficients(wholes[i].w, data.X.dtype) for i in order), strict=True)
    results = tuple(wholes[i] for i in order)
    return LogisticPath(values, np.stack(coefs), np.stack(intercepts), results, model.classes_)
