"""Conjugate gradients, preconditioners, step rules and the outer loop."""

from secondorder.solvers.certificate import Status
from secondorder.solvers.cg import CGResult, CGStatus, conjugate_gradient
from secondorder.solvers.diagonal_lm import DiagonalLM
from secondorder.solvers.first_order import SGD, AdaGrad, Adam, Nesterov, RMSProp
from secondorder.solvers.hessian_free import HessianFree
from secondorder.solvers.leave_one_out import Refits, leave_one_out, refit_some, refit_without
from secondorder.solvers.levenberg_marquardt import LevenbergMarquardt
from secondorder.solvers.linear import LinearProblem, fit_linear
from secondorder.solvers.minimize import Iteration, Result, minimize
from secondorder.solvers.network import fit_network, resume_network
from secondorder.solvers.preconditioners import Blocks, Cholesky, Jacobi, Kronecker, Refreshed
from secondorder.solvers.progress import Progress, Validation
from secondorder.solvers.steps import LineSearch, Step
from secondorder.solvers.stochastic import minimize_stochastic
from secondorder.solvers.trust_region import TrustRegion

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "Blocks",
    "CGResult",
    "CGStatus",
    "Cholesky",
    "DiagonalLM",
    "HessianFree",
    "Iteration",
    "Jacobi",
    "Kronecker",
    "LevenbergMarquardt",
    "LineSearch",
    "LinearProblem",
    "Nesterov",
    "Progress",
    "RMSProp",
    "Refits",
    "Refreshed",
    "Result",
    "Status",
    "Step",
    "TrustRegion",
    "Validation",
    "conjugate_gradient",
    "fit_linear",
    "fit_network",
    "leave_one_out",
    "minimize",
    "minimize_stochastic",
    "refit_some",
    "refit_without",
    "resume_network",
]
