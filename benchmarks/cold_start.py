"""What a new process pays before its first answer.

    python benchmarks/cold_start.py [--runs 7]

Medians over fresh interpreters: importing scikit-learn's linear models, importing secondorder after
it, and the first and second fit on iris, a small problem that loads no compiled code. Then the first
and second fit of a large one, whose compiled loops come from the cache on disk after the first run.
"""

import argparse
import subprocess
import sys

import numpy as np

SMALL = """
import time
a = time.perf_counter()
import sklearn.linear_model, sklearn.datasets
b = time.perf_counter()
from secondorder.linear_model import LogisticRegression
c = time.perf_counter()
X, y = sklearn.datasets.load_iris(return_X_y=True)
d = time.perf_counter()
LogisticRegression().fit(X, y)
e = time.perf_counter()
LogisticRegression().fit(X, y)
f = time.perf_counter()
print(b - a, c - b, e - d, f - e)
"""

LARGE = """
import time
import numpy as np
from secondorder.linear_model import LogisticRegression
rng = np.random.default_rng(0)
X = rng.standard_normal((60_000, 100))
y = np.argmax(X[:, :3] + rng.gumbel(size=(60_000, 3)), axis=1)
a = time.perf_counter()
LogisticRegression().fit(X, y)
b = time.perf_counter()
LogisticRegression().fit(X, y)
c = time.perf_counter()
print(b - a, c - b)
"""


def runs(code: str, n: int) -> np.ndarray:
    """The numbers that `code` prints, in `n` fresh interpreters, the first of them not counted."""
    command = [sys.executable, "-c", code]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(n + 1)]
    return np.array([[float(x) for x in done.stdout.split()] for done in outputs[1:]])


def main() -> None:
    """Print medians in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    n = parser.parse_args().runs
    small, large = runs(SMALL, n), runs(LARGE, n)
    names = ["import scikit-learn", "import secondorder after it", "first fit, iris", "second fit, iris"]
    for name, column in zip(names, small.T, strict=True):
        print(f"{name:40} {1e3 * np.median(column):8.1f} ms")
    print(f"{'first minus second fit, iris':40} {1e3 * np.median(small[:, 2] - small[:, 3]):8.1f} ms")
    print(f"{'first fit, 60000 x 100, 3 classes':40} {1e3 * np.median(large[:, 0]):8.1f} ms")
    print(f"{'second fit, 60000 x 100, 3 classes':40} {1e3 * np.median(large[:, 1]):8.1f} ms")


if __name__ == "__main__":
    main()
