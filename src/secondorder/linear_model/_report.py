"""What a fit tells its user: lines of progress, and why it did not converge."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from secondorder.models import design_matrix
from secondorder.solvers import Iteration, LineSearch, Refits, Result, Status

TOLD = 6  # values of C, and parts of the rows, named in a warning of many fits
VISIBLE = 0.01  # change of an output by rounded coefficients that a user is told of
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


def print_stage(C: float, scores: np.ndarray, results: Sequence[Result]) -> None:
    """Print one line for a C: the mean score, the most iterations that a fit took, and the largest gap."""
    print(
        f"C={C:<12.6g} mean score {np.mean(scores):<12.6g} "
        f"iterations {max(result.n_iter for result in results):<4d} "
        f"relative gap {max(result.relative_gap for result in results):.1e}"
    )


def explain(result: Result, C: float, model: Any, X: Any) -> str:
    """The text of the warning for a fit of `model` that did not converge: what happened, cause and remedy."""
    tol = model.tol
    reached = f"the relative gap is {result.relative_gap:.1e}, tol={tol:.1e}"
    if result.status is Status.SEPARATED:
        return (
            "Separation: a linear function of the features tells the classes of the training rows apart "
            "(or some of them, without contradiction from any other), and with C=np.inf nothing "
            "limits the coefficients. The likelihood has no maximum, so they could grow for ever; they "
            f"were left as of iteration {result.n_iter}. {_direction(result.w, model, X)} Set a finite C."
        )
    if result.status is Status.PRECISION:
        return (
            f"Precision: after {result.n_iter} iterations rounding errors hide any further decrease, "
            f"and {reached}. {_precision_remedy(X, C)}"
        )
    exhausted = sum(row.n_products >= LineSearch.max_products for row in result.history)
    if 2 * exhausted <= result.n_iter:
        nearby = (
            ", or start from a nearby solution with warm_start=True" if hasattr(model, "warm_start") else ""
        )
        return (
            f"Iterations: max_iter={result.n_iter} Newton iterations were too few; {reached}. "
            f"Raise max_iter{nearby}."
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


def explain_grid(
    failed: Sequence[tuple[float, str, Result]], n_fits: int, model: Any, X: Any, chosen: float | None
) -> str:
    """The text of the warning for a grid of fits: which did not converge, and why the first of each kind.

    `failed` holds C, the rows it was fitted to in words, and the result, for each of them.
    """
    parts: dict[float, list[str]] = {}
    reasons: dict[Status, str] = {}
    for C, part, result in failed:
        parts.setdefault(C, []).append(part)
        if result.status not in reasons:
            reasons[result.status] = f"C={C:.6g} on {part}: {explain(result, C, model, X)}"
    cells = [f"C={C:.6g} on {', '.join(_first(where, ''))}" for C, where in parts.items()]
    told = list(reasons.values())
    if chosen in parts:
        told.append(f"The chosen C={chosen:.6g} is one of these: its score is of where the iteration ended.")
    named = "; ".join(_first(cells, " values of C"))
    return f"{len(failed)} of {n_fits} fits did not converge: {named}. {' '.join(told)}"


def _first(words: list[str], kind: str) -> list[str]:
    """The first of them, and how many more of their `kind` there are."""
    more = [f"and {len(words) - TOLD} more{kind}"] if len(words) > TOLD else []
    return [*words[:TOLD], *more]


def warn_of_rounding(w: np.ndarray, model: Any, X: Any, stacklevel: int) -> None:
    """One UserWarning if a float32 `coef_` gives other outputs than the parameters `w` it is rounded from."""
    if X.dtype != np.float32:
        return
    W, b = model._coefficients(w, np.float64)
    some = design_matrix(X[:: max(1, X.shape[0] // 500)], intercept=False)
    change = float(np.max(np.abs(some.matmul((W - model.coef_).T) + (b - model.intercept_)), initial=0.0))
    if not change <= VISIBLE:
        warnings.warn(
            "Precision: X is float32, and so are coef_ and intercept_; rounding them to that changes outputs "
            f"by up to {change:.1g}, as features are large against their spread. The certificate is of the "
            "float64 solution. Give X in float64, or centre the features.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def warn_of_doubt(refits: Refits, C: float, stacklevel: int) -> None:
    """One UserWarning if exact `refits` show that approximate leave-one-out errs at the chosen C."""
    if not refits.doubtful:
        return
    if np.isnan(refits.error):
        found = "without one of the rows there is no solution"
    else:
        side = "high" if refits.error > 0 else "low"
        found = (
            f"by {len(refits.rows)} exact fits its mean log loss is about {abs(refits.error):.1g} too "
            f"{side}, where the standard error is {refits.standard_error:.1g}"
        )
    warnings.warn(
        f"Approximate leave-one-out is poor at the chosen C={C:.6g}: {found}. Use folds (cv=5 or cv=10), or "
        "leave out large values of C.",
        UserWarning,
        stacklevel=stacklevel + 1,
    )


def _precision_remedy(X: Any, C: float) -> str:
    """What helps when rounding is in the way."""
    if X.dtype == np.float32:
        return "Give X in float64, or raise tol."
    if C > 1e6:
        return f"Raise tol, or lower C={C:.1e}: the weaker the penalty, the more digits a bound needs."
    return "Raise tol, or scale the features."


def _direction(w: np.ndarray, model: Any, X: Any) -> str:
    """The features along which the coefficients grow most, and the class they grow for."""
    W = model._coefficients(w, np.float64)[0]
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
