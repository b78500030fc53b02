"""Loss and gradient of a softmax model of a dense X in float32: a way forward, and one back.

Between the two the intercepts can be changed, for which the outputs alone are read. No other array of their
size is made: residuals live in a block of rows, next to the rows of X they are multiplied with.
"""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.dense import CONVERTED, LINE, _convert
from secondorder.kernels.elementary import LANES, exp_negative_single, largest
from secondorder.kernels.threads import row_bounds, run
from secondorder.kernels.tiles import backward

ROWS = CONVERTED  # in flight
OPERATIONS = 4  # an exponential, counted as multiplications


@kernel
def _probabilities(S, b, i, E, tops, rests, lanes):
    """``E_r = exp(S_{i + r} + b - top_r)``, the maxima, and the sums less the 1 of the largest."""
    n_classes = S.shape[1]
    for r in range(len(E)):
        e, z = E[r], S[i + r]
        for k in range(n_classes):
            e[k] = z[k] + b[k]
        top = largest(e, lanes)
        for k in range(n_classes):
            e[k] -= top
        tops[r] = top
    flat = E.reshape(-1)
    for at in range(len(flat)):
        flat[at] = exp_negative_single(flat[at])
    for r in range(len(E)):
        e, rest, others = E[r], E.dtype.type(0), 0
        for k in range(n_classes):
            rest += e[k] if e[k] != 1 else E.dtype.type(0)
            others += 1 if e[k] == 1 else 0
        rests[r] = rest + (others - 1)


@kernel
def _residuals(S, b, y, s, i, R, tops, rests, lanes, of_block, sums):
    """``s_r (p_r - y_r)`` for the rows from i on as those of `R`, added up in `sums`; their loss."""
    total = 0.0
    _probabilities(S, b, i, R, tops, rests, lanes)
    of_block[:] = 0
    for r in range(len(R)):
        e, rest, target, weight = R[r], rests[r], y[i + r], s[i + r]
        others = rest if e[target] == 1 else rest - e[target] + 1
        scale = weight / (1 + rest)
        for k in range(len(e)):
            e[k] *= scale
        e[target] = -others * scale
        for k in range(len(e)):
            of_block[k] += e[k]
        total += weight * (np.float64(tops[r] - S[i + r, target] - b[target]) + np.log1p(np.float64(rest)))
    for k in range(len(sums)):
        sums[k] += of_block[k]
    return total


@kernel
def _pull(S, b, y, s, sums, total, start, stop):
    R, tops, rests = np.empty((ROWS, S.shape[1]), S.dtype), np.empty(ROWS, S.dtype), np.empty(ROWS, S.dtype)
    lanes, of_block = np.empty(LANES, S.dtype), np.empty(S.shape[1], S.dtype)
    for i in range(start, stop, ROWS):
        rows = min(ROWS, stop - i)
        total[0] += _residuals(S, b, y, s, i, R[:rows], tops, rests, lanes, of_block, sums)


@kernel
def _back(X, S, b, y, s, out, sums, total, start, stop):
    R, tops, rests = np.empty((ROWS, S.shape[1]), S.dtype), np.empty(ROWS, S.dtype), np.empty(ROWS, S.dtype)
    lanes, of_block = np.empty(LANES, S.dtype), np.empty(S.shape[1], S.dtype)
    for i in range(start, stop, ROWS):
        rows = min(ROWS, stop - i)
        total[0] += _residuals(S, b, y, s, i, R[:rows], tops, rests, lanes, of_block, sums)
        backward(X, R, out, i, 0, rows)


@kernel
def _converted_back(X, mean, S, b, y, s, out, sums, total, start, stop):
    R, tops, rests = np.empty((ROWS, S.shape[1]), S.dtype), np.empty(ROWS, S.dtype), np.empty(ROWS, S.dtype)
    lanes, of_block = np.empty(LANES, S.dtype), np.empty(S.shape[1], S.dtype)
    B = np.zeros((ROWS, out.shape[1]), S.dtype)
    for i in range(start, stop, ROWS):
        rows = min(ROWS, stop - i)
        total[0] += _residuals(S, b, y, s, i, R[:rows], tops, rests, lanes, of_block, sums)
        _convert(X, mean, i, rows, B)
        backward(B, R, out, 0, 0, rows)


def pull(S: np.ndarray, b: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss for the outputs ``S + b``, and ``sum_i s_i (p_i - y_i)``."""
    parts = list(pairwise(row_bounds(S.shape[0], S.size * OPERATIONS)))
    sums, totals = np.zeros((len(parts), S.shape[1])), np.zeros((len(parts), 1))
    fixed = S, b.astype(S.dtype), y, s.astype(S.dtype)
    run(_pull, [(*fixed, *own, *part) for *own, part in zip(sums, totals, parts, strict=True)])
    return float(totals.sum()), sums.sum(axis=0)


def back(
    X: np.ndarray, mean: np.ndarray, S: np.ndarray, b: np.ndarray, y: np.ndarray, s: np.ndarray
) -> tuple[float, np.ndarray]:
    """The loss for the outputs ``S + b`` and ``[X - 1 mean', 1]' R`` for ``R_i = s_i (p_i - y_i)``."""
    (n, p), K = X.shape, S.shape[1]
    converted = X.dtype != S.dtype or not X.flags.c_contiguous
    parts = list(pairwise(row_bounds(n, X.size * K)))
    out = np.zeros((len(parts), K, -(-p // LINE) * LINE if converted else p), S.dtype)
    sums, totals = np.zeros((len(parts), K)), np.zeros((len(parts), 1))
    matrix = (X, mean) if converted else (X,)
    fixed = (*matrix, S, b.astype(S.dtype), y, s.astype(S.dtype))
    run(
        _converted_back if converted else _back,
        [(*fixed, *own, *part) for *own, part in zip(out, sums, totals, parts, strict=True)],
    )
    total, gradient = sums.sum(axis=0), np.empty((p + 1, K))
    gradient[:p] = out.sum(axis=0, dtype=np.float64)[:, :p].T
    if not converted:
        gradient[:p] -= mean[:, None] * total
    gradient[p] = total
    return float(totals.sum()), gradient
