"""Nonlinear conjugate gradients: E is minimised over the span of the gradient and of the last step.

A step goes on from the minimum of E itself, found on the outputs at hand: the curvature is never out of
date, and no solve has to be begun anew. It reads X forward and backward, as a product with the curvature
does, or in coordinates of the row space once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from secondorder.array_api import dot
from secondorder.kernels import pointwise_repays
from secondorder.losses.output_hessian import OutputHessian
from secondorder.models.design import FEW
from secondorder.models.linear import LinearForward, RowForward
from secondorder.objective import Point
from secondorder.solvers.certificate import duality_gap
from secondorder.solvers.cg import CGStatus
from secondorder.solvers.dual_bound import DualBound
from secondorder.solvers.dual_variables import balanced
from secondorder.solvers.intercept import (
    inverse_curvature,
    is_balanced,
    n_free_intercepts,
    solve_intercept,
)
from secondorder.solvers.preconditioners import Refreshed
from secondorder.solvers.steps import Step, gradient_to_reach

EXACT = 1e-4  # part of the first promised decrease that may be left in a span: 0.01 takes more steps at times
EVALUATIONS = 30  # at most, in a span
CLOSE = 100  # times the gradient to reach: from there steps leave intercepts solved, as dual variables want
SURE = 0.1  # part of the bound for solved intercepts that the last curvature has to tell
NEARBY = 1000  # times the gap to reach from which a closer bound is made
LASTING, FELL = 20, 0.1  # steps that remain conjugate, nearly, while the gradient does not come down so far
NEAR = 0.9  # part of the gradient to reach at which steps end
HEAVY = 0.1  # part of the sum of squares of X that makes a feature heavy
MOST_HEAVY = 4  # weights of heavy features in a span
SINGULAR = 1e-12  # relative size of the smallest curvature that counts in a span


class Vector(NamedTuple):
    """Weights of the features in some coordinates, and the outputs (n, K) they give."""

    coordinates: np.ndarray
    outputs: np.ndarray


class Downhill(NamedTuple):
    """A direction of descent, and the norm of the gradient."""

    direction: Callable[[], Vector]
    norm: float


class Lowest(NamedTuple):
    """The minimum in a span: coefficients of the directions, change of intercepts, outputs and their loss."""

    a: np.ndarray
    shift: np.ndarray
    outputs: np.ndarray
    loss: Any
    penalty: float
    promised: float
    n_trials: int


class SpanSearch:
    """Steps of nonlinear conjugate gradients until the gradient has come down by `rtol`.

    For a linear model with a penalty on all features and a convex loss of one model. It remembers from one
    call to the next where it was, so every descent has one of its own.

    Parameters
    ----------
    preconditioner : Refreshed, optional
    in_row_space : bool, default=False
        Whether vectors are held as in `RowCoordinates`; then there is no preconditioner.
    tol : float, default=0
        Relative gap to reach.
    rtol : float, default=1e-3
    max_products : int, default=1000
        Largest number of steps in one call.
    """

    initial_scale = 1.0

    def __init__(
        self,
        preconditioner: Refreshed | None = None,
        in_row_space: bool = False,
        tol: float = 0.0,
        rtol: float = 1e-3,
        max_products: int = 1000,
    ) -> None:
        self.preconditioner, self.in_row_space = preconditioner, in_row_space
        self.tol, self.rtol, self.max_products = tol, rtol, max_products
        self._walk: _Walk | None = None

    def begin(self, point: Point) -> Point:
        """The start with its intercepts solved, which learns its gradient's norm on the way down."""
        if self.in_row_space and not np.any(point.w):
            S, o = point.forward.outputs, point.objective
            zeros = np.zeros_like(S), np.zeros(point.forward.n_intercepts)
            point = Point(o, RowForward.of(point.forward.X, S, *zeros), 0.0)
        point = balanced(solve_intercept(point, 1e-6 * self.tol), np.inf)
        self._walk_from(point).downhill()
        return point

    def __call__(self, point: Point, curvature: Any, scale: float) -> Step:
        """The point that some steps lead to."""
        walk = self._walk_from(point)
        goal, n_steps, n_trials, promised = 0.0, 0, 0, 0.0
        status = CGStatus.MAX_ITER
        while n_steps < self.max_products:
            downhill = walk.downhill()
            if downhill.norm <= goal or (goal and self._arrived(walk.point)):
                status = CGStatus.CONVERGED
                break
            goal = goal or max(self.rtol * downhill.norm, NEAR * gradient_to_reach(walk.point, self.tol))
            close = downhill.norm <= CLOSE * goal or walk.nears()
            lowest = walk.advance(downhill, 1e-6 * self.tol if close else np.inf)
            goal = max(goal, NEAR * gradient_to_reach(walk.point, self.tol))
            n_steps, n_trials, promised = n_steps + 1, n_trials + lowest.n_trials, promised + lowest.promised
            if not np.any(lowest.a):
                break
        return Step(walk.point, 1.0, walk.point is not point, promised, n_steps, status, n_trials)

    def _walk_from(self, point: Point) -> "_Walk":
        """The walk that has come to `point`, or a new one."""
        if self._walk is None or self._walk.point is not point:
            space = (
                RowCoordinates(point) if self.in_row_space else FeatureCoordinates(point, self.preconditioner)
            )
            self._walk = _Walk(point, space, NEARBY * self.tol)
        return self._walk

    def _arrived(self, point: Point) -> bool:
        """Whether the gap has come down to `tol`."""
        return duality_gap(point) <= self.tol * abs(point.value)


