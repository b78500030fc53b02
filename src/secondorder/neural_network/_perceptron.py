"""Multilayer perceptrons behind scikit-learn's interface."""

import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state, column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from secondorder.losses import Logistic, Loss, Softmax, Squared
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


class _Perceptron(BaseEstimator):
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


class MLPClassifier(ClassifierMixin, _Perceptron):
    """Multilayer perceptron for classification, trained by methods that use curvature.

    Minimises ``(sum_i s_i loss_i + alpha/2 |W|^2) / sum_i s_i`` with the cross-entropy of a softmax over
    the outputs (of a logistic function, for two classes). The biases are not penalised. Whatever the solver
    and the batch, this is the objective (scikit-learn divides alpha by the size of a batch instead).

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(100,)
        Units in each hidden layer; ``()`` is logistic or softmax regression, with ``C = 1 / alpha``.
    activation : str, default="relu"
        Of the hidden layers: identity, logistic, tanh, relu, leaky_relu, leaky_tanh, hard_tanh, softplus,
        silu or sign (which has no derivative, so that only the last layer learns).
    solver : str, default="auto"
        - "lm", Levenberg-Marquardt on the dense Gauss-Newton matrix: best for small networks;
        - "gauss-newton-cg", the damped Gauss-Newton system by conjugate gradients (Hessian-free): for larger;
        - "newton-trust-region", the exact Hessian within a trust region;
        - "diagonal-lm", "gd", "sgd", "nesterov", "adagrad", "rmsprop", "adam": by mini-batches
          (except "gd"), an iteration being one sweep over the rows;
        - "auto": "lm" up to 2000 parameters, else "gauss-newton-cg".
    alpha : float, default=0.0001
        Strength of the L2 penalty.
    batch_size : int or "auto", default="auto"
        Rows in a mini-batch; "auto" is 200, or all if there are fewer.
    learning_rate_init : float, default=None
        Learning rate of the solvers with mini-batches; None is the default of each.
    max_iter : int, default=200
        Largest number of iterations.
    shuffle : bool, default=True
        Whether mini-batches are drawn in random order.
    init : str, default="glorot_uniform"
        Initial weights: glorot_uniform, glorot_normal, he, nguyen_widrow, uniform or glorot_twelfth, see
        `secondorder.models.INITIAL_WEIGHTS`.
    n_restarts : int, default=1
        Fits from different initial weights, of which the best is kept.
    random_state : int, RandomState instance or None, default=None
        Of initial weights, batches and the validation split.
    tol : float, default=1e-3
        The fit ends when the loss has not fallen by more than `tol` times itself in `n_iter_no_change`
        iterations on end (scikit-learn's is an absolute fall).
    verbose : int, default=0
        Print a line for every iteration if positive.
    warm_start : bool, default=False
        Whether to start from the weights of the last fit.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the rows, end by their loss instead, and keep the weights
        that had the least.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=10
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in `secondorder.linear_model.LogisticRegression`; not for soft labels.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted; 0, 1, ... for soft labels.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of every layer, in the precision of X.
    loss_, best_loss_ : float
        The objective at the end, and the least one met.
    loss_curve_ : list of float
        The objective at the start and after every iteration; for mini-batches the mean of their values.
    validation_losses_, validation_scores_ : list of float or None
        With early_stopping, loss and accuracy of the held-out rows.
    best_validation_score_ : float or None
    n_iter_ : int
        Iterations made.
    n_layers_, n_outputs_ : int
    out_activation_ : {"softmax", "logistic"}
    dead_units_ : list of int
        For each hidden layer, units whose activation has no slope at any training row.
    result_ : secondorder.solvers.Result
        Record of the fit: status and reason, counts and history.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    References
    ----------
    .. [1] Martens. Deep learning via Hessian-free optimization. ICML 2010.
    .. [2] Hagan, Menhaj. Training feedforward networks with the Marquardt algorithm. IEEE TNN 5, 1994.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from secondorder.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((10,), "tanh", alpha=0.1, random_state=0).fit(scale(X), y)
    >>> model.score(scale(X), y) > 0.97
    True
    """

    classes_: np.ndarray

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
        class_weight: dict[Any, float] | str | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            shuffle=shuffle,
            init=init,
            n_restarts=n_restarts,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One iteration on some rows: a sweep of mini-batches, or one step of a second-order solver.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will come; needed by the first call.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : MLPClassifier
        """
        self._check_parameters()
        first = not hasattr(self, "coefs_")
        if first and classes is None:
            raise ValueError("The first call of partial_fit needs classes, all labels that will come.")
        if classes is not None:
            given = np.unique(classes)
            if not first and not np.array_equal(given, self.classes_):
                raise ValueError(
                    f"classes={given.tolist()!r} are not those of before, {self.classes_.tolist()!r}."
                )
            self.classes_ = given
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=PRECISIONS, reset=first)
        check_classification_targets(y)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y holds the labels {unknown.tolist()!r}, which are not among classes.")
        return self._partial_fit(self._encode(X, y, np.searchsorted(self.classes_, y), sample_weight))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row, shape (n_samples,)."""
        S = self._outputs(X)
        return self.classes_[self._codes(S)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes in the order of `classes_`, shape (n_samples, n_classes)."""
        S = self._outputs(X)
        return np.hstack([expit(-S), expit(S)]) if S.shape[1] == 1 else softmax(S, axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`, finite also where that is 0 or 1 in rounding."""
        S = self._outputs(X)
        return np.hstack([log_expit(-S), log_expit(S)]) if S.shape[1] == 1 else log_softmax(S, axis=1)

    def _validate(self, X: Any, y: Any, sample_weight: Any) -> Data:
        if _is_soft(y):
            X, y = validate_data(self, X, y, accept_sparse="csr", dtype=PRECISIONS, multi_output=True)
            return self._soft(X, y, sample_weight)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=PRECISIONS)
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(
                "y holds only one class, but a classifier needs at least 2: "
                f"every label is {self.classes_[0]!r}."
            )
        codes = encoder.transform(y)
        data = self._encode(X, y, codes, sample_weight)
        if np.count_nonzero(np.bincount(codes, weights=data.s)) < 2:
            raise ValueError("The weights leave rows of only one class, but a classifier needs at least 2.")
        return data

    def _encode(self, X: Any, y: Any, codes: np.ndarray, sample_weight: Any) -> Data:
        """The rows with the weights of their classes."""
        s = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is not None:
            factors = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=s)
            s = s * factors.take(codes)
            if not (np.all(np.isfinite(s)) and np.all(s >= 0)):
                raise ValueError(
                    f"class_weight={self.class_weight!r}: give finite weights that are not negative."
                )
        self._set_outputs()
        return Data(X, codes.astype(np.float64) if self.n_outputs_ == 1 else codes, s, codes)

    def _soft(self, X: Any, y: np.ndarray, sample_weight: Any) -> Data:
        """The rows of soft labels."""
        y = y.astype(np.float64)
        if not (np.all(y >= 0) and np.allclose(y.sum(axis=1), 1, atol=1e-6)):
            raise ValueError(
                "Soft labels are probabilities: every row of y must be non-negative and sum to 1."
            )
        if self.class_weight is not None:
            raise ValueError("class_weight needs labels; with soft labels give sample_weight instead.")
        self.classes_ = np.arange(y.shape[1])
        self._set_outputs()
        return Data(
            X,
            y[:, 1] if self.n_outputs_ == 1 else y,
            _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True),
            None,
        )

    def _set_outputs(self) -> None:
        """Set what follows from the number of classes."""
        binary = len(self.classes_) == 2
        self._loss = Logistic() if binary else Softmax()
        self.n_outputs_ = 1 if binary else len(self.classes_)
        self.out_activation_ = "logistic" if binary else "softmax"

    def _codes(self, S: np.ndarray) -> np.ndarray:
        return (S[:, 0] > 0).astype(np.intp) if S.shape[1] == 1 else np.argmax(S, axis=1)

    def _score_outputs(self, S: np.ndarray, data: Data) -> float:
        soft = np.argmax(data.y, axis=1) if data.y.ndim == 2 else (data.y > 0.5).astype(np.intp)
        truth = soft if data.labels is None else data.labels
        return float(accuracy_score(truth, self._codes(S), sample_weight=data.s))


