"""Scikit-learn's callbacks are told of every part of a fit, where scikit-learn has them."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV

from secondorder.linear_model import LogisticRegression, LogisticRegressionCV, _callbacks

pytestmark = pytest.mark.usefixtures("one_thread")
needs_callbacks = pytest.mark.skipif(not _callbacks.AVAILABLE, reason="needs scikit-learn 1.9")

X, Y = load_wine(return_X_y=True)


class Recorder:
    """Keeps what it is told."""

    def __init__(self):
        self.calls, self.fitted, self.data = [], [], []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.calls.append(("end", context.task_name, context.task_id))
        self.fitted.append(fitted_estimator)
        self.data.append((X, y, metadata))


@needs_callbacks
def test_a_task_for_every_iteration():
    told = Recorder()
    s = np.ones(len(Y))
    model = LogisticRegression(max_iter=30).set_callbacks(told).fit(X, Y, s)
    n_iter = model.n_iter_[0]
    parts = [(what, "newton-iteration", i) for i in range(n_iter) for what in ("begin", "end")]
    start, stop = [("setup", "fit", 30), ("begin", "fit", 0)], [("end", "fit", 0), ("teardown", "fit", 30)]
    assert told.calls == start + parts + stop
    np.testing.assert_array_equal(told.fitted[-1].predict(X), model.predict(X))
    for data, labels, metadata in told.data:
        assert data is X
        np.testing.assert_array_equal(labels, Y)
        assert metadata == {"sample_weight": s}


@needs_callbacks
@pytest.mark.parametrize("Cs", [[1.0, 0.01, 1.0], "auto"])
def test_a_task_for_every_C(Cs):
    """With the solution for it on all rows."""
    told = Recorder()
    model = LogisticRegressionCV(Cs=Cs, tol=1e-6).set_callbacks(told).fit(X, Y)
    distinct = np.unique(model.Cs_)
    n_parts = None if Cs == "auto" else 2
    parts = [(what, "C", i) for i in range(len(distinct)) for what in ("begin", "end")]
    assert told.calls[2:-2] == parts
    assert told.calls[0] == ("setup", "fit", n_parts)
    for C, fitted in zip(distinct, told.fitted, strict=False):
        expected = LogisticRegression(C, tol=1e-6).fit(X, Y).predict_proba(X)
        np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=0.01)


@needs_callbacks
def test_scikit_learn_s_monitor_of_scores():
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="neg_log_loss")
    model = LogisticRegressionCV(Cs=[0.01, 1]).set_callbacks(monitor).fit(X, Y)
    logged = [row["neg_log_loss"] for row in monitor.get_logs().data]
    assert len(logged) == 3
    expected = [LogisticRegression(C).fit(X, Y).predict_log_proba(X) for C in (0.01, 1)]
    expected = [np.mean(L[np.arange(len(Y)), Y]) for L in expected]
    np.testing.assert_allclose(logged[1:], expected, rtol=1e-4)
    np.testing.assert_allclose(logged[0], model.score(X, Y))


@needs_callbacks
@pytest.mark.parametrize(
    ("inner", "part", "least"),
    [(LogisticRegression(), "newton-iteration", 10), (LogisticRegressionCV(Cs=2), "C", 10)],
)
def test_fits_within_a_search_join_its_tasks(inner, part, least):
    """A callback of the search hears of the parts of all five fits."""
    told = Recorder()
    told.max_propagation_depth = None
    GridSearchCV(inner, {"tol": [1e-4, 1e-6]}, cv=2).set_callbacks(told).fit(X, Y)
    names = [name for what, name, _ in told.calls if what == "begin"]
    assert [what for what, *_ in told.calls].count("setup") == 1
    assert names.count(part) >= least


@needs_callbacks
def test_a_fit_that_fails_tears_its_callbacks_down():
    told = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        LogisticRegression().set_callbacks(told).fit(np.full((10, 2), np.nan), np.arange(10) % 2)
    assert told.calls[-1][0] == "teardown"


def test_fits_without_callbacks_in_scikit_learn():
    """Versions without the interface, simulated, give the same fits."""
    code = """
import sys
import sklearn.linear_model, sklearn.model_selection
from sklearn.datasets import load_iris
sys.modules["sklearn.callback"] = None
from secondorder.linear_model import LogisticRegression, LogisticRegressionCV, _callbacks
assert not _callbacks.AVAILABLE
for model in (LogisticRegression(), LogisticRegressionCV(Cs=2)):
    assert not hasattr(model.fit(*load_iris(return_X_y=True)), "set_callbacks")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
