"""Cross-validation over C: scikit-learn's scores and choices, without copies of rows."""

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.linear_model
from sklearn import config_context, datasets
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, UnsetMetadataPassedError
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    fbeta_score,
    get_scorer,
    make_scorer,
    roc_auc_score,
)
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, ShuffleSplit, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from secondorder.linear_model import LogisticRegression, LogisticRegressionCV, logistic_regression_path
from secondorder.solvers import Status

pytestmark = pytest.mark.usefixtures("one_thread")

CS = [0.01, 1.0, 30.0]


def ours(**parameters):
    """The estimator, converged to rounding."""
    return LogisticRegressionCV(**{"Cs": CS, "tol": 1e-13} | parameters)


def theirs(**parameters):
    """Scikit-learn's, converged likewise, with the attributes it will have."""
    if "use_legacy_attributes" not in sklearn.linear_model.LogisticRegressionCV().get_params():
        pytest.skip("needs scikit-learn 1.9")
    fixed = {"solver": "newton-cholesky", "tol": 1e-11, "max_iter": 1000, "use_legacy_attributes": False}
    return sklearn.linear_model.LogisticRegressionCV(
        **{"Cs": CS, "l1_ratios": (0,), "scoring": "neg_log_loss"} | fixed | parameters
    )


def real(name):
    """A data set of scikit-learn, scaled."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def random(n_classes=3, n=90, p=4, seed=0):
    """Classes that overlap."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, np.argmax(X[:, :n_classes] + rng.gumbel(size=(n, n_classes)), axis=1)


def folds_of(n, k=3, seed=0):
    """Training and test rows of random folds."""
    return list(KFold(k, shuffle=True, random_state=seed).split(np.zeros(n)))


def assert_same(mine, other, atol=1e-6):
    """The same attributes as scikit-learn's."""
    for name in ("C_", "Cs_", "l1_ratio_", "l1_ratios_", "classes_"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
    for name in ("scores_", "coefs_paths_", "coef_", "intercept_"):
        a, b = getattr(mine, name), getattr(other, name)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=0, atol=atol * max(1, np.max(np.abs(b))))
    assert mine.n_iter_.shape == other.n_iter_.shape


AGREEMENTS = {
    "default": {},
    "accuracy": {"scoring": "accuracy"},
    "scoring=None": {"scoring": None},
    "brier": {"scoring": "neg_brier_score"},
    "balanced": {"class_weight": "balanced"},
    "class_weight": {"class_weight": {0: 1, 1: 3, 2: 2}},
    "no intercept": {"fit_intercept": False},
    "refit=False": {"refit": False},
    "shuffled": {"cv": StratifiedKFold(4, shuffle=True, random_state=1)},
    "Cs in disorder": {"Cs": [3, 0.1, 40, 0.1]},
    "number of Cs": {"Cs": 4},
}


@pytest.mark.parametrize("parameters", AGREEMENTS.values(), ids=AGREEMENTS)
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_scikit_learn_finds_the_same(name, parameters):
    X, y = real(name)
    if "class_weight" in parameters and name == "breast_cancer" and parameters["class_weight"] != "balanced":
        parameters = {"class_weight": {0: 1, 1: 3}}
    assert_same(ours(**parameters).fit(X, y), theirs(**parameters).fit(X, y))


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy"])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("p", [4, 150], ids=["tall", "wide"])
def test_scikit_learn_finds_the_same_with_weights(p, container, scoring):
    X, y = random(p=p)
    s = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    mine, other = (m.fit(container(X), y, s) for m in (ours(scoring=scoring), theirs(scoring=scoring)))
    assert_same(mine, other)
    np.testing.assert_allclose(mine.score(X, y, sample_weight=s), other.score(X, y, sample_weight=s))


@pytest.mark.parametrize("name", ["a9a", "rcv1_small", "mushrooms"])
def test_scikit_learn_finds_the_same_on_real_data(name, real_data):
    X, y = real_data(name)
    X = X[:600]
    X, y = (X.astype(np.float64), y[:600])
    parameters = {"Cs": [0.01, 0.3], "cv": 3}
    assert_same(ours(**parameters).fit(X, y), theirs(**parameters, solver="lbfgs", tol=1e-9).fit(X, y), 1e-4)


