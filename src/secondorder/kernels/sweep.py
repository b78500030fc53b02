"""Loss, gradient and curvature of logistic models of few features in one sweep over a dense X, in float64."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.dense import BLOCK_BYTES, CONVERTED, LINE, _convert
from secondorder.kernels.elementary import add
from secondorder.kernels.gram import _buffer, _load, _mirrored, _parts, _upper
from secondorder.kernels.logistic import _add_columns, _exponentials, _first, _loss, _second
from secondorder.kernels.threads import row_bounds, run
from secondorder.kernels.tiles import backward, forward

ROWS = 1024  # in flight, at most
GROUP = 16  # rows between the ways forward and back


@kernel
def _differentiate(z, y, s, e, G, totals, sums):
    """``G = dE/dS`` of some rows at the outputs `z`, row after row; the losses and G are added up."""
    n_models = len(sums)
    targets, of_block = np.empty(len(z)), np.empty(n_models)
    for r in range(len(y)):
        for k in range(n_models):
            targets[r * n_models + k] = y[r]
    _exponentials(z, e)
    _first(z, targets, s, e, G)
    _add_columns(G, of_block)
    for k in range(n_models):
        sums[k] += of_block[k]
    _loss(z, targets, s, e)
    _add_columns(e, of_block)
    for k in range(n_models):
        add(totals[k], of_block[k])


@kernel
def _compare(S, near, moved, largest):
    """How far outputs are from those `near` at most, and how large, beside what is known so far."""
    for k in range(len(moved)):
        most, high = moved[k], largest[k]
        for r in range(len(S)):
            z = S[r, k]
            high = max(high, abs(z))
            most = max(most, abs(z - near[r, 0]))
        moved[k], largest[k] = most, high


@kernel
def _rows(A, a, mean, y, s, V, bias, near, S, i, rows, T, e, out, extent, sums, totals, moved, largest):
    """The rows from `i` on, which are those of `A` from `a` on."""
    n_models = V.shape[0]
    m = rows * n_models
    for r in range(a, a + rows):
        x = A[r]
        for j in range(len(extent)):
            extent[j] = max(extent[j], abs(x[j] - mean[j]))
    forward(A, V, T, a, 0, rows)
    for r in range(rows):
        for k in range(n_models):
            S[i + r, k] = T[r, k] + bias[k]
    part = slice(i, i + rows)
    _compare(S[part], near[part], moved, largest)
    _differentiate(S[part].ravel(), y[part], s[part].ravel(), e[:m], T[:rows].ravel(), totals, sums)
    backward(A, T, out, a, 0, rows)


@kernel
def _sweep(X, mean, y, s, V, bias, near, S, block, out, extent, sums, totals, moved, largest, start, stop):
    T, e = np.empty((block, V.shape[0])), np.empty(block * V.shape[0])
    for i in range(start, stop, block):
        rows = min(block, stop - i)
        _rows(X, i, mean, y, s, V, bias, near, S, i, rows, T, e, out, extent, sums, totals, moved, largest)


@kernel
def _converted_sweep(
    X, mean, y, s, V, bias, near, S, block, out, extent, sums, totals, moved, largest, start, stop
):
    T, e, B = np.empty((block, V.shape[0])), np.empty(block * V.shape[0]), np.zeros((block, V.shape[1]))
    zero = np.zeros(V.shape[1])
    for i in range(start, stop, block):
        rows = min(block, stop - i)
        _convert(X, mean, i, rows, B)
        _rows(B, 0, zero, y, s, V, bias, near, S, i, rows, T, e, out, extent, sums, totals, moved, largest)


@kernel
def _curved_sweep(X, mean, y, s, v, S, B, gradient, gram, extent, totals, start, stop):
    n_columns, width = len(v), B.shape[1]
    one, z, G, e, d = np.ones(width), np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    sums = np.zeros(1)
    for i in range(start, stop, width):
        rows = min(width, stop - i)
        _load(X[i : i + rows], mean, one, 0, rows, B)
        z[:] = 0.0
        for j in range(n_columns):
            b, w, most = B[j], v[j], extent[j]
            for r in range(width):
                z[r] += w * b[r]
                most = max(most, abs(b[r]))
            extent[j] = most
        S[i : i + rows, 0] = z[:rows]
        weights = s[i : i + rows, 0]
        _exponentials(z[:rows], e[:rows])
        _second(weights, e[:rows], d[:rows])
        _differentiate(z[:rows], y[i : i + rows], weights, e[:rows], G[:rows], totals, sums)
        G[rows:], d[rows:] = 0.0, 0.0
        for r in range(rows):
            d[r] = np.sqrt(d[r])
        for j in range(n_columns):
            b, total = B[j], 0.0
            for r in range(width):
                total += G[r] * b[r]
                b[r] *= d[r]
            gradient[j] += total
        _upper(B, B, gram)


class Sweep(NamedTuple):
    """Of K models: losses (K,), gradients of these (q, K), outputs (n, K), and two maxima of those (K,).

    `moved` is how far they are from others at most, `largest` the largest of their sizes; `extent` (q,) are
    the largest ``|z_ij|``.
    """

    losses: np.ndarray
    gradient: np.ndarray
    outputs: np.ndarray
    moved: np.ndarray
    largest: np.ndarray
    extent: np.ndarray


def sweep(
    X: np.ndarray,
    mean: np.ndarray,
    y: np.ndarray,
    s: np.ndarray,
    W: np.ndarray,
    bias: np.ndarray,
    near: np.ndarray,
) -> Sweep:
    """K models with outputs ``(X - 1 mean') W + bias``, to be compared with the outputs `near` (n, 1).

    ``Z = [X - 1 mean', 1]``; y has shape (n,), s has shape (n, K).
    """
    (p, K), n, ordered = W.shape, X.shape[0], X.flags.c_contiguous
    V = np.zeros((K, p if ordered else -(-p // LINE) * LINE))
    V[:, :p] = W.T
    parts = list(pairwise(row_bounds(n, X.size * K)))
    block = max(4, min(ROWS, BLOCK_BYTES // (8 * p)))
    S, out, totals = np.empty((n, K)), np.zeros((len(parts), *V.shape)), np.zeros((len(parts), K, 2))
    extents, (sums, moved, largest) = np.zeros((len(parts), p)), np.zeros((3, len(parts), K))
    centre = mean if ordered else np.zeros(p)
    fixed = (X, mean, y, s, V, bias - centre @ W, near, S, block)
    run(
        _sweep if ordered else _converted_sweep,
        [
            (*fixed, *own, *rows)
            for *own, rows in zip(out, extents, sums, totals, moved, largest, parts, strict=True)
        ],
    )
    total = sums.sum(axis=0)
    gradient = np.empty((p + 1, K))
    gradient[:p] = out.sum(axis=0)[:, :p].T - centre[:, None] * total
    gradient[p] = total
    extent = np.append(extents.max(axis=0), 1.0)
    return Sweep(totals.sum(axis=(0, 2)), gradient, S, moved.max(axis=0), largest.max(axis=0), extent)


@kernel
def _row(x, v, bias, out, y, s, z, e, g, loss, sums):
    """One row of `_gradient`."""
    z[0] = bias
    for j in range(len(x)):
        z[0] += x[j] * v[j]
    _exponentials(z, e)
    _first(z, y, s, e, g)
    _loss(z, y, s, e)
    for j in range(len(x)):
        out[j] += x[j] * g[0]
    sums[0] += g[0]
    add(loss, e[0])


@kernel
def _gradient(X, y, s, v, bias, out, loss, sums, start, stop):
    """The way back of some rows goes along with the way forward of the next, as in `dense._product1`."""
    z, e, g = np.empty(GROUP), np.empty(GROUP), np.zeros(GROUP)
    ends = start + (stop - start) // GROUP * GROUP
    for i in range(start, ends + GROUP if ends > start else start, GROUP):
        here, back = min(i, ends - GROUP), max(i - GROUP, start)
        for r in range(0, GROUP, 4):
            x0, x1, x2, x3 = X[here + r], X[here + r + 1], X[here + r + 2], X[here + r + 3]
            y0, y1, y2, y3 = X[back + r], X[back + r + 1], X[back + r + 2], X[back + r + 3]
            g0, g1, g2, g3 = g[r], g[r + 1], g[r + 2], g[r + 3]
            z0 = z1 = z2 = z3 = 0.0
            for j in range(len(v)):
                z0 += x0[j] * v[j]
                z1 += x1[j] * v[j]
                z2 += x2[j] * v[j]
                z3 += x3[j] * v[j]
                out[j] += y0[j] * g0 + y1[j] * g1 + y2[j] * g2 + y3[j] * g3
            z[r], z[r + 1], z[r + 2], z[r + 3] = z0 + bias, z1 + bias, z2 + bias, z3 + bias
        if i < ends:
            part, total, losses = slice(i, i + GROUP), 0.0, 0.0
            _exponentials(z, e)
            _first(z, y[part], s[part], e, g)
            _loss(z, y[part], s[part], e)
            for r in range(GROUP):
                total += g[r]
                losses += e[r]
            sums[0] += total
            add(loss, losses)
    for i in range(ends, stop):
        part = slice(i, i + 1)
        _row(X[i], v, bias, out, y[part], s[part], z[:1], e[:1], g[:1], loss, sums)


@kernel
def _converted_gradient(X, mean, y, s, v, bias, out, loss, sums, start, stop):
    B = np.zeros((CONVERTED, len(v)))
    for i in range(start, stop, CONVERTED):
        rows = min(CONVERTED, stop - i)
        _convert(X, mean, i, rows, B)
        _gradient(B[:rows], y[i : i + rows], s[i : i + rows], v, bias, out, loss, sums, 0, rows)


def gradient(
    X: np.ndarray, mean: np.ndarray, y: np.ndarray, s: np.ndarray, w: np.ndarray, bias: float
) -> tuple[float, np.ndarray]:
    """The loss of one model with outputs ``(X - 1 mean') w + bias``, and its gradient (p + 1,)."""
    (n, p), ordered = X.shape, X.flags.c_contiguous
    parts = list(pairwise(row_bounds(n, X.size)))
    v = np.zeros(p if ordered else -(-p // LINE) * LINE)
    v[:p] = w
    out, losses, sums = np.zeros((len(parts), len(v))), np.zeros((len(parts), 2)), np.zeros((len(parts), 1))
    fixed = (X, y, s, v, bias - mean @ w) if ordered else (X, mean, y, s, v, bias)
    run(
        _gradient if ordered else _converted_gradient,
        [(*fixed, *own, *part) for *own, part in zip(out, losses, sums, parts, strict=True)],
    )
    found, total = out.sum(axis=0)[:p], sums.sum()
    return float(losses.sum()), np.append(found - mean * total if ordered else found, total)


class CurvedSweep(NamedTuple):
    """Of one model: loss (1,), gradient (q, 1), ``Z' H Z`` (q, q) or None, outputs (n, 1), extent (q,)."""

    losses: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray | None
    outputs: np.ndarray
    extent: np.ndarray


def curved_sweep(X: np.ndarray, mean: np.ndarray, y: np.ndarray, s: np.ndarray, w: np.ndarray) -> CurvedSweep:
    """One model at `w` (q, 1), with its curvature; ``Z = [X - 1 mean', 1]`` cut to q columns, s (n, 1)."""
    (n, _), q = X.shape, len(w)
    parts, B, S = _parts(X, q, 1), _buffer(q, np.float64), np.empty((n, 1))
    gradients, extents, grams = (np.zeros((len(parts), *shape)) for shape in ((q,), (q,), (len(B),) * 2))
    totals = np.zeros((len(parts), 1, 2))
    fixed = (X, mean, y, s, w[:, 0].copy(), S)
    run(
        _curved_sweep,
        [
            (*fixed, B.copy(), *own, *rows)
            for *own, rows in zip(gradients, grams, extents, totals, parts, strict=True)
        ],
    )
    curvature = _mirrored(grams.sum(axis=0))[:q, :q]
    gradient = gradients.sum(axis=0)[:, None]
    return CurvedSweep(totals.sum(axis=(0, 2)), gradient, curvature, S, extents.max(axis=0))
