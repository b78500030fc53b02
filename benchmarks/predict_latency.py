"""How long one row takes to classify, and a large batch, against scikit-learn.

    python benchmarks/predict_latency.py [--calls 3000] [--batch 200000]

Both models are fitted to the same data. The calls alternate between them, so that whatever else the
machine does falls on both alike; medians are printed in microseconds, and ours over scikit-learn's.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.linear_model import LogisticRegression as ScikitLearn
from sklearn.preprocessing import scale

from secondorder.linear_model import LogisticRegression

DATA = {"breast_cancer": load_breast_cancer, "iris": load_iris, "digits": load_digits}
METHODS = ("predict_proba", "predict")


def medians(ours: Callable, theirs: Callable, calls: int) -> tuple[float, float]:
    """Median seconds of each, called in turn."""
    seconds = np.empty((calls, 2))
    for i in range(calls):
        for j in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter()
            (ours, theirs)[j]()
            seconds[i, j] = time.perf_counter() - start
    return tuple(np.median(seconds, axis=0))


def main() -> None:
    """Print a line for each data set, kind of input and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=200_000)
    options = parser.parse_args()
    print(f"{'data':14} {'input':16} {'method':14} {'ours':>10} {'theirs':>10} {'ratio':>6}")
    for name, load in DATA.items():
        X, y = load(return_X_y=True)
        X = scale(X)
        models = [make().fit(X, y) for make in (LogisticRegression, ScikitLearn)]
        frame = pd.DataFrame(X).add_prefix("x")
        named = [make().fit(frame, y) for make in (LogisticRegression, ScikitLearn)]
        batch = np.tile(X, (options.batch // len(X) + 1, 1))[: options.batch]
        inputs = {
            "row": (models, X[:1], options.calls),
            "row as list": (models, X[:1].tolist(), options.calls),
            "row as DataFrame": (named, frame[:1], options.calls),
            f"{len(batch)} rows": (models, batch, 15),
        }
        for kind, (pair, rows, calls) in inputs.items():
            for method in METHODS:
                first, second = (getattr(model, method) for model in pair)
                ours, theirs = medians(lambda f=first, r=rows: f(r), lambda f=second, r=rows: f(r), calls)
                line = f"{1e6 * ours:10.1f} {1e6 * theirs:10.1f} {ours / theirs:6.2f}"
                print(f"{name:14} {kind:16} {method:14} {line}")


if __name__ == "__main__":
    main()