def first_label(estimator, X, y):
    """A plain callable, which needs the estimator."""
    assert set(y) <= set(estimator.classes_)
    return np.sum(estimator.coef_[0]) * np.mean(estimator.predict_proba(X)[:, 0])


SCORERS = {
    "log loss": "neg_log_loss",
    "accuracy": "accuracy",
    "balanced accuracy": "balanced_accuracy",
    "macro": "f1_macro",
    "ovr": "roc_auc_ovr",
    "ovo": "roc_auc_ovo_weighted",
    "kappa": "matthews_corrcoef",
    "brier": "neg_brier_score",
    "custom labels": make_scorer(fbeta_score, beta=2, average="macro"),
    "custom probabilities": make_scorer(
        lambda y, P: np.mean(P[np.arange(len(y)), np.searchsorted(np.unique(y), y)]) if P.ndim == 2 else P[0],
        response_method="predict_proba",
    ),
    "custom decision": make_scorer(lambda y, S: np.sum(S**2), response_method="decision_function"),
    "custom logarithms": make_scorer(
        lambda y, L: np.min(L), response_method=("predict_log_proba",), greater_is_better=False
    ),
    "callable": first_label,
}
BINARY = {
    "roc": "roc_auc",
    "f1": make_scorer(fbeta_score, beta=1, pos_label="b"),
    "f1 of the first": make_scorer(fbeta_score, beta=1, pos_label="a"),
    "precision-recall": make_scorer(
        roc_auc_score, response_method=("decision_function", "predict_proba"), max_fpr=0.5
    ),
}
# Called directly, these have to be told the positive one of two labels that are strings.
TOLD = {
    "neg_brier_score": make_scorer(
        brier_score_loss, response_method="predict_proba", greater_is_better=False, pos_label="b"
    ),
    SCORERS["custom labels"]: make_scorer(fbeta_score, beta=2, average="macro", pos_label=None),
}
CASES = [(3, scoring) for scoring in SCORERS.values()]
CASES += [(2, scoring) for scoring in (SCORERS | BINARY).values()]
CASE_NAMES = [f"3-{name}" for name in SCORERS] + [f"2-{name}" for name in SCORERS | BINARY]


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("n_classes", "scoring"), CASES, ids=CASE_NAMES)
def test_scores_are_those_of_a_fit_to_the_training_rows(n_classes, scoring, container):
    """For every scorer, with labels that are strings: as fitted and scored on copies of the rows."""
    X, y = random(n_classes)
    X, y = container(X), np.array(["a", "b", "c"])[y]
    folds = folds_of(len(y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ours(cv=folds, scoring=scoring).fit(X, y)
    scorer = TOLD[scoring] if n_classes == 2 and scoring in TOLD else get_scorer(scoring)
    for i, (train, test) in enumerate(folds):
        for j, C in enumerate(CS):
            fitted = LogisticRegression(C, tol=1e-13).fit(X[train], y[train])
            np.testing.assert_allclose(
                model.scores_[i, 0, j], scorer(fitted, X[test], y[test]), rtol=1e-5, atol=1e-7
            )
    best = CS[np.argmax(model.scores_.mean(axis=0))]
    assert best == model.C_
    np.testing.assert_allclose(model.score(X, y), scorer(model, X, y))
    expected = LogisticRegression(model.C_, tol=1e-13).fit(X, y).coef_
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "scoring", ["neg_log_loss", "neg_brier_score", make_scorer(f1_score, average="macro", zero_division=1.0)]
)
def test_held_out_rows_may_lack_a_class(scoring):
    """The metric is told of all classes."""
    X, y = random()
    test = np.flatnonzero(y != 2)[:20]
    folds = [(np.setdiff1d(np.arange(len(y)), test), test)]
    assert_same(ours(cv=folds, scoring=scoring).fit(X, y), theirs(cv=folds, scoring=scoring).fit(X, y))


def test_parts_of_any_kind():
    """Training rows that repeat, leave rows out and overlap the test rows; masks; positions from the end."""
    X, y = random()
    mask = np.random.default_rng(0).random(len(y)) < 0.5
    folds = [
        (np.r_[0:60, 0:20, 5:10], np.r_[50:80, 55]),
        (mask, ~mask),
        (np.arange(-70, 0), np.arange(5)),
    ]
    model = ours(cv=folds).fit(X, y)
    for i, (train, test) in enumerate(folds):
        for j, C in enumerate(CS):
            fitted = LogisticRegression(C, tol=1e-13).fit(X[train], y[train])
            expected = get_scorer("neg_log_loss")(fitted, X[test], y[test])
            np.testing.assert_allclose(model.scores_[i, 0, j], expected, rtol=1e-6)
            W = np.column_stack([fitted.coef_, fitted.intercept_])
            np.testing.assert_allclose(model.coefs_paths_[i, 0, j], W, rtol=1e-4, atol=1e-6)


def test_a_weight_is_a_repetition():
    X, y = random()
    s = np.random.default_rng(1).integers(0, 4, len(y))
    folds = folds_of(len(y))
    rows = np.repeat(np.arange(len(y)), s)
    repeated = [tuple(np.flatnonzero(np.isin(rows, part)) for part in fold) for fold in folds]
    for parameters in ({}, {"class_weight": "balanced"}, {"scoring": "f1_macro", "selection": "1se"}):
        a = ours(cv=folds, **parameters).fit(X, y, s)
        b = ours(cv=repeated, **parameters).fit(X[rows], y[rows])
        assert_same(a, b)


def test_the_order_of_rows_is_irrelevant():
    X, y = random()
    order = np.random.default_rng(2).permutation(len(y))
    place = np.argsort(order)
    folds = folds_of(len(y))
    moved = [(place[train], place[test]) for train, test in folds]
    assert_same(ours(cv=folds).fit(X, y), ours(cv=moved).fit(X[order], y[order]))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_other_labels_in_another_order(n_classes):
    X, y = random(n_classes)
    labels = np.array(["z", "k", "a"])[:n_classes]
    a, b = ours(cv=folds_of(len(y))).fit(X, y), ours(cv=folds_of(len(y))).fit(X, labels[y])
    assert a.C_ == b.C_
    np.testing.assert_allclose(a.scores_, b.scores_, rtol=1e-6)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X)[:, ::-1], rtol=1e-6)
    np.testing.assert_array_equal(labels[a.predict(X)], b.predict(X))


