"""Agreement with scikit-learn at tol=1e-12: coefficients, and the objective.

    python benchmarks/agreement.py [names ...] [--seconds 300]

Every problem is fitted by secondorder at tol=1e-14 and by those scikit-learn solvers that can, each in a
process of its own with a limit of time. For every solver: its gap as judged by `certify.judge`, how
much higher our objective is than its (relative; negative where ours is lower), and the largest
difference of the coefficients over the largest coefficient. The bound is how far its
coefficients can be from the optimum, given its gap: where that is above 1e-6, the difference says nothing.
"""

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from certify import judge
from problems import load

PENALTIES = (0.01, 1.0, 100.0)
DENSE_NEWTON = ("newton-cholesky", "newton-cg")
MATRIX_FREE = ("newton-cg", "lbfgs")
PROBLEMS = {
    "iris": DENSE_NEWTON,
    "iris/standard": DENSE_NEWTON,
    "wine": DENSE_NEWTON,
    "wine/standard": DENSE_NEWTON,
    "breast_cancer": DENSE_NEWTON,
    "breast_cancer/standard": DENSE_NEWTON,
    "digits": DENSE_NEWTON,
    "digits/standard": DENSE_NEWTON,
    "a9a": DENSE_NEWTON,
    "mushrooms": DENSE_NEWTON,
    "covtype20k": ("newton-cholesky",),
    "sensorless": ("newton-cholesky",),
    "arcene": MATRIX_FREE,
    "20newsgroups": MATRIX_FREE,
    "mnist": ("newton-cg",),
}


def fit(solver: str, name: str, C: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and intercept by `solver`, at its tightest."""
    warnings.simplefilter("ignore")
    X, y = load(name)
    if solver == "secondorder":
        from secondorder.linear_model import LogisticRegression

        model = LogisticRegression(C=C, tol=1e-14, max_iter=1000)
    else:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=C, solver=solver, tol=1e-12, max_iter=100_000)
    model.fit(X, y)
    return model.coef_, model.intercept_


def fit_apart(solver: str, name: str, C: float, limit: float) -> tuple[np.ndarray, np.ndarray] | None:
    """The same in a process of its own; None if it takes longer than `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "fit.npz"
        command = [sys.executable, __file__, "--one", solver, name, str(C), str(out)]
        try:
            subprocess.run(command, check=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return None
        with np.load(out) as saved:
            return saved["coef"], saved["intercept"]


def main() -> None:
    """Print one line for every problem, C and solver."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        solver, name, C, out = args.one
        coef, intercept = fit(solver, name, float(C))
        np.savez(out, coef=coef, intercept=intercept)
        return
    print(
        "problem                     C  our gap  solver           its gap  ours - its  coefficients   bound"
    )
    for name in args.names:
        X, y = load(name)
        for C in PENALTIES:
            W, b = fit_apart("secondorder", name, C, 10 * args.seconds)
            ours = judge(X, y, C, W, b)
            for solver in PROBLEMS[name]:
                line = f"{name:22} {C:6g}  {ours.gap / ours.value:7.0e}  {solver:15}"
                theirs = fit_apart(solver, name, C, args.seconds)
                if theirs is None:
                    print(f"{line}  not done in {args.seconds:.0f} s", flush=True)
                    continue
                its, size = judge(X, y, C, *theirs), np.max(np.abs(W))
                higher = (ours.value - its.value) / its.value
                apart = np.max(np.abs(W - theirs[0])) / size
                bound = np.sqrt(2 * its.gap * C) / size
                print(
                    f"{line} {its.gap / its.value:8.0e} {higher:11.1e} {apart:13.1e} {bound:7.0e}", flush=True
                )


if __name__ == "__main__":
    main()
