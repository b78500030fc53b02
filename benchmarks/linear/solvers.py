"""The solvers, one adapter each.

An adapter is called once with the task, to convert the data to the layout its solver likes (not timed), and
returns `fit(tol) -> Fit`, a cold fit (timed). Each has its tolerance swept; nothing else ever stops it.

Objectives. Most solvers minimise ``sum_i loss + |W|^2 / (2 C)`` with a free intercept. LIBLINEAR's dual,
scikit-learn's liblinear and Snap ML append a constant feature and penalise its weight: they are judged on
that objective, as is our own solver on the data with that feature ("secondorder, b penalised"). The primal
of liblinear-official runs both ways (-R frees the bias). Snap ML keeps X in float32, so where X needs more
digits it solves another problem, and its gap to this one says so.

Passes over X, a product with X or with its transpose being one (fused, both are one): ours as the fit
counts them; in scikit-learn's lbfgs and newton solvers every evaluation that reads X counts (`passes.py`);
sag and saga one an epoch; PyTorch two an evaluation; glum at least three and scikit-learn-intelex at least
two an iteration. Forming a Gram matrix counts as one, though its cost is that of many. Others do not tell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, hstack, issparse

FOREVER = 1_000_000


class Task(NamedTuple):
    """A problem in memory; y holds codes 0 ... K - 1. `even`: the features have similar scales."""

    X: np.ndarray | csr_matrix
    y: np.ndarray
    C: float
    even: bool = True

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.y.max()) + 1

    def with_constant(self) -> "Task":
        """The same with a constant feature, so that the intercept is penalised like the rest."""
        ones = np.ones((len(self.y), 1))
        X = hstack([self.X, ones], format="csr") if issparse(self.X) else np.hstack([self.X, ones])
        return self._replace(X=X)


class Fit(NamedTuple):
    """What a fit returned: coefficients (1 or K rows), intercept, iterations, passes over X if known."""

    coef: np.ndarray
    intercept: np.ndarray
    n_iter: int | None = None
    passes: float | None = None


Adapter = Callable[[Task], Callable[[float], Fit]]


def binary(task: Task) -> bool:
    """Solvers of two classes; with more they would fit one against the rest, another problem."""
    return task.n_classes == 2


def penalised(task: Task) -> bool:
    """Two classes and a penalty."""
    return binary(task) and np.isfinite(task.C)


def _split(coef: np.ndarray, **counts: float | None) -> Fit:
    """A fit whose last coefficient belongs to the constant feature."""
    return Fit(coef[None, :-1], coef[-1:], **counts)


def secondorder(task: Task) -> Callable[[float], Fit]:
    from secondorder.linear_model import LogisticRegression

    def fit(tol: float) -> Fit:
        m = LogisticRegression(C=task.C, tol=tol, max_iter=1000).fit(task.X, task.y)
        return Fit(m.coef_, m.intercept_, int(m.n_iter_[0]), m.result_.passes)

    return fit


def secondorder_b(task: Task) -> Callable[[float], Fit]:
    from secondorder.linear_model import LogisticRegression

    X = task.with_constant().X

    def fit(tol: float) -> Fit:
        m = LogisticRegression(C=task.C, tol=tol, max_iter=1000, fit_intercept=False).fit(X, task.y)
        return _split(m.coef_[0], n_iter=int(m.n_iter_[0]), passes=m.result_.passes)

    return fit


def sklearn(task: Task, solver: str) -> Callable[[float], Fit]:
    from passes import counted
    from sklearn.linear_model import LogisticRegression

    def fit(tol: float) -> Fit:
        with counted() as passes:
            m = LogisticRegression(C=task.C, solver=solver, tol=tol, max_iter=FOREVER).fit(task.X, task.y)
        n_iter = int(np.max(m.n_iter_))
        known = {"liblinear": None, "sag": n_iter, "saga": n_iter}
        return Fit(m.coef_, m.intercept_, n_iter, known.get(solver, passes.count))

    return fit


def intelex(task: Task) -> Callable[[float], Fit]:
    from sklearnex.linear_model import LogisticRegression

    def fit(tol: float) -> Fit:
        m = LogisticRegression(C=task.C, tol=tol, max_iter=FOREVER).fit(task.X, task.y)
        n_iter = int(np.max(m.n_iter_))
        return Fit(m.coef_, m.intercept_, n_iter, 2 * n_iter)

    return fit


def liblinear_official(task: Task, options: str) -> Callable[[float], Fit]:
    from liblinear.liblinearutil import parameter, problem, train

    data = problem(np.where(task.y == 1, 1.0, -1.0), csr_matrix(task.X), bias=1)

    def fit(tol: float) -> Fit:
        model = train(data, parameter(f"{options} -B 1 -q -c {task.C!r} -e {tol!r}"))
        w, b = model.get_decfun()
        sign = model.get_labels()[0]
        return Fit(sign * np.array([w]), sign * np.array([b]))

    return fit


def snapml(task: Task, dual: bool) -> Callable[[float], Fit]:
    from os import cpu_count

    from snapml import LogisticRegression

    X = task.with_constant().X  # its primal solver ignores fit_intercept
    X = X.astype(np.float32) if issparse(X) else np.array(X, np.float32, order="C" if dual else "F")

    def fit(tol: float) -> Fit:
        m = LogisticRegression(
            max_iter=FOREVER, regularizer=1 / task.C, dual=dual, tol=tol, n_jobs=cpu_count(), random_state=0
        ).fit(X, task.y)
        return _split(np.ravel(m.coef_))

    return fit


def glum(task: Task) -> Callable[[float], Fit]:
    import tabmat
    from glum import GeneralizedLinearRegressor

    X = tabmat.SparseMatrix(task.X.tocsc()) if issparse(task.X) else tabmat.DenseMatrix(task.X)
    y, n = task.y.astype(float), len(task.y)

    def fit(tol: float) -> Fit:
        alpha = 1 / (task.C * n)
        m = GeneralizedLinearRegressor(
            family="binomial", alpha=alpha, l1_ratio=0, gradient_tol=tol, max_iter=10_000, copy_X=False
        ).fit(X, y)
        return Fit(m.coef_[None], np.array([m.intercept_]), m.n_iter_, 3 * m.n_iter_)

    return fit


def torch_lbfgs(task: Task) -> Callable[[float], Fit]:
    """Full batch, float64, strong Wolfe search on the whole objective; the gradient is written out."""
    import torch

    n, p = task.X.shape
    outputs = 1 if task.n_classes == 2 else task.n_classes
    if issparse(task.X):
        X, Xt = (
            torch.sparse_csr_tensor(*map(torch.from_numpy, (A.indptr, A.indices, A.data)), size=A.shape)
            for A in (task.X, task.X.T.tocsr())
        )
    else:
        X = torch.from_numpy(task.X)
        Xt = X.T
    y = torch.from_numpy(task.y.astype(np.int64))
    t, rows = y.double()[:, None], torch.arange(n)

    def fit(tol: float) -> Fit:
        theta = torch.zeros(p + 1, outputs, dtype=torch.float64, requires_grad=True)
        evaluations = 0

        @torch.no_grad()
        def closure() -> torch.Tensor:
            nonlocal evaluations
            evaluations += 1
            W, b = theta[:-1], theta[-1]
            S = (X @ W).add_(b)
            if outputs == 1:
                loss = -torch.nn.functional.logsigmoid(-S).sum() - (t * S).sum()
                R = torch.sigmoid(S).sub_(t)
            else:
                logs = torch.logsumexp(S, 1, keepdim=True)
                loss = logs.sum() - S[rows, y].sum()
                R = S.sub_(logs).exp_()
                R[rows, y] -= 1
            theta.grad = torch.cat([Xt @ R + W / task.C, R.sum(0, keepdim=True)]) / n
            return (loss + (W * W).sum() / (2 * task.C)) / n

        torch.optim.LBFGS(
            [theta],
            max_iter=FOREVER,
            max_eval=FOREVER,
            history_size=20,
            tolerance_grad=tol,
            tolerance_change=1e-18,
            line_search_fn="strong_wolfe",
        ).step(closure)
        W = theta.detach().numpy().T
        return Fit(W[:, :-1], W[:, -1], None, 2 * evaluations)

    return fit


def statsmodels(task: Task) -> Callable[[float], Fit]:
    """Newton's method on the likelihood, which is all it has without a penalty of its own kind."""
    from statsmodels.api import Logit, MNLogit

    X = task.with_constant().X

    def fit(tol: float) -> Fit:
        Model = Logit if binary(task) else MNLogit
        m = Model(task.y, X).fit(method="newton", tol=tol, maxiter=1000, disp=False)
        W = np.reshape(m.params, (X.shape[1], -1)).T
        W = W if binary(task) else np.vstack([np.zeros(W.shape[1]), W])
        return Fit(W[:, :-1], W[:, -1], m.mle_retvals["iterations"])

    return fit


