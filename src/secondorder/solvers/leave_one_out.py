"""Leave-one-out predictions of a linear model: approximate ones of all rows at once, exact ones of some."""

import numpy as np
from scipy.linalg import helmert
from scipy.sparse import issparse

from secondorder.kernels.threads import one_blas_thread
from secondorder.models import Design, RowSpace, design_matrix
from secondorder.objective import Point
from secondorder.solvers.preconditioners import ScaledCholesky

LARGEST_FACTOR = 5000  # parameters for which the inverse Hessian is written out


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
    eye = np.eye(N.shape[1])
    S_loo = np.empty_like(S)
    with one_blas_thread():
        design, penalty = _in_few_variables(point)
        for rows, Q in design.quadratic_forms(_inverse(design, penalty, point, N)):
            without = eye - N.T @ H.rows(rows).blocks() @ N @ Q
            step = Q @ np.linalg.solve(without, (G[rows] @ N)[:, :, None])
            S_loo[rows] = S[rows] + step[:, :, 0] @ N.T
    return S_loo


def _in_few_variables(point: Point) -> tuple[Design, np.ndarray]:
    """The design matrix and the penalty of its columns, in the row space of a wide dense X."""
    design, K = point.forward.X, point.forward.outputs.shape[1]
    n, p = design.X.shape
    penalty = point.objective.penalty.reshape(-1, K)[:, 0]
    if issparse(design.X) or p <= n or np.any(penalty[:p] != penalty[0]):
        return design, penalty
    L = RowSpace(design).L
    small = design_matrix(L, intercept=design.intercept, n_outputs=K)
    return small, np.concatenate([penalty[: L.shape[1]], penalty[p:]])


def _inverse(design: Design, penalty: np.ndarray, point: Point, N: np.ndarray) -> np.ndarray:
    """Blocks of the inverse Hessian for outputs ``N v``, shape (K', K', p + 1, p + 1)."""
    (_, q), (K, m) = design.shape, N.shape
    if q * m > LARGEST_FACTOR:
        raise ValueError(
            f"The Hessian of {q * m} parameters is too large to be inverted (more than {LARGEST_FACTOR}): "
            "use cross-validation with folds."
        )
    B = N.T @ design.hessian(point.H).reshape(q, K, q * K)
    B = (B.reshape(-1, K) @ N).reshape(q * m, q * m)
    B.flat[:: len(B) + 1] += np.repeat(penalty, m)
    p = design.X.shape[1]
    factor = ScaledCholesky(B, bool(np.all(penalty[:p] > 0)))
    return np.ascontiguousarray(factor.inverse().reshape(q, m, q, m).transpose(1, 3, 0, 2))
