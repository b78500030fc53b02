"""Time until a network of 61 weights fits sin(10 x) / (10 x) to a mean squared error of 1e-7.

    python benchmarks/neural_network/function_fitting.py [--seeds 10] [--budget 10] [--only NAME ...]

20 000 points on [-1, 1], one hidden layer of 20 tanh units, float64, ten starts. For each method: on how
many starts it met the target within one second and within the budget, the median time it took where it did,
and the median error at the end of the budget. All start from the same distribution (Glorot uniform).
"""

import argparse
import time
import warnings
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from scipy.optimize import least_squares
from sklearn.neural_network import MLPRegressor as TheirRegressor

from secondorder.losses import Squared
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design
from secondorder.neural_network import MLPRegressor
from secondorder.objective import Objective
from secondorder.solvers import Progress, fit_network

TARGET, N = 1e-7, 20_000
x = np.linspace(-1, 1, N)[:, None]
y = np.sinc(10 * x[:, 0] / np.pi)
MODEL = MLP((1, 20, 1), ACTIVATIONS["tanh"])


class Done(Exception):
    """The target is met, or the time is up."""


class Clock:
    """The errors seen, and when."""

    def __init__(self, budget: float) -> None:
        self.start, self.budget, self.best, self.met = time.perf_counter(), budget, np.inf, np.inf

    def see(self, mse: float) -> None:
        """Note an error; raise `Done` where there is nothing left to do."""
        passed = time.perf_counter() - self.start
        self.best = min(self.best, mse)
        if mse <= TARGET and passed <= self.budget:
            self.met = passed
        if np.isfinite(self.met) or passed > self.budget:
            raise Done


def ours(solver: str) -> Callable[[int, Clock], None]:
    """Our engine, from the loss at each iteration."""

    def run(seed: int, clock: Clock) -> None:
        o = Objective(MODEL, Squared(), Design(x), y, np.full(N, 1 / N), MODEL.penalty(0))
        w = MODEL.initial(INITIAL_WEIGHTS["glorot_uniform"], seed)
        judge = Progress(0.0, 10**9)
        fit_network(
            o, w, solver=solver, judge=judge, max_iter=10**6, callback=lambda row: clock.see(2 * row.value)
        )

    return run


def scipy_lm(seed: int, clock: Clock) -> None:
    """SciPy's trust-region least squares with the exact Jacobian."""
    w = MODEL.initial(INITIAL_WEIGHTS["glorot_uniform"], seed)

    def residual(w: np.ndarray) -> np.ndarray:
        (a, b), (c, d) = ((W[:-1], W[-1]) for W in MODEL.unpack(w))
        r = (np.tanh(x @ a + b) @ c + d)[:, 0] - y
        clock.see(float(np.mean(r**2)))
        return r

    def jacobian(w: np.ndarray) -> np.ndarray:
        (a, b), (c, _) = ((W[:-1], W[-1]) for W in MODEL.unpack(w))
        h = np.tanh(x @ a + b)
        back = (1 - h**2) * c[:, 0]
        return np.hstack([x * back, back, h, np.ones((N, 1))])

    least_squares(
        residual, w, jacobian, method="trf", x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=10**6
    )


def sklearn_lbfgs(seed: int, clock: Clock) -> None:
    """Scikit-learn's lbfgs, in one fit with as many iterations as the budget allows; its loss is 1/2 mse."""
    model = TheirRegressor((20,), "tanh", solver="lbfgs", alpha=0, tol=1e-12, max_iter=20, warm_start=True)
    model.set_params(random_state=seed, max_fun=10**9)
    while True:
        model.fit(x, y)
        clock.see(2 * model.loss_)


def sklearn_adam(seed: int, clock: Clock) -> None:
    """Scikit-learn's adam with its defaults, the loss of every epoch."""
    model = TheirRegressor((20,), "tanh", alpha=0, random_state=seed)
    while True:
        model.partial_fit(x, y)
        clock.see(2 * model.loss_)


def torch_run(kind: str) -> Callable[[int, Clock], None]:
    """PyTorch on all rows: L-BFGS with its strong Wolfe search, or Adam with learning rate 1e-2."""

    def run(seed: int, clock: Clock) -> None:
        import torch

        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(1, 20), torch.nn.Tanh(), torch.nn.Linear(20, 1)).double()
        for layer in (net[0], net[2]):
            torch.nn.init.xavier_uniform_(layer.weight)
        X, Y = torch.from_numpy(x), torch.from_numpy(y)[:, None]
        if kind == "lbfgs":
            optimizer = torch.optim.LBFGS(
                net.parameters(), max_iter=20, history_size=20, line_search_fn="strong_wolfe",
                tolerance_grad=0, tolerance_change=0,
            )  # fmt: skip
        else:
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

        def closure():
            optimizer.zero_grad()
            loss = torch.mean((net(X) - Y) ** 2)
            loss.backward()
            clock.see(loss.item())
            return loss

        while True:
            optimizer.step(closure)

    return run


METHODS = {
    "secondorder lm": ours("lm"),
    "secondorder newton-trust-region": ours("newton-trust-region"),
    "secondorder gauss-newton-cg": ours("gauss-newton-cg"),
    "scipy least_squares": scipy_lm,
    "sklearn lbfgs": sklearn_lbfgs,
    "sklearn adam": sklearn_adam,
    "torch L-BFGS": torch_run("lbfgs"),
    "torch Adam": torch_run("adam"),
}


def main() -> None:
    """Print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=list(METHODS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'':32} {'<= 1 s':>7} {'<= budget':>9} {'median s':>9} {'median mse':>11}")
    for name in options.only:
        times, errors = [], []
        for seed in range(options.seeds):
            clock = Clock(options.budget)
            with suppress(Done):
                METHODS[name](seed, clock)
            times.append(clock.met)
            errors.append(clock.best)
        met = [t for t in times if np.isfinite(t)]
        print(
            f"{name:32} {sum(t <= 1 for t in times):4d}/{len(times)} {len(met):6d}/{len(times)} "
            f"{np.median(met) if met else np.nan:9.2f} {np.median(errors):11.1e}",
            flush=True,
        )
    start = time.perf_counter()
    model = MLPRegressor((20,), "tanh", alpha=0, random_state=0).fit(x, y)
    mse = float(np.mean((model.predict(x) - y) ** 2))
    print(
        f"\nthe estimator, its defaults, to its own end: {time.perf_counter() - start:.2f} s, mse {mse:.1e}"
    )


if __name__ == "__main__":
    main()
