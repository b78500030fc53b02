"""What the fit of a network tells its user: lines of progress, and what went wrong."""

import numpy as np

from secondorder.models.mlp import MLPForward
from secondorder.solvers import Iteration, Result, Status


def print_iteration(row: Iteration) -> None:
    """Print one line of the history."""
    held_out = "" if np.isnan(row.validation_loss) else f", validation loss {row.validation_loss:.6g}"
    print(f"Iteration {row.iteration}: loss {row.value:.8g}, |gradient| {row.gradient_norm:.2e}{held_out}")


def explain(result: Result, solver: str) -> str | None:
    """The warning that the end of a fit calls for: what happened, cause and remedy."""
    if result.status is Status.DIVERGED:
        return (
            f"Divergence: the loss ceased to be finite in iteration {result.n_iter} of "
            f"solver={solver!r}, and the weights before that iteration were kept. Lower "
            "learning_rate_init, scale the features, or use solver='lm' or 'gauss-newton-cg', whose steps "
            "never raise the loss."
        )
    if result.status is Status.MAX_ITER:
        return (
            f"Iterations: max_iter={result.n_iter} iterations of solver={solver!r} were too few for the loss "
            f"to settle; it is {result.value:.4g}. Raise max_iter or tol."
        )
    return None


def dead_units(forward: MLPForward) -> list[int]:
    """The number of units in each hidden layer whose activation has no slope at any row."""
    return [int(np.sum(~np.any(slope, axis=0))) for slope in forward.slopes[:-1]]


def explain_dead(counts: list[int], widths: tuple[int, ...], activation: str) -> str | None:
    """The warning that units without a slope call for, where half of a layer has none."""
    for layer, (dead, width) in enumerate(zip(counts, widths, strict=True), start=1):
        if 2 * dead >= width > 0 and activation != "sign":
            return (
                f"Dead units: {dead} of {width} units in hidden layer {layer} have an activation "
                f"({activation!r}) of slope zero at every training row, so that no gradient reaches their "
                "weights. Lower learning_rate_init, scale the features, use n_restarts, or an activation "
                "that is flat nowhere (leaky_relu, tanh, softplus, silu)."
            )
    return None
