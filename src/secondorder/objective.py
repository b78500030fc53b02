"""The objective, and all that is known of it at one point."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from secondorder.array_api import array_namespace
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

    @property
    def w(self) -> Array:
        """The parameters, shape (P,)."""
        return self.forward.w

    @cached_property
    def value(self) -> float:
        """``E(w)``."""
        o = self.objective
        loss = o.s @ o.loss.value(self.forward.outputs, o.y)
        return float(loss + 0.5 * (o.penalty @ self.w**2))

    @cached_property
    def _derivatives(self) -> tuple[Array, OutputHessian]:
        o = self.objective
        return o.loss.derivatives(self.forward.outputs, o.y, o.s)

    @property
    def G(self) -> Array:
        """``dE/dS``, shape (n, K)."""
        return self._derivatives[0]

    @property
    def H(self) -> OutputHessian:
        """``d2E/dS2``, a K x K block for each row."""
        return self._derivatives[1]

    @cached_property
    def gradient(self) -> Array:
        """``g = J' G + penalty w``, shape (P,); one backward pass."""
        return self.forward.vjp(self.G) + self.objective.penalty * self.w

    def along(self, d: Array) -> "Ray":
        """The points ``w + t d``."""
        return Ray(self, d, self.forward.along(d))

    def shift(self, c: Array) -> "Point":
        """The point with `c` (K,) added to the intercept."""
        return Point(self.objective, self.forward.shift(c))


@dataclass(frozen=True, eq=False)
class Ray:
    """The points ``w + t d`` of the objective, for t >= 0."""

    origin: Point
    direction: Array
    forward: Any

    def __call__(self, t: float) -> Point:
        """The point at `t`."""
        return Point(self.origin.objective, self.forward(t))

    def slope(self, trial: Point, t: float) -> float:
        """``dE/dt`` at `trial`, the point at `t`, from its outputs alone."""
        penalty = self.origin.objective.penalty
        loss = array_namespace(self.direction).sum(trial.G * self.forward.tangent(t))
        return float(loss + (penalty * trial.w) @ self.direction)
