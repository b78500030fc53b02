"""The multilayer perceptron: a chain of linear layers with an activation between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from secondorder.array_api import array_namespace
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array
from secondorder.models import second_backprop
from secondorder.models.activations import IDENTITY, TANH, Activation
from secondorder.models.design import Design
from secondorder.models.initial_weights import InitialWeights
from secondorder.models.row_blocks import ROWS, RowBlocks


@dataclass(frozen=True)
class MLP:
    """``A_0 = X, Z_l = [A_(l-1), 1] W_l, A_l = f(Z_l)``; the outputs ``S`` are the last ``A_l``.

    Parameters ``w`` (P,) are the ``W_l`` (n_in + 1, n_out) one after the other, each in C order with
    the biases as its last row. The layers compute in the precision of X, the outputs have that of w.

    Parameters
    ----------
    widths : tuple of int
        Numbers of inputs, of units in each hidden layer, and of outputs.
    activation : Activation, default=TANH
        Of the hidden layers.
    output_activation : Activation, default=IDENTITY
        Of the outputs; losses such as `Softmax` want the identity.
    intercept : bool, default=True
        Whether the layers have biases.
    """

    widths: tuple[int, ...]
    activation: Activation = TANH
    output_activation: Activation = IDENTITY
    intercept: bool = True

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths={self.widths!r}: give inputs, hidden layers and outputs, all positive.")

    @property
    def n_outputs(self) -> int:
        """K, the number of outputs."""
        return self.widths[-1]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The shapes of the ``W_l``."""
        return [(i + self.intercept, o) for i, o in zip(self.widths, self.widths[1:], strict=False)]

    @property
    def n_parameters(self) -> int:
        """P, the number of parameters."""
        return sum(rows * columns for rows, columns in self.shapes)

    def unpack(self, w: Array) -> list[Array]:
        """The ``W_l`` in `w`, as views."""
        reshape, layers, start = array_namespace(w).reshape, [], 0
        for rows, columns in self.shapes:
            layers.append(reshape(w[start : start + rows * columns], (rows, columns)))
            start += rows * columns
        return layers

    def initial(self, make: InitialWeights, seed: int | np.random.Generator | None = None) -> np.ndarray:
        """Random parameters, every layer from `make`, one of `secondorder.models.INITIAL_WEIGHTS`."""
        rng = np.random.default_rng(seed)
        pairs = zip(self.widths, self.widths[1:], strict=False)
        return np.concatenate([make(i, o, self.intercept, rng).ravel() for i, o in pairs])

    def penalty(self, strength: float) -> np.ndarray:
        """`strength` for every weight and 0 for every bias, shape (P,)."""
        layers = [np.full(shape, float(strength)) for shape in self.shapes]
        for layer in layers:
            layer[len(layer) - self.intercept :] = 0.0
        return np.concatenate([layer.ravel() for layer in layers])

    def forward(self, w: Array, X: Design) -> "MLPForward | RowBlocks":
        """The outputs at `w` and all activations on the way to them; one pass over X."""
        return RowBlocks(self, w, X) if X.shape[0] > ROWS else self.forward_block(w, X)

    def forward_block(self, w: Array, X: Design) -> "MLPForward":
        """The same for rows that are not cut into blocks."""
        xp = array_namespace(w)
        layers = self.unpack(xp.astype(w, X.X.dtype, copy=False))
        inputs, Z = [X], []
        for W in layers[:-1]:
            Z.append(inputs[-1].matmul(W))
            inputs.append(Design(self.activation.value(Z[-1]), self.intercept))
        Z.append(inputs[-1].matmul(layers[-1]))
        outputs = self.output_activation.value(xp.astype(Z[-1], w.dtype, copy=False))
        return MLPForward(self, w, layers, inputs, Z, outputs)


class Tangents(NamedTuple):
    """A direction as the ``V_l`` of the layers, and the changes of every ``Z_l`` and ``A_l`` along it."""

    V: list[Array]
    dZ: list[Array]
    dA: list[Array]


