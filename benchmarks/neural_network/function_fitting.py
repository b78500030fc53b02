"""Time until a network of 61 weights fits sin(10 x) / (10 x) to a mean squared error of 1e-7.

    python benchmarks/neural_network/function_fitting.py [--seeds 10] [--budget 10] [--only NAME ...]

20 000 points on [-1, 1], one hidden layer of 20 tanh units, float64, ten starts. For each method: on how
many starts it met the target within one second and within the budget, the median time it took where it did,
and the median of the least error within the budget. The other second-order methods need --only.
"""

import argparse
import time
import warnings
from contextlib import suppress

import numpy as np
from clock import Clock, Done
from rivals import METHODS, Task

from secondorder.neural_network import MLPRegressor

SLOW = ("secondorder newton-trust-region", "secondorder gauss-newton-cg")  # many products of many rows
TARGET = 1e-7  # of the mean squared error, twice the loss
x = np.linspace(-1, 1, 20_000)[:, None]
y = np.sinc(10 * x[:, 0] / np.pi)


def main() -> None:
    """Print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=[name for name in METHODS if name not in SLOW])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'':32} {'<= 1 s':>7} {'<= budget':>9} {'median s':>9} {'median mse':>11}")
    for name in options.only:
        clocks = []
        for seed in range(options.seeds):
            clocks.append(Clock(options.budget, TARGET / 2))
            with suppress(Done):
                METHODS[name](Task(x, y, False, 20, 0.0), seed, clocks[-1])
        met = [clock.met for clock in clocks if np.isfinite(clock.met)]
        n, median = len(clocks), np.median(met) if met else np.nan
        error = 2 * np.median([clock.best for clock in clocks])
        print(
            f"{name:32} {sum(t <= 1 for t in met):4d}/{n} {len(met):6d}/{n} {median:9.2f} {error:11.1e}",
            flush=True,
        )
    start = time.perf_counter()
    model = MLPRegressor((20,), "tanh", alpha=0, random_state=0).fit(x, y)
    passed, mse = time.perf_counter() - start, float(np.mean((model.predict(x) - y) ** 2))
    print(f"\nMLPRegressor((20,), 'tanh', alpha=0), to its own end: {passed:.2f} s, mse {mse:.1e}")


if __name__ == "__main__":
    main()
