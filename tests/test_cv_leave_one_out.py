"""C chosen by leave-one-out: beside fits without each row, and what tells that the approximation is off."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import softmax
from sklearn import config_context, datasets
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    fbeta_score,
    get_scorer,
    make_scorer,
    roc_auc_score,
)
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut
from sklearn.preprocessing import StandardScaler

from secondorder.linear_model import LogisticRegression, LogisticRegressionCV

pytestmark = pytest.mark.usefixtures("one_thread")

CS = [0.01, 1.0, 30.0]


def ours(**parameters):
    """The estimator, converged to rounding."""
    return LogisticRegressionCV(**{"Cs": CS, "tol": 1e-13, "cv": "loo"} | parameters)


def real(name):
    """A data set of scikit-learn, scaled."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def random(n_classes=3, n=60, p=4, seed=0):
    """Classes that overlap."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, np.argmax(X[:, :n_classes] + rng.gumbel(size=(n, n_classes)), axis=1)


def responses(outputs):
    """The rows of `loo_outputs_` for one C in the form of a decision function."""
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", "neg_brier_score"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_are_those_of_fits_without_each_row(n_classes, scoring):
    """One fold of all rows; the error is that over rows."""
    X, y = random(n_classes)
    model, exact = (ours(cv=cv, scoring=scoring).fit(X, y) for cv in ("loo", LeaveOneOut()))
    assert model.scores_.shape == (1, 1, len(CS))
    np.testing.assert_allclose(model.scores_mean_, exact.scores_mean_, rtol=0.02)
    np.testing.assert_allclose(model.scores_se_, exact.scores_se_, rtol=0.05)
    assert model.C_ == exact.C_
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-6)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_the_corrected_log_loss_is_exact_within_a_thousandth(name):
    """At the chosen C, where without correction it can be three times as far."""
    X, y = real(name)
    model = LogisticRegressionCV(cv="loo").fit(X, y)
    exact = LogisticRegressionCV(Cs=[model.C_], cv=LeaveOneOut()).fit(X, y)
    assert model.loo_check_.loss == pytest.approx(-exact.scores_mean_[0], abs=2e-4)
    best = -model.scores_mean_.max()
    assert best == pytest.approx(-exact.scores_mean_[0], abs=4e-3)
    assert model.loo_check_.error == pytest.approx(best - model.loo_check_.loss, abs=1e-12)
    assert 15 <= len(model.loo_check_.rows) <= 25


@pytest.mark.parametrize("n_classes", [2, 3])
def test_outputs_are_decisions_of_fits_without_the_row(n_classes):
    """For every C, in the order given."""
    X, y = random(n_classes)
    Cs = [1.0, 0.01, np.inf, 0.01]
    model = ours(Cs=Cs).fit(X, y)
    assert model.loo_outputs_.shape == (4, 60, 1 if n_classes == 2 else 3)
    for C, outputs in zip(Cs, model.loo_outputs_, strict=True):
        fitted = ours(Cs=[C], cv=[(range(60), range(60))]).fit(X, y).decision_function(X)
        for i in (3, 40):
            others = np.delete(np.arange(60), i)
            exact = LogisticRegression(C, tol=1e-12).fit(X[others], y[others]).decision_function(X[[i]])
            moved = np.max(np.abs(exact - fitted[i]))
            np.testing.assert_allclose(responses(outputs)[i], exact[0], atol=0.35 * moved)


def most_probable(P):
    """The classes predicted."""
    return np.argmax(P, axis=1)


def of_the_last(P):
    """Probabilities as metrics want them: of two classes those of the second."""
    return P[:, 1] if P.shape[1] == 2 else P


METRICS = {
    "accuracy": ("accuracy", lambda y, P: accuracy_score(y, most_probable(P))),
    "none": (None, lambda y, P: accuracy_score(y, most_probable(P))),
    "macro": ("f1_macro", lambda y, P: f1_score(y, most_probable(P), average="macro")),
    "auc": ("roc_auc_ovr", lambda y, P: roc_auc_score(y, of_the_last(P), multi_class="ovr")),
    "brier": ("neg_brier_score", lambda y, P: -brier_score_loss(y, of_the_last(P))),
    "custom": (
        make_scorer(fbeta_score, beta=2, average="micro"),
        lambda y, P: fbeta_score(y, most_probable(P), beta=2, average="micro"),
    ),
    "probabilities": (
        make_scorer(lambda y, P: np.max(P), response_method="predict_proba", greater_is_better=False),
        lambda y, P: -np.max(of_the_last(P)),
    ),
}


@pytest.mark.parametrize(("scoring", "metric"), METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_any_metric_reads_the_outputs(n_classes, scoring, metric):
    X, y = random(n_classes)
    model = ours(scoring=scoring).fit(X, y)
    S = model.loo_outputs_
    P = softmax(np.concatenate([0 * S, S], axis=2) if n_classes == 2 else S, axis=2)
    expected = [metric(y, probabilities) for probabilities in P]
    np.testing.assert_allclose(model.scores_[0, 0], expected, rtol=1e-10)
    assert CS[np.argmax(expected)] == model.C_


def test_the_standard_error_is_known_of_means():
    X, y = random()
    for scoring in ("f1_macro", "roc_auc_ovr", make_scorer(accuracy_score, normalize=False)):
        assert np.all(np.isnan(ours(scoring=scoring).fit(X, y).scores_se_))
        with pytest.raises(ValueError, match="mean over rows"):
            ours(scoring=scoring, selection="1se").fit(X, y)
    whole = ours(scoring="neg_brier_score").fit(X, y)
    half = make_scorer(
        brier_score_loss, greater_is_better=False, response_method="predict_proba", scale_by_half=True
    )
    np.testing.assert_allclose(ours(scoring=half).fit(X, y).scores_se_, whole.scores_se_ / 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, np.asfortranarray])
@pytest.mark.parametrize("p", [4, 100], ids=["tall", "wide"])
def test_every_kind_of_X_gives_the_same(p, container, dtype):
    X, y = random(p=p)
    X = X.astype(np.float32).astype(dtype)
    plain, model = ours().fit(X.astype(float), y), ours().fit(container(X), y)
    np.testing.assert_allclose(model.loo_outputs_, plain.loo_outputs_, rtol=1e-4, atol=1e-4)
    assert model.C_ == plain.C_
    assert model.coef_.dtype == dtype


@pytest.mark.parametrize(
    "parameters",
    [{"fit_intercept": False}, {"class_weight": "balanced"}, {"solver": "newton-cg"}, {"Cs": "auto"}],
    ids=str,
)
def test_parameters_of_the_fit_are_those_of_the_row_left_out(parameters):
    """Weights "balanced" stay those of all rows, as in folds."""
    X, y = random()
    model, exact = (ours(cv=cv, **parameters).fit(X, y) for cv in ("loo", LeaveOneOut()))
    best = np.argmax(exact.scores_mean_)
    np.testing.assert_allclose(model.scores_mean_[: best + 1], exact.scores_mean_[: best + 1], rtol=0.02)
    assert model.C_ == exact.C_


def test_a_row_goes_with_all_its_weight():
    """As its copies would, left out together, each of which is scored."""
    X, y = random()
    s = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    rows = np.repeat(np.arange(len(y)), s.astype(int))
    model = ours().fit(X, y, s)
    groups = list(LeaveOneGroupOut().split(X[rows], y[rows], rows))
    exact = ours(cv=groups).fit(X[rows], y[rows])
    weights = [len(test) for _, test in groups]
    expected = np.average(exact.scores_[:, 0], axis=0, weights=weights)
    np.testing.assert_allclose(model.scores_mean_, expected, rtol=0.03)
    assert model.loo_check_.loss == pytest.approx(-expected[list(CS).index(model.C_)], abs=2e-4)
    np.testing.assert_allclose(ours().fit(X[s > 0], y[s > 0], s[s > 0]).scores_, model.scores_, rtol=1e-6)
    doubled = ours(Cs=np.divide(CS, 2)).fit(X, y, 2 * s)
    np.testing.assert_allclose(doubled.scores_mean_, model.scores_mean_, rtol=1e-6)
    np.testing.assert_allclose(doubled.scores_se_, model.scores_se_, rtol=1e-6)


def test_the_scorer_gets_weights_if_it_asks_for_them():
    X, y = random()
    s = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    with config_context(enable_metadata_routing=True):
        plain, weighted = (
            ours(Cs=[1.0], scoring=get_scorer("neg_log_loss").set_score_request(sample_weight=asks))
            .set_fit_request(sample_weight=True)
            .fit(X, y, sample_weight=s)
            for asks in (False, True)
        )
        with pytest.raises(TypeError, match="groups"):
            ours().set_fit_request(sample_weight=True).fit(X, y, groups=y)
    assert np.max(np.abs(plain.scores_ - weighted.scores_)) > 1e-3
    np.testing.assert_array_equal(plain.loo_outputs_, weighted.loo_outputs_)
    np.testing.assert_array_equal(weighted.scores_, ours(Cs=[1.0]).fit(X, y, s).scores_)
    assert plain.loo_check_.loss == weighted.loo_check_.loss


def test_doubt_is_told_where_the_approximation_is_poor():
    X, y = real("wine")
    with pytest.warns(UserWarning, match=r"poor at the chosen C=100: by \d+ exact fits.* too high") as caught:
        model = LogisticRegressionCV(Cs=[100], cv="loo").fit(X, y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert model.loo_check_.error > 0.5 * model.loo_check_.standard_error
    exact = LogisticRegressionCV(Cs=[100], cv=LeaveOneOut()).fit(X, y)
    assert model.loo_check_.loss == pytest.approx(-exact.scores_mean_[0], rel=0.03)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticRegressionCV(cv="loo").fit(X, y)


def test_a_row_without_which_there_is_no_solution_raises_doubt():
    """The second or the third row alone keeps the classes from being separable."""
    X, y = np.arange(4.0)[:, None], np.array([0, 1, 0, 1])
    with pytest.warns(UserWarning, match="without one of the rows there is no solution"):
        LogisticRegressionCV(Cs=[np.inf], cv="loo").fit(X, y)


def test_what_cannot_be_left_out_is_refused():
    X, y = random(2)
    with pytest.raises(ValueError, match=r"class with one row.*as 7: leave"):
        ours().fit(X, np.where(np.arange(60) == 5, 7, y))
    s = np.where((y == 1) & (np.cumsum(y) > 1), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"class with one row.*as 1: leave"):
        ours().fit(X, y, s)
    with pytest.raises(ValueError, match=r"for C=inf there is none.*Leave that C out"):
        ours(Cs=[1.0, np.inf]).fit(np.column_stack([X, y]), y)
    with pytest.raises(ValueError, match="6001 parameters is too large"):
        ours().fit(sp.csr_array(np.eye(8, 6000)), np.arange(8) % 2)
    wide = np.random.default_rng(0).standard_normal((8, 6000))
    assert ours().fit(wide, np.arange(8) % 2).loo_outputs_.shape == (3, 8, 1)
