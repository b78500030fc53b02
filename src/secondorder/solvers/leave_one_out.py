"""Leave-one-out predictions of a linear model: approximate ones of all rows at once, exact ones of some."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import helmert
from scipy.sparse import issparse

from secondorder.kernels.threads import one_blas_thread
from secondorder.models import Design, RowSpace, design_matrix
from secondorder.objective import Point
from secondorder.solvers.certificate import Status
from secondorder.solvers.linear import LinearProblem, fit_linear
from secondorder.solvers.preconditioners import ScaledCholesky

LARGEST_FACTOR = 5000  # parameters for which the inverse Hessian is written out
ROUNDING = 1e-12  # what is left of 1 less a leverage at the least
REFIT_TOL = 1e-12  # relative gap of an exact fit
EVEN_SHARE = 0.1  # of a row's chance to be refitted that does not depend on its approximate change
DOUBTFUL = 0.5  # error of the mean loss, in standard errors, from which it is worth a word
NEGLIGIBLE = 2e-3  # the same in parts of that loss, below which it is not


def leave_one_out(point: Point) -> np.ndarray:
    """The outputs of every row under the model fitted without it, by one Newton step per row.

    Without row i the gradient at the optimum is ``- z_i (x) G_i``, and the Hessian ``B - z_i z_i' (x) H_i``.
    One Newton step from there moves the outputs of the row, in closed form by Woodbury's identity, to

        S_i + Q_i (I - H_i Q_i)^-1 G_i    with    Q_i = (z_i' (x) I) B^-1 (z_i (x) I),

    a K x K system per row. A row of weight 2 is left out with all its weight; one of weight 0 has no part in
    the fit, and its outputs are as they are.

    Parameters
    ----------
    point : Point
        The optimum of a linear model, or nearly so; the penalty of a feature is the same for all outputs.
        Where nothing is penalised and B is singular, what the data do not determine is left as it is.

    Returns
    -------
    array of shape (n, K)

    Raises
    ------
    ValueError
        If the Hessian is too large to be inverted: more than `LARGEST_FACTOR` parameters, counted in the row
        space of a dense X with fewer rows than columns, and with one class less for softmax.

    References
    ----------
    Rad, Maleki. A scalable estimate of the out-of-sample prediction error via approximate leave-one-out
    cross-validation. J. R. Stat. Soc. B 82, 2020 (arXiv 1801.10243).
    """
    S, G, H, K = point.forward.outputs, point.G, point.H, point.forward.outputs.shape[1]
    # A shift-invariant loss has no curvature along equal changes of all outputs, and no row moves there.
    N = helmert(K).T if point.objective.loss.shift_invariant else np.eye(K)
    eye = (1 + ROUNDING) * np.eye(N.shape[1])
    S_loo = np.empty_like(S)
    with one_blas_thread():
        design, penalty = _in_few_variables(point, len(eye))
        for rows, Q in design.quadratic_forms(_inverse(design, penalty, point, N)):
            without = eye - N.T @ H.rows(rows).blocks() @ N @ Q
            step = Q @ np.linalg.solve(without, (G[rows] @ N)[:, :, None])
            S_loo[rows] = S[rows] + step[:, :, 0] @ N.T
    return S_loo


def _in_few_variables(point: Point, n_outputs: int) -> tuple[Design, np.ndarray]:
    """The design matrix and the penalty of its columns, in the row space of a wide dense X."""
    design, K = point.forward.X, point.forward.outputs.shape[1]
    n, p = design.X.shape
    penalty = point.objective.penalty.reshape(-1, K)[:, 0]
    wide = not issparse(design.X) and p > n and np.all(penalty[:p] == penalty[0])
    parameters = ((n if wide else p) + design.intercept) * n_outputs
    if parameters > LARGEST_FACTOR:
        raise ValueError(
            f"The Hessian of {parameters} parameters is too large to be inverted (more than "
            f"{LARGEST_FACTOR}): use cross-validation with folds."
        )
    if not wide:
        return design, penalty
    space = RowSpace(design)
    if not space.faithful:
        raise ValueError(
            "The features differ so much in scale that leverages are lost to rounding: scale the features, "
            "or use cross-validation with folds."
        )
    L = space.L
    small = design_matrix(L, intercept=design.intercept, n_outputs=K)
    return small, np.concatenate([penalty[: L.shape[1]], penalty[p:]])


def _inverse(design: Design, penalty: np.ndarray, point: Point, N: np.ndarray) -> np.ndarray:
    """Blocks of the inverse Hessian for outputs ``N v``, shape (K', K', p + 1, p + 1)."""
    (_, q), (K, m) = design.shape, N.shape
    B = N.T @ design.hessian(point.H).reshape(q, K, q * K)
    B = (B.reshape(-1, K) @ N).reshape(q * m, q * m)
    B.flat[:: len(B) + 1] += np.repeat(penalty, m)
    factor = ScaledCholesky(B, bool(np.all(penalty[: design.X.shape[1]] > 0)))
    return np.ascontiguousarray(factor.inverse().reshape(q, m, q, m).transpose(1, 3, 0, 2))


def refit_without(problem: LinearProblem, w: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The outputs of each of `rows` under the model fitted without it, exactly.

    Parameters
    ----------
    problem : LinearProblem
    w : array of shape (P,)
        Its solution, from which every fit starts.
    rows : array of int of shape (m,)

    Returns
    -------
    array of shape (m, K)
        NaN where the problem without the row has no solution, as it may be without penalty.
    """
    S = np.empty((len(rows), problem.n_outputs))
    for out, row in zip(S, rows, strict=True):
        s = problem.s.copy()
        s[row] = 0
        result = fit_linear(
            problem.X,
            problem.y,
            s,
            loss=problem.loss,
            n_outputs=problem.n_outputs,
            penalty=problem.penalty,
            intercept=problem.intercept,
            w=w,
            tol=REFIT_TOL,
        )
        solved = result.status in (Status.CONVERGED, Status.PRECISION)
        one = Design(problem.X, problem.intercept).rows([row])
        out[:] = one.matmul(result.w.reshape(-1, problem.n_outputs)) if solved else np.nan
    return S


@dataclass(frozen=True, eq=False)
class Refits:
    """Exact leave-one-out predictions of some rows beside the approximate ones.

    Attributes
    ----------
    rows : array of int of shape (m,)
    exact, approximate : array of shape (m, K)
        Their outputs.
    error : float
        How much higher the mean loss over all rows is by approximate outputs than by exact ones: an unbiased
        estimate. NaN if a row has no exact output.
    loss : float
        Mean loss over all rows by exact outputs: that by approximate ones less `error`.
    standard_error : float
        Of the mean approximate loss, as an estimate of the loss of new rows.
    """

    rows: np.ndarray
    exact: np.ndarray
    approximate: np.ndarray
    error: float
    loss: float
    standard_error: float

    @property
    def doubtful(self) -> bool:
        """Whether the error counts beside the standard error that an exact mean would have as well."""
        return not abs(self.error) <= max(DOUBTFUL * self.standard_error, NEGLIGIBLE * self.loss)


def refit_some(
    problem: LinearProblem, w: np.ndarray, S_loo: np.ndarray, *, n_rows: int = 5, seed: int = 0
) -> Refits:
    """Exact fits without some rows, and what they say of the approximation for all.

    Approximation errs where leaving a row out changes much. So a row is drawn with a probability that
    grows with the change of its loss, and the largest are certain; the errors of the rows drawn, each divided
    by that probability, sum up to the error of all (Horvitz & Thompson, A generalization of sampling without
    replacement from a finite universe, JASA 47, 1952). With this error taken off, the mean of the approximate
    losses is some ten times nearer to the exact one than with that of as many rows drawn evenly.

    Parameters
    ----------
    problem : LinearProblem
    w : array of shape (P,)
        Its solution.
    S_loo : array of shape (n, K)
        What `leave_one_out` returned.
    n_rows : int, default=5
        How many rows to leave out, each for a fit of its own.
    seed : int, default=0
        Of the random generator that draws them.

    Returns
    -------
    Refits
    """
    y, s, value = problem.y, problem.s, problem.loss.value
    losses = value(S_loo, y)
    change = s * np.abs(losses - value(problem.at(w).forward.outputs, y))
    chances = _chances(change + EVEN_SHARE * np.mean(change) * (s > 0), n_rows)
    rows = _draw(chances, np.random.default_rng(seed))
    exact = refit_without(problem, w, rows)
    too_high = s[rows] * (losses[rows] - value(exact, y[rows]))
    error, mean = float(np.sum(too_high / chances[rows]) / np.sum(s)), float(np.average(losses, weights=s))
    return Refits(
        rows,
        exact,
        S_loo[rows],
        error=error,
        loss=mean - error,
        standard_error=float(np.sqrt(np.sum((s * (losses - mean)) ** 2)) / np.sum(s)),
    )


def _chances(sizes: np.ndarray, n_rows: int) -> np.ndarray:
    """Chances proportional to `sizes` but at most 1, so that `n_rows` are drawn on average."""
    certain = np.zeros(len(sizes), dtype=bool)
    while True:
        rest = np.where(certain, 0, sizes)
        left = max(n_rows - np.count_nonzero(certain), 0)
        chances = np.where(certain, 1.0, left * rest / max(np.sum(rest), np.finfo(float).tiny))
        if not np.any(chances > 1):
            return chances
        certain |= chances >= 1


def _draw(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn with these chances, small and large ones alike: at equal steps along their ordered sums."""
    order = np.argsort(chances)
    sums = np.cumsum(chances[order])
    steps = np.arange(rng.random(), sums[-1], 1.0)
    return order[np.searchsorted(sums, steps, side="right")]
