"""An independent judge: objective, gap and distance of any linear classifier, in plain NumPy."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax


class Verdict(NamedTuple):
    """The objective ``sum_i loss + |W|^2 / (2 C)`` and a bound of its distance to the minimum."""

    value: float
    gap: float


def scores_and_targets(X, y, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, K) with one column for each class, and the codes of the labels."""
    S = np.asarray(X @ np.asarray(coef, float).T) + intercept
    if S.shape[1] == 1:
        S = np.column_stack([np.zeros(len(S)), S])
    return S, np.unique(y, return_inverse=True)[1]


def losses(S: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """``-log p`` of every row's class, to full relative precision also where p is nearly 1."""
    rows = np.arange(len(S))
    others = S - S[rows, codes][:, None]
    others[rows, codes] = -np.inf
    return np.logaddexp(0, logsumexp(others, axis=1))


def best_intercept(S: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The shift of the scores that minimises the loss, by Newton's method with halved steps."""
    shift = np.zeros(S.shape[1])

    def loss(c):
        return float(np.sum(losses(S + c, codes)))

    for _ in range(100):
        P = softmax(S + shift, axis=1)
        g = P.sum(axis=0) - np.bincount(codes, minlength=S.shape[1])
        step = -np.linalg.lstsq(np.diag(P.sum(axis=0)) - P.T @ P, g, rcond=None)[0]
        if -g @ step <= 1e-22 * loss(shift):
            break
        t = 1.0
        before = loss(shift)
        while loss(shift + t * step) >= before and t > 1e-6:
            t /= 2
        if t <= 1e-6:  # rounding hides any further decrease
            break
        shift = shift + t * step
    return shift


def objective(
    X, y, C: float, coef: np.ndarray, intercept: np.ndarray, penalised_intercept: bool = False
) -> float:
    """``sum_i loss + |W|^2 / (2 C)``, the intercept as it is; its square joins if it is penalised."""
    S, codes = scores_and_targets(X, y, coef, intercept)
    squares = np.sum(np.square(coef)) + penalised_intercept * np.sum(np.square(intercept))
    return float(np.sum(losses(S, codes)) + squares / (2 * C))


def judge(X, y, C: float, coef: np.ndarray, intercept: np.ndarray | None) -> Verdict:
    """Value and duality gap, with the intercept made optimal first (that only lowers the value).

    None in its place says that the model has no intercept.
    """
    S, codes = scores_and_targets(X, y, coef, 0.0 if intercept is None else intercept)
    if intercept is not None:
        S = S + best_intercept(S, codes)
    rows = np.arange(len(S))
    A = softmax(S, axis=1)
    A[rows, codes] = 0
    A[rows, codes] = -A.sum(axis=1)
    A = A if len(coef) > 1 else A[:, 1:]
    gradient = np.asarray(X.T @ A).T + coef / C
    value = np.sum(losses(S, codes)) + np.sum(coef**2) / (2 * C)
    return Verdict(float(value), float(C * np.sum(gradient**2) / 2))
