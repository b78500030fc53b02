"""Logistic and softmax regression with C chosen by cross-validation."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted

from secondorder.linear_model._callbacks import TO_CALLER, Task, with_callbacks
from secondorder.linear_model._classifier import LinearClassifier, TrainingData
from secondorder.linear_model._logistic import LogisticRegression
from secondorder.linear_model._path import Grid, warn_of
from secondorder.linear_model._report import print_stage, warn_of_doubt, warn_of_rounding
from secondorder.linear_model._scoring import HeldOutScorer, knowing, reads_outputs, scorer_of
from secondorder.solvers import LinearProblem, Refits, Result, Status, leave_one_out, refit_some
from secondorder.solvers.path import Fold, Stage

SELECTIONS = ("best", "1se")
REFITTED = 20  # rows left out exactly: their fits take as long as the path, and tell the mean within 1e-3


class Column(NamedTuple):
    """What is kept of the solutions for one C, those of the folds in arrays."""

    C: float
    whole: Result
    failed: list[tuple[float, str, Result]]
    standard_error: float
    scores: np.ndarray
    coefs: np.ndarray
    n_iter: np.ndarray
    gaps: np.ndarray
    statuses: np.ndarray
    loo_outputs: np.ndarray | None  # of all rows, each by the solution without it


class LogisticRegressionCV(LinearClassifier):
    """Logistic regression (two classes) and softmax regression (more), with C chosen by cross-validation.

    For every C the objective of `LogisticRegression` is minimised on all rows and on the training part of
    every fold, each to a certified gap. The rows that a fold holds out are scored by the outputs
    that its solution gives them; X is not cut into parts. (A plain callable as `scoring` is
    the exception: it gets a fitted classifier and the rows.)

    Parameters
    ----------
    Cs : int, array-like or "auto", default=10
        The values of C: positive numbers, `np.inf` for no penalty; or how many of them to take from 1e-4 to
        1e4. "auto" starts where coefficients are held at 1 % of their size and goes on in equal ratios until
        the loss of the training rows falls no more, which takes about 10 values and at most 20.
    l1_ratios : array-like, default=(0.0,)
        Shares of the L1 penalty. Only 0 is implemented.
    fit_intercept : bool, default=True
        Whether there is an intercept; it is not penalised.
    cv : int, splitter, iterable or "loo", default=None
        Number of stratified folds (None: 5), a splitter of scikit-learn, pairs of training and test
        rows, or "loo": every row is scored by the solution without it, which one Newton step from that on
        all rows approximates in closed form. A row goes with all its weight. There may be up to 5000
        parameters, or any number of features in a dense X of fewer rows; `scoring` has to be a name or
        made by `make_scorer`, of any metric.
    scoring : str or callable, default="neg_log_loss"
        As in scikit-learn; None stands for accuracy. Scorers of scikit-learn read float64 outputs; a
        function gets the fitted classifier, whose probabilities are float32 if X is.
    refit : bool, default=True
        Whether `coef_` is the solution on all rows for the chosen C. Otherwise `C_` and `coef_` are
        means over the folds of what is best for each.
    selection : {"best", "1se"}, default="best"
        Whether to take the C with the best mean score, or the smallest C whose mean score is within one
        standard error of that.
    tol, max_iter, class_weight, solver
        As in `LogisticRegression`. Weights "balanced" are computed from all rows.
    n_jobs : ignored
        All loops use the threads at hand, see the README. Present for code written for scikit-learn.
    verbose : int, default=0
        Print a line for every C if positive.
    random_state : ignored
        The fit is deterministic.

    Attributes
    ----------
    C_ : float
        The chosen C.
    Cs_ : ndarray of shape (n_Cs,)
        All of them, in the order given.
    l1_ratio_ : float
        0.0.
    l1_ratios_ : ndarray of shape (1,)
    scores_ : ndarray of shape (n_folds, 1, n_Cs)
        With ``cv="loo"`` there is one fold, of all rows.
    scores_mean_, scores_se_ : ndarray of shape (n_Cs,)
        Mean over folds, and its standard error: from the scores of the folds, or with ``cv="loo"`` of
        the rows, where the score is a mean over them (log loss, accuracy, Brier score), and else NaN.
    loo_outputs_ : ndarray of shape (n_Cs, n_samples, 1 or n_classes)
        With ``cv="loo"`` only: for each of `Cs_` and every row, what `decision_function` gives for it
        after a fit without it, approximately. In float64.
    loo_check_ : secondorder.solvers.Refits
        With ``cv="loo"`` only: exact fits for the chosen C without each of some 20 rows. Whatever
        `scoring` is, `loss` is an estimate of the mean log loss by exact leave-one-out, weighted as the fit,
        and `error` what it takes off the approximate one.
    coefs_paths_ : ndarray of shape (n_folds, 1, n_Cs, 1 or n_classes, n_features or n_features + 1)
        Coefficients, the intercept last.
    n_iter_, gaps_ : ndarray of shape (n_folds, 1, n_Cs)
        Newton iterations, counted as 1 where the start was within `tol`, and certified relative gaps.
    statuses_ : ndarray of shape (n_folds, 1, n_Cs)
        How each solve ended, as a `secondorder.solvers.Status`.
    results_ : tuple of secondorder.solvers.Result, one for each of `Cs_`
        The solves on all rows.
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Warns
    -----
    ConvergenceWarning
        One for the whole grid: which fits did not come down to `tol`, cause and remedy.
    UserWarning
        If approximate leave-one-out errs by more than half a standard error for the chosen C.

    See Also
    --------
    secondorder.inspection.PathDisplay : Scores and coefficients against C.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from secondorder.linear_model import LogisticRegressionCV
    >>> X, y = load_wine(return_X_y=True)
    >>> model = LogisticRegressionCV(Cs=[0.01, 0.1, 1, 10], selection="1se").fit(X, y)
    >>> model.scores_.shape
    (5, 1, 4)
    >>> bool(model.gaps_.max() <= 1e-8)
    True
    """

    __metadata_request__score: ClassVar = {"sample_weight": UNUSED}  # goes to the scorer

    def __init__(
        self,
        *,
        Cs: Any = 10,
        l1_ratios: Any = (0.0,),
        fit_intercept: bool = True,
        cv: Any = None,
        scoring: Any = "neg_log_loss",
        solver: str = "auto",
        tol: float = 1e-8,
        max_iter: int = 100,
        class_weight: dict[Any, float] | str | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        refit: bool = True,
        selection: str = "best",
        random_state: Any = None,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.refit = refit
        self.selection = selection
        self.random_state = random_state

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Self:
        """Fit the model for every C and fold, and choose C.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float64 and float32 are used as they are (sparse: CSR, copied by columns where
            `LogisticRegression` does); anything else is converted to float64. Of a dense X no rows are
            copied but those with curvature to speak of, for a while, where they are no more than half of
            all (as in a fold that trains on so few) and take no more than 32 MB.
        y : array-like of shape (n_samples,)
            Labels, numbers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative, for the fits and for the scores. With metadata routing enabled
            the scorer gets them only if it requests them.
        **params : dict
            With metadata routing enabled, what splitter and scorer request, as `groups`.

        Returns
        -------
        self : LogisticRegressionCV

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used, the training part of a fold lacks a class, or there are
            too many parameters for ``cv="loo"``; the message says what to change.
        """
        _raise_for_params(params, self, "fit")
        self._check_parameters()
        grid = Grid(self.Cs)
        y, data = self._prepare(X, y, sample_weight)
        routed = self._route("fit", sample_weight, params)
        scorer = HeldOutScorer(self._scorer(), self.classes_, data.X, y, routed.scorer.score)
        if self._leaves_one_out():
            self._check_rows_of_classes(data)
            folds = []
        else:
            folds = self._folds(y, data, routed.splitter.split)
        task = Task.of_fit(self, data.X, y, sample_weight, n_parts=grid.n_distinct)
        columns = []
        for C, stage in grid.solve(self, data, folds):
            columns.append(self._column(C, stage, folds, scorer, data.X.dtype))
            task.part("C").end(partial(self._at, stage.whole, data.X.dtype))
        self._keep(columns, grid)
        self._select(data.X.dtype)
        failed = [fit for column in columns for fit in column.failed]
        n_fits = len(columns) * (len(folds) + 1)
        warn_of(failed, n_fits, self, data.X, self.C_, stacklevel=TO_CALLER)
        if self.refit:
            warn_of_rounding(self.results_[self._chosen()].w, self, data.X, stacklevel=TO_CALLER)
        if self._leaves_one_out():
            self.loo_check_ = self._refit_some(data)
            warn_of_doubt(self.loo_check_, self.C_, stacklevel=TO_CALLER)
        task.end(dict)
        return self

    def score(self, X: Any, y: Any, *, sample_weight: Any = None, **score_params: Any) -> float:
        """The score by `scoring`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
        **score_params : dict
            With metadata routing enabled, what the scorer requests.

        Returns
        -------
        float
        """
        _raise_for_params(score_params, self, "score")
        check_is_fitted(self)
        routed = self._route("score", sample_weight, score_params)
        return float(knowing(self._scorer(), self.classes_)(self, X, y, **routed.scorer.score))

    def get_metadata_routing(self) -> MetadataRouter:
        """Which metadata go to splitter and scorer; see scikit-learn's guide to metadata routing."""
        to_scorer = MethodMapping().add(caller="score", callee="score").add(caller="fit", callee="score")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
            .add(scorer=self._scorer(), method_mapping=to_scorer)
        )

    def _route(self, method: str, sample_weight: Any, params: dict[str, Any]) -> Any:
        """The metadata for splitter and scorer; without routing the weights go to the scorer."""
        if sample_weight is not None:
            params = params | {"sample_weight": sample_weight}
        if _routing_enabled():
            return process_routing(self, method, **params)
        return Bunch(splitter=Bunch(split={}), scorer=Bunch(score=params))

    def _scorer(self) -> Any:
        """The scorer for `scoring`."""
        return scorer_of(self.scoring, self)

    def _leaves_one_out(self) -> bool:
        """Whether every row is scored by the solution without it."""
        return isinstance(self.cv, str) and self.cv == "loo"

    def _check_parameters(self) -> None:
        """Raise a ValueError that names the parameter that cannot be used."""
        super()._check_parameters()
        if np.asarray(self.l1_ratios).tolist() != [0]:
            raise ValueError(
                f"l1_ratios={self.l1_ratios!r}: only the L2 penalty, l1_ratios=(0,), is implemented."
            )
        if self.selection not in SELECTIONS:
            raise ValueError(f"selection={self.selection!r}: choose one of {', '.join(SELECTIONS)}.")
        if not self.refit and self.selection != "best":
            raise ValueError(
                f"refit=False goes with selection='best', not {self.selection!r}: set refit=True."
            )
        if isinstance(self.cv, str) and self.cv != "loo":
            raise ValueError(f"cv={self.cv!r}: give 'loo', a number of folds or a splitter.")
        if self._leaves_one_out() and not self.refit:
            raise ValueError("cv='loo' has no folds to take the mean of: set refit=True.")
        if self._leaves_one_out() and not reads_outputs(self._scorer()):
            raise ValueError("cv='loo' has no fitted classifiers to score: name a scorer or use make_scorer.")

    def _check_rows_of_classes(self, data: TrainingData) -> None:
        """Raise a ValueError for a class that one row left out would leave without any."""
        rows = data.y[data.s > 0].astype(np.intp)
        alone = self.classes_[np.bincount(rows, minlength=len(self.classes_)) == 1]
        if len(alone):
            raise ValueError(
                "cv='loo' leaves none to train on of a class with one row (of positive weight), as "
                f"{', '.join(map(repr, alone.tolist()))}: leave such classes out."
            )

    def _folds(self, y: np.ndarray, data: TrainingData, params: dict[str, Any]) -> list[Fold]:
        """The folds that the splitter makes, checked."""
        n = len(y)
        folds = []
        for i, (train, test) in enumerate(check_cv(self.cv, y, classifier=True).split(data.X, y, **params)):
            rows = np.arange(n)
            try:
                counts, held_out = np.bincount(rows[train], minlength=n), rows[test]
            except IndexError as error:
                raise ValueError(f"Fold {i} of cv does not index the {n} rows of X: {error}.") from error
            counts = counts.astype(np.min_scalar_type(np.max(counts)))
            missing = self._classes_without_weight(data.y, data.s * counts)
            if missing:
                raise ValueError(
                    f"The training rows of fold {i} hold none of class {missing} (with positive weight): "
                    "use a splitter that shares out all classes, as StratifiedKFold or StratifiedGroupKFold, "
                    "fewer folds, or leave out classes with so few rows."
                )
            if not np.any(data.s[held_out] > 0):
                raise ValueError(
                    f"Fold {i} holds out no rows with positive weight: there is nothing to score."
                )
            folds.append(Fold(counts, held_out))
        if not folds:
            raise ValueError(f"cv={self.cv!r} gives no folds.")
        return folds

    def _column(
        self, C: float, stage: Stage, folds: Sequence[Fold], scorer: HeldOutScorer, dtype: Any
    ) -> Column:
        """What is kept of a stage of the path."""
        loo_outputs = None if folds else self._loo_outputs(C, stage)
        if loo_outputs is None:
            cells = [(*cell, fold.held_out) for cell, fold in zip(stage.folds, folds, strict=True)]
        else:
            cells = [(stage.whole, loo_outputs, np.arange(len(loo_outputs)))]
        scores = np.empty(len(cells))
        for i, (result, outputs, rows) in enumerate(cells):
            scores[i] = scorer(outputs, rows, partial(self._classifier, C, result, dtype))
            if np.isnan(scores[i]):
                raise ValueError(
                    f"scoring={self.scoring!r} gives NaN for the held-out rows of fold {i} at C={C:.6g}: "
                    "use folds that hold rows of all classes, or another scoring."
                )
        if loo_outputs is not None:
            error = scorer.standard_error(loo_outputs)
        else:
            error = np.std(scores, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan
        results = [result for result, _, _ in cells]
        if self.verbose:
            print_stage(C, scores, results)
        fits = [("all rows", stage.whole)]
        fits += [(f"fold {i}", cell.result) for i, cell in enumerate(stage.folds)]
        return Column(
            C,
            stage.whole,
            [(C, part, result) for part, result in fits if result.status is not Status.CONVERGED],
            error,
            scores,
            np.stack([self._row_of_path(result, dtype) for result in results]),
            np.array([max(1, result.n_iter) for result in results], dtype=np.int32),
            np.array([result.relative_gap for result in results]),
            np.array([result.status for result in results]),
            loo_outputs,
        )

    def _loo_outputs(self, C: float, stage: Stage) -> np.ndarray:
        """The outputs of every row by the solution without it."""
        if stage.whole.status is Status.SEPARATED:
            raise ValueError(
                f"cv='loo' needs a solution on all rows, and for C={C:.6g} there is none: a linear function "
                "of the features tells the classes apart. Leave that C out of Cs."
            )
        return leave_one_out(stage.point)

    def _at(self, result: Result, dtype: Any) -> dict[str, np.ndarray]:
        """The attributes of a classifier with the solution `result`."""
        coef, intercept = self._coefficients(result.w, dtype)
        return {"coef_": coef, "intercept_": intercept}

    def _row_of_path(self, result: Result, dtype: Any) -> np.ndarray:
        """The coefficients with the intercept, if there is one, as their last column."""
        coef, intercept = self._coefficients(result.w, dtype)
        return np.column_stack([coef, intercept]) if self.fit_intercept else coef

    def _classifier(self, C: float, result: Result, dtype: Any) -> LogisticRegression:
        """A classifier fitted with `result`."""
        shared = ("tol", "fit_intercept", "class_weight", "solver", "max_iter")
        model = LogisticRegression(C, **{name: getattr(self, name) for name in shared})
        model.classes_, model.n_features_in_ = self.classes_, self.n_features_in_
        model.coef_, model.intercept_ = self._coefficients(result.w, dtype)
        return model

    def _keep(self, columns: list[Column], grid: Grid) -> None:
        """Set the attributes that hold the grid, its values of C in the order given."""
        self.Cs_, order = grid.in_order([column.C for column in columns])
        columns = [columns[i] for i in order]

        def over_grid(name: str) -> np.ndarray:
            """What is kept under `name` for all of the grid, shape (n_folds, 1, n_Cs, ...)."""
            return np.stack([getattr(column, name) for column in columns], axis=1)[:, None]

        self.l1_ratios_ = np.zeros(1)
        self.scores_, self.coefs_paths_ = over_grid("scores"), over_grid("coefs")
        self.n_iter_, self.gaps_ = over_grid("n_iter"), over_grid("gaps")
        self.statuses_ = over_grid("statuses")
        self.scores_mean_ = np.mean(self.scores_, axis=(0, 1))
        self.scores_se_ = np.array([column.standard_error for column in columns])
        self.results_ = tuple(column.whole for column in columns)
        loo_outputs = [column.loo_outputs for column in columns if column.loo_outputs is not None]
        if loo_outputs:
            self.loo_outputs_ = np.stack(loo_outputs)

    def _select(self, dtype: Any) -> None:
        """Choose C and set the coefficients for it."""
        self.l1_ratio_ = 0.0
        if self.refit:
            chosen = choose(self.Cs_, self.scores_mean_, self.scores_se_, self.selection)
            self.C_ = float(self.Cs_[chosen])
            self.coef_, self.intercept_ = self._coefficients(self.results_[chosen].w, dtype)
            return
        best = np.argmax(self.scores_[:, 0], axis=1)
        W = np.mean(self.coefs_paths_[np.arange(len(best)), 0, best], axis=0)
        p = self.n_features_in_
        self.C_ = float(np.mean(self.Cs_[best]))
        self.coef_ = np.ascontiguousarray(W[:, :p])
        self.intercept_ = W[:, p].copy() if self.fit_intercept else np.zeros(len(W), dtype)

    def _chosen(self) -> int:
        """The position of the chosen C, which is one of `Cs_` if all rows were fitted for it."""
        return int(np.flatnonzero(self.Cs_ == self.C_)[0])

    def _refit_some(self, data: TrainingData) -> Refits:
        """Exact fits without some rows for the chosen C."""
        chosen = self._chosen()
        problem = LinearProblem(*data, 1 / self.C_, self.fit_intercept)
        return refit_some(problem, self.results_[chosen].w, self.loo_outputs_[chosen], n_rows=REFITTED)


def choose(Cs: np.ndarray, mean: np.ndarray, standard_error: np.ndarray, selection: str) -> int:
    """The position of the best mean score, or of the smallest C within one standard error of it.

    Raises
    ------
    ValueError
        If the standard error is needed and not known.
    """
    best = int(np.argmax(mean))
    if selection == "best":
        return best
    if np.isnan(standard_error[best]):
        raise ValueError(
            "selection='1se' needs a standard error: two folds or more, or with cv='loo' a score that is a "
            "mean over rows, as neg_log_loss and accuracy."
        )
    near = np.flatnonzero(mean >= mean[best] - standard_error[best])
    return int(near[np.argmin(Cs[near])])
