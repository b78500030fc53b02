"""Conjugate gradients, preconditioners, step rules and the outer loop."""

from secondorder.solvers.certificate import Status
from secondorder.solvers.cg import CGResult, CGStatus, conjugate_gradient
from secondorder.solvers.linear import fit_linear
from secondorder.solvers.minimize import Iteration, Result, minimize
from secondorder.solvers.preconditioners import Cholesky, Jacobi, Kronecker, Refreshed
from secondorder.solvers.steps import LineSearch, Step

__all__ = [
    "CGResult",
    "CGStatus",
    "Cholesky",
    "Iteration",
    "Jacobi",
    "Kronecker",
    "LineSearch",
    "Refreshed",
    "Result",
    "Status",
    "Step",
    "conjugate_gradient",
    "fit_linear",
    "minimize",
]
