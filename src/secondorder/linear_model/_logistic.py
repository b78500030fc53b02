"""Logistic and softmax regression behind scikit-learn's interface."""

import warnings
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array, issparse
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, compute_class_weight
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from secondorder.linear_model._report import explain, print_iteration
from secondorder.losses import Logistic, Softmax
from secondorder.solvers import Result, Status, fit_linear
from secondorder.solvers.linear import SOLVERS

FEW_NUMBERS = 2**16  # from here on what scikit-learn's checks cost does not count


class LogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression (two classes) and softmax regression (more) by Newton's method.

    Minimises scikit-learn's objective

    .. math:: C \\sum_i s_i \\ell(W x_i + b, y_i) + \\tfrac12 \\|W\\|_F^2

    with the cross-entropy :math:`\\ell` and weights :math:`s_i` (`sample_weight` times `class_weight`);
    the intercept `b` is not penalised. Every fit ends with a certificate of how far it can be from the
    optimum, kept in `result_`, and `tol` bounds just that (with ``C=np.inf``, an estimate).

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the strength of the L2 penalty, positive; `np.inf` for none.
    l1_ratio : float, default=0.0
        Share of the L1 penalty. Only 0 is implemented.
    tol : float, default=1e-8
        The fit stops when its relative gap ``(E - E*) / E`` is certified to be at most `tol`, where E
        is the objective and E* its minimum. With ``C=np.inf`` no such bound exists, and the decrease of
        E that the last Newton step promised takes its place.
    fit_intercept : bool, default=True
        Whether to add `b`.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn. "balanced" gives class k the weight
        ``sum(s) / (n_classes * sum(s of class k))``.
    solver : {"auto", "newton-cg", "newton-cholesky", "newton-kronecker"}, default="auto"
        How the Newton system is preconditioned. All reach the same optimum.

        - "auto" picks from the sizes of the problem; a dense X with more columns than rows is solved
          in as many variables as it has rows.
        - "newton-cg" makes no matrix of its own, and scales the features if their norms differ much.
        - "newton-cholesky" factorises the full Hessian of ``(n_features + 1) * n_outputs`` parameters, and
          keeps the factor while conjugate gradients correct it cheaply.
        - "newton-kronecker" does so for the Kronecker product of a class and a feature matrix.
    max_iter : int, default=100
        Largest number of Newton iterations on all rows. (A tall dense problem starts from the solution of a
        sample of its rows, which these do not count.)
    warm_start : bool, default=False
        Whether to start from the coefficients of the last fit, if classes and features are the same.
    verbose : int, default=0
        Print a line for every iteration if positive.
    random_state : ignored
        The fit is deterministic. Present so that code written for scikit-learn runs unchanged.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        `W`: one row for two classes, else one for each class with column sums 0. In the precision of X.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        `b`; zeros without intercept.
    n_iter_ : ndarray of shape (1,)
        Newton iterations made.
    result_ : secondorder.solvers.Result
        Record of the solve: status and reason, certificate, counts (iterations, products with the Hessian,
        passes over X) and the history of value, gradient norm and gap. Its `value` is the objective
        above divided by C.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    Warns
    -----
    ConvergenceWarning
        When the gap did not come down to `tol`; it names the cause and the remedy.

    References
    ----------
    .. [1] Lin, Weng, Keerthi. Trust region Newton method for large-scale logistic regression. JMLR 9, 2008.
    .. [2] Bohning. Multinomial logistic regression algorithm. Ann. Inst. Statist. Math. 44, 1992.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from secondorder.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> model.score(X, y)
    0.97...
    >>> model.result_.relative_gap <= 1e-8
    True
    """

    classes_: np.ndarray
    coef_: Any
    intercept_: np.ndarray
    n_iter_: np.ndarray
    result_: Result

    def __init__(
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        tol: float = 1e-8,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "auto",
        max_iter: int = 100,
        warm_start: bool = False,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float64 and float32 are used as they are, without a copy of the whole (sparse: CSR; a wide one
            with several classes is copied by columns, where that saves memory elsewhere); anything else
            is converted to float64.
        y : array-like of shape (n_samples,)
            Labels, numbers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative. A weight of 2 means the row twice; 0 means it is not there.

        Returns
        -------
        self : LogisticRegression

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used; the message says what to change.
        """
        self._check_parameters()
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], ensure_all_finite=False
        )
        start = self._previous() if self.warm_start else None
        self.classes_, codes = _encode(y)
        weights = self._weights(X, y, codes, sample_weight)

        n_classes = len(self.classes_)
        binary = n_classes == 2
        result = self._solve(
            X,
            codes.astype(np.float64) if binary else codes,
            weights,
            loss=Logistic() if binary else Softmax(),
            n_outputs=1 if binary else n_classes,
            penalty=1.0 / self.C,
            intercept=self.fit_intercept,
            solver=self.solver,
            w=None if start is None or not np.array_equal(start[0], self.classes_) else start[1],
            tol=self.tol,
            max_iter=self.max_iter,
            callback=print_iteration if self.verbose else None,
        )
        self._keep(result.w.reshape(-1, 1 if binary else n_classes), X.dtype)
        self.n_iter_ = np.array([result.n_iter], dtype=np.int32)
        self.result_ = result
        if result.status is not Status.CONVERGED:
            warnings.warn(explain(self, X), ConvergenceWarning, stacklevel=2)
        return self

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

    def sparsify(self) -> Self:
        """Turn `coef_` into a SciPy CSR array, which saves memory when most coefficients are 0.

        Returns
        -------
        self : LogisticRegression
        """
        check_is_fitted(self)
        self.coef_ = csr_array(self.coef_)
        return self

    def densify(self) -> Self:
        """Turn `coef_` back into an ndarray.

        Returns
        -------
        self : LogisticRegression
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
        if not (isinstance(self.C, Real) and self.C > 0):
            raise ValueError(f"C={self.C!r}: give a positive number, or np.inf for no penalty.")
        if self.l1_ratio != 0:
            raise ValueError(f"l1_ratio={self.l1_ratio!r}: only the L2 penalty, l1_ratio=0, is implemented.")
        if not isinstance(self.fit_intercept, bool | np.bool_):
            raise ValueError(f"fit_intercept={self.fit_intercept!r}: give True or False.")
        if not (isinstance(self.tol, Real) and self.tol >= 0):
            raise ValueError(f"tol={self.tol!r}: give a relative gap that is not negative.")
        if not (isinstance(self.max_iter, Integral) and self.max_iter >= 0):
            raise ValueError(f"max_iter={self.max_iter!r}: give an integer that is not negative.")
        if self.solver not in SOLVERS:
            raise ValueError(f"solver={self.solver!r}: choose one of {', '.join(SOLVERS)}.")

    def _solve(self, X: Any, *arguments: Any, **options: Any) -> Result:
        """The result of `fit_linear`; NaN or infinity in X, which reach the gradient, are told as such."""
        try:
            with np.errstate(invalid="ignore", over="ignore"):
                return fit_linear(X, *arguments, **options)
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
        self._check_totals(codes, s, "sample_weight")
        if self.class_weight is None:
            return s
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=s)
        if not (np.all(np.isfinite(factors)) and np.all(factors >= 0)):
            raise ValueError(
                f"class_weight={self.class_weight!r}: give finite weights that are not negative."
            )
        s = s * factors.take(codes)
        self._check_totals(codes, s, "class_weight")
        return s

    def _check_totals(self, codes: np.ndarray, s: np.ndarray, source: str) -> None:
        """Raise a ValueError for a class whose rows all have weight 0: its probability would be 0."""
        totals = np.bincount(codes, weights=s, minlength=len(self.classes_))
        if not np.all(totals > 0):
            empty = ", ".join(repr(label) for label in self.classes_[~(totals > 0)].tolist())
            raise ValueError(
                f"Every class needs a row of positive weight, but {source} makes those of class {empty} "
                "all zero: leave the rows out, or change the weights."
            )

    def _previous(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The classes and parameters of the last fit, if it had as many features as this one."""
        if not hasattr(self, "coef_") or self.coef_.shape[1] != self.n_features_in_:
            return None
        W = (self.coef_.toarray() if issparse(self.coef_) else self.coef_).T
        rows = [W, self.intercept_[None, :]] if self.fit_intercept else [W]
        return self.classes_, np.concatenate(rows).astype(np.float64).ravel()

    def _keep(self, W: np.ndarray, dtype: Any) -> None:
        """Set `coef_` and `intercept_`; of all equal solutions the one that sums to 0 over classes."""
        if W.shape[1] > 1:
            W = W - W.mean(axis=1, keepdims=True)
        W = W.astype(dtype)
        p = self.n_features_in_
        self.coef_ = np.ascontiguousarray(W[:p].T)
        self.intercept_ = W[p].copy() if self.fit_intercept else np.zeros(W.shape[1], dtype)


def _encode(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels in `y`, sorted, and the position of each row's among them."""
    if y.dtype.kind in "iub":
        classes = np.unique(y)
        return classes, np.searchsorted(classes, y)
    check_classification_targets(y)
    encoder = LabelEncoder().fit(y)
    return encoder.classes_, encoder.transform(y)
