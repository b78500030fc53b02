"""What multilayer perceptrons have in common behind scikit-learn's interface: the fit and its checks."""

import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from secondorder.losses import Loss
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design
from secondorder.neural_network._report import dead_units, explain, explain_dead, print_iteration
from secondorder.neural_network._threads import threads_for
from secondorder.objective import Objective
from secondorder.solvers import Progress, Result, Validation, fit_network, resume_network
from secondorder.solvers.network import SECOND_ORDER, SOLVERS, choose_solver

PRECISIONS = [np.float64, np.float32]


class Data(NamedTuple):
    """Rows as the engine wants them; `labels` are what a split is to be stratified by."""

    X: Any
    y: np.ndarray
    s: np.ndarray
    labels: np.ndarray | None

    def part(self, rows: np.ndarray) -> "Data":
        """Some of the rows."""
        return Data(
            self.X[rows], self.y[rows], self.s[rows], None if self.labels is None else self.labels[rows]
        )


class Perceptron(BaseEstimator):
    """What classifier and regressor have in common."""

    _loss: Loss
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    n_features_in_: int
    n_outputs_: int
    n_iter_: int
    loss_curve_: list[float]

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "auto",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float | None = None,
        max_iter: int = 200,
        shuffle: bool = True,
        init: str = "glorot_uniform",
        n_restarts: int = 1,
        random_state: Any = None,
        tol: float = 1e-3,
        verbose: int = 0,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.init = init
        self.n_restarts = n_restarts
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float64 and float32 are used as they are (the layers compute in the precision of X); anything
            else is converted to float64. Bring the features to comparable scales.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets: numbers for the regressor, one or several; for the classifier labels, or
            (n_samples, n_classes) probabilities (soft labels).
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative. A weight of 0 means the row is not there.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used; the message says what to change.

        Warns
        -----
        ConvergenceWarning
            When the loss diverged or was still falling at `max_iter`, or when half of the units of a layer
            are dead; the message names cause and remedy.
        """
        self._check_parameters()
        previous = self._parameters() if self.warm_start and hasattr(self, "coefs_") else None
        data = self._validate(X, y, sample_weight)
        rng = self._rng = self._generator()
        model = self._network()
        train, judge = data, Progress(self.tol, self.n_iter_no_change)
        if self.early_stopping:
            train, held_out = self._split(data)
            judge = Progress(self.tol, self.n_iter_no_change, self._validation(model, held_out))
        objective = self._objective(model, train)
        if previous is not None and len(previous) == model.n_parameters:
            result = self._solve(objective, previous, judge, rng)
        else:
            make = INITIAL_WEIGHTS[self.init]
            starts = (model.initial(make, rng) for _ in range(self.n_restarts))
            result = min((self._solve(objective, w, judge, rng) for w in starts), key=self._rank)
        self._keep(result, train.X.dtype)
        self._record(result)
        self._warn(result, objective)
        return self

    def _solve(self, objective: Objective, w: np.ndarray, judge: Progress, rng: Any) -> Result:
        n = objective.X.shape[0]
        precision = np.float64 if self._solver(len(w)) in SECOND_ORDER else objective.X.X.dtype
        with threads_for(n, len(w)):
            return fit_network(
                objective,
                w.astype(precision),
                judge=judge,
                solver=self.solver,
                learning_rate=self.learning_rate_init,
                batch_size=self._batch_size(n),
                max_iter=self.max_iter,
                rng=rng if self.shuffle else None,
                callback=print_iteration if self.verbose else None,
            )

    def _partial_fit(self, data: Data) -> Self:
        """One iteration on the rows of `data`, from the weights and the memory of the last."""
        model = self._network()
        if not hasattr(self, "coefs_"):
            self._rng, self._memory = self._generator(), None
            self.loss_curve_, self.n_iter_ = [], 0
            w = model.initial(INITIAL_WEIGHTS[self.init], self._rng)
        else:
            w = self._parameters()
        objective, solver = self._objective(model, data), self._solver(len(w))
        precision = np.float64 if solver in SECOND_ORDER else data.X.dtype
        w, value, self._memory = resume_network(
            objective,
            w.astype(precision),
            self._memory,
            solver=solver,
            learning_rate=self.learning_rate_init,
            batch_size=self._batch_size(len(data.s)),
            rng=self._rng if self.shuffle else None,
        )
        if not np.isfinite(value):
            raise FloatingPointError(
                f"The loss is not finite ({value}): lower learning_rate_init or scale the features. "
                "The weights are those of before this call."
            )
        self._unpack(w, data.X.dtype)
        self.loss_ = value
        self.loss_curve_ = [*self.loss_curve_, value]
        self.n_iter_ += 1
        return self

    def _generator(self) -> np.random.Generator:
        """The source of chance of a fit."""
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))

    def _network(self) -> MLP:
        """The model, once the data are known."""
        widths = (self.n_features_in_, *self._hidden(), self.n_outputs_)
        return MLP(widths, ACTIVATIONS[self.activation])

    def _hidden(self) -> tuple[int, ...]:
        """`hidden_layer_sizes` as a tuple."""
        sizes = self.hidden_layer_sizes
        return tuple(int(size) for size in sizes) if isinstance(sizes, Iterable) else (int(sizes),)

    def _batch_size(self, n: int) -> int:
        """The rows of a mini-batch."""
        return min(200, n) if self.batch_size == "auto" else int(self.batch_size)

    def _solver(self, n_parameters: int) -> str:
        """`solver`, chosen by size for "auto"."""
        return choose_solver(n_parameters) if self.solver == "auto" else self.solver

    def _objective(self, model: MLP, data: Data) -> Objective:
        """``sum_i s_i loss_i / sum(s) + alpha/2 |W|^2 / sum(s)``."""
        total = float(np.sum(data.s))
        s, penalty = data.s / total, model.penalty(self.alpha / total)
        return Objective(model, self._loss, Design(data.X), data.y, s, penalty)

    def _split(self, data: Data) -> tuple[Data, Data]:
        """The rows to fit, and those to stop by."""
        train, held_out = train_test_split(
            np.arange(len(data.s)),
            test_size=self.validation_fraction,
            random_state=check_random_state(self.random_state).randint(2**31 - 1),
            stratify=data.labels,
        )
        for rows, use in ((train, "fit"), (held_out, "stop by")):
            if not np.sum(data.s[rows]) > 0:
                raise ValueError(
                    f"early_stopping=True leaves no row of positive weight to {use}: change "
                    "validation_fraction or the weights."
                )
        return data.part(train), data.part(held_out)

    def _validation(self, model: MLP, data: Data) -> Validation:
        """What judges the iterations on held-out rows: their loss without penalty, and their score."""
        s, zero = data.s / np.sum(data.s), model.penalty(0.0)
        objective = Objective(model, self._loss, Design(data.X), data.y, s, zero)
        return Validation(objective, lambda S: self._score_outputs(S, data))

    def _rank(self, result: Result) -> float:
        """What the best of several fits is least in."""
        if self.early_stopping:
            return float(np.nanmin([row.validation_loss for row in result.history]))
        return result.value if np.isfinite(result.value) else np.inf

    def _parameters(self) -> np.ndarray:
        """`coefs_` and `intercepts_` as one vector."""
        layers = zip(self.coefs_, self.intercepts_, strict=True)
        return np.concatenate([np.vstack([W, b]).ravel() for W, b in layers])

    def _unpack(self, w: np.ndarray, dtype: Any) -> None:
        """Set `coefs_` and `intercepts_`."""
        layers = [W.astype(dtype) for W in self._network().unpack(w)]
        self.coefs_ = [W[:-1].copy() for W in layers]
        self.intercepts_ = [W[-1].copy() for W in layers]
        self.n_layers_ = len(layers) + 1

    def _keep(self, result: Result, dtype: Any) -> None:
        """Set the fitted weights and the record of the fit."""
        self._unpack(result.w, dtype)
        self._memory = None
        self.result_, self.n_iter_, self.loss_ = result, result.n_iter, result.value

    def _record(self, result: Result) -> None:
        """Set the curves of the fit."""
        rows = result.history
        self.loss_curve_ = [row.value for row in rows]
        self.best_loss_ = min(self.loss_curve_, default=np.nan)
        losses, scores = [row.validation_loss for row in rows], [row.validation_score for row in rows]
        stopped = self.early_stopping
        self.validation_losses_ = losses if stopped else None
        self.validation_scores_ = scores if stopped else None
        self.best_validation_score_ = max(scores, default=np.nan) if stopped else None

    def _warn(self, result: Result, objective: Objective) -> None:
        """Warn of all that makes the fit less than it seems."""
        self.dead_units_ = dead_units(objective.at(result.w).forward)
        messages = (
            explain(result, self._solver(len(result.w))),
            explain_dead(self.dead_units_, self._hidden(), self.activation),
        )
        for message in filter(None, messages):
            warnings.warn(message, ConvergenceWarning, stacklevel=3)

    def _outputs(self, X: Any) -> np.ndarray:
        """The outputs of the network, shape (n, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=PRECISIONS, reset=False)
        return self._network().forward(self._parameters(), Design(X)).outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_parameters(self) -> None:
        """Raise a ValueError that names the parameter that cannot be used."""
        if not all(isinstance(size, int) and size > 0 for size in self._hidden()):
            raise ValueError(f"hidden_layer_sizes={self.hidden_layer_sizes!r}: give positive integers.")
        for name, choices in (("activation", ACTIVATIONS), ("solver", SOLVERS), ("init", INITIAL_WEIGHTS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(choices)}.")
        for name in ("alpha", "tol"):
            if not (isinstance(getattr(self, name), Real) and 0 <= getattr(self, name) < np.inf):
                raise ValueError(f"{name}={getattr(self, name)!r}: give a number that is not negative.")
        rate = self.learning_rate_init
        if rate is not None and not (isinstance(rate, Real) and 0 < rate < np.inf):
            raise ValueError(f"learning_rate_init={rate!r}: give a positive number, or None.")
        for name, least in (("max_iter", 0), ("n_restarts", 1), ("n_iter_no_change", 1)):
            value = getattr(self, name)
            if not (isinstance(value, Integral) and int(value) >= least):
                raise ValueError(f"{name}={value!r}: give an integer that is at least {least}.")
        size = self.batch_size
        if not ((isinstance(size, str) and size == "auto") or (isinstance(size, Integral) and size > 0)):
            raise ValueError(f"batch_size={size!r}: give a positive integer or 'auto'.")
        if not (isinstance(self.validation_fraction, Real) and 0 < self.validation_fraction < 1):
            raise ValueError(
                f"validation_fraction={self.validation_fraction!r}: give a number between 0 and 1."
            )

    def _validate(self, X: Any, y: Any, sample_weight: Any) -> Data:
        """The rows as the engine wants them; sets what is learned of them."""
        raise NotImplementedError

    def _score_outputs(self, S: np.ndarray, data: Data) -> float:
        """The score of outputs on the rows of `data`."""
        raise NotImplementedError
