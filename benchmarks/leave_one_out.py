"""Approximate leave-one-out beside exact fits without each row, on small real sets.

    python benchmarks/leave_one_out.py [names ...] [--data FOLDER]

For every set and C: the mean log-loss of the rows as fitted, as predicted by `leave_one_out`, and as
predicted by a fit without each of them (all rows of all sets); then the difference of the last two, alone and
with the error taken off that `refit_some` estimates from 5 and from 20 exact fits; the standard error of
the exact mean, as an estimate of the loss of new rows; and the seconds of the approximation and of all exact
fits. Then, for every set, the C of ten that `LogisticRegressionCV` chooses with ``cv="loo"``: its mean
log-loss for that C, that of exact fits without each row, their difference, alone and with the fit's own
correction, the standard error, and the seconds of the fit and of all exact fits for that one C. Last, the
time of ten values of C on digits, against one 5-fold cross-validation by scikit-learn at a single C, with
BLAS on one thread and on all.
"""

import argparse
import os
import time
import warnings

import numpy as np
from problems import load
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from secondorder.linear_model import LogisticRegressionCV
from secondorder.losses import Logistic, Softmax
from secondorder.solvers import LinearProblem, fit_linear, leave_one_out, refit_some, refit_without

PENALTIES = (0.01, 1.0, 100.0)
PATH = np.logspace(-4, 4, 10)
CLOSE = 1e-3
NAMES = (
    "iris/standard",
    "wine/standard",
    "breast_cancer/standard",
    "sonar/standard",
    "heart/standard",
    "khan",
    "colon",
    "allaml",
    "lymphoma",
    "digits",
)


def problem_of(name: str, C: float) -> LinearProblem:
    """The problem that our `LogisticRegression` solves."""
    X, labels = load(name)
    classes, codes = np.unique(labels, return_inverse=True)
    ones, K = np.ones(len(codes)), len(classes)
    if K == 2:
        return LinearProblem(X, codes.astype(float), ones, Logistic(), 1, 1 / C, True)
    return LinearProblem(X, codes, ones, Softmax(), K, 1 / C, True)


def solution(problem: LinearProblem, tol: float = 1e-8) -> np.ndarray:
    """Its parameters."""
    p = problem
    return fit_linear(p.X, p.y, p.s, loss=p.loss, n_outputs=p.n_outputs, penalty=p.penalty, tol=tol).w


def compare(name: str, C: float) -> tuple[float, float, float]:
    """Print one line, and return the differences: alone, less the error by 5 fits, and by 20."""
    problem = problem_of(name, C)
    w, (n, p) = solution(problem), problem.X.shape

    def losses(S: np.ndarray) -> np.ndarray:
        return problem.loss.value(S, problem.y)

    point = problem.at(w)
    point.H  # noqa: B018 - a fit ends with it
    start = time.perf_counter()
    S_loo = leave_one_out(point)
    approximate_seconds = time.perf_counter() - start
    start = time.perf_counter()
    exact = losses(refit_without(problem, w, np.arange(n)))
    exact_seconds = time.perf_counter() - start
    fitted, approximate = losses(point.forward.outputs).mean(), losses(S_loo).mean()
    checks = [refit_some(problem, w, S_loo, n_rows=m) for m in (5, 20)]
    apart = [approximate - exact.mean() - error for error in (0, *(check.error for check in checks))]
    print(
        f"{name:22} {n:5} {p:5} {max(problem.n_outputs, 2):3} {C:6g}  {fitted:8.5f} {approximate:8.5f} "
        f"{exact.mean():8.5f}  {apart[0]:+8.1e} {apart[1]:+8.1e} {apart[2]:+8.1e}  "
        f"{exact.std() / n**0.5:7.1e}  {approximate_seconds:7.4f} {exact_seconds:7.2f}"
        f"{'  doubtful' if checks[0].doubtful else ''}",
        flush=True,
    )
    return apart[0], apart[1], apart[2]