def test_the_order_of_Cs_is_kept_and_else_irrelevant():
    X, y = random()
    Cs = [30.0, 0.01, np.inf, 30.0, 1.0]
    model, plain = ours(Cs=Cs).fit(X, y), ours(Cs=np.unique(Cs)).fit(X, y)
    places = np.searchsorted(plain.Cs_, Cs)
    assert model.C_ == plain.C_
    np.testing.assert_array_equal(model.Cs_, Cs)
    for name in ("scores_", "coefs_paths_", "n_iter_", "gaps_", "statuses_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(plain, name)[:, :, places])
    for name in ("scores_mean_", "scores_se_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(plain, name)[places])
    assert [r.value for r in model.results_] == [plain.results_[i].value for i in places]


@pytest.mark.parametrize("Cs", [1, [0.5], (np.inf,)])
def test_a_single_C(Cs):
    X, y = random()
    model = ours(Cs=Cs).fit(X, y)
    assert model.scores_.shape == (5, 1, 1)
    expected = LogisticRegression(model.C_, tol=1e-13).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-7)


def test_one_standard_error():
    """The smallest C whose mean is no worse than the best mean less its error, in any order of Cs."""
    X, y = real("wine")
    for Cs in (10, np.logspace(4, -4, 12)):
        model = ours(Cs=Cs, selection="1se", tol=1e-8).fit(X, y)
        scores = model.scores_[:, 0]
        mean, best = scores.mean(axis=0), np.argmax(scores.mean(axis=0))
        error = scores.std(axis=0, ddof=1) / np.sqrt(5)
        np.testing.assert_allclose(model.scores_se_, error)
        near = model.Cs_[mean >= mean[best] - error[best]]
        assert np.min(near) == model.C_
        assert model.C_ < clone(model).set_params(selection="best").fit(X, y).C_


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine"])
def test_automatic_Cs_reach_from_nothing_to_everything(name):
    """The first holds the model at the class frequencies; the best lies inside; there are about ten."""
    X, y = real(name)
    model = ours(Cs="auto", tol=1e-8).fit(X, y)
    ratios = model.Cs_[1:] / model.Cs_[:-1]
    assert 6 <= len(model.Cs_) <= 14
    np.testing.assert_allclose(ratios, ratios[0])
    assert ratios[0] > 1
    assert 0 < np.argmax(model.scores_mean_) < len(model.Cs_) - 1
    first = LogisticRegression(model.Cs_[0]).fit(X, y).predict_proba(X)
    assert np.max(np.abs(first - np.bincount(y) / len(y))) < 0.1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_automatic_Cs_follow_the_scale(n_classes):
    """Units of X and of the weights change C, and no score."""
    X, y = random(n_classes)
    model = ours(Cs="auto").fit(X, y)
    for a, b in ((1e3, 1), (1, 5), (1e-2, 0.1)):
        other = ours(Cs="auto").fit(a * X, y, np.full(len(y), float(b)))
        np.testing.assert_allclose(other.Cs_, model.Cs_ / a**2 / b, rtol=1e-5)
        np.testing.assert_allclose(other.scores_mean_, model.scores_mean_, rtol=1e-4)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_automatic_Cs_go_on_past_a_feature_of_noise(size):
    """A feature of large values that tells nothing makes a plateau, which is not the end."""
    X, y = random(2, n=400)
    noise = size * np.random.default_rng(5).standard_normal((400, 1))
    best = ours(Cs="auto", tol=1e-8).fit(X, y).scores_mean_.max()
    assert ours(Cs="auto", tol=1e-8).fit(np.hstack([X, noise]), y).scores_mean_.max() > best - 0.02


@pytest.mark.parametrize("X", [np.zeros((20, 2)), np.ones((20, 2))])
def test_automatic_Cs_where_there_is_nothing_to_fit(X):
    model = ours(Cs="auto").fit(X, np.arange(20) % 2)
    np.testing.assert_allclose(model.coef_, 0, atol=1e-12)


def peak_of(model, X, y):
    """The most bytes that a fit holds at a time."""
    model.fit(X, y)  # compiles what is to be compiled
    tracemalloc.start()
    model.fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F", "csr"])
def test_no_rows_are_copied(dtype, order):
    """The fit of all folds never holds as many bytes as X, nor half of them.

    What it holds are ten arrays or so of the size of the outputs, and as many of p x p.
    """
    X, y = random(2, n=30_000, p=200)
    X = sp.csr_array(X, dtype=dtype) if order == "csr" else X.astype(dtype, order=order)
    model = LogisticRegressionCV(Cs=[0.01, 0.1], cv=2)
    assert peak_of(model, X, y) < 0.5 * X.data.nbytes
    for name in ("coef_", "intercept_", "coefs_paths_"):
        assert getattr(model, name).dtype == dtype


@pytest.mark.parametrize(("cv", "share"), [(2, 0.5), (3, 0.0)])
def test_only_rows_that_are_no_more_than_half_may_be_copied(cv, share):
    """Those with curvature, as of a small training part. What depends on the precision of X is a copy."""
    X, y = random(3, n=20_000, p=100)
    single = X.astype(np.float32)
    model = LogisticRegressionCV(Cs=[0.1], cv=cv)
    copied = (peak_of(model, X, y) - peak_of(model, single, y)) / (X.nbytes - single.nbytes)
    assert copied <= share + 0.05


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scoring": accuracy_score}, "metric function rather than a scorer"),
        ({"scoring": lambda model, X, y: None}, "has to return a number"),
        ({"scoring": ["accuracy"]}, "one name of a scorer"),
        ({"cv": [(np.arange(100), [500])]}, "Fold 0 of cv does not index the 150 rows of X"),
    ],
)
def test_what_cannot_be_used_is_named(options, told):
    with pytest.raises(ValueError, match=told):
        LogisticRegressionCV(**options).fit(*datasets.load_iris(return_X_y=True))


