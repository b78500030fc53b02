"""What all linear classifiers here share: checks, encoding and weights before a fit, prediction after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_array, issparse
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, compute_class_weight
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from secondorder.linear_model._callbacks import CallbackSupportMixin
from secondorder.losses import Logistic, Loss, Softmax
from secondorder.solvers.linear import SOLVERS

LARGEST_CODE = 2.0**53  # to which floats hold all integers
FEW_NUMBERS = 2**16  # from here on what scikit-learn's checks cost does not count


class TrainingData(NamedTuple):
    """What the solvers are given: rows, targets and weights, the loss and its number of outputs."""

    X: Any
    y: np.ndarray
    s: np.ndarray
    loss: Loss
    n_outputs: int


class ResponsesMixin(ClassifierMixin):
    """Predictions from `classes_` and a `decision_function` that gives an array of its own."""

    classes_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores of the classes; for two classes the log-odds of ``classes_[1]``."""
        raise NotImplementedError

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row, shape (n_samples,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(np.intp) if scores.ndim == 1 else np.argmax(scores, axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes in the order of `classes_`, shape (n_samples, n_classes)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            P = np.empty((2, len(scores)), scores.dtype)
            expit(np.negative(scores, out=P[0]), out=P[0])  # 1 - P[1] would lose its tail
            expit(scores, out=P[1])
            return P.T
        scores -= scores.max(axis=1, keepdims=True)
        P = np.exp(scores, out=scores)
        P /= P.sum(axis=1, keepdims=True)
        return P

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`, finite also where that is 0 or 1 in rounding."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        return log_softmax(scores, axis=1)


class LinearClassifier(CallbackSupportMixin, ResponsesMixin, BaseEstimator):
    """A classifier with scores ``W x + b``, fitted to weighted rows of at least two classes."""

    fit_intercept: bool
    tol: float
    class_weight: Any
    solver: str
    max_iter: int
    n_features_in_: int
    coef_: Any
    intercept_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores ``W x + b``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the log-odds of ``classes_[1]``.
        """
        if self._needs_no_check(X):
            scores = X @ self.coef_.T
        else:
            check_is_fitted(self)
            X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
            scores = safe_sparse_dot(X, self.coef_.T, dense_output=True)
        scores += self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def sparsify(self) -> Self:
        """Turn `coef_` into a SciPy CSR array, which saves memory when most coefficients are 0.

        Returns
        -------
        self : estimator
        """
        check_is_fitted(self)
        self.coef_ = csr_array(self.coef_)
        return self

    def densify(self) -> Self:
        """Turn `coef_` back into an ndarray.

        Returns
        -------
        self : estimator
        """
        check_is_fitted(self)
        if issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def _needs_no_check(self, X: Any) -> bool:
        """Whether scikit-learn's checks, dearer than the scores of a few rows, would find nothing to say."""
        fitted = vars(self)
        coef = fitted.get("coef_")
        return (
            type(X) is np.ndarray
            and type(coef) is np.ndarray
            and X.ndim == 2
            and X.dtype in (np.float64, np.float32)
            and X.shape[1] == coef.shape[1]
            and 0 < X.size <= FEW_NUMBERS
            and "feature_names_in_" not in fitted
            and bool(np.isfinite(X).all())
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_parameters(self) -> None:
        """Raise a ValueError that names the parameter that cannot be used."""
        if not isinstance(self.fit_intercept, bool | np.bool_):
            raise ValueError(f"fit_intercept={self.fit_intercept!r}: give True or False.")
        if not (isinstance(self.tol, Real) and self.tol >= 0):
            raise ValueError(f"tol={self.tol!r}: give a relative gap that is not negative.")
        if not (isinstance(self.max_iter, Integral) and self.max_iter >= 0):
            raise ValueError(f"max_iter={self.max_iter!r}: give an integer that is not negative.")
        if self.solver not in SOLVERS:
            raise ValueError(f"solver={self.solver!r}: choose one of {', '.join(SOLVERS)}.")

    def _prepare(self, X: Any, y: Any, sample_weight: Any) -> tuple[np.ndarray, TrainingData]:
        """The labels, and what the solvers are given; sets `classes_`. X is used as it is if it can be."""
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], ensure_all_finite=False
        )
        self.classes_, codes = _encode(y)
        s = self._weights(X, y, codes, sample_weight)
        if len(self.classes_) == 2:
            return y, TrainingData(X, codes.astype(np.float64, copy=False), s, Logistic(), 1)
        return y, TrainingData(X, codes, s, Softmax(), len(self.classes_))

    @contextmanager
    def _values_told(self, X: Any) -> Iterator[None]:
        """NaN or infinity in X, which reach the gradient, are told as such."""
        try:
            with np.errstate(invalid="ignore", over="ignore"):
                yield
        except (ValueError, FloatingPointError, np.linalg.LinAlgError):
            assert_all_finite(X, input_name="X", estimator_name=type(self).__name__)
            raise

    def _weights(self, X: Any, y: Any, codes: np.ndarray, sample_weight: Any) -> np.ndarray:
        """``s``, the product of the weights of rows and classes."""
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                "y holds only one class, but a classifier needs at least 2: "
                f"every label is {self.classes_.tolist()[0]!r}."
            )
        s = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        s = np.require(s, requirements=["C", "W"])  # as the loops are compiled for
        if sample_weight is not None:
            self._check_totals(codes, s, "sample_weight")
        if self.class_weight is None:
            return s
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=s)
        if not (np.all(np.isfinite(factors)) and np.all(factors >= 0)):
            raise ValueError(
                f"class_weight={self.class_weight!r}: give finite weights that are not negative."
            )
        s = s * factors.take(codes.astype(np.intp, copy=False))
        self._check_totals(codes, s, "class_weight")
        return s

    def _check_totals(self, codes: np.ndarray, s: np.ndarray, source: str) -> None:
        """Raise a ValueError for a class whose rows all have weight 0: its probability would be 0."""
        empty = self._classes_without_weight(codes, s)
        if empty:
            raise ValueError(
                f"Every class needs a row of positive weight, but {source} makes those of class {empty} "
                "all zero: leave the rows out, or change the weights."
            )

    def _classes_without_weight(self, codes: np.ndarray, s: np.ndarray) -> str:
        """The classes whose rows all have weight 0, in words."""
        if np.min(s) > 0:
            return ""
        totals = np.bincount(codes.astype(np.intp, copy=False), weights=s, minlength=len(self.classes_))
        return ", ".join(repr(label) for label in self.classes_[~(totals > 0)].tolist())

    def _coefficients(self, w: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """``W`` and ``b`` in `dtype`; of all equal solutions the one that sums to 0 over classes."""
        p, n_classes = self.n_features_in_, len(self.classes_)
        W = w.reshape(-1, 1 if n_classes == 2 else n_classes)
        if W.shape[1] > 1:
            W = W - W.mean(axis=1, keepdims=True)
        W = W.astype(dtype)
        intercept = W[p].copy() if self.fit_intercept else np.zeros(W.shape[1], dtype)
        return np.ascontiguousarray(W[:p].T), intercept


def _encode(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels in `y`, sorted, and the position of each row's among them, in floats if there are two."""
    if y.dtype.kind == "f" and np.all(np.abs(y) < min(LARGEST_CODE, float(np.finfo(y.dtype).max))):
        whole = y.astype(np.intp)
        if np.array_equal(whole, y):
            classes, codes = _encode(whole)
            return classes.astype(y.dtype), codes
    if y.dtype.kind in "iub":
        low, high = int(y.min()), int(y.max())
        if high - low > len(y) or high > np.iinfo(np.intp).max:
            classes = np.unique(y)
            return classes, np.searchsorted(classes, y)
        if high - low <= 1:
            return np.array([low, high][: high - low + 1], dtype=y.dtype), (y != low).astype(np.float64)
        above = np.subtract(y, low, dtype=np.intp)
        taken = np.flatnonzero(np.bincount(above))
        classes = (taken + low).astype(y.dtype)
        if len(taken) == high - low + 1:
            return classes, above
        codes = np.zeros(high - low + 1, np.intp)
        codes[taken] = np.arange(len(taken))
        return classes, codes[above]
    check_classification_targets(y)
    encoder = LabelEncoder().fit(y)
    return encoder.classes_, encoder.transform(y)
