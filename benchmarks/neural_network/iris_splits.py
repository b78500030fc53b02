"""Iris with two hidden layers of ten tanh units: test accuracy on 30 splits, and the time of a fit.

python benchmarks/neural_network/iris_splits.py
"""

import time
import warnings

import numpy as np
from data import iris
from sklearn.neural_network import MLPClassifier as TheirClassifier

from secondorder.neural_network import MLPClassifier

SPLITS = 30
SECOND_ORDER = ("lm", "gauss-newton-cg", "newton-trust-region")


def main() -> None:
    """Print a line for each solver."""
    warnings.simplefilter("ignore")
    print(f"{'':34} {'>= 90 %':>8} {'mean':>6} {'median s':>9} {'largest s':>9}")
    models = {f"secondorder {s}": (MLPClassifier, {"solver": s, "alpha": 0.1}) for s in SECOND_ORDER}
    small = {"solver": "diagonal-lm", "alpha": 0.1, "batch_size": 20}
    models["secondorder diagonal-lm"] = (MLPClassifier, small)
    models["sklearn lbfgs"] = (TheirClassifier, {"solver": "lbfgs", "alpha": 0.1})
    models["sklearn adam"] = (TheirClassifier, {"alpha": 0.1})
    for name, (kind, options) in models.items():
        scores, times = [], []
        for seed in range(SPLITS):
            split = iris(seed, test_size=0.2)
            model = kind((10, 10), "tanh", random_state=seed, **options)
            start = time.perf_counter()
            model.fit(split.X, split.y)
            times.append(time.perf_counter() - start)
            scores.append(model.score(split.X_test, split.y_test))
        good = sum(score >= 0.9 for score in scores)
        figures = f"{np.mean(scores):6.3f} {np.median(times):9.3f} {np.max(times):9.3f}"
        print(f"{name:34} {good:5d}/{SPLITS} {figures}", flush=True)


if __name__ == "__main__":
    main()