@dataclass(frozen=True)
class Solver:
    """An adapter and what the sweep has to know of it.

    Near the optimum the gap falls as `order`-th power of the tolerance; `loosest` is the first one tried;
    `compiles` gives the first fit of a process, which is not counted, more time.
    """

    name: str
    adapter: Adapter
    takes: Callable[[Task], bool] = lambda task: True
    penalises_intercept: bool = False
    order: int = 2
    loosest: float = 1.0
    compiles: bool = False


SOLVERS = [
    Solver("secondorder", secondorder, order=1, loosest=0.1, compiles=True),
    Solver("secondorder, b penalised", secondorder_b, penalised, True, order=1, loosest=0.1, compiles=True),
    *(Solver(f"sklearn {name}", partial(sklearn, solver=name)) for name in ("lbfgs", "newton-cg")),
    Solver("sklearn newton-cholesky", partial(sklearn, solver="newton-cholesky")),
    Solver("sklearn liblinear", partial(sklearn, solver="liblinear"), penalised, True),
    *(Solver(f"sklearn {name}", partial(sklearn, solver=name), lambda t: t.even) for name in ("sag", "saga")),
    Solver("liblinear primal", partial(liblinear_official, options="-s 0"), penalised, True),
    Solver("liblinear primal -R", partial(liblinear_official, options="-s 0 -R"), penalised),
    Solver("liblinear dual", partial(liblinear_official, options="-s 7"), penalised, True, loosest=1e3),
    Solver("intelex lbfgs", intelex, lambda task: not issparse(task.X)),  # sparse X goes to scikit-learn
    Solver("snapml dual", partial(snapml, dual=True), penalised, True),
    Solver("snapml primal", partial(snapml, dual=False), penalised, True),
    Solver("glum", glum, binary),
    Solver("torch L-BFGS", torch_lbfgs),
    Solver("statsmodels", statsmodels, lambda task: not np.isfinite(task.C) and not issparse(task.X)),
]
BY_NAME = {solver.name: solver for solver in SOLVERS}