def test_a_warning_of_many_fits_names_few_and_the_chosen():
    X, y = datasets.load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="6 of 18 fits .* The chosen C=inf is one of these"):
        LogisticRegressionCV(Cs=[0.1, 1, np.inf]).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="and [1-5] more values of C") as seen:
        LogisticRegressionCV(max_iter=1, tol=1e-10).fit(X, y)
    assert len(str(seen[0].message)) < 800


def test_every_solve_is_certified():
    X, y = real("wine")
    model = LogisticRegressionCV().fit(X, y)
    assert model.gaps_.shape == model.statuses_.shape == model.n_iter_.shape == (5, 1, 10)
    assert np.all(model.gaps_ <= 1e-8)
    assert all(result.relative_gap <= 1e-8 for result in model.results_)
    assert set(model.statuses_.flat) == {Status.CONVERGED}


def test_one_warning_names_what_did_not_converge():
    X, y = random(2)
    X[:, 0] = np.where(y == 1, 1, -1) * (0.1 + np.abs(X[:, 0]))
    with pytest.warns(ConvergenceWarning) as caught:
        model = LogisticRegressionCV(Cs=[1, np.inf], cv=2).fit(X, y)
    assert len(caught) == 1
    text = str(caught[0].message)
    cells = "C=inf on all rows, fold 0, fold 1"
    assert text.startswith(f"3 of 6 fits did not converge: {cells}. C=inf on all rows: Separation")
    assert text.count("Set a finite C") == 1
    assert model.statuses_[0, 0].tolist() == [Status.CONVERGED, Status.SEPARATED]
    with pytest.warns(ConvergenceWarning, match="^12 of 12 fits.*Raise max_iter") as caught:
        LogisticRegressionCV(Cs=2, max_iter=0).fit(X, y)
    assert "warm_start" not in str(caught[0].message)
    assert caught[0].filename == __file__
    with pytest.warns(ConvergenceWarning) as caught:
        LogisticRegression(max_iter=0).fit(X, y)
    assert caught[0].filename == __file__