@dataclass(frozen=True, eq=False)
class MLPForward:
    """The perceptron at one `w`: its layers, and products with its Jacobian ``J = dS/dw``.

    Attributes
    ----------
    layers : list of array
        ``W_l``, in the precision of X.
    inputs : list of Design
        ``[A_(l-1), 1]`` for every layer, the first is X.
    Z : list of array
        ``Z_l``, what goes into the activations.
    outputs : array of shape (n, K)
    """

    model: MLP
    w: Array
    layers: list[Array]
    inputs: list[Design]
    Z: list[Array]
    outputs: Array

    n_intercepts = 0  # none that could be shifted without changing what is not linear

    @property
    def X(self) -> Design:
        """The design matrix of the first layer."""
        return self.inputs[0]

    @property
    def activations(self) -> list[Array]:
        """``A_l`` of every layer; the last are the outputs."""
        return [inputs.X for inputs in self.inputs[1:]] + [self.outputs]

    def _each(self, derivative: Callable[[Activation], Callable[[Array, Array], Array]]) -> list[Array]:
        """A derivative of the activation of every layer, in the precision of X."""
        xp, dtype = array_namespace(self.Z[0]), self.Z[0].dtype
        kinds = [self.model.activation] * (len(self.Z) - 1) + [self.model.output_activation]
        pairs = zip(kinds, self.Z, self.activations, strict=True)
        return [derivative(kind)(Z, xp.astype(A, dtype, copy=False)) for kind, Z, A in pairs]

    @cached_property
    def slopes(self) -> list[Array]:
        """``f'(Z_l)`` for every layer."""
        return self._each(lambda activation: activation.slope)

    @cached_property
    def bends(self) -> list[Array]:
        """``f''(Z_l)`` for every layer."""
        return self._each(lambda activation: activation.bend)

    def weights(self, layer: int) -> Array:
        """``W_l`` without its biases."""
        return self.layers[layer][: self.model.widths[layer], :]

    def tangents(self, v: Array) -> Tangents:
        """``dZ_l`` and ``dA_l`` along `v`; one pass over X (Pearlmutter 1994)."""
        V = self.model.unpack(self._cast(v))
        dZ: list[Array] = []
        dA: list[Array] = []
        for layer, inputs in enumerate(self.inputs):
            change = inputs.matmul(V[layer])
            if layer:
                change += dA[-1] @ self.weights(layer)
            dZ.append(change)
            dA.append(self.slopes[layer] * change)
        return Tangents(V, dZ, dA)

    def jvp(self, v: Array) -> Array:
        """``J v``, shape (n, K); one pass over X."""
        return array_namespace(v).astype(self.tangents(v).dA[-1], v.dtype, copy=False)

    def second_tangent(self, v: Array) -> Array:
        """``d2S/dt2`` at ``w + t v``, t = 0, shape (n, K); one pass over X."""
        V, dZ, dA = self.tangents(v)
        second = self.bends[0] * dZ[0] ** 2
        for layer in range(1, len(self.layers)):
            n_in = self.model.widths[layer]
            change = second @ self.weights(layer) + 2 * (dA[layer - 1] @ V[layer][:n_in, :])
            second = self.bends[layer] * dZ[layer] ** 2 + self.slopes[layer] * change
        return array_namespace(v).astype(second, v.dtype, copy=False)

    def deltas(self, U: Array) -> list[Array]:
        """``(dS/dZ_l)' U`` for every layer, by backpropagation; no pass over X."""
        delta = self.slopes[-1] * self._cast(U)
        found = [delta]
        for layer in range(len(self.layers) - 1, 0, -1):
            delta = (delta @ self.weights(layer).T) * self.slopes[layer - 1]
            found.append(delta)
        return found[::-1]

    def vjp(self, U: Array) -> Array:
        """``J' U``, shape (P,); one pass over X."""
        pairs = zip(self.inputs, self.deltas(U), strict=True)
        return self.ravel([inputs.rmatmul(delta) for inputs, delta in pairs])

    def vjp_derivative(self, v: Array, U: Array) -> Array:
        """``d/dt J(w + t v)' U`` at t = 0, shape (P,): what Gauss-Newton leaves out."""
        xp = array_namespace(U)
        return self._curved_vjp(self.tangents(v), U, xp.zeros_like(U))

    def gauss_newton_product(self, H: OutputHessian, v: Array) -> Array:
        """``J' H J v``, shape (P,); two passes over X."""
        return self.vjp(self.like_X(H) @ self.tangents(v).dA[-1])

    def hessian_product(self, H: OutputHessian, G: Array, v: Array) -> Array:
        """``J' H J v + (dJ[v])' G``, shape (P,); two passes over X."""
        tangents = self.tangents(v)
        return self._curved_vjp(tangents, G, self.like_X(H) @ tangents.dA[-1])

    def _curved_vjp(self, tangents: Tangents, U: Array, dU: Array) -> Array:
        """``d/dt J(w + t v)' U(t)`` at t = 0, where U changes at the rate `dU` (the backward R-pass)."""
        U, dU = self._cast(U), self._cast(dU)
        V, dZ, dA = tangents
        found = []
        for layer in range(len(self.layers) - 1, -1, -1):
            slope = self.slopes[layer]
            dU = slope * dU + self.bends[layer] * dZ[layer] * U
            U = slope * U
            gradient = self.inputs[layer].rmatmul(dU)
            if layer:
                n_in, W = self.model.widths[layer], self.weights(layer)
                gradient[:n_in, :] += dA[layer - 1].T @ U
                dU = dU @ W.T + U @ V[layer][:n_in, :].T
                U = U @ W.T
            found.append(gradient)
        return self.ravel(found[::-1])

    def along(self, v: Array) -> Callable[[float], "MLPForward | RowBlocks"]:
        """The perceptrons at ``w + t v``; one pass over X for each t."""
        return lambda t: self.model.forward(self.w + t * v, self.X)

    def gauss_newton_diagonal(self, H: OutputHessian) -> Array:
        """``diag(J' H J)``, exactly, shape (P,)."""
        return second_backprop.gauss_newton_diagonal(self, self.like_X(H))

    def gauss_newton_dense(self, H: OutputHessian) -> np.ndarray:
        """``J' H J`` written out, shape (P, P)."""
        return second_backprop.gauss_newton_dense(self, H)

    def backpropagate_diagonal(self, H: OutputHessian, G: Array) -> Array:
        """The diagonal of the Hessian by second-order backpropagation, shape (P,).

        See `layer_derivatives`. Exact for at most one hidden layer, and for layers of one unit each.
        """
        pairs = zip(self.inputs, self.layer_derivatives(H, G), strict=True)
        return self.ravel([inputs.squared_rmatmul(layer.d2E_dZ2) for inputs, layer in pairs])

    def layer_derivatives(self, H: OutputHessian, G: Array) -> list[second_backprop.LayerDerivatives]:
        """First and second derivatives of E in ``Z_l`` and ``A_l``, layer by layer, the inputs' left out."""
        return second_backprop.layer_derivatives(self, self.like_X(H), self._cast(G))

    def ravel(self, layers: Sequence[Array]) -> Array:
        """Arrays in the shapes of the ``W_l`` as one vector in the precision of `w`."""
        xp = array_namespace(self.w)
        flat = xp.concat([xp.reshape(layer, (-1,)) for layer in layers])
        return xp.astype(flat, self.w.dtype, copy=False)

    def _cast(self, a: Array) -> Array:
        """`a` in the precision of X."""
        return array_namespace(a).astype(a, self.Z[0].dtype, copy=False)

    def like_X(self, H: OutputHessian) -> OutputHessian:
        """`H` in the precision of X."""
        return H.single if self.Z[0].dtype == np.float32 and H.d.dtype != np.float32 else H
