"""Displays show what was fitted."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from secondorder.inspection import PathDisplay
from secondorder.linear_model import LogisticRegression, LogisticRegressionCV

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def plt():
    """Matplotlib, drawing to memory."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    """Features with names, and classes of which some rows have been exchanged."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X.iloc[:, :5]
    return (X - X.mean()) / X.std(), np.where(np.arange(len(y)) % 5, y, 1)


@pytest.fixture(scope="module")
def model(data):
    return LogisticRegressionCV(Cs=[10, 0.01, np.inf, 0.1, 1, 0.1]).fit(*data)


def test_scores_with_their_band_and_both_choices(model, data, plt):
    display = PathDisplay.from_estimator(model, color="red")
    order = [1, 3, 4, 0]
    (line,) = display.lines_
    np.testing.assert_array_equal(line.get_xdata(), [0.01, 0.1, 1, 10])
    np.testing.assert_array_equal(line.get_ydata(), model.scores_mean_[order])
    assert line.get_color() == "red"
    edge = display.band_.get_paths()[0].vertices[:, 1]
    for sign in (-1, 1):
        bound = (model.scores_mean_ + sign * model.scores_se_)[order]
        assert np.all(np.min(np.abs(edge[:, None] - bound), axis=0) < 1e-12)
    marks = [line.get_xdata()[0] for line in display.chosen_lines_]
    other = LogisticRegressionCV(Cs=model.Cs_, selection="1se").fit(*data)
    assert marks == [model.C_, display.C_1se]
    assert other.C_ == display.C_1se < model.C_
    assert (display.ax_.get_xscale(), display.ax_.get_ylabel()) == ("log", "neg_log_loss")
    assert display.figure_ is display.ax_.figure


def test_coefficients_of_the_fits_to_all_rows(model, data, plt):
    _, ax = plt.subplots()
    display = PathDisplay.from_estimator(model, kind="coefficients", ax=ax)
    assert display.ax_ is ax
    assert display.band_ is None
    drawn = np.array([line.get_ydata() for line in display.lines_])
    assert drawn.shape == (3 * 5, 4)
    for j, C in enumerate([0.01, 0.1, 1, 10]):
        coef = LogisticRegression(C, tol=1e-10).fit(*data).coef_
        np.testing.assert_allclose(drawn[:, j], coef.ravel(), atol=0.02)


@pytest.mark.parametrize("named", [True, False])
def test_few_coefficients_are_named(data, named, plt):
    X, y = data
    X = X.iloc[:, :3]
    model = LogisticRegressionCV(Cs=3).fit(X if named else X.to_numpy(), y)
    display = PathDisplay.from_estimator(model).plot("coefficients")
    labels = [line.get_label() for line in display.lines_]
    assert labels == [f"{k}: {name}" for k in range(3) for name in (X.columns if named else range(3))]
    binary = LogisticRegressionCV(Cs=3).fit(pd.DataFrame({"a": X.iloc[:, 0]}), y == 0)
    assert PathDisplay.from_estimator(binary, kind="coefficients").lines_[0].get_label() == "a"


def test_without_a_standard_error_there_is_no_band(data, plt):
    model = LogisticRegressionCV(Cs=3, cv=ShuffleSplit(1, random_state=0), scoring=None).fit(*data)
    display = PathDisplay.from_estimator(model)
    assert display.band_ is None
    assert [line.get_xdata()[0] for line in display.chosen_lines_] == [model.C_]
    assert display.ax_.get_ylabel() == "accuracy"


def test_leave_one_out_is_drawn_likewise(data, plt):
    model = LogisticRegressionCV(Cs=4, cv="loo").fit(*data)
    display = PathDisplay.from_estimator(model)
    edge = display.band_.get_paths()[0].vertices[:, 1]
    for bound in (model.scores_mean_ - model.scores_se_, model.scores_mean_ + model.scores_se_):
        assert np.all(np.min(np.abs(edge[:, None] - bound), axis=0) < 1e-12)
    assert [line.get_xdata()[0] for line in display.chosen_lines_] == [model.C_, display.C_1se]


def test_what_cannot_be_drawn_is_refused(model):
    with pytest.raises(ValueError, match=r"^kind='loss': choose"):
        PathDisplay.from_estimator(model, kind="loss")
    with pytest.raises(NotFittedError):
        PathDisplay.from_estimator(LogisticRegressionCV())


def test_a_pipeline_is_asked_for_its_last_step(model, data):
    pipeline = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=[1.0], cv=3)).fit(*data)
    with pytest.raises(TypeError, match=r"pipeline.Pipeline; of a pipeline give the last step"):
        PathDisplay.from_estimator(pipeline)
    with pytest.raises(ValueError, match="no finite C"):
        PathDisplay.from_estimator(LogisticRegressionCV(Cs=[np.inf], cv=3).fit(*data))


def test_without_matplotlib_there_is_a_message(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"secondorder\[plot\]"):
        PathDisplay.from_estimator(model)


def test_matplotlib_is_loaded_when_something_is_drawn():
    code = "import sys, secondorder.inspection; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
