"""Backpropagation of second derivatives through a perceptron: diagonals and the dense matrix.

The curvature of the loss has the factor ``F_i F_i' = H_i``. Its columns are backpropagated like
gradients, ``T_l = (dS/dZ_l)' F``, and ``diag(J' H J)`` and ``J' H J`` are sums of products of the ``T_l``
with the inputs of the layers: no Jacobian is ever formed output by output.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import issparse

from secondorder.array_api import array_namespace
from secondorder.losses import OutputHessian
from secondorder.losses.output_hessian import Array

if TYPE_CHECKING:
    from secondorder.models.design import Design
    from secondorder.models.mlp import MLPForward

BLOCK = 2**19  # numbers in the largest array of a block of rows
FEW = 2  # outputs up to which squares are cheaper than products


class LayerDerivatives(NamedTuple):
    """Derivatives of the objective of each row in what goes into and comes out of a layer, (n, units)."""

    dE_dZ: Array
    d2E_dZ2: Array
    dE_dA: Array
    d2E_dA2: Array


def layer_derivatives(forward: "MLPForward", H: OutputHessian, G: Array) -> list[LayerDerivatives]:
    """Second-order backpropagation (Becker & LeCun 1988), layer by layer.

    ``d2E/dZ2 = f'(Z)^2 d2E/dA2 + f''(Z) dE/dA`` and ``d2E/dA2 = diag(W C W')`` where C, the second
    derivative in the Z of the layer above, is taken in full from the outputs down to the last
    hidden layer, ``diag(d) - u u'``, and as its diagonal alone below. With ``G = 0`` the terms of f''
    vanish, and the result is not negative but for rounding (LeCun et al., Efficient BackProp, 1998).
    """
    n_layers = len(forward.layers)
    dE_dA, d2E_dA2, u = G, H.diagonal(), H.u
    found = []
    for layer in range(n_layers - 1, -1, -1):
        slope, bend = forward.slopes[layer], forward.bends[layer]
        dE_dZ = slope * dE_dA
        d2E_dZ2 = slope**2 * d2E_dA2 + bend * dE_dA
        found.append(LayerDerivatives(dE_dZ, d2E_dZ2, dE_dA, d2E_dA2))
        if layer:
            W = forward.weights(layer).T
            dE_dA = dE_dZ @ W
            if u is None:
                d2E_dA2 = d2E_dZ2 @ W**2
            else:  # d2E_dZ2 = d - u^2 in the units of Z
                u = slope * u
                d2E_dA2 = (d2E_dZ2 + u**2) @ W**2 - (u @ W) ** 2
                u = None
    return found[::-1]


def _row_blocks(n: int, per_row: int) -> Iterator[slice]:
    """Slices of the rows, so that `per_row` numbers for each make up one block."""
    rows = max(16, BLOCK // per_row)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def _backpropagate_factor(forward: "MLPForward", H: OutputHessian, rows: slice) -> list[Array]:
    """``T_l`` of some rows for every layer, shape (rows, columns of F, units)."""
    xp = array_namespace(H.d)
    F = H.rows(rows).factor()
    T = xp.permute_dims(F, (0, 2, 1)) * forward.slopes[-1][rows, None, :]
    found = [T]
    for layer in range(len(forward.layers) - 1, 0, -1):
        flat = xp.reshape(T, (-1, T.shape[2])) @ forward.weights(layer).T
        T = xp.reshape(flat, (T.shape[0], T.shape[1], -1)) * forward.slopes[layer - 1][rows, None, :]
        found.append(T)
    return found[::-1]


def gauss_newton_diagonal(forward: "MLPForward", H: OutputHessian) -> Array:
    """``diag(J' H J)``: the squares of the inputs times those of the ``T_l``; one pass over X."""
    xp = array_namespace(H.d)
    n, K = H.d.shape
    squares: list[list[Array]] = [[] for _ in forward.layers]
    for rows in _row_blocks(n, K * max(forward.model.widths[1:])):
        for T, of_layer in zip(_backpropagate_factor(forward, H, rows), squares, strict=True):
            of_layer.append(xp.sum(T * T, axis=1))
    pairs = zip(forward.inputs, squares, strict=True)
    return forward.ravel([inputs.squared_rmatmul(xp.concat(D)) for inputs, D in pairs])


def gauss_newton_dense(forward: "MLPForward", H: OutputHessian) -> np.ndarray:
    """``J' H J`` written out, the way that multiplies less; one pass over X."""
    forward.X.passes += 1
    return _sum_of_squares(forward, H) if H.d.shape[1] <= FEW else _sum_of_products(forward, H)


def _sum_of_squares(forward: "MLPForward", H: OutputHessian) -> np.ndarray:
    """``sum_i M_i' M_i`` where ``M_i = F_i' J_i`` is the outer products of inputs and T_l."""
    n, K = H.d.shape
    P = forward.model.n_parameters
    B = np.zeros((P, P))
    for rows in _row_blocks(n, K * P):
        layers = zip(forward.inputs, _backpropagate_factor(forward, H, rows), strict=True)
        M = np.concatenate([_outer(_dense_rows(inputs, rows), T) for inputs, T in layers], axis=1)
        B += M.T @ M
    return B


def _sum_of_products(forward: "MLPForward", H: OutputHessian) -> np.ndarray:
    """Sums over rows of ``(z_i z_j') (x) (T_i' T_j)`` for every pair of layers i and j.

    The columns of F, as many as there are outputs, are summed row by row, before P^2 numbers come in.
    """
    shapes = forward.model.shapes
    ends = np.cumsum([0, *(rows * columns for rows, columns in shapes)])
    B = np.zeros((ends[-1], ends[-1]))
    widest = max(rows for rows, _ in shapes) ** 2 // 16  # blocks of too few rows would multiply slowly
    for rows in _row_blocks(len(H.d), max(widest, max(columns for _, columns in shapes) ** 2)):
        Z = [_dense_rows(inputs, rows) for inputs in forward.inputs]
        T = _backpropagate_factor(forward, H, rows)
        for j, (n_j, k_j) in enumerate(shapes):
            for i, (n_i, k_i) in enumerate(shapes[: j + 1]):
                ZZ = (Z[i][:, :, None] * Z[j][:, None, :]).reshape(len(Z[j]), -1)
                TT = np.matmul(T[i].transpose(0, 2, 1), T[j]).reshape(len(Z[j]), -1)
                part = (ZZ.T @ TT).reshape(n_i, n_j, k_i, k_j).transpose(0, 2, 1, 3)
                B[ends[i] : ends[i + 1], ends[j] : ends[j + 1]] += part.reshape(n_i * k_i, n_j * k_j)
    return np.triu(B) + np.triu(B, 1).T


def _dense_rows(inputs: "Design", rows: slice) -> np.ndarray:
    """Rows of a design matrix written out."""
    X = inputs.X[rows]
    X = X.toarray() if issparse(X) else X
    return np.hstack([X, np.ones((len(X), 1), X.dtype)]) if inputs.intercept else X


def _outer(Z: np.ndarray, T: np.ndarray) -> np.ndarray:
    """``z_i (x) t_ir`` for every row i and column r, shape (rows * columns, inputs * units)."""
    return (Z[:, None, :, None] * T[:, :, None, :]).reshape(T.shape[0] * T.shape[1], -1)
