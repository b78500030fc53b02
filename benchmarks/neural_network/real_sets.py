"""The training objective that each method has reached after the same time, on real data.

    python benchmarks/neural_network/real_sets.py [--budget 1] [--seeds 3]

One hidden layer of ten tanh units, alpha = 0.01, standardised features; the median over the starts. The least
of each row is marked.
"""

import argparse
import warnings
from contextlib import suppress

import numpy as np
from clock import Clock, Done
from data import table
from rivals import METHODS, Task

SETS = ("diabetes", "digits", "segment", "satimage", "phoneme", "magic")


def main() -> None:
    """Print a line for each set and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", default=SETS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"after {options.budget:g} s")
    for name in options.sets:
        split = table(name)
        classify = name != "diabetes"
        task = Task(split.X, split.y, classify, 10, 0.01)
        print(f"{name}: n = {len(split.y)}, {task.model.n_parameters} weights")
        found = {}
        for method, run in METHODS.items():
            if method == "scipy least_squares":  # knows neither classes nor a penalty
                continue
            values = []
            for seed in range(options.seeds):
                clock = Clock(options.budget)
                with suppress(Done):
                    run(task, seed, clock)
                values.append(clock.best)
            found[method] = float(np.median(values))
        for method, value in found.items():
            print(f"  {method:32} {value:10.5f} {'<' if value == min(found.values()) else ''}", flush=True)


if __name__ == "__main__":
    main()