X, Y = random(2, n=40)
REFUSED = {
    "selection": ({"selection": "2se"}, "^selection='2se': choose"),
    "l1_ratios": ({"l1_ratios": (0, 0.5)}, "^l1_ratios=.*only the L2"),
    "l1_ratios empty": ({"l1_ratios": ()}, r"^l1_ratios=\(\)"),
    "l1_ratios None": ({"l1_ratios": None}, "^l1_ratios=None"),
    "l1_ratios number": ({"l1_ratios": 0.0}, "^l1_ratios=0.0"),
    "refit": ({"refit": False, "selection": "1se"}, "set refit=True"),
    "cv": ({"cv": "lto"}, "^cv='lto': give"),
    "loo refit": ({"cv": "loo", "refit": False}, "set refit=True"),
    "loo callable": ({"cv": "loo", "scoring": first_label}, "no fitted classifiers"),
    "one fold": ({"cv": ShuffleSplit(1, random_state=0), "selection": "1se"}, "two folds or more"),
    "no folds": ({"cv": []}, "gives no folds"),
    "scoring": ({"scoring": "loss"}, "scoring"),
    "tol": ({"tol": -1}, "^tol=-1"),
    "class out": (
        {"cv": [(np.flatnonzero(Y), np.arange(40))]},
        "training rows of fold 0 hold none of class 0.*StratifiedKFold",
    ),
    "no training rows": ({"cv": [([], np.arange(40))]}, "fold 0 hold none of class 0, 1"),
    "no test rows": ({"cv": [(np.arange(40), [])]}, "^Fold 0 holds out no rows"),
    "NaN": (
        {"cv": [(np.arange(40), np.flatnonzero(Y))], "scoring": make_scorer(lambda y, p: np.nan)},
        "NaN for the held-out rows of fold 0",
    ),
}
REFUSED |= {
    f"Cs={Cs!r}": ({"Cs": Cs}, r"^Cs=.*: give positive numbers")
    for Cs in (0, -3, 2.5, True, "all", None, [], [1, -1], [0.0], [1e-310], [np.nan], ["a"], [[1]], {"a": 1})
}


