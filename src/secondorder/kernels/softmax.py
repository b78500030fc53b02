"""Pointwise loops of the softmax cross-entropy with class codes as targets."""

from itertools import pairwise

import numpy as np

from secondorder.kernels.compile import kernel
from secondorder.kernels.elementary import LANES, LN2, add, exp_negative, largest, log1p_fraction
from secondorder.kernels.threads import row_bounds, run

ROWS = 64  # taken at a time, side by side in vector lanes
LINE = 8  # numbers in a cache line: rows a power of two apart would share few places in the cache
BLOCK = 1024  # exponentials in flight where the classes lie side by side
MANY = 32  # classes from which on they do
OPERATIONS = 8  # an exponential, counted as multiplications


@kernel
def _exponentials(S, i, rows, E, top, at, rest):
    """``E[k, r] = exp(S[i + r, k] - top[r])``; the class of the largest output, the sum of the others."""
    n_classes = S.shape[1]
    for r in range(rows):
        for k in range(n_classes):
            E[k, r] = S[i + r, k]
    for r in range(ROWS):
        top[r], at[r], rest[r] = E[0, r], 0, 0
    for k in range(1, n_classes):
        e = E[k]
        for r in range(ROWS):
            at[r] = k if e[r] > top[r] else at[r]
            top[r] = e[r] if e[r] > top[r] else top[r]
    for k in range(n_classes):
        e = E[k]
        for r in range(ROWS):
            e[r] = exp_negative(e[r] - top[r])
        for r in range(ROWS):
            rest[r] += 0.0 if at[r] == k else e[r]


@kernel
def _log1p(x, largest):
    """``log(1 + x)`` for 0 <= x < largest, with ``1 + x = 2^power (1 + e)``."""
    left, power, reach = 1.0 + x, 0.0, 2.0
    while reach < largest + 1:
        large = left > 2.0
        power += 1.0 if large else 0.0
        left *= 0.5 if large else 1.0
        reach *= 2.0
    return power * LN2 + log1p_fraction(x if power == 0.0 else left - 1.0)


@kernel
def _evaluate(S, y, s, G, P, value, start, stop):
    n_classes = S.shape[1]
    E, at = np.zeros((n_classes, ROWS + LINE)), np.empty(ROWS, np.int64)
    top, rest, loss, scale = np.empty(ROWS), np.empty(ROWS), np.empty(ROWS), np.empty(ROWS)
    for i in range(start, stop, ROWS):
        rows = min(ROWS, stop - i)
        _exponentials(S, i, rows, E, top, at, rest)
        for r in range(ROWS):
            loss[r] = _log1p(rest[r], n_classes)
            scale[r] = 1.0 / (1.0 + rest[r])
            rest[r] *= scale[r]
        for k in range(n_classes):
            e = E[k]
            for r in range(ROWS):
                e[r] *= scale[r]
        total = 0.0
        for r in range(rows):
            target, weight, p, g = y[i + r], s[i + r], P[i + r], G[i + r]
            for k in range(n_classes):
                p[k] = E[k, r]
                g[k] = weight * E[k, r]
            others = rest[r] if target == at[r] else rest[r] - p[target] + scale[r]
            g[target] = -weight * others
            total += weight * (top[r] - S[i + r, target] + loss[r])
        add(value, total)


@kernel
def _exponentials_of_rows(S, c, i, rows, E, tops, lanes):
    """``E[r] = exp(S[i + r] + c - tops[r])`` for the rows of a block, and their maxima ``tops``."""
    for r in range(rows):
        for k in range(S.shape[1]):
            E[r, k] = S[i + r, k] + c[k]
        tops[r] = largest(E[r], lanes)
        for k in range(S.shape[1]):
            E[r, k] -= tops[r]
    flat = E[:rows].reshape(-1)
    for at in range(len(flat)):
        flat[at] = exp_negative(flat[at])


@kernel
def _rest(e):
    """The sum of all but one of the entries that are 1."""
    rest, others = 0.0, -1
    for k in range(len(e)):
        rest += e[k] if e[k] != 1.0 else 0.0
        others += 1 if e[k] == 1.0 else 0
    return rest + others


@kernel
def _evaluate_many(S, y, s, G, P, value, start, stop):
    n_classes = S.shape[1]
    E = np.empty((max(1, BLOCK // n_classes), n_classes))
    zero, tops, lanes = np.zeros(n_classes), np.empty(len(E)), np.empty(LANES)
    for i in range(start, stop, len(E)):
        rows = min(len(E), stop - i)
        _exponentials_of_rows(S, zero, i, rows, E, tops, lanes)
        for r in range(rows):
            e, target, weight = E[r], y[i + r], s[i + r]
            rest = _rest(e)
            others = rest if e[target] == 1.0 else rest - e[target] + 1.0
            scale = 1.0 / (1.0 + rest)
            p, g = P[i + r], G[i + r]
            for k in range(n_classes):
                p[k] = scale * e[k]
                g[k] = weight * (scale * e[k])
            g[target] = -weight * others * scale
            add(value, weight * (tops[r] - S[i + r, target] + np.log1p(rest)))


@kernel
def _pull(S, c, y, s, sums, start, stop):
    n_classes = S.shape[1]
    E = np.empty((max(1, BLOCK // n_classes), n_classes))
    tops, lanes = np.empty(len(E)), np.empty(LANES)
    for i in range(start, stop, len(E)):
        rows = min(len(E), stop - i)
        _exponentials_of_rows(S, c, i, rows, E, tops, lanes)
        for r in range(rows):
            scale = s[i + r] / (1.0 + _rest(E[r]))
            for k in range(n_classes):
                sums[k] += scale * E[r, k]
            sums[y[i + r]] -= s[i + r]


def pull(S: np.ndarray, c: np.ndarray, y: np.ndarray, s: np.ndarray) -> np.ndarray:
    """``sum_i s_i (p_i - y_i)`` for the outputs ``S + c``."""
    parts = list(pairwise(row_bounds(S.shape[0], S.size * OPERATIONS)))
    sums = np.zeros((len(parts), S.shape[1]))
    run(_pull, [(S, c, y, s, total, *part) for total, part in zip(sums, parts, strict=True)])
    return sums.sum(axis=0)


def evaluate(S: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss, ``s (p - y)`` and the probabilities ``p``, both (n, K)."""
    G, P = np.empty((2, *S.shape))  # at once: the larger, the larger the pages it is mapped in
    parts = list(pairwise(row_bounds(S.shape[0], S.size * OPERATIONS)))
    values = np.zeros((len(parts), 2))
    loop = _evaluate if S.shape[1] < MANY else _evaluate_many
    run(loop, [(S, y, s, G, P, value, *part) for value, part in zip(values, parts, strict=True)])
    return float(values.sum()), G, P


@kernel
def _curvatures(d, u, out):
    for i in range(len(d)):
        at = 0
        for k in range(1, d.shape[1]):
            if d[i, k] > d[i, at]:
                at = k
        rest = 0.0
        for k in range(d.shape[1]):
            rest += 0.0 if k == at else u[i, k]
        for k in range(d.shape[1]):
            out[i, k] = u[i, k] * (rest if k == at else rest - u[i, k] + u[i, at])


def curvatures(d: np.ndarray, u: np.ndarray) -> np.ndarray:
    """``diag(H_i)`` of a shift-invariant `OutputHessian` for every row, shape (n, K)."""
    out = np.empty_like(d)
    parts = pairwise(row_bounds(d.shape[0], d.size))
    run(_curvatures, [(d[a:b], u[a:b], out[a:b]) for a, b in parts])
    return out
