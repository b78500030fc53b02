"""What the ways to solve a linear problem cost, and the preconditioner that this calls for.

Costs are counted in multiplications of the compiled products. The constants below were measured once;
they need to be right within a factor of two or so.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import issparse

from secondorder.models import Design
from secondorder.solvers.preconditioners import SAMPLED as OF_BLOCK
from secondorder.solvers.preconditioners import (
    Blocks,
    Cholesky,
    Jacobi,
    Kronecker,
    Refreshed,
    kronecker_if_exact,
)

CALL = 1_000_000  # multiplications made in the time that calling a product costs
THICK = 6  # times more are made a second in a product of two thick matrices than in one with a thin one
GATHER = 4  # multiplications a sparse entry is worth
EIGENVECTORS = 9  # q^3 times this is the cost of all eigenvectors of a q x q matrix
LARGEST_DENSE = 3000  # parameters of a dense Hessian
LARGEST_GRAM = 5000  # columns of a dense Gram matrix
LARGEST_BLOCKS = 2**24  # entries of the blocks of all classes together, or as many as X has
WORTH_AT_ONCE = 100  # products for which a preconditioner is made without waiting
WORTH_A_CHORD = 10  # products for which one output has a factor at once, and Newton's method by sweeps
FACTOR_AT_ONCE = 20  # the same for a factor, where a Kronecker product would serve
DEAR_FACTOR = 5  # products from which on a factor of several classes is put off while L-BFGS leads on
ALIKE = 10  # dense features whose norms differ by less need no scaling
LEAST_SEARCHED = 100  # features for which Newton's systems take more products than a search in spans
STEEPEST_LOGISTIC = 0.25  # the second derivative of the logistic loss, at most
UNEQUAL = 1000  # sparse entries whose sizes differ by more do


def product_cost(design: Design, n_outputs: int) -> float:
    """What a product with the curvature costs."""
    entries = GATHER * design.X.nnz if issparse(design.X) else design.shape[0] * design.shape[1]
    return CALL + 2 * n_outputs * entries


def gram_cost(design: Design) -> float:
    """What a Gram matrix of the features and its eigenvectors cost; infinite where they are too many."""
    q = design.shape[1]
    return _outer_cost(design) + EIGENVECTORS * q**3 if q <= LARGEST_GRAM else np.inf


def _outer_cost(design: Design) -> float:
    """What a sum of outer products of rows costs."""
    n, q = design.shape
    outer = n * q * q / THICK
    return min(outer, GATHER * design.X.nnz**2 / n) if issparse(design.X) else outer


def worth_reducing(design: Design, n_outputs: int, n_solves: int = 1) -> bool:
    """Whether so many solves are better done in the row space of X."""
    n, p = design.X.shape
    if issparse(design.X) or p <= n:
        return False
    cost = (n * n * p / THICK + EIGENVECTORS * n**3) / product_cost(design, n_outputs)
    return cost <= WORTH_AT_ONCE * n_solves


def choose_preconditioner(design: Design, n_outputs: int, solver: str) -> Refreshed | None:
    """The preconditioner for `solver`, one of `SOLVERS`."""
    (n, q), K = design.shape, n_outputs
    product = product_cost(design, K)
    outer = _outer_cost(design)
    pairs = K * (K - 1) / 2
    hessian = (outer if K == 1 else pairs * n * q * q / THICK) / 2 + (q * K) ** 3 / 6 / THICK
    gram = gram_cost(design)
    if solver == "newton-cholesky":
        return Refreshed(Cholesky, hessian / product)
    if solver == "newton-kronecker":
        return Refreshed(Kronecker, gram / product)
    candidates: list[tuple[float, Callable]] = []
    if solver == "auto" and q * K <= LARGEST_DENSE:
        candidates.append((hessian / product, Cholesky))
    if solver == "auto" and K > 1 and K * q * q <= max(LARGEST_BLOCKS, n * q) and not issparse(design.X):
        blocks = K * (min(OF_BLOCK * q, n) * q * q / 2 + 1.5 * q**3)
        candidates.append((blocks / product, Blocks))
    if solver == "auto" and q <= LARGEST_GRAM and K > 1:
        candidates.append((gram / product, Kronecker))
    for cost, make in candidates:
        if cost <= (WORTH_AT_ONCE if make is not Cholesky else FACTOR_AT_ONCE if K > 1 else WORTH_A_CHORD):
            return Refreshed(make, cost, first=kronecker_if_exact if make is Blocks else None)
    simple = Jacobi if _unscaled(design) else None
    if candidates:
        cost, make = min(candidates, key=lambda candidate: candidate[0])
        return Refreshed(make, cost, until=simple or (lambda point: None))
    return simple and Refreshed(simple, cost=1)


def _unscaled(design: Design) -> bool:
    """Whether the scales of the features differ so much that Jacobi's preconditioner helps.

    The scale of a dense feature is its norm. That of a sparse one is the size of its entries: how many
    there are says nothing of its unit, and Jacobi hurts where only that differs, as in text.
    """
    X = design.X
    if issparse(X):
        smallest, largest = design.sizes()
        return largest > UNEQUAL * smallest
    ones = np.ones((X.shape[0], 1))
    norms = np.sqrt(design.squared_rmatmul(ones))
    norms = norms[norms > 0]
    return norms.size > 0 and np.max(norms) > ALIKE * np.min(norms)
