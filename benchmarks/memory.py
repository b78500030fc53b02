"""Peak memory of a fit beyond X itself, on a dense X of 1 GB; and of 10 C by 5 folds, on one of half that.

    python benchmarks/memory.py [--gigabytes 1.0]

Every case runs in a process of its own. A fit of a small problem first loads and compiles everything, so
that the figure is of data, not of code; then X is made, and the peak of the resident memory during the
fit is compared with its size before.
"""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

CASES = [
    ("fit", "float64", 500, 2),
    ("fit", "float32", 500, 2),
    ("fit", "float64", 500, 10),
    ("fit", "float32", 500, 10),
    ("fit", "float64", 50, 2),
    ("cv", "float64", 500, 2),
    ("cv", "float32", 500, 2),
    ("cv", "float64", 100, 2),
    ("cv", "float64", 50, 2),
    ("cv", "float64", 500, 3),
]


def resident() -> int:
    """Bytes of memory resident now."""
    import psutil

    return psutil.Process().memory_info().rss


def peak_during(work) -> int:
    """The largest resident memory while `work` runs, looked at every 2 ms."""
    highest, done = [resident()], threading.Event()

    def watch():
        while not done.is_set():
            highest[0] = max(highest[0], resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return highest[0]


def measure(kind: str, dtype: str, p: int, K: int, size: float) -> None:
    """One case: fit and print."""
    import numpy as np

    from secondorder.linear_model import LogisticRegression, LogisticRegressionCV

    rng = np.random.default_rng(0)

    def problem(n):
        X = rng.standard_normal((n, p), dtype)
        scores = X[:, :K] + rng.gumbel(size=(n, K)).astype(dtype)
        return X, np.argmax(scores, axis=1)

    model = LogisticRegression(tol=1e-6) if kind == "fit" else LogisticRegressionCV(tol=1e-6, cv=5)
    model.fit(*problem(20_000))
    n = int(size * (1e9 if kind == "fit" else 5e8) / (np.dtype(dtype).itemsize * p))
    X, y = problem(n)
    before = resident()
    start = time.perf_counter()
    peak = peak_during(lambda: model.fit(X, y))
    seconds = time.perf_counter() - start
    gap = model.result_.relative_gap if kind == "fit" else np.max(model.gaps_)
    print(
        f"{kind} {dtype} n={n} p={p} K={K}: X {X.nbytes / 1e6:.0f} MB, extra {(peak - before) / 1e6:.0f} MB "
        f"(one n x K array: {8 * n * (K if K > 2 else 1) / 1e6:.0f} MB), {seconds:.1f} s, gap {gap:.0e}",
        flush=True,
    )


def main() -> None:
    """Run every case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--kind", choices=["fit", "cv"], help="only these")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        kind, dtype, p, K = args.case
        measure(kind, dtype, int(p), int(K), args.gigabytes)
        return
    for case in CASES:
        if args.kind in (None, case[0]):
            command = [sys.executable, str(Path(__file__)), "--gigabytes", str(args.gigabytes)]
            subprocess.run([*command, "--case", *map(str, case)], check=True)


if __name__ == "__main__":
    main()
