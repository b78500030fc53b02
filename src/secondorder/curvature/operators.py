"""Curvature at a point as linear operators of SciPy."""

import numpy as np
from scipy.sparse.linalg import LinearOperator

from secondorder.array_api import plus_product
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array
from secondorder.objective import Point


class Curvature(LinearOperator):
    """A symmetric P x P matrix known through its products."""

    def __init__(self, point: Point) -> None:
        self.point = point
        super().__init__(np.dtype(np.float64), (point.objective.penalty.shape[0],) * 2)

    def _adjoint(self) -> "Curvature":
        return self

    def diagonal(self) -> Array:
        """The diagonal, shape (P,)."""
        return np.diagonal(self.dense()).copy()

    def dense(self) -> np.ndarray:
        """The matrix written out, shape (P, P), column by column."""
        return np.column_stack([self.matvec(e) for e in np.eye(self.shape[0])])


class GaussNewton(Curvature):
    """``B = J' H J + diag(penalty)``; the Hessian itself where the model is linear.

    It is positive semidefinite for a convex loss (Schraudolph, Fast curvature matrix-vector products
    for second-order gradient descent, Neural Computation 14, 2002).
    """

    @property
    def H(self) -> OutputHessian:
        """The curvature of the loss in the outputs."""
        return self.point.H

    def _matvec(self, v: Array) -> Array:
        point = self.point
        return plus_product(point.forward.gauss_newton_product(self.H, v), point.objective.penalty, v)

    def diagonal(self) -> Array:
        """``diag(B)``, shape (P,); one pass over X."""
        point = self.point
        return point.forward.gauss_newton_diagonal(self.H) + point.objective.penalty

    def dense(self) -> np.ndarray:
        """``B`` written out, shape (P, P); one pass over X."""
        B = self.point.forward.gauss_newton_dense(self.H)
        B.flat[:: len(B) + 1] += self.point.objective.penalty
        return B


class SingleGaussNewton(GaussNewton):
    """Gauss-Newton with products in float32: for directions, while gradients stay float64.

    Kelley, Newton's method in mixed precision, SIAM Review 64, 2022: the outer iteration hardly notices.
    """

    @property
    def H(self) -> OutputHessian:
        """The curvature of the loss in float32."""
        return self.point.H.single


class LeadingTerm(GaussNewton):
    """Gauss-Newton with the first term of H alone, ``diag(d_i)`` without ``- u_i u_i'``.

    An upper bound of `GaussNewton`: Newton's method takes shorter steps with it and needs more of them.
    """

    @property
    def H(self) -> OutputHessian:
        """The first term of the curvature of the loss."""
        return self.point.H.leading


class Hessian(Curvature):
    """``A = J' H J + (dJ)' G + diag(penalty)``, the product rule on ``w -> J(w)' G(f(w))``.

    A product costs about two gradients (Pearlmutter, Fast exact multiplication by the Hessian,
    Neural Computation 6, 1994).
    """

    def _matvec(self, v: Array) -> Array:
        point = self.point
        product = point.forward.hessian_product(point.H, point.G, v)
        return product + point.objective.penalty * v


class BackpropagatedDiagonal(Curvature):
    """The diagonal of the Hessian by second-order backpropagation, as a diagonal matrix.

    Exact where at most one hidden layer lies between inputs and outputs, an approximation otherwise:
    below the last hidden layer it drops what the units of a layer have in common (Becker & LeCun, Improving
    the convergence of back-propagation learning with second-order methods, 1988).
    """

    def _matvec(self, v: Array) -> Array:
        return self.diagonal() * v

    def diagonal(self) -> Array:
        """The diagonal, shape (P,); one pass over X."""
        point = self.point
        return point.forward.backpropagate_diagonal(point.H, point.G) + point.objective.penalty

    def dense(self) -> np.ndarray:
        """The matrix written out, shape (P, P); one pass over X."""
        return np.diag(self.diagonal())
