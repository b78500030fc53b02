"""What the rest of the package asks of a loss."""

from typing import Protocol

from secondorder.losses.output_hessian import Array, OutputHessian


class Loss(Protocol):
    """A loss of the outputs ``S`` (n, K) and the targets ``y``, one number per row."""

    shift_invariant: bool  # whether adding a number to all outputs of a row changes nothing

    def value(self, S: Array, y: Array) -> Array:
        """``loss(S_i, y_i)``, shape (n,)."""

    def derivatives(self, S: Array, y: Array, s: Array) -> tuple[Array, OutputHessian]:
        """``G = dE/dS`` (n, K) and ``H = d2E/dS2`` of ``E = sum_i s_i loss(S_i, y_i)``."""

    def evaluate(self, S: Array, y: Array, s: Array) -> tuple[float, Array, OutputHessian]:
        """``E``, ``G`` and ``H`` together, for less than they cost one by one."""

    def margin(self, S: Array, y: Array) -> Array:
        """Positive where scaling `S` up lowers the loss of a row to its infimum, shape (n,)."""

    def conjugate(self, G: Array, y: Array, s: Array) -> float:
        """``sum_i s_i sup_S (S'G_i / s_i - loss(S, y_i))`` for G between derivatives, and 0 where s is 0."""
