"""Methods that minimise the same objective from the same kind of start, each watched by a `Clock`.

    E = (sum_i loss_i + alpha/2 |W|^2) / n,   loss 1/2 |S - y|^2 or the softmax cross-entropy

One hidden layer of tanh units, Glorot uniform. Every method reports E as it goes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from clock import Clock
from scipy.optimize import least_squares
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor

from secondorder.losses import Softmax, Squared
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design
from secondorder.objective import Objective
from secondorder.solvers import Progress, fit_network


class Task(NamedTuple):
    """Rows, whether their targets are classes, the width of the hidden layer, and the penalty."""

    X: np.ndarray
    y: np.ndarray
    classify: bool
    hidden: int
    alpha: float

    @property
    def model(self) -> MLP:
        """The network."""
        K = int(self.y.max()) + 1 if self.classify else 1
        return MLP((self.X.shape[1], self.hidden, K), ACTIVATIONS["tanh"])

    @property
    def objective(self) -> Objective:
        """E."""
        n, model = len(self.y), self.model
        loss = Softmax() if self.classify else Squared()
        return Objective(
            model, loss, Design(self.X), self.y, np.full(n, 1 / n), model.penalty(self.alpha / n)
        )


Method = Callable[[Task, int, Clock], None]


def ours(solver: str, rate: float | None = None) -> Method:
    """Our engine."""

    def run(task: Task, seed: int, clock: Clock) -> None:
        w = task.model.initial(INITIAL_WEIGHTS["glorot_uniform"], seed)
        fit_network(
            task.objective,
            w,
            solver=solver,
            learning_rate=rate,
            judge=Progress(0.0, 10**9),
            max_iter=10**6,
            rng=np.random.default_rng(seed),
            callback=lambda row: clock.see(row.value),
        )

    return run


def scipy_least_squares(task: Task, seed: int, clock: Clock) -> None:
    """SciPy's Levenberg-Marquardt (MINPACK) with the exact Jacobian; regression without penalty only."""
    n, model = len(task.y), task.model

    def residual(w: np.ndarray) -> np.ndarray:
        (a, b), (c, d) = ((W[:-1], W[-1]) for W in model.unpack(w))
        r = (np.tanh(task.X @ a + b) @ c + d)[:, 0] - task.y
        clock.see(float(r @ r) / (2 * n))
        return r

    def jacobian(w: np.ndarray) -> np.ndarray:
        (a, b), (c, _) = ((W[:-1], W[-1]) for W in model.unpack(w))
        h = np.tanh(task.X @ a + b)
        back = (1 - h**2) * c[:, 0]
        first = (task.X[:, :, None] * back[:, None, :]).reshape(n, -1)
        return np.hstack([first, back, h, np.ones((n, 1))])

    w = model.initial(INITIAL_WEIGHTS["glorot_uniform"], seed)
    stops = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "max_nfev": 10**6}
    least_squares(residual, w, jacobian, method="lm", x_scale="jac", **stops)


def sklearn_lbfgs(task: Task, seed: int, clock: Clock) -> None:
    """Scikit-learn's lbfgs, seen at every evaluation of its loss."""

    class Watched(MLPClassifier if task.classify else MLPRegressor):
        def _loss_grad_lbfgs(self, *arguments):
            loss, gradient = super()._loss_grad_lbfgs(*arguments)
            clock.see(loss)
            return loss, gradient

    model = Watched(
        hidden_layer_sizes=(task.hidden,),
        activation="tanh",
        solver="lbfgs",
        alpha=task.alpha,
        random_state=seed,
    )
    model.set_params(tol=1e-15, max_iter=10**6, max_fun=10**9).fit(task.X, task.y)


def sklearn_adam(task: Task, seed: int, clock: Clock) -> None:
    """Scikit-learn's adam with its defaults, judged after every epoch while the clock stands."""
    kind = MLPClassifier if task.classify else MLPRegressor
    model = kind(hidden_layer_sizes=(task.hidden,), activation="tanh", alpha=task.alpha, random_state=seed)
    n, options = len(task.y), {"classes": np.unique(task.y)} if task.classify else {}

    def measure() -> float:
        penalty = task.alpha / (2 * n) * sum(np.sum(W**2) for W in model.coefs_)
        if task.classify:
            return log_loss(task.y, model.predict_proba(task.X)) + penalty
        return float(np.mean((model.predict(task.X) - task.y) ** 2)) / 2 + penalty

    while True:
        model.partial_fit(task.X, task.y, **options)
        clock.pause(measure)


def torch_full(kind: str) -> Method:
    """PyTorch on all rows: L-BFGS with its strong Wolfe search, or Adam with learning rate 1e-2."""

    def run(task: Task, seed: int, clock: Clock) -> None:
        torch.manual_seed(seed)
        widths, n = task.model.widths, len(task.y)
        first, last = torch.nn.Linear(*widths[:2]).double(), torch.nn.Linear(*widths[1:]).double()
        for layer in (first, last):
            torch.nn.init.xavier_uniform_(layer.weight)
        X, y = torch.from_numpy(task.X), torch.from_numpy(task.y)
        parameters = [*first.parameters(), *last.parameters()]
        if kind == "L-BFGS":
            optimizer = torch.optim.LBFGS(
                parameters, max_iter=100, history_size=20, line_search_fn="strong_wolfe",
                tolerance_grad=0, tolerance_change=0,
            )  # fmt: skip
        else:
            optimizer = torch.optim.Adam(parameters, lr=1e-2)

        def closure():
            optimizer.zero_grad()
            S = last(torch.tanh(first(X)))
            fit = (
                torch.nn.functional.cross_entropy(S, y) if task.classify else ((S[:, 0] - y) ** 2).mean() / 2
            )
            loss = fit + task.alpha / (2 * n) * ((first.weight**2).sum() + (last.weight**2).sum())
            loss.backward()
            clock.see(loss.item())
            return loss

        while True:
            optimizer.step(closure)

    return run


METHODS: dict[str, Method] = {
    "secondorder lm": ours("lm"),
    "secondorder newton-trust-region": ours("newton-trust-region"),
    "secondorder gauss-newton-cg": ours("gauss-newton-cg"),
    "scipy least_squares": scipy_least_squares,
    "sklearn lbfgs": sklearn_lbfgs,
    "sklearn adam": sklearn_adam,
    "torch L-BFGS": torch_full("L-BFGS"),
    "torch Adam": torch_full("Adam"),
}