class _Walk:
    """Where the steps have come, the last of them, and the next direction if it is known."""

    def __init__(self, point: Point, space: Any, nearby: float) -> None:
        self.point, self.space, self.nearby = point, space, nearby
        self.here = space.of(point)
        self.last: list[Vector] = []
        self.n_steps, self.high = 0, np.inf  # since it was begun, and the gradient's norm at times
        self.bound = DualBound(space)
        self._downhill: Downhill | None = None

    def nears(self) -> bool:
        """Whether a closer bound of the gap is worth its time."""
        return self.bound.known or duality_gap(self.point) <= self.nearby * abs(self.point.value)

    def downhill(self) -> Downhill:
        """The way down from here, found once."""
        if self._downhill is None:
            point, space = self.point, self.space
            self._downhill = downhill = space.downhill(point, self.here)
            if is_balanced(point) and self.nears():
                point.learn_floor(self.bound.see(point, space.pull(point, self.here, downhill)))
        return self._downhill

    def _begin_anew(self, norm: float) -> None:
        """Forget the last step after many, each time the gradient's `norm` has come down by `FELL`.

        Where curvature has changed they are not conjugate any more, and steps that began with another one
        would converge linearly for ever (Crowder & Wolfe 1972).
        """
        if norm <= FELL * self.high:
            self.high = norm
            if self.n_steps > LASTING:
                self.last, self.n_steps = [], 0

    def advance(self, downhill: Downhill, tol: float) -> Lowest:
        """Go to the minimum over the plane, with intercepts solved to `tol`."""
        self._begin_anew(downhill.norm)
        directions = [downhill.direction(), *self.last, *self.space.heavy]
        vectors, inner = [self.here, *directions], self.space.inner
        Q = np.array(
            [[inner(u, v) if i <= j else 0.0 for j, v in enumerate(vectors)] for i, u in enumerate(vectors)]
        )
        Q += np.triu(Q, 1).T
        lowest = lowest_in_span(self.point, np.stack([d.outputs for d in directions]), Q, tol)
        if np.any(lowest.a):
            step = _combined(lowest.a, directions)
            here = self.here = Vector(*(u + v for u, v in zip(self.here, step, strict=True)))
            point, space = self.point, self.space
            intercept = space.intercept = space.intercept + lowest.shift
            forward = space.forward(point.forward, here, intercept, lowest.outputs)
            reached = Point(point.objective, forward, lowest.penalty, lowest.loss, point.floor)
            self.point = balanced(reached, np.inf) if tol < np.inf else reached
            self.last, self._downhill, self.n_steps = [step], None, self.n_steps + 1
        return lowest