def choose(name: str) -> tuple[float, float]:
    """Print one line for the C chosen, and return the differences: alone, and corrected."""
    X, y = load(name)
    for _ in range(2):  # the first compiles the loops
        start = time.perf_counter()
        model = LogisticRegressionCV(Cs=PATH, cv="loo").fit(X, y)
        fit_seconds = time.perf_counter() - start
    problem, chosen = problem_of(name, model.C_), list(PATH).index(model.C_)
    start = time.perf_counter()
    S = refit_without(problem, model.results_[chosen].w, np.arange(len(y)))
    exact_seconds = time.perf_counter() - start
    exact, approximate = problem.loss.value(S, problem.y).mean(), -model.scores_mean_[chosen]
    apart = approximate - exact, model.loo_check_.loss - exact
    print(
        f"{name:22} {model.C_:9.3g}  {approximate:8.5f} {exact:8.5f}  {apart[0]:+8.1e} {apart[1]:+9.1e}  "
        f"{model.scores_se_[chosen]:7.1e}  {fit_seconds:7.2f} {exact_seconds:7.2f}",
        flush=True,
    )
    return apart


def time_path() -> None:
    """Print the seconds of a path over C by our fits and their leave-one-out, and of cross-validation."""
    for _ in range(2):  # the first compiles the loops
        fits = approximations = 0.0
        for C in PATH:
            problem = problem_of("digits", C)
            start = time.perf_counter()
            w = solution(problem)
            fits += time.perf_counter() - start
            point = problem.at(w)
            point.H  # noqa: B018
            start = time.perf_counter()
            leave_one_out(point)
            approximations += time.perf_counter() - start
    X, y = load("digits")
    folds = []
    for threads in (1, None):
        with threadpool_limits(threads):
            start = time.perf_counter()
            cross_val_score(LogisticRegression(C=1, max_iter=10_000), X, y, cv=5)
            folds.append(time.perf_counter() - start)
    print(
        f"digits, {len(PATH)} values of C: leave-one-out {approximations:.2f} s beside fits {fits:.2f} s; "
        f"5-fold cross-validation by scikit-learn at C = 1: {folds[0]:.2f} s and {folds[1]:.2f} s"
    )


def main() -> None:
    """Print one line for every set and C, one for every choice, how many are close, and times on digits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--data", help="folder whose load.py has load(name) -> X, y")
    args = parser.parse_args()
    if args.data:
        os.environ["SECONDORDER_DATA"] = args.data
    warnings.simplefilter("ignore")
    print(f"{'':44}  {'mean log-loss':^26}  {'difference from exact':^26}  standard  {'seconds':^15}")
    print(
        f"{'set':22} {'n':>5} {'p':>5} {'cl.':>3} {'C':>6}  {'fitted':>8} {'approx.':>8} {'exact':>8}  "
        f"{'approx.':>8} {'5 fits':>8} {'20 fits':>8}  {'error':>8} {'approx.':>7} {'exact':>7}"
    )
    apart = {C: np.abs([compare(name, C) for name in args.names]) for C in PENALTIES}
    for C, differences in apart.items():
        alone, five, twenty = np.sum(differences <= CLOSE, axis=0)
        print(
            f"C = {C:g}: within {CLOSE:g} on {alone} of {len(differences)} sets; "
            f"with the error by 5 fits taken off on {five}, by 20 fits on {twenty}"
        )
    print(
        f"\n{'set':22} {'chosen C':>9}  {'approx.':>8} {'exact':>8}  {'apart':>8} {'corrected':>9}  "
        f"{'error':>7}  {'fit/s':>7} {'exact/s':>7}"
    )
    alone, corrected = np.sum(np.abs([choose(name) for name in args.names]) <= CLOSE, axis=0)
    print(
        f"At the chosen C: within {CLOSE:g} on {alone} of {len(args.names)} sets, corrected on {corrected}\n"
    )
    time_path()


if __name__ == "__main__":
    main()
