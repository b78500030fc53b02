"""The linear model ``S = X W + b``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from secondorder.array_api import array_namespace, plus_multiple, plus_row
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array
from secondorder.models.design import Design


@dataclass(frozen=True)
class Linear:
    """``S = Z W`` with the design matrix ``Z = [X, 1]``: K outputs, linear in the parameters.

    Parameters ``w`` (P,) are `W` of shape (p + 1, K) in C order; its last row is the intercept.

    Parameters
    ----------
    n_outputs : int
        K, the number of outputs.
    """

    n_outputs: int

    def forward(self, w: Array, X: Design) -> "LinearForward":
        """The outputs at `w`; one pass over X, unless `w` is 0."""
        W = array_namespace(w).reshape(w, (X.shape[1], self.n_outputs))
        if isinstance(w, np.ndarray) and not w.any():
            return LinearForward(lambda: w, X, np.zeros((X.shape[0], self.n_outputs)))
        return LinearForward(lambda: w, X, X.matmul(W))


@dataclass(frozen=True, eq=False)
class LinearForward:
    """The linear model at one `w`: its outputs, and products with its Jacobian J, which is constant."""

    parameters: Callable[[], Array]
    X: Design
    outputs: Array

    @cached_property
    def w(self) -> Array:
        """The parameters, made when asked for: trials of a line search need the outputs alone."""
        return self.parameters()

    @property
    def n_intercepts(self) -> int:
        """The number of intercepts, which are the last parameters."""
        return self.outputs.shape[1] if self.X.intercept else 0

    def _matrix(self, v: Array) -> Array:
        """`v` in the shape of W."""
        return array_namespace(v).reshape(v, (self.X.shape[1], self.outputs.shape[1]))

    def jvp(self, v: Array) -> Array:
        """``J v = Z V``, shape (n, K)."""
        return self.X.matmul(self._matrix(v))

    def vjp(self, U: Array) -> Array:
        """``J' U = Z' U``, shape (P,)."""
        return _ravel(self.X.rmatmul(U))

    def vjp_derivative(self, v: Array, U: Array) -> float:
        """``(dJ[v])' U``: zero, as J does not depend on w."""
        return 0.0

    def along(self, v: Array) -> "LinearRay":
        """The models at ``w + t v``; one pass over X, and none per t."""
        return LinearRay(self, v, self.jvp(v))

    def shift(self, c: Array) -> "LinearForward":
        """The model with `c` (K,) added to its intercept; no pass over X."""
        parameters, K = self.parameters, c.shape[0]

        def shifted() -> Array:
            w = parameters()
            return array_namespace(w).concat([w[:-K], w[-K:] + c])

        return replace(self, parameters=shifted, outputs=plus_row(self.outputs, c))

    def anew(self) -> "LinearForward":
        """The same model with outputs made anew, where they were updated from others."""
        return replace(self, outputs=self.jvp(self.w))

    def gauss_newton_product(self, H: OutputHessian, v: Array) -> Array:
        """``J' H J v``, shape (P,)."""
        return _ravel(self.X.product(H, self._matrix(v)))

    def hessian_product(self, H: OutputHessian, G: Array, v: Array) -> Array:
        """The same, as J does not depend on w."""
        return self.gauss_newton_product(H, v)

    def gauss_newton_diagonal(self, H: OutputHessian) -> Array:
        """``diag(J' H J)``, shape (P,)."""
        return _ravel(self.X.squared_rmatmul(H.diagonal()))

    def gauss_newton_dense(self, H: OutputHessian) -> Array:
        """``J' H J`` written out, shape (P, P)."""
        return self.X.hessian(H)


@dataclass(frozen=True, eq=False)
class RowForward(LinearForward):
    """The linear model with ``W = (X - 1 m')' R``, held as `rows` R (n, K) and the intercept (K,) or (0,)."""

    rows: Array
    intercept: Array

    @classmethod
    def of(cls, X: Design, outputs: Array, rows: Array, intercept: Array) -> "RowForward":
        """The model with the `outputs` that `rows` and `intercept` give; its `w` takes one pass over X."""

        def parameters() -> Array:
            w = _ravel(X.rmatmul(rows))
            w[w.shape[0] - len(intercept) :] = intercept
            return w

        return cls(parameters, X, outputs, rows, intercept)

    def shift(self, c: Array) -> "RowForward":
        """The model with `c` (K,) added to its intercept; no pass over X."""
        return self.of(self.X, plus_row(self.outputs, c), self.rows, self.intercept + c)

    def anew(self) -> "RowForward":
        """The same model with outputs made anew; one pass over X."""
        outputs = self.X.row_gram_product(self.rows)
        return self.of(self.X, plus_row(outputs, self.intercept), self.rows, self.intercept)


@dataclass(frozen=True, eq=False)
class LinearRay:
    """The linear models at ``w + t v``, from the change of the outputs per unit of t."""

    origin: LinearForward
    v: Array
    change: Array

    def __call__(self, t: float) -> LinearForward:
        """The model at `t`."""
        o, w, v = self.origin, self.origin.w, self.v
        return replace(o, parameters=lambda: w + t * v, outputs=plus_multiple(o.outputs, self.change, t))

    def tangent(self, t: float) -> Array:
        """``dS/dt`` at `t`, shape (n, K)."""
        return self.change


def _ravel(W: Array) -> Array:
    """`W` as the vector of its rows."""
    return array_namespace(W).reshape(W, (-1,))
