"""MNIST, 784-64-64-10 relu: test accuracy and training loss of scikit-learn's adam, and in which time.

    python benchmarks/neural_network/mnist_against_adam.py [--dtype float32] [--seeds 0 1 2]

For each seed scikit-learn's MLPClassifier with its defaults runs to its own end. Then Gauss-Newton-CG and the
others given run for half of that time (their clocks stop while they are judged), and print the first time
at which the training loss was below, when the test accuracy was as high, and both at the end. The
penalty is the same for all: scikit-learn divides alpha by the rows of a batch, 200, and we by all.
"""

import argparse
import time
from contextlib import suppress

import numpy as np
from data import Split, mnist
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier as TheirClassifier

from secondorder.losses import Softmax
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design
from secondorder.objective import Objective
from secondorder.solvers import Progress, fit_network

MODEL = MLP((784, 64, 64, 10), ACTIVATIONS["relu"])
PENALTY = 1e-4 / 200


class TimeIsUp(Exception):
    """Half of the rival's time has passed."""


class Watch(Progress):
    """A judge that stops the clock and measures after each iteration."""

    def __init__(self, data: Split, budget: float) -> None:
        super().__init__(0.0, 10**9)
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "budget", budget)
        object.__setattr__(self, "rows", [])
        object.__setattr__(self, "start_time", time.perf_counter())

    def follow(self, value, w, gap, last):
        """Measure at `w`."""
        now = time.perf_counter()
        passed = now - self.start_time
        loss, accuracy = measure(w, self.data)
        self.rows.append((passed, loss, accuracy))
        object.__setattr__(self, "start_time", self.start_time + time.perf_counter() - now)
        if passed > self.budget:
            raise TimeIsUp
        return super().follow(value, w, gap, last)


def measure(w: np.ndarray, data: Split) -> tuple[float, float]:
    """Training loss and test accuracy."""
    S = MODEL.forward(w, Design(data.X)).outputs
    test = MODEL.forward(w, Design(data.X_test)).outputs
    loss = np.mean(Softmax().value(S.astype(np.float64), data.y))
    return float(loss), float(np.mean(test.argmax(axis=1) == data.y_test))


def main() -> None:
    """Print lines for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--solvers", nargs="*", default=["gauss-newton-cg"])
    options = parser.parse_args()
    data = mnist(dtype=options.dtype)
    n = len(data.y)
    for seed in options.seeds:
        rival = TheirClassifier((64, 64), random_state=seed)
        start = time.perf_counter()
        rival.fit(data.X, data.y)
        total = time.perf_counter() - start
        goal = log_loss(data.y, rival.predict_proba(data.X)), rival.score(data.X_test, data.y_test)
        print(f"seed {seed} {'sklearn adam':16} {total:6.2f} s: loss {goal[0]:.2e}, accuracy {goal[1]:.4f}")
        for solver in options.solvers:
            penalty = MODEL.penalty(PENALTY)
            o = Objective(MODEL, Softmax(), Design(data.X), data.y, np.full(n, 1 / n), penalty)
            w = MODEL.initial(INITIAL_WEIGHTS["glorot_uniform"], seed)
            w = w if solver == "gauss-newton-cg" else w.astype(options.dtype)
            watch = Watch(data, total / 2)
            with suppress(TimeIsUp):
                shuffle = np.random.default_rng(seed)
                fit_network(o, w, solver=solver, judge=watch, max_iter=10**6, rng=shuffle)
            rows = [row for row in watch.rows if row[0] <= total / 2]
            lower = [t for t, loss, _ in rows if loss <= goal[0]]
            higher = [t for t, _, accuracy in rows if accuracy >= goal[1]]
            both = sorted(set(lower) & set(higher))
            first = [f"{times[0]:.2f} s" if times else "never" for times in (lower, higher, both)]
            print(
                f"seed {seed} {solver:16} {total / 2:6.2f} s: loss {rows[-1][1]:.2e}, "
                f"accuracy {rows[-1][2]:.4f}; reached: loss {first[0]}, accuracy {first[1]}, both {first[2]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
