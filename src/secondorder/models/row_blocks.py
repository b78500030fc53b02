"""A model on many rows as the sum of the same model on blocks of them."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from secondorder.array_api import array_namespace
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array

if TYPE_CHECKING:
    from secondorder.models.design import Design
    from secondorder.models.mlp import MLP, MLPForward
    from secondorder.models.second_backprop import LayerDerivatives

# Rows whose activations stay in the cache of a processor from one layer to the next.
ROWS = 4096


class RowBlocks:
    """`MLPForward` on blocks of the rows: what is per row is put together, what is per parameter added up.

    Nothing but the order of sums differs. X is read once for a product instead of twice, and what a
    layer hands to the next is still in the cache.
    """

    n_intercepts = 0

    def __init__(self, model: "MLP", w: Array, X: "Design") -> None:
        self.model, self.w, self.X = model, w, X
        n = X.shape[0]
        self.rows = [slice(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]
        self.blocks: list[MLPForward] = [model.forward_block(w, X.rows(rows)) for rows in self.rows]
        X.passes += 1

    @cached_property
    def outputs(self) -> Array:
        """``S``, shape (n, K)."""
        return self._join(block.outputs for block in self.blocks)

    @property
    def slopes(self) -> list[Array]:
        """``f'(Z_l)`` for every layer."""
        return [self._join(parts) for parts in zip(*(block.slopes for block in self.blocks), strict=True)]

    def jvp(self, v: Array) -> Array:
        """``J v``, shape (n, K); one pass over X."""
        self.X.passes += 1
        return self._join(block.jvp(v) for block in self.blocks)

    def second_tangent(self, v: Array) -> Array:
        """``d2S/dt2`` at ``w + t v``, t = 0, shape (n, K); one pass over X."""
        self.X.passes += 1
        return self._join(block.second_tangent(v) for block in self.blocks)

    def vjp(self, U: Array) -> Array:
        """``J' U``, shape (P,); one pass over X."""
        self.X.passes += 1
        return sum(block.vjp(U[rows, :]) for block, rows in self._pairs())

    def vjp_derivative(self, v: Array, U: Array) -> Array:
        """``d/dt J(w + t v)' U`` at t = 0, shape (P,); one pass over X."""
        self.X.passes += 1
        return sum(block.vjp_derivative(v, U[rows, :]) for block, rows in self._pairs())

    def gauss_newton_product(self, H: OutputHessian, v: Array) -> Array:
        """``J' H J v``, shape (P,); one pass over X."""
        self.X.passes += 1
        return sum(
            block.gauss_newton_product(part, v)
            for block, part in zip(self.blocks, self._split(H), strict=True)
        )

    def hessian_product(self, H: OutputHessian, G: Array, v: Array) -> Array:
        """``J' H J v + (dJ[v])' G``, shape (P,); one pass over X."""
        self.X.passes += 1
        triples = zip(self.blocks, self.rows, self._split(H), strict=True)
        return sum(block.hessian_product(part, G[rows, :], v) for block, rows, part in triples)

    def gauss_newton_diagonal(self, H: OutputHessian) -> Array:
        """``diag(J' H J)``, shape (P,); one pass over X."""
        self.X.passes += 1
        pairs = zip(self.blocks, self._split(H), strict=True)
        return sum(block.gauss_newton_diagonal(part) for block, part in pairs)

    def gauss_newton_dense(self, H: OutputHessian) -> np.ndarray:
        """``J' H J`` written out, shape (P, P); one pass over X."""
        self.X.passes += 1
        pairs = zip(self.blocks, self._split(H), strict=True)
        return np.add.reduce([block.gauss_newton_dense(part) for block, part in pairs])

    def backpropagate_diagonal(self, H: OutputHessian, G: Array) -> Array:
        """The diagonal of the Hessian by second-order backpropagation, shape (P,); one pass over X."""
        self.X.passes += 1
        triples = zip(self.blocks, self.rows, self._split(H), strict=True)
        return sum(block.backpropagate_diagonal(part, G[rows, :]) for block, rows, part in triples)

    def layer_derivatives(self, H: OutputHessian, G: Array) -> "list[LayerDerivatives]":
        """First and second derivatives of E in ``Z_l`` and ``A_l``, layer by layer."""
        triples = zip(self.blocks, self.rows, self._split(H), strict=True)
        found = [block.layer_derivatives(part, G[rows, :]) for block, rows, part in triples]
        layers = zip(*found, strict=True)
        return [
            type(parts[0])(*(self._join(arrays) for arrays in zip(*parts, strict=True))) for parts in layers
        ]

    def along(self, v: Array) -> Callable[[float], "RowBlocks"]:
        """The models at ``w + t v``; one pass over X for each t."""
        return lambda t: RowBlocks(self.model, self.w + t * v, self.X)

    def _pairs(self) -> Iterator[tuple["MLPForward", slice]]:
        return zip(self.blocks, self.rows, strict=True)

    def _split(self, H: OutputHessian) -> Iterator[OutputHessian]:
        """`H` of each block, in the precision of X."""
        H = self.blocks[0].like_X(H)
        return (H.rows(rows) for rows in self.rows)

    def _join(self, parts: Iterable[Array]) -> Array:
        arrays = list(parts)
        return array_namespace(arrays[0]).concat(arrays)
