"""What a fit tells its user: lines of progress, and why it did not converge."""

from typing import Any

import numpy as np

from secondorder.models import design_matrix
from secondorder.solvers import Iteration, LineSearch, Status

UNEVEN = 1e3  # ratio of feature norms that makes scale the likely cause


def print_iteration(row: Iteration) -> None:
    """Print one line of the history, the names of the columns first."""
    if row.iteration == 0:
        print(
            f"{'iteration':>9} {'value':>18} {'|gradient|':>11} {'relative gap':>13} "
            f"{'products':>8} {'step':>7} {'passes':>6}"
        )
    gap = row.gap / abs(row.value) if row.value else np.nan
    print(
        f"{row.iteration:9d} {row.value:18.10g} {row.gradient_norm:11.3e} {gap:13.1e} "
        f"{row.n_products:8d} {row.step_length:7.3g} {row.passes:6d}"
    )


def explain(model: Any, X: Any) -> str:
    """The text of the warning for a fit that did not converge: what happened, cause and remedy."""
    result, C, tol = model.result_, model.C, model.tol
    reached = f"the relative gap is {result.relative_gap:.1e}, tol={tol:.1e}"
    if result.status is Status.SEPARATED:
        return (
            "Separation: a linear function of the features tells the classes of the training rows apart "
            "(or some of them, without contradiction from any other), and with C=np.inf nothing "
            "limits the coefficients. The likelihood has no maximum, so they could grow for ever; they "
            f"were left as of iteration {result.n_iter}. {_direction(model, X)} Set a finite C."
        )
    if result.status is Status.PRECISION:
        return (
            f"Precision: after {result.n_iter} iterations rounding errors hide any further decrease, "
            f"and {reached}. {_precision_remedy(X, C)}"
        )
    exhausted = sum(row.n_products >= LineSearch.max_products for row in result.history)
    if 2 * exhausted <= result.n_iter:
        return (
            f"Iterations: max_iter={result.n_iter} Newton iterations were too few; {reached}. "
            "Raise max_iter, or start from a nearby solution with warm_start=True."
        )
    ratio = _norm_ratio(X)
    if ratio > UNEVEN:
        return (
            f"Scale: the norms of the features differ by a factor of {ratio:.0e}, which makes the Newton "
            f"systems hard to solve; {reached}. Scale the features (for instance with "
            "sklearn.preprocessing.StandardScaler or MaxAbsScaler), or use solver='newton-cholesky'."
        )
    return (
        "Collinearity: some features are nearly linear combinations of others, which makes the Newton "
        f"systems hard to solve; {reached}. Drop or combine such features, lower C, or use "
        "solver='newton-cholesky'."
    )


def _precision_remedy(X: Any, C: float) -> str:
    """What helps when rounding is in the way."""
    if X.dtype == np.float32:
        return "Give X in float64, or raise tol."
    if C > 1e6:
        return f"Raise tol, or lower C={C:.1e}: the weaker the penalty, the more digits a bound needs."
    return "Raise tol, or scale the features."


def _direction(model: Any, X: Any) -> str:
    """The features along which the coefficients grow most, and the class they grow for."""
    W = np.atleast_2d(model.coef_).astype(np.float64)
    spread = np.sqrt(
        np.asarray(design_matrix(X, weights=np.ones(X.shape[0])).squared_rmatmul(np.ones((X.shape[0], 1))))[
            :-1, 0
        ]
    )
    pull = np.abs(W) * spread
    k = int(np.argmax(np.max(pull, axis=1)))
    names = getattr(model, "feature_names_in_", np.arange(X.shape[1]))
    leading = [j for j in np.argsort(-pull[k])[:3] if pull[k, j] > 0.01 * np.max(pull[k])]
    label = model.classes_.tolist()[k if len(W) > 1 else 1]
    features = ", ".join(str(names[j]) for j in leading)
    return f"They grow most for class {label!r}, along the features {features}."


def _norm_ratio(X: Any) -> float:
    """The largest norm of a column of X over the smallest that is not 0."""
    squares = design_matrix(X, intercept=False).squared_rmatmul(np.ones((X.shape[0], 1)))
    squares = squares[squares > 0]
    return float(np.sqrt(np.max(squares) / np.min(squares))) if squares.size else 1.0
