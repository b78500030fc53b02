"""The objective, and all that is known of it at one point."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from secondorder.array_api import array_namespace, column_sums, dot, plus_product
from secondorder.losses import Loss, OutputHessian
from secondorder.losses.output_hessian import Array


@dataclass(frozen=True, eq=False)
class Objective:
    """``E(w) = sum_i s_i loss(f(w; x_i), y_i) + 1/2 sum_j penalty_j w_j^2``.

    Parameters
    ----------
    model : object with ``forward(w, X)``
        ``f``, for example `secondorder.models.Linear`.
    loss : Loss
    X : whatever the model reads, for the linear model a `secondorder.models.Design`
    y : array
        Targets, as the loss wants them.
    s : array of shape (n,)
        Weights of the rows, not negative.
    penalty : array of shape (P,)
        Strength of the L2 penalty of each parameter, not negative; 0 on intercepts.
    """

    model: Any
    loss: Loss
    X: Any
    y: Array
    s: Array
    penalty: Array

    @cached_property
    def uniform(self) -> tuple[float, int] | None:
        """The penalty, and how many parameters have it, if those are the first and the others have none."""
        if not isinstance(self.penalty, np.ndarray):
            return None
        m = int(np.count_nonzero(self.penalty))
        uniform = m and bool(np.all(self.penalty[:m] == self.penalty[0]))
        return (float(self.penalty[0]), m) if uniform else None

    @cached_property
    def n_free_at_the_end(self) -> int:
        """How many of the last parameters have no penalty (NumPy only)."""
        return len(self.penalty) - int(np.max(np.flatnonzero(self.penalty), initial=-1)) - 1

    def penalty_product(self, a: Array, b: Array) -> float:
        """``sum_j penalty_j a_j b_j``."""
        if self.uniform is None:
            return dot(self.penalty * a, b)
        penalty, m = self.uniform
        return penalty * dot(a[:m], b[:m])

    def at(self, w: Array) -> "Point":
        """The objective at the parameters `w` of shape (P,)."""
        return Point(self, self.model.forward(w, self.X))

    def astype(self, dtype: Any) -> "Objective":
        """The objective with weights and penalty in the precision `dtype`."""
        astype = array_namespace(self.s).astype
        return replace(self, s=astype(self.s, dtype), penalty=astype(self.penalty, dtype))

    def sample(self, rows: Any) -> "Objective":
        """The objective estimated from some `rows` (a slice or integers), with the weight of all."""
        s = self.s[rows]
        s = s * (self.s.sum() / s.sum())
        return replace(self, X=self.X.rows(rows), y=self.y[rows], s=s)


@dataclass(frozen=True, eq=False)
class Point:
    """E, its gradient and its curvature at one w, each computed once and only when asked for."""

    objective: Objective
    forward: Any
    known_penalty: float | None = None  # the second term of E, from whoever made the point
    known_loss: tuple[Any, Array, OutputHessian] | None = None  # and the first with its derivatives
    floor: float = -np.inf  # a lower bound of E everywhere, as far as it is known
    dual: tuple[Array, Array] | None = None  # dual variables (n, K) next to G, and what they cost (K,)

    @property
    def w(self) -> Array:
        """The parameters, shape (P,)."""
        return self.forward.w

    @cached_property
    def value(self) -> float:
        """``E(w)``."""
        return float(sum(self.losses)) + self.penalty_term

    @property
    def losses(self) -> Sequence[float]:
        """The sums of the loss: one, or one for each of several models."""
        value = self._loss[0]
        return [value] if isinstance(value, float) else value

    @cached_property
    def penalty_term(self) -> float:
        """``1/2 sum_j penalty_j w_j^2``."""
        if self.known_penalty is not None:
            return self.known_penalty
        return 0.5 * self.objective.penalty_product(self.w, self.w)

    @cached_property
    def _loss(self) -> tuple[float | Array, Array, OutputHessian]:
        o = self.objective
        return self.known_loss or o.loss.evaluate(self.forward.outputs, o.y, o.s)

    @property
    def G(self) -> Array:
        """``dE/dS``, shape (n, K)."""
        return self._loss[1]

    @property
    def residuals(self) -> Array:
        """The dual variables, G itself unless others are known."""
        return self.G if self.dual is None else self.dual[0]

    @property
    def H(self) -> OutputHessian:
        """``d2E/dS2``, a K x K block for each row."""
        return self._loss[2]

    @cached_property
    def pull(self) -> tuple[Array, Array]:
        """The column sums of G, which are the gradient in the intercepts, and those of ``|G|``."""
        return column_sums(self.G)

    @cached_property
    def gradient(self) -> Array:
        """``g = J' G + penalty w``, shape (P,), with the `residuals` for G; one backward pass."""
        return plus_product(self.forward.vjp(self.residuals), self.objective.penalty, self.w)

    @cached_property
    def squared_gradient(self) -> float:
        """``g'g``."""
        return dot(self.gradient, self.gradient)

    @cached_property
    def squared_slopes(self) -> float:
        """The part of ``g'g`` in the parameters with the one penalty of `Objective.uniform`."""
        _, m = self.objective.uniform or (0.0, len(self.objective.penalty))
        return dot(self.gradient[:m], self.gradient[:m])

    def learn(self, squared_slopes: float) -> None:
        """Take it from whoever knows it without the gradient; the rest are the intercepts."""
        rest = float(np.sum(self.pull[0][: self.forward.n_intercepts] ** 2))
        vars(self).update(squared_slopes=squared_slopes, squared_gradient=squared_slopes + rest)

    def learn_floor(self, floor: float) -> None:
        """Take the lower bound of E, if it is higher than that known."""
        if floor > self.floor:
            vars(self).update(floor=floor)

    def with_dual(self, residuals: Array, cost: Array, gradient: Array | None) -> "Point":
        """The same point with other dual variables, and the gradient they make if it is known."""
        dual = residuals, cost
        point = replace(self, known_penalty=self.penalty_term, known_loss=self._loss, dual=dual)
        known = {"pull": self.pull} | ({} if gradient is None else {"gradient": gradient})
        vars(point).update(known)
        return point

    def settled(self) -> "Point":
        """The same point, its penalty term taken from w itself and not carried along."""
        known_loss = vars(self).get("_loss", self.known_loss)
        return replace(self, known_penalty=None, known_loss=known_loss, dual=None)

    def along(self, d: Array) -> "Ray":
        """The points ``w + t d``."""
        return Ray(self, d, self.forward.along(d))

    def shift(self, c: Array) -> "Point":
        """The point with `c` (K,) added to the intercept, which is not penalised."""
        return Point(self.objective, self.forward.shift(c), self.penalty_term, floor=self.floor)


@dataclass(frozen=True, eq=False)
class Ray:
    """The points ``w + t d`` of the objective, for t >= 0."""

    origin: Point
    direction: Array
    forward: Any

    @cached_property
    def _penalty(self) -> tuple[float, float, float]:
        """The penalty term at t, as coefficients of 1, t and t^2/2."""
        product, w, d = self.origin.objective.penalty_product, self.origin.w, self.direction
        return self.origin.penalty_term, product(w, d), product(d, d)

    def __call__(self, t: float) -> Point:
        """The point at `t`."""
        at_0, slope, curvature = self._penalty
        return Point(self.origin.objective, self.forward(t), at_0 + t * slope + t**2 / 2 * curvature)

    def slope(self, trial: Point, t: float) -> float:
        """``dE/dt`` at `trial`, the point at `t`, from its outputs alone."""
        xp = array_namespace(self.direction)
        G, tangent = trial.G, self.forward.tangent(t)
        loss = dot(xp.reshape(G, (-1,)), xp.reshape(tangent, (-1,)))
        _, slope, curvature = self._penalty
        return loss + slope + t * curvature