def _combined(a: Iterable[float], vectors: Sequence[Vector]) -> Vector:
    """``sum_j a_j v_j``."""
    parts = []
    for arrays in zip(*vectors, strict=True):
        total, *others = (a_j * part for a_j, part in zip(a, arrays, strict=True))
        for other in others:
            total += other
        parts.append(total)
    return Vector(*parts)


class FeatureCoordinates:
    """Weights as they are, with zeros for the intercepts.

    The few weights of features that are nearly all of X, like one that is constant, are in every span.
    """

    def __init__(self, point: Point, preconditioner: Refreshed | None) -> None:
        self._preconditioner = preconditioner
        self._design, self._objective, self._K = (
            point.forward.X,
            point.objective,
            point.forward.outputs.shape[1],
        )
        self._last = len(point.w) - n_free_intercepts(point)
        self.intercept = point.w[self._last :]
        uniform = self._objective.uniform
        self._penalty = uniform[0] if uniform else self._objective.penalty[: self._last]
        self._root = np.sqrt(self._penalty)
        features = heavy_features(self._design.X)[: MOST_HEAVY // self._K]
        self.heavy = [self._unit(j * self._K + k) for j in features for k in range(self._K)]

    def of(self, point: Point) -> Vector:
        """The weights at `point`."""
        v = point.w.copy()
        v[self._last :] = 0.0
        return Vector(v, point.forward.outputs)

    def downhill(self, point: Point, here: Vector) -> Downhill:
        """The way down from `point`."""

        def direction() -> Vector:
            v = -self._preconditioned(point)
            v[self._last :] = 0.0
            return Vector(v, self._design.matmul(v.reshape(-1, self._K)))

        return Downhill(direction, float(np.sqrt(point.squared_slopes)))

    def _preconditioned(self, point: Point) -> np.ndarray:
        """The gradient in another metric."""
        if self._preconditioner is None:
            return point.gradient
        M = self._preconditioner(point)
        self._preconditioner.charge(1)
        return point.gradient if M is None else M @ point.gradient

    def _unit(self, j: int) -> Vector:
        """The unit vector of one weight."""
        v = np.zeros(self._last + len(self.intercept))
        v[j] = 1.0
        return Vector(v, self._design.matmul(v.reshape(-1, self._K)))

    def inner(self, u: Vector, v: Vector) -> float:
        """``sum_j penalty_j u_j v_j``."""
        return self._objective.penalty_product(u.coordinates, v.coordinates)

    def pull(self, point: Point, here: Vector, downhill: Downhill) -> np.ndarray:
        """``X'G / sqrt(penalty)``."""
        last = self._last
        return (point.gradient[:last] - self._penalty * here.coordinates[:last]) / self._root

    def pull_product(self, G: np.ndarray, of_G: np.ndarray, of_F: np.ndarray) -> float:
        """``sum_j (X'G)_j (X'F)_j / penalty_j``."""
        return dot(of_G, of_F)

    def hidden(self, size: float) -> float:
        """Rounding of sums of squares is small."""
        return 0.0

    def forward(
        self, last: LinearForward, v: Vector, intercept: np.ndarray, outputs: np.ndarray
    ) -> LinearForward:
        """The model with these weights and outputs."""
        weights = v.coordinates[: self._last]
        return replace(last, parameters=lambda: np.concatenate([weights, intercept]), outputs=outputs)


class RowCoordinates:
    """Weights ``a W_0 + (X - 1 m')' R`` with those of a first point, held as R (n, K) and a.

    Gradients have this form, for ``W`` has, and so no vector of all features is made. With one penalty on
    all features and ``T = (X - 1 m') V`` the outputs,

        g   is  R: G + penalty R,  a: penalty a
        T_g =   (X - 1 m') (X - 1 m')' R_g + a_g T_0
        u'v =   a_u (a_v |W_0|^2 + R_v . T_0) + R_u . T_v

    so a step reads X once, feature by feature. Where rounding may have hidden much of a gradient's norm,
    the gradient itself tells it.
    """

    heavy: Sequence[Vector] = ()

    def __init__(self, point: Point) -> None:
        self._design, self._K = point.forward.X, point.forward.outputs.shape[1]
        self._penalty = float(point.objective.penalty[0])
        self._W: np.ndarray | None = None
        self._square = 0.0
        if isinstance(point.forward, RowForward):
            self.intercept = point.forward.intercept
        else:
            last = len(point.w) - n_free_intercepts(point)
            self.intercept, W = point.w[last:], point.w[:last]
            self._square = dot(W, W)
            self._W = W if self._square > 0 else None
        self._S = point.forward.outputs - (self.intercept if len(self.intercept) else 0.0)
        entries = self._design.X.data if issparse(self._design.X) else np.ravel(self._design.X)
        squares = float(entries @ entries)  # the largest eigenvalue of X X' is no larger
        self._rounding = np.finfo(float).eps * (squares + self._square)

    def of(self, point: Point) -> Vector:
        """The weights at the first point."""
        known = isinstance(point.forward, RowForward)
        R = point.forward.rows.ravel() if known else np.zeros(self._S.size)
        return Vector(np.append(R, 0.0 if self._W is None else 1.0), self._S)

    def downhill(self, point: Point, here: Vector) -> Downhill:
        """The way down from `point`, which learns its gradient's norm."""
        v = -self._penalty * here.coordinates
        R = self._rows(v)
        R -= point.residuals
        T = self._design.row_gram_product(R)
        if self._square > 0:
            T += v[-1] * self._S
        direction = Vector(v, T)
        square = self._inner(direction, direction)
        hidden = self._rounding * dot(v, v)
        if hidden <= 0.1 * square:
            point.learn(square + hidden)
        return Downhill(lambda: direction, float(np.sqrt(point.squared_slopes)))

    def inner(self, u: Vector, v: Vector) -> float:
        """``penalty u'v``."""
        return self._penalty * self._inner(u, v)

    def pull(self, point: Point, here: Vector, downhill: Downhill) -> np.ndarray:
        """``X X'G``."""
        return -downhill.direction().outputs - self._penalty * here.outputs

    def pull_product(self, G: np.ndarray, of_G: np.ndarray, of_F: np.ndarray) -> float:
        """``(X'G) . (X'F) / penalty``."""
        return dot(G.ravel(), of_F.ravel()) / self._penalty

    def hidden(self, size: float) -> float:
        """What rounding may make of half of it, where F is G and ``|G|^2 = size``."""
        return self._rounding * size / (2 * self._penalty)

    def forward(
        self, last: LinearForward, v: Vector, intercept: np.ndarray, outputs: np.ndarray
    ) -> LinearForward:
        """The model with these weights and outputs; its parameters take a pass over X."""
        of_rows = RowForward.of(self._design, outputs, self._rows(v.coordinates), intercept)
        if self._W is None:
            return of_rows
        W, a = self._W, v.coordinates[-1]

        def parameters() -> np.ndarray:
            w = of_rows.w
            w[: len(W)] += a * W
            return w

        return LinearForward(parameters, self._design, outputs)

    def _rows(self, v: np.ndarray) -> np.ndarray:
        return v[:-1].reshape(-1, self._K)

    def _inner(self, u: Vector, v: Vector) -> float:
        """``u'v``."""
        a, b = u.coordinates[-1], v.coordinates[-1]
        of_rows = dot(u.coordinates[:-1], v.outputs.ravel())
        if self._square == 0:
            return of_rows
        return of_rows + a * (b * self._square + dot(v.coordinates[:-1], self._S.ravel()))


def heavy_features(X: Any) -> np.ndarray:
    """The features that hold much of a sparse X, most first, by some of its rows; none for a dense one."""
    if not issparse(X):
        return np.empty(0, np.intp)
    some = X[:: max(1, X.shape[0] // FEW)]
    squares = np.bincount(some.indices, weights=np.square(some.data, dtype=float), minlength=X.shape[1])
    heavy = np.flatnonzero(squares > HEAVY * np.sum(squares))
    return heavy[np.argsort(-squares[heavy])]


def lowest_in_span(point: Point, Z: np.ndarray, Q: np.ndarray, tol: float) -> Lowest:
    """The minimum of E over ``w + sum_j a_j d_j`` and all intercepts, nearly, by Newton's method.

    It is safeguarded by halving. Outputs are combined as the parameters are, so X is not read.

    Parameters
    ----------
    point : Point
    Z : array of shape (m, n, K)
        The outputs of the directions.
    Q : array of shape (m + 1, m + 1)
        ``sum_j penalty_j u_j v_j`` for w and the directions.
    tol : float
        Part of E that solved intercepts may still gain.
    """
    o, m, K = point.objective, len(Z), n_free_intercepts(point)
    S, flat = point.forward.outputs, Z.reshape(m, -1)
    loss: tuple[Any, Any, OutputHessian] = (None, point.G, point.H)
    a, outputs = np.zeros(m + K), S
    value = float(sum(point.losses)) + Q[0, 0] / 2
    penalty, promised, rounding = Q[0, 0] / 2, np.inf, 16 * np.finfo(float).eps
    curvature: _SpanCurvature | None = None
    n_trials = 0

    def arrived(decrease: float, of_intercept: float, part: float) -> bool:
        return decrease <= EXACT * promised and of_intercept <= part * tol * value

    while n_trials < EVALUATIONS:
        _, G, H = loss
        g = np.append(flat @ G.ravel() + Q[1:, 0] + Q[1:, 1:] @ a[:m], np.sum(G, axis=0)[:K])
        # That of the last trial, which is at hand, will do to see that this one was the last.
        if curvature is not None and arrived(*curvature.newton(g)[1:], SURE):
            break
        curvature = _SpanCurvature(H, Z, Q, K)
        step, decrease, of_intercept = curvature.newton(g)
        if n_trials == 0:
            promised = decrease
        elif arrived(decrease, of_intercept, 1.0):
            break
        while n_trials < EVALUATIONS:
            n_trials += 1
            b = a + step
            trial = S + (b[:m] @ flat).reshape(S.shape)
            if K:
                trial += b[m:]
            found = o.loss.evaluate(trial, o.y, o.s)
            of_penalty = Q[0, 0] / 2 + b[:m] @ (Q[1:, 0] + Q[1:, 1:] @ b[:m] / 2)
            new = float(np.sum(found[0])) + of_penalty
            if new <= value + rounding * abs(value):
                break
            step = step / 2
        else:
            break
        a, value, loss, outputs, penalty = b, new, found, trial, of_penalty
    return Lowest(a[:m], a[m:], outputs, loss, penalty, promised, n_trials)


class _SpanCurvature:
    """The inverse of E's curvature in a span and all intercepts, and of that in the intercepts alone."""

    def __init__(self, H: OutputHessian, Z: np.ndarray, Q: np.ndarray, n_intercepts: int) -> None:
        K, self._coupled = n_intercepts, H.shift_invariant
        sums, A = curvature_in_span(H, Z)
        of_outputs = H.sum()[:K, :K]
        self._inverse = _inverse(np.block([[A + Q[1:, 1:], sums[:, :K]], [sums[:, :K].T, of_outputs]]))
        self._of_intercept = inverse_curvature(of_outputs, self._coupled)

    def newton(self, g: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Newton's step, the decrease that it promises, and that by the intercepts alone."""
        step, m = -self._inverse @ g, len(g) - len(self._of_intercept)
        if self._coupled and m < len(g):  # equal changes of all outputs change nothing
            step[m:] -= np.mean(step[m:])
        return step, -0.5 * float(g @ step), 0.5 * float(g[m:] @ self._of_intercept @ g[m:])


def curvature_in_span(H: OutputHessian, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For `Z` (m, n, K): column sums of ``H z_a`` (m, K), and ``z_a . H z_b`` (m, m)."""
    if pointwise_repays(Z[0]):
        from secondorder.kernels import span

        return span.curvature(H.d, H.u, H.shift_invariant, Z)
    HZ = np.stack([H @ z for z in Z])
    flat = Z.reshape(len(Z), -1)
    return HZ.sum(axis=1), flat @ HZ.reshape(flat.shape).T


def _inverse(B: np.ndarray) -> np.ndarray:
    """``B^-1`` for a positive semidefinite B, whatever the units of its rows."""
    diagonal = B.diagonal()
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    values, vectors = np.linalg.eigh(B * (scale[:, None] * scale))
    kept = values > SINGULAR * values[-1]
    inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
    vectors = scale[:, None] * vectors
    return (vectors * inverse) @ vectors.T