class MLPRegressor(RegressorMixin, _Perceptron):
    """Multilayer perceptron for regression, trained by methods that use curvature.

    Minimises ``(sum_i s_i |S_i - y_i|^2 / 2 + alpha/2 |W|^2) / sum_i s_i`` over the weights; the biases are
    not penalised. One output or several.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(100,)
        Units in each hidden layer; ``()`` is ridge regression.
    activation, solver, alpha, batch_size, learning_rate_init, max_iter, shuffle, init, n_restarts, \
    random_state, tol, verbose, warm_start, early_stopping, validation_fraction, n_iter_no_change
        As in `MLPClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_losses_, validation_scores_, \
    best_validation_score_, n_iter_, n_layers_, n_outputs_, dead_units_, result_, n_features_in_, \
    feature_names_in_
        As in `MLPClassifier`; validation scores are R^2.
    out_activation_ : {"identity"}

    Examples
    --------
    >>> import numpy as np
    >>> from secondorder.neural_network import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = MLPRegressor((20,), "tanh", alpha=0, random_state=0).fit(X, np.sin(3 * X[:, 0]))
    >>> model.score(X, np.sin(3 * X[:, 0])) > 0.999
    True
    """

    out_activation_ = "identity"
    _loss = Squared()

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One iteration on some rows: a sweep of mini-batches, or one step of a second-order solver.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : MLPRegressor
        """
        self._check_parameters()
        return self._partial_fit(self._validate(X, y, sample_weight, reset=not hasattr(self, "coefs_")))

    def predict(self, X: Any) -> np.ndarray:
        """The outputs, shape (n_samples,) or (n_samples, n_outputs)."""
        S = self._outputs(X)
        return S[:, 0] if self._flat else S

    def _validate(self, X: Any, y: Any, sample_weight: Any, reset: bool = True) -> Data:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=PRECISIONS, multi_output=True, y_numeric=True, reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        n_outputs = 1 if y.ndim == 1 else y.shape[1]
        if not reset and n_outputs != self.n_outputs_:
            raise ValueError(f"y has {n_outputs} outputs, but the network has {self.n_outputs_}.")
        self._flat, self.n_outputs_ = y.ndim == 1, n_outputs
        return Data(
            X,
            y.astype(np.float64),
            _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True),
            None,
        )

    def _score_outputs(self, S: np.ndarray, data: Data) -> float:
        return float(r2_score(data.y, S[:, 0] if data.y.ndim == 1 else S, sample_weight=data.s))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _is_soft(y: Any) -> bool:
    """Whether `y` holds a column for each class."""
    shape = np.asarray(y).shape
    return len(shape) == 2 and shape[1] > 1