@pytest.mark.parametrize(("parameters", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_fitted_is_refused(parameters, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        LogisticRegressionCV(**parameters).fit(X, Y)


def test_held_out_rows_without_weight_are_refused():
    folds = [(np.arange(40), np.arange(40)), (np.arange(40), np.arange(5))]
    s = np.where(np.arange(40) < 5, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"^Fold 1 holds out no rows with positive weight"):
        LogisticRegressionCV(cv=folds).fit(X, Y, s)


def test_weights_that_leave_a_class_out_of_a_fold_are_refused():
    folds = [(np.arange(40), np.arange(40)), (np.arange(20), np.arange(20, 40))]
    s = np.where((np.arange(40) < 20) & (Y == 1), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"fold 1 hold none of class 1 \(with positive weight\)"):
        LogisticRegressionCV(cv=folds).fit(X, Y, s)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("Cs", [2, "auto"])
def test_values_that_are_not_finite_are_told(value, Cs):
    bad = X.copy()
    bad[3, 1] = value
    with pytest.raises(ValueError, match="X contains"):
        LogisticRegressionCV(Cs=Cs).fit(bad, Y)


GROUPS = np.arange(90) % 6


@pytest.mark.parametrize("splitter", [GroupKFold(3), LeaveOneGroupOut()])
@pytest.mark.parametrize("weighted", [True, False])
def test_routed_metadata_reach_splitter_and_scorer(splitter, weighted):
    """As scikit-learn's estimator sends them."""
    X, y = random()
    s = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    with config_context(enable_metadata_routing=True):
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=weighted)
        given = {"sample_weight": s, "groups": GROUPS}
        mine, other = (
            m.set_params(cv=splitter, scoring=scorer).set_fit_request(sample_weight=True).fit(X, y, **given)
            for m in (ours(), theirs())
        )
        assert_same(mine, other)
        np.testing.assert_allclose(
            *(m.score(X, y, **{"sample_weight": s} if weighted else {}) for m in (mine, other)), rtol=1e-6
        )


def test_metadata_that_nobody_asked_for_are_refused():
    X, y = random()
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        ours(cv=GroupKFold(3)).fit(X, y, groups=GROUPS)
    with config_context(enable_metadata_routing=True), pytest.raises(UnsetMetadataPassedError):
        ours().fit(X, y, sample_weight=np.ones(len(y)))


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_prints_a_line_for_every_C(verbose, capsys):
    ours(verbose=verbose).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == verbose * len(CS)
    assert all(line.startswith(f"C={C:g}") for line, C in zip(lines, CS, strict=False))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_path_without_folds(n_classes):
    """The solutions of separate fits, in the order of Cs, with their certificates."""
    X, y = random(n_classes)
    s = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    Cs = [1.0, 0.01, np.inf]
    path = logistic_regression_path(X, y, Cs=Cs, tol=1e-13, class_weight="balanced", sample_weight=s)
    assert path.Cs.tolist() == Cs
    for C, coef, intercept, result in zip(*path[:4], strict=True):
        model = LogisticRegression(C, tol=1e-13, class_weight="balanced").fit(X, y, s)
        np.testing.assert_allclose(coef, model.coef_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(intercept, model.intercept_, rtol=1e-5, atol=1e-6)
        assert result.status is Status.CONVERGED
    assert path.classes.tolist() == list(range(n_classes))


def test_path_tells_what_did_not_converge():
    with pytest.warns(
        ConvergenceWarning, match=r"^2 of 2 fits.*C=0.0001 on all rows; C=10000 on all rows"
    ) as caught:
        path = logistic_regression_path(X, Y, Cs=2, max_iter=0)
    assert caught[0].filename == __file__
    assert path.coefs.shape == (2, 1, 4)
    with pytest.raises(ValueError, match=r"^Cs=0"):
        logistic_regression_path(X, Y, Cs=0)
