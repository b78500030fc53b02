"""Scores of held-out rows from their outputs, by the scorers of scikit-learn or by any callable."""

import inspect
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, brier_score_loss, check_scoring, get_scorer, log_loss, make_scorer
from sklearn.utils.validation import _check_method_params

from secondorder.linear_model._classifier import ResponsesMixin

LEAST = np.finfo(np.float64).eps  # probability at which scikit-learn's log loss cuts off


class Outputs(ResponsesMixin, BaseEstimator):
    """Stands before a scorer in place of a fitted classifier; its rows are their own outputs."""

    def __init__(self, classes: np.ndarray) -> None:
        self.classes_ = classes

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """The outputs `X`, shape (n, 1) or (n, n_classes), in the form of a decision function."""
        return X[:, 0] if X.shape[1] == 1 else X - X.mean(axis=1, keepdims=True)


def scorer_of(scoring: Any, estimator: Any) -> Any:
    """The scorer for the parameter `scoring` of `estimator`; None stands for accuracy."""
    if scoring is None:
        return get_scorer("accuracy")
    if not (isinstance(scoring, str) or callable(scoring)):
        raise ValueError(f"scoring={scoring!r}: give one name of a scorer, or a callable.")
    return check_scoring(estimator, scoring)


def reads_outputs(scorer: Any) -> bool:
    """Whether `scorer` is one of scikit-learn's, which look at the responses of a classifier alone."""
    return hasattr(scorer, "_score_func")


def knowing(scorer: Any, classes: np.ndarray) -> Any:
    """The `scorer`, told of all `classes` if its metric can be: held-out rows may lack some."""
    if not reads_outputs(scorer):
        return scorer
    names = inspect.signature(scorer._score_func).parameters
    if "labels" not in names:
        return scorer
    known: dict[str, Any] = {"labels": classes}
    if "pos_label" in names:
        of_two = len(classes) == 2 and scorer._kwargs.get("average", "binary") == "binary"
        known["pos_label"] = classes[-1] if of_two else None
    return make_scorer(
        scorer._score_func,
        greater_is_better=scorer._sign == 1,
        response_method=scorer._response_method,
        **known | scorer._kwargs,
    )


class HeldOutScorer:
    """Scores rows of a data set.

    Parameters
    ----------
    scorer : callable
        As `scorer_of` gives it.
    classes : ndarray
    X, y : array
        All rows and their labels.
    params : dict
        Metadata for the scorer; arrays as long as y are cut to the rows scored.
    """

    def __init__(self, scorer: Any, classes: np.ndarray, X: Any, y: Any, params: dict[str, Any]) -> None:
        self._scorer, self._stand_in = knowing(scorer, classes), Outputs(classes)
        self._X, self._y, self._params = X, y, params
        self._codes = np.searchsorted(classes, y)
        log_losses = getattr(self._scorer, "_score_func", None) is log_loss
        self._is_log_loss = log_losses and set(self._scorer._kwargs) <= {"labels"}  # as scikit-learn names it

    def __call__(self, outputs: np.ndarray, rows: np.ndarray, fitted: Any) -> float:
        """The score of `rows` by their `outputs`; callables get the classifier that `fitted` makes."""
        params = _check_method_params(self._X, self._params, indices=rows)
        if self._is_log_loss and set(params) <= {"sample_weight"}:
            # The checks of the metric take longer than a fit of few rows.
            return float(np.average(self._log_proba(outputs, rows), weights=params.get("sample_weight")))
        if reads_outputs(self._scorer):
            score = self._scorer(self._stand_in, outputs, self._y[rows], **params)
        else:
            score = self._scorer(fitted(), self._X[rows], self._y[rows], **params)
        score = score.item() if hasattr(score, "item") else score
        if not isinstance(score, Real):
            raise ValueError(f"scoring gave {score!r} for the held-out rows: it has to return a number.")
        return float(score)

    def _log_proba(self, outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The logarithm of the probability of each label, rounded as in the metric of scikit-learn."""
        codes = self._codes[rows]
        if outputs.shape[1] == 1:
            p = expit(outputs[:, 0])
            chosen = np.where(codes == 1, p, 1 - p)
        else:
            chosen = self._stand_in.predict_proba(outputs)[np.arange(len(rows)), codes]
        return np.log(np.maximum(chosen, LEAST))

    def standard_error(self, outputs: np.ndarray) -> float:
        """That of the score of all rows, a mean over them; NaN for a metric that is none."""
        scores = self._scores_of_rows(outputs)
        if scores is None:
            return np.nan
        s = np.asarray(self._params.get("sample_weight", np.ones(len(scores))), dtype=np.float64)
        n = np.count_nonzero(s)
        spread = s * (scores - np.average(scores, weights=s))
        return float(np.sqrt(n / (n - 1) * np.sum(spread**2)) / np.sum(s))

    def _scores_of_rows(self, outputs: np.ndarray) -> np.ndarray | None:
        """What the score of all rows is the mean of, but for its sign; None if it is no mean."""
        metric, options, model = self._scorer._score_func, self._scorer._kwargs, self._stand_in
        is_target = self._y[:, None] == model.classes_
        if metric is log_loss:
            return model.predict_log_proba(outputs)[is_target]
        if metric is accuracy_score and options.get("normalize", True):
            return model.predict(outputs) == self._y
        if metric is brier_score_loss:
            half = options.get("scale_by_half", "auto")
            halved = len(model.classes_) == 2 if half == "auto" else bool(half)
            return np.sum((model.predict_proba(outputs) - is_target) ** 2, axis=1) / (1 + halved)
        return None
