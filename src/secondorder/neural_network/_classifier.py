"""The classifier: labels or probabilities as targets, cross-entropy as loss."""

from typing import Any, Self

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from secondorder.losses import Logistic, Softmax
from secondorder.neural_network._perceptron import PRECISIONS, Data, Perceptron


class MLPClassifier(ClassifierMixin, Perceptron):
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


def _is_soft(y: Any) -> bool:
    """Whether `y` holds a column for each class."""
    shape = np.asarray(y).shape
    return len(shape) == 2 and shape[1] > 1
