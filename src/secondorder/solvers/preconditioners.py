"""Approximate inverses of the curvature, and when to make them anew.

Each is a value made from one `Point`, with ``M @ v``. None changes the solution: they change the number
of products that conjugate gradients need on the way to it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, eigh
from scipy.linalg.lapack import dpotri, dpotrs

from secondorder.array_api import column_sums
from secondorder.curvature import GaussNewton
from secondorder.kernels import factors_repay
from secondorder.kernels.threads import run
from secondorder.models import Linear, design_matrix
from secondorder.objective import Objective, Point

SINGLE_RIDGE = 10  # roundings of float32 that a definite matrix with unit diagonal is raised by
LEAST_BUDGET = 10.0  # products that a step may always make with an old preconditioner
SAMPLED = 4  # rows for every column of a block that is estimated


class Preconditioner(Protocol):
    """A symmetric positive definite approximation of the inverse curvature."""

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        """``M v``, shape (P,)."""


class Diagonal:
    """``M v`` for the diagonal matrix M with these `entries`."""

    def __init__(self, entries: np.ndarray) -> None:
        self._entries = entries

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self._entries * v


class Jacobi:
    """``M = diag(B)^-1``: undoes the scale of the features. One pass over X."""

    def __init__(self, point: Point) -> None:
        diagonal = GaussNewton(point).diagonal()
        self._inverse = 1 / np.where(diagonal > 0, diagonal, 1)

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self._inverse * v


class HalfJacobi:
    """``M = diag(B)^(-1/2)``: halfway to Jacobi's. One pass over X.

    All of that hurts where entries are of one size and some features have few, as in text.
    """

    def __init__(self, point: Point) -> None:
        diagonal = GaussNewton(point).diagonal()
        self._inverse = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self._inverse * v


class ScaledCholesky:
    """``B^-1`` by the Cholesky factor of a dense positive semidefinite `B`, which is overwritten.

    `B` is brought to unit diagonal, and as much of the identity is added as the factorisation needs: hardly
    any where all parameters but intercepts are `penalised`. Without penalty `B` may be singular, and what
    rounding leaves of its null space is not to be taken for curvature.
    """

    def __init__(self, B: np.ndarray, penalised: bool) -> None:
        self._scale = _to_unit_diagonal(B)
        eps = np.finfo(float).eps
        ridge = len(B) * eps if penalised else np.sqrt(eps)
        self._factor, added = _cholesky(B, ridge)
        self.exact = bool(penalised and added == ridge)

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self._scale * dpotrs(self._factor, self._scale * v, lower=True)[0]

    def inverse(self) -> np.ndarray:
        """``B^-1`` written out."""
        lower, _ = dpotri(self._factor, lower=True)
        lower *= self._scale
        lower *= self._scale[:, None]
        return np.tril(lower) + np.tril(lower, -1).T


class SingleCholesky:
    """Nearly ``B^-1``, for a positive definite `B` in float32, which is overwritten.

    Raises
    ------
    LinAlgError
        If `B` is not definite to the precision of float32, or not finite.
    """

    exact = False

    def __init__(self, B: np.ndarray) -> None:
        from secondorder.kernels import triangular

        if not np.all(np.isfinite(np.diagonal(B))):
            raise LinAlgError
        self._scale = _to_unit_diagonal(B)
        B.flat[:: len(B) + 1] += SINGLE_RIDGE * np.finfo(np.float32).eps
        self._factor = triangular.prepared(_factor_in_place(B).T)

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        from secondorder.kernels import triangular

        return self._scale * triangular.solve(*self._factor, self._scale * v)


class Cholesky:
    """``M = B^-1`` from the Cholesky factor of the dense Gauss-Newton matrix `B`. One pass over X."""

    def __init__(self, point: Point) -> None:
        o = point.objective
        self._inverse: Any
        if o.loss.shift_invariant and o.model.n_outputs > 1:
            self._inverse = _OfDifferences(point)
        else:
            B = GaussNewton(point).dense()
            penalised = np.all(o.penalty[: len(B) - point.forward.n_intercepts] > 0)
            self._inverse = ScaledCholesky(B, bool(penalised))
        self.exact: bool = self._inverse.exact

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        return self._inverse @ v


class _OfDifferences:
    """``B^-1`` for a loss that equal changes of all outputs leave as it is.

    Parameters that sum to 0 over the K outputs are known by their differences from those of one output:
    there is less to sum and to factor, and nothing singular. The output that curves most is that one.
    Along equal changes, where gradients have no part, `B` is given its mean diagonal. It is summed and
    factored in float32 where that leaves it definite.
    """

    def __init__(self, point: Point) -> None:
        K = point.objective.model.n_outputs
        last = int(np.argmax(column_sums(point.H.d)[0]))
        self._others = np.delete(np.arange(K), last)
        self._penalty = np.mean(point.objective.penalty.reshape(-1, K), axis=1)
        n_features = point.forward.X.X.shape[1]
        self._inverse = self._factored(point, bool(np.all(self._penalty[:n_features] > 0)))
        self.exact = self._inverse.exact

    def _factored(self, point: Point, penalised: bool) -> Any:
        """The factor of `B` in the differences."""
        if penalised:
            B = self._matrix(point, np.float32)
            if B.dtype == np.float64:
                return ScaledCholesky(B, penalised)
            with suppress(LinAlgError):
                return SingleCholesky(B)
        return ScaledCholesky(self._matrix(point, np.float64), penalised)

    def _matrix(self, point: Point, dtype: type) -> np.ndarray:
        """`B` in the differences."""
        m, features = len(self._others), np.arange(len(self._penalty))
        B = point.forward.X.hessian(point.H, dtype, self._others)
        squared_norm = np.eye(m) - 1 / (m + 1)
        B.reshape(-1, m, len(features), m)[features, :, features, :] += (
            self._penalty[:, None, None] * squared_norm
        )
        equal = self._penalty + np.mean(np.diagonal(B).reshape(-1, m), axis=1)
        self._of_equal = 1 / np.where(equal > 0, equal, 1)
        return B

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        V = v.reshape(len(self._of_equal), -1)
        mean = np.mean(V, axis=1, keepdims=True)
        Z = np.zeros_like(V)
        Z[:, self._others] = (self._inverse @ (V - mean)[:, self._others].ravel()).reshape(len(V), -1)
        return (Z - np.mean(Z, axis=1, keepdims=True) + self._of_equal[:, None] * mean).ravel()


def _to_unit_diagonal(B: np.ndarray) -> np.ndarray:
    """The scale of rows and columns that gives `B` the diagonal 1, which is given to it."""
    diagonal = np.diagonal(B).astype(np.float64)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    B *= scale.astype(B.dtype)
    B *= scale.astype(B.dtype)[:, None]
    return scale


def _cholesky(B: np.ndarray, ridge: float) -> tuple[np.ndarray, float]:
    """Lower factor of `B` with diagonal 1 plus `ridge`, or as much more as makes it definite, and that."""
    while ridge < 1e3:
        B.flat[:: len(B) + 1] = 1 + ridge
        try:
            return _factor_in_place(B), ridge
        except LinAlgError:
            ridge *= 100
            B[:] = np.tril(B, -1) + np.tril(B, -1).T
    raise FloatingPointError("The curvature of the objective is not finite.")


def _factor_in_place(B: np.ndarray) -> np.ndarray:
    """The lower factor, which takes the place of the upper triangle of `B`, column by column."""
    return cho_factor(B.T, lower=True, overwrite_a=True, check_finite=False)[0]


class Kronecker:
    """``M = (G (x) A + penalty I)^-1`` with ``A = sum_i H_i`` and ``G`` the covariance of the rows x_i.

    The covariance is weighted by ``trace H_i``; the product is inverted through the eigenvectors
    of its two factors, and the intercepts, decoupled by the weighted mean m of the rows, by those of
    A alone. Where all rows have the same curvature, as at w = 0, it is ``B^-1`` to the precision of
    float32, along changes that sum to 0 over the classes, for one penalty on all features and none on
    the intercepts. One pass over X.
    """

    def __init__(self, point: Point) -> None:
        self._factor(point.objective, np.sum(point.H.diagonal(), axis=1), point.H.sum())

    @classmethod
    def at_zero(cls, objective: Objective) -> "Kronecker":
        """That of a softmax model where W = 0 and the intercepts, if there are any, are solved."""
        K, s = objective.model.n_outputs, objective.s
        total, p = float(np.sum(s)), np.full(K, 1 / K)
        if objective.X.intercept:
            p = np.bincount(objective.y, weights=s, minlength=K) / total
        found = cls.__new__(cls)
        found._factor(objective, s, total * (np.diag(p) - np.outer(p, p)))
        return found

    def _factor(self, objective: Objective, c: np.ndarray, A: np.ndarray) -> None:
        """Take the eigenvectors of the covariance with weights `c`, and of `A`."""
        design = objective.X
        c = c / max(float(np.sum(c)), np.finfo(float).tiny)
        with np.errstate(over="ignore", invalid="ignore"):
            G = design.gram(c, np.float32)
        if not np.all(np.isfinite(G)):
            G = design.gram(c)
        if not np.all(np.isfinite(G)):
            raise FloatingPointError("The curvature of the objective is not finite.")
        p = design.X.shape[1]
        self._mean = G[:p, p:]  # (p, 1), or (p, 0) without intercept
        g, Q = eigh(G[:p, :p] - self._mean @ self._mean.T, check_finite=False, driver="evd")
        a, self._R = np.linalg.eigh(A)
        largest = a[-1] if a[-1] > 0 else 1.0
        a = np.where(a > 1e-10 * largest, a, largest)  # equal changes of all outputs have no curvature
        self._outer = np.maximum(g, 0)[:, None] * a
        damping = np.max(objective.penalty)
        self._outer += damping if damping > 0 else np.finfo(np.float32).eps * np.max(self._outer)
        self._outer[self._outer == 0] = 1.0
        self._a = a
        # Products with Q run in the compiled loops of a design matrix: a threaded BLAS here would
        # keep its threads spinning on the processors that the next product with B needs.
        self._Q = design_matrix(np.ascontiguousarray(Q), intercept=False, n_outputs=len(a))

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        V, p = v.reshape(-1, len(self._a)), len(self._outer)
        W, b = V[:p] - self._mean @ V[p:], V[p:]
        W = self._Q.matmul(self._Q.rmatmul(W @ self._R) / self._outer) @ self._R.T
        b = ((b @ self._R) / self._a) @ self._R.T - self._mean.T @ W
        return np.concatenate([W.ravel(), b.ravel()])


def kronecker_if_exact(point: Point) -> Kronecker | None:
    """`Kronecker` where all rows have the same curvature because W = 0."""
    last = len(point.w) - point.forward.n_intercepts
    return None if np.any(point.w[:last]) else Kronecker(point)


class Blocks:
    """``M = diag_k(B_kk)^-1`` from Cholesky factors of the diagonal blocks of `B`, one for each class.

    A block ``sum_i H_i[k, k] z_i z_i' + penalty`` weighs every row by the curvature of its own class,
    which differs more from class to class the better they are told apart; what one class has to do with
    another is left out. Large sums are estimated from `SAMPLED` rows for every column, taken with
    probabilities proportional to their weights: the factors are in float32, and a preconditioner.
    """

    def __init__(self, point: Point) -> None:
        q = point.forward.X.shape[1]
        B = point.forward.X.blocks(point.H.diagonal(), SAMPLED * q)
        self._coupled = point.objective.loss.shift_invariant
        K, penalty = len(B), point.objective.penalty.reshape(q, -1).T
        diagonal = np.diagonal(B, axis1=1, axis2=2) + penalty
        self._scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
        self._U, ridge = B, np.sqrt(q) * np.finfo(np.float32).eps

        def scaled(k: int) -> np.ndarray:
            A = B[k] * self._scale[k]
            A *= self._scale[k][:, None]
            return A

        def factor(k: int) -> None:
            A = scaled(k)
            A.flat[:: q + 1] = 1 + ridge
            try:
                B[k] = _factor_in_place(A).T
            except LinAlgError:
                A = np.triu(scaled(k))
                B[k] = _cholesky(A + np.triu(A, 1).T, 100 * ridge)[0].T

        run(factor, [(k,) for k in range(K)])

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        V = v.reshape(-1, len(self._U)).T
        if not self._coupled:
            return (self._scale * self._solve(self._scale * V)).T.ravel()
        common = V.mean(axis=0)  # equal changes of all classes, which gradients have no part in, stay apart
        W = self._scale * self._solve(self._scale * (V - common))
        W += np.mean(self._scale**2, axis=0) * common - W.mean(axis=0)
        return W.T.ravel()

    def _solve(self, V: np.ndarray) -> np.ndarray:
        """``(U_k' U_k)^-1 v_k`` for the rows of `V`."""
        if factors_repay(self._U):
            from secondorder.kernels import blocks

            V = np.ascontiguousarray(V, np.float32)
            blocks.solve(self._U, V)
            return V.astype(np.float64)
        return np.stack([dpotrs(U.T, v, lower=True)[0] for U, v in zip(self._U, V, strict=True)])


class ForEach:
    """``M_k v_k`` for the parameters v_k of several models of one output each, the columns of v."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self.exact = all(getattr(M, "exact", False) for M in parts)

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        V = v.reshape(-1, len(self._parts))
        return np.column_stack([M @ column for M, column in zip(self._parts, V.T, strict=True)]).ravel()


def cholesky_for_each(point: Point) -> ForEach:
    """`Cholesky` for each of several logistic models, which are the outputs at `point`."""
    return ForEach([Cholesky(model_alone(point, k)) for k in range(point.objective.model.n_outputs)])


def model_alone(point: Point, k: int) -> Point:
    """One of several models of one output each."""
    o, forward, K = point.objective, point.forward, point.objective.model.n_outputs
    alone = Objective(Linear(1), o.loss, o.X, o.y, np.ascontiguousarray(o.s[:, k]), o.penalty[k::K])
    S = np.ascontiguousarray(forward.outputs[:, k : k + 1])
    return Point(alone, replace(forward, parameters=lambda: forward.w[k::K], outputs=S))


class Refreshed:
    """A preconditioner kept while it is cheaper to keep than to make.

    It is made anew once the products spent since it was made cost as much as making it does, so that no
    more is ever spent on making than on using (as in the ski-rental problem). Where it serves one solve
    after the other, those before count at the beginning of each: the last steps of a solve repay none.

    Parameters
    ----------
    make : callable(Point) -> Preconditioner
    cost : float
        What `make` costs, in products with the curvature.
    until : callable(Point) -> Preconditioner or None, optional
        What serves before `make` has been earned; without it `make` is called at once.
    first : callable(Point) -> Preconditioner or None, optional
        What serves the first step alone, where it is not None.
    """

    def __init__(
        self,
        make: Callable[[Point], Any],
        cost: float,
        until: Callable[[Point], Any] | None = None,
        first: Callable[[Point], Any] | None = None,
    ) -> None:
        self.make, self.cost, self.until, self._first = make, cost, until, first
        self.current: Any = None
        self._fresh, self._due = False, until is None
        self._spent = self._of_solve = 0.0  # products since it was made, and those of them in this solve

    def __call__(self, point: Point) -> Any:
        """The preconditioner to use at `point`."""
        first, self._first = self._first and self._first(point), None
        if first is not None:
            return first
        self._fresh = self._due or self._of_solve >= self.cost
        if self._fresh:
            self.current, self._due, self._spent, self._of_solve = self.make(point), False, 0.0, 0.0
        if self.current is None and self.until is not None:
            return self.until(point)
        return self.current

    @property
    def exact(self) -> bool:
        """Whether what was given out last is the inverse of the curvature at that very point."""
        return self._fresh and getattr(self.current, "exact", False)

    @property
    def budget(self) -> float:
        """The products after which a step had better end, so that `make` is called for the next.

        That is when `make` has been earned, or an old one has been used for as many as a new one costs.
        """
        if self.current is None:
            return np.inf if self.until is None else max(1.0, self.cost - self._of_solve)
        return np.inf if self._fresh else max(LEAST_BUDGET, self.cost)

    def charge(self, products: int) -> None:
        """Count products made with it."""
        self._spent += products
        self._of_solve += products

    def begin(self) -> None:
        """Begin another solve: with a new one, if that has been earned by those before."""
        self._due = self._due or self._spent >= self.cost
        self._of_solve = 0.0
