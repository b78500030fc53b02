"""Preconditioned conjugate gradients, truncated."""

from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from secondorder.array_api import dot
from secondorder.kernels import vector_repays

# Curvature below this part of what is usual is rounding, of either sign.
FLAT = 1e-15


class CGStatus(Enum):
    """Why conjugate gradients stopped."""

    CONVERGED = "the residual is small enough"
    MAX_ITER = "max_iter products were made"
    BOUNDARY = "the step reached the radius"
    NEGATIVE_CURVATURE = "a direction of negative curvature was met"


class CGResult(NamedTuple):
    """The step `x`, its residual ``b - A x``, the number of products and why it stopped there."""

    x: np.ndarray
    residual: np.ndarray
    n_iter: int
    status: CGStatus

    def decrease(self, b: np.ndarray) -> float:
        """``b'x - 1/2 x'Ax``, what the quadratic model promises, without another product."""
        return 0.5 * (dot(b, self.x) + dot(self.residual, self.x))


def conjugate_gradient(
    A: Any,
    b: np.ndarray,
    *,
    M: Any = None,
    radius: float = np.inf,
    rtol: float = 0.1,
    atol: float = 0.0,
    max_iter: int = 200,
) -> CGResult:
    """Minimise ``1/2 x'Ax - b'x`` over ``|x|_{M^-1} <= radius``, approximately.

    Every iterate decreases the model, so ``x`` is a descent direction for ``b = -g`` also when `A` is
    indefinite: at a direction of negative curvature the walk goes on to the boundary, or without a
    radius stops at the last iterate (at the first product: at the preconditioned gradient itself).

    Parameters
    ----------
    A : object with ``A @ v``
        Symmetric.
    b : array of shape (P,)
    M : object with ``M @ v``, optional
        Preconditioner, an approximation of the inverse of `A`, symmetric positive definite.
    radius : float, default=inf
        Trust region (Steihaug 1983; Nocedal & Wright, Algorithm 7.2).
    rtol : float, default=0.1
        Stop at ``|r|_M <= rtol |b|_M``.
    atol : float, default=0
        Stop at ``|r|_2 <= atol``.
    max_iter : int, default=200
        Largest number of products with `A`.

    Returns
    -------
    CGResult
    """
    x, r = np.zeros_like(b), b.copy()
    z = r if M is None else M @ r
    p, rr = z.copy(), dot(r, r)
    rz = rr if M is None else dot(r, z)
    goal = rtol**2 * rz
    xx, xp, pp = 0.0, 0.0, rz  # products of x and p in the norm of M^-1
    usual = 0.0 if M is None else 1.0  # curvature in that norm; the steepest seen, if M says nothing of it
    for k in range(max_iter):
        if rz <= goal or rz <= 0.0 or rr <= atol**2:
            return CGResult(x, r, k, CGStatus.CONVERGED)
        Ap = A @ p
        curvature = dot(p, Ap)
        usual = max(usual, curvature / pp)
        if not curvature > FLAT * usual * pp:  # NaN neither
            if np.isfinite(radius):
                t = _to_boundary(xx, xp, pp, radius)
                x, r = x + t * p, r - t * Ap
            elif k == 0:
                x, r = p, b - Ap
            return CGResult(x, r, k + 1, CGStatus.NEGATIVE_CURVATURE)
        a = rz / curvature
        if xx + 2 * a * xp + a**2 * pp >= radius**2:
            t = _to_boundary(xx, xp, pp, radius)
            return CGResult(x + t * p, r - t * Ap, k + 1, CGStatus.BOUNDARY)
        rr = _descend(x, r, p, Ap, a)
        z = r if M is None else M @ r
        rz, previous = rr if M is None else dot(r, z), rz
        beta = rz / previous
        xx, xp, pp = xx + 2 * a * xp + a**2 * pp, beta * (xp + a * pp), rz + beta**2 * pp
        _extend(p, z, beta)
    return CGResult(x, r, max_iter, CGStatus.MAX_ITER)


def _descend(x: np.ndarray, r: np.ndarray, p: np.ndarray, Ap: np.ndarray, a: float) -> float:
    """``x += a p`` and ``r -= a Ap`` in place; ``r'r``."""
    if vector_repays(x):
        from secondorder.kernels import vectors

        return vectors.descend(x, r, p, Ap, a)
    x += a * p
    r -= a * Ap
    return dot(r, r)


def _extend(p: np.ndarray, z: np.ndarray, beta: float) -> None:
    """``p = z + beta p`` in place."""
    if vector_repays(p):
        from secondorder.kernels import vectors

        vectors.extend(p, z, beta)
    else:
        p *= beta
        p += z


def _to_boundary(xx: float, xp: float, pp: float, radius: float) -> float:
    """The t >= 0 with ``|x + t p|_{M^-1} = radius``."""
    return float((-xp + np.sqrt(xp**2 + pp * (radius**2 - xx))) / pp)
