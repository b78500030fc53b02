"""Peak memory of a fit beyond X itself, on a dense X of 1 GB.

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
    ("float64", 500, 2),
    ("float32", 500, 2),
    ("float64", 500, 10),
    ("float32", 500, 10),
    ("float64", 50, 2),
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


def measure(dtype: str, p: int, K: int, size: float) -> None:
    """One case: fit and print."""
    import numpy as np

    from secondorder.linear_model import LogisticRegression

    rng = np.random.default_rng(0)

    def problem(n):
        X = rng.standard_normal((n, p), dtype)
        scores = X[:, :K] + rng.gumbel(size=(n, K)).astype(dtype)
        return X, np.argmax(scores, axis=1)

    LogisticRegression(tol=1e-6).fit(*problem(20_000))
    n = int(size * 1e9 / (np.dtype(dtype).itemsize * p))
    X, y = problem(n)
    before = resident()
    model = LogisticRegression(tol=1e-6)
    start = time.perf_counter()
    peak = peak_during(lambda: model.fit(X, y))
    seconds = time.perf_counter() - start
    print(
        f"{dtype} n={n} p={p} K={K}: X {X.nbytes / 1e6:.0f} MB, extra {(peak - before) / 1e6:.0f} MB "
        f"(one n x K array: {8 * n * (K if K > 2 else 1) / 1e6:.0f} MB), "
        f"{seconds:.1f} s, {model.result_.passes} passes, gap {model.result_.relative_gap:.0e}",
        flush=True,
    )


def main() -> None:
    """Run every case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--case", nargs=3)
    args = parser.parse_args()
    if args.case:
        measure(args.case[0], int(args.case[1]), int(args.case[2]), args.gigabytes)
        return
    for case in CASES:
        command = [sys.executable, str(Path(__file__)), "--gigabytes", str(args.gigabytes)]
        subprocess.run([*command, "--case", *map(str, case)], check=True)


if __name__ == "__main__":
    main()
