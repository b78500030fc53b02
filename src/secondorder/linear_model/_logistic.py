"""Logistic and softmax regression behind scikit-learn's interface."""

import warnings
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from secondorder.linear_model._callbacks import TO_CALLER, Task, with_callbacks
from secondorder.linear_model._classifier import LinearClassifier
from secondorder.linear_model._report import explain, print_iteration, warn_of_rounding
from secondorder.solvers import Iteration, Result, Status, fit_linear


class LogisticRegression(LinearClassifier):
    """Logistic regression (two classes) and softmax regression (more) by Newton's method.

    Minimises scikit-learn's objective

    .. math:: C \\sum_i s_i \\ell(W x_i + b, y_i) + \\tfrac12 \\|W\\|_F^2

    with the cross-entropy :math:`\\ell` and weights :math:`s_i` (`sample_weight` times `class_weight`);
    the intercept `b` is not penalised. Every fit ends with a certificate of how far it can be from the
    optimum, kept in `result_`, and `tol` bounds just that (with ``C=np.inf``, mostly an estimate).

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the strength of the L2 penalty, positive; `np.inf` for none.
    l1_ratio : float, default=0.0
        Share of the L1 penalty. Only 0 is implemented.
    tol : float, default=1e-8
        The fit stops when its relative gap ``(E - E*) / E`` is certified to be at most `tol`, where E
        is the objective and E* its minimum. With ``C=np.inf`` such a bound is known only
        for two classes and few features, dense and not collinear; elsewhere the decrease of E that the
        last Newton step promised takes its place. Coefficients have about half as many digits as E:
        their distance from the optimum goes with the square root of the gap. Where more are wanted,
        ``tol=1e-14`` costs a step or two.
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
        `W`: one row for two classes, else one for each class with column sums 0. In the precision of X; the
        certificate is of the float64 solution, `result_.w`, and a warning says if rounding it counts.
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
    UserWarning
        When rounding coefficients to float32, as X is, changes outputs by more than 0.01.

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

    @with_callbacks
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
            Weights, not negative. A weight of 2 means the row twice; 0 means it is not there. Unlike
            scikit-learn's, every class needs a row of positive weight.

        Returns
        -------
        self : LogisticRegression

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used; the message says what to change.
        """
        self._check_parameters()
        before = getattr(self, "classes_", None)
        y, data = self._prepare(X, y, sample_weight)
        task = Task.of_fit(self, data.X, y, sample_weight, n_parts=self.max_iter)

        def told(row: Iteration) -> None:
            """Tell of an iteration."""
            if self.verbose:
                print_iteration(row)
            if row.iteration > 0:
                task.part("newton-iteration").end()

        with self._values_told(data.X):
            result = fit_linear(
                *data[:3],
                loss=data.loss,
                n_outputs=data.n_outputs,
                penalty=1.0 / self.C,
                intercept=self.fit_intercept,
                solver=self.solver,
                w=self._previous(before) if self.warm_start else None,
                tol=self.tol,
                max_iter=self.max_iter,
                callback=told,
            )
        self.coef_, self.intercept_ = self._coefficients(result.w, data.X.dtype)
        self.n_iter_ = np.array([result.n_iter], dtype=np.int32)
        self.result_ = result
        if result.status is not Status.CONVERGED:
            warnings.warn(explain(result, self.C, self, data.X), ConvergenceWarning, stacklevel=TO_CALLER)
        warn_of_rounding(result.w, self, data.X, stacklevel=TO_CALLER)
        task.end(dict)
        return self

    def _check_parameters(self) -> None:
        """Raise a ValueError that names the parameter that cannot be used."""
        if not (isinstance(self.C, Real) and self.C > 0):
            raise ValueError(f"C={self.C!r}: give a positive number, or np.inf for no penalty.")
        if self.l1_ratio != 0:
            raise ValueError(f"l1_ratio={self.l1_ratio!r}: only the L2 penalty, l1_ratio=0, is implemented.")
        super()._check_parameters()

    def _previous(self, classes: np.ndarray | None) -> np.ndarray | None:
        """The parameters of the last fit, if they are finite, for the same `classes` and as many features."""
        shape = (1 if len(self.classes_) == 2 else len(self.classes_), self.n_features_in_)
        if classes is None or getattr(getattr(self, "coef_", None), "shape", None) != shape:
            return None
        if not np.array_equal(classes, self.classes_):
            return None
        W = (self.coef_.toarray() if issparse(self.coef_) else self.coef_).T
        rows = [W, self.intercept_[None, :]] if self.fit_intercept else [W]
        w = np.concatenate(rows).astype(np.float64).ravel()
        return w if np.all(np.isfinite(w)) else None
