"""The estimators are scikit-learn's in all that its users may do with them, and say what went wrong."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from threadpoolctl import threadpool_info, threadpool_limits

from secondorder.linear_model import LogisticRegression
from secondorder.models import ACTIVATIONS
from secondorder.neural_network import MLPClassifier, MLPRegressor
from secondorder.neural_network._threads import threads_for
from secondorder.solvers.network import SECOND_ORDER, SOLVERS

pytestmark = pytest.mark.usefixtures("one_thread")


def classes(n_classes=3, n=90, p=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, np.argmax(2 * X[:, :n_classes] + rng.gumbel(size=(n, n_classes)), axis=1)


def numbers(n=90, p=3, n_outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    Y = np.column_stack([np.sin(X[:, k % p]) + 0.1 * X[:, 0] for k in range(n_outputs)])
    return X, (Y[:, 0] if n_outputs == 1 else Y)


def quiet(model, *data, **options):
    """The fitted model, whatever it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*data, **options)


CHECKED = {
    MLPClassifier: ("lm", "gauss-newton-cg", "newton-trust-region"),
    MLPRegressor: ("lm", "newton-trust-region"),
}


def checks():
    """Scikit-learn's checks; that weights are repetition is asked to seven digits, so of converged fits."""
    for kind, solvers in CHECKED.items():
        for solver in solvers:
            small = kind((3,), "tanh", alpha=0.1, max_iter=60, solver=solver)
            for estimator, check in estimator_checks_generator(small):
                name = check.func.__name__
                if name.startswith("check_sample_weight_equivalence"):
                    estimator.set_params(alpha=10, tol=0, max_iter=3000, n_iter_no_change=30)
                yield pytest.param(estimator, check, id=f"{kind.__name__}-{solver}-{name}")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("solver", ["auto", *SECOND_ORDER])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_without_hidden_layers_it_is_logistic_regression(solver, n_classes):
    X, y = classes(n_classes)
    linear = LogisticRegression(C=2.0, tol=1e-14).fit(X, y)
    model = MLPClassifier((), solver=solver, alpha=0.5, tol=1e-14, random_state=0, max_iter=500).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), linear.predict_proba(X), atol=1e-5)
    if n_classes == 2:
        np.testing.assert_allclose(model.coefs_[0].T, linear.coef_, atol=1e-4)
        np.testing.assert_allclose(model.intercepts_[0], linear.intercept_, atol=1e-4)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_without_hidden_layers_it_is_ridge_regression(n_outputs):
    X, y = numbers(n_outputs=n_outputs)
    model = MLPRegressor((), alpha=0.5, tol=1e-14, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), Ridge(alpha=0.5).fit(X, y).predict(X), atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_learns(solver):
    X, y = classes(n=200)
    rate = {"gd": 0.5, "sgd": 0.1, "nesterov": 0.05, "diagonal-lm": 0.1, "adagrad": 0.05}.get(solver)
    model = MLPClassifier((8,), "tanh", solver=solver, learning_rate_init=rate, batch_size=20, random_state=0)
    model = quiet(model, X, y)
    assert model.score(X, y) >= 0.65
    assert model.loss_curve_[-1] < 0.8 * model.loss_curve_[0]
    assert len(model.loss_curve_) == model.n_iter_ + 1
    assert model.result_.history[-1].iteration == model.n_iter_


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "sign"])
def test_every_activation_learns_and_predicts(activation):
    X, y = numbers()
    model = quiet(MLPRegressor((10,), activation, random_state=0), X, y)
    assert model.score(X, y) >= (0.6 if activation == "identity" else 0.9)
    A = X
    for W, b in zip(model.coefs_, model.intercepts_, strict=True):
        last = W is model.coefs_[-1]
        A = A @ W + b if last else ACTIVATIONS[activation].value(A @ W + b)
    np.testing.assert_allclose(model.predict(X), A[:, 0], rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_shapes_and_attributes_are_scikit_learn_s(n_classes):
    X, y = classes(n_classes)
    mine, other = (quiet(kind((5, 4), random_state=0), X, y) for kind in (MLPClassifier, TheirClassifier))
    for name in ("coefs_", "intercepts_"):
        assert [a.shape for a in getattr(mine, name)] == [a.shape for a in getattr(other, name)]
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, name) == getattr(other, name)
    for name in (
        "loss_",
        "best_loss_",
        "n_iter_",
        "loss_curve_",
        "validation_scores_",
        "best_validation_score_",
    ):
        assert type(getattr(mine, name)) is type(getattr(other, name)) or np.isscalar(getattr(mine, name))
    assert mine.predict_proba(X).shape == other.predict_proba(X).shape
    np.testing.assert_allclose(np.exp(mine.predict_log_proba(X)), mine.predict_proba(X))
    np.testing.assert_allclose(mine.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_soft_labels_that_are_hard_are_labels(n_classes):
    X, y = classes(n_classes)
    hard = MLPClassifier((4,), "tanh", alpha=0.1, random_state=0).fit(X, y)
    soft = MLPClassifier((4,), "tanh", alpha=0.1, random_state=0).fit(X, np.eye(n_classes)[y])
    np.testing.assert_allclose(soft.predict_proba(X), hard.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(soft.classes_, np.arange(n_classes))


def test_soft_labels_are_fitted_as_probabilities():
    X = np.repeat(np.eye(2), 50, axis=0)
    P = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])[X.argmax(axis=1)]
    P = P[:, [0, 1, 2]]
    model = MLPClassifier((3,), "tanh", alpha=0, random_state=0, tol=1e-10).fit(X, P)
    np.testing.assert_allclose(model.predict_proba(X), P, atol=1e-3)


def test_class_weights_are_sample_weights():
    X, y = classes()
    options = {"alpha": 0.1, "random_state": 0, "tol": 1e-10, "activation": "tanh"}
    by_class = MLPClassifier((3,), class_weight={0: 3, 1: 1, 2: 0.5}, **options).fit(X, y)
    by_row = MLPClassifier((3,), **options).fit(X, y, sample_weight=np.array([3, 1, 0.5])[y])
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), rtol=1e-10)


@pytest.mark.parametrize("solver", ["lm", "adam"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_early_stopping_keeps_the_weights_with_the_least_validation_loss(kind, solver):
    X, y = classes(n=150) if kind is MLPClassifier else numbers(n=150)
    model = quiet(kind((30,), solver=solver, early_stopping=True, alpha=0, random_state=0), X, y)
    assert len(model.validation_losses_) == len(model.validation_scores_) == model.n_iter_ + 1
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert np.argmin(model.validation_losses_) <= model.n_iter_
    again = quiet(clone(model).set_params(early_stopping=False), X, y)
    assert again.validation_scores_ is None


def test_the_best_of_several_starts_is_kept():
    X, y = numbers()
    losses = [
        quiet(MLPRegressor((2,), n_restarts=k, random_state=0, max_iter=20), X, y).loss_ for k in (1, 4)
    ]
    assert losses[1] <= losses[0]


def test_warm_start_goes_on_where_the_last_fit_ended():
    X, y = numbers()
    model = quiet(MLPRegressor((5,), warm_start=True, random_state=0, max_iter=5), X, y)
    before = model.loss_
    quiet(model, X, y)
    np.testing.assert_allclose(model.loss_curve_[0], before, rtol=1e-10)
    assert model.loss_ < before


@pytest.mark.parametrize("solver", ["lm", "gauss-newton-cg", "adam", "diagonal-lm"])
def test_partial_fit_goes_on_and_learns(solver):
    X, y = classes(n=300)
    model = MLPClassifier((6,), "tanh", solver=solver, batch_size=20, random_state=0)
    with pytest.raises(ValueError, match="needs classes"):
        model.partial_fit(X, y)
    for _ in range(40):
        model.partial_fit(X, y, classes=np.arange(3))
    assert model.score(X, y) >= 0.65
    assert model.n_iter_ == 40
    with pytest.raises(ValueError, match="not among classes"):
        model.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="not those of before"):
        model.partial_fit(X, y, classes=[0, 1])


def test_partial_fit_of_the_regressor_keeps_its_number_of_outputs():
    X, y = numbers(n_outputs=2)
    model = MLPRegressor((6,), random_state=0).partial_fit(X, y).partial_fit(X, y)
    assert model.predict(X).shape == y.shape
    with pytest.raises(ValueError, match="outputs"):
        model.partial_fit(X, y[:, 0])


def test_copies_clones_and_searches_work():
    X, y = classes()
    model = MLPClassifier((4,), alpha=0.1, random_state=0).fit(X, y)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(clone(model).fit(X, y).coefs_[0], model.coefs_[0])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), clone(model)), {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2
    )
    assert search.fit(X, y).score(X, y) > 0.6


def test_containers_and_precisions_of_X_agree():
    X, y = classes()
    X = np.round(X, 1) * (np.abs(X) > 0.5)
    model = MLPClassifier((3,), "tanh", alpha=0.5, tol=1e-10, random_state=0)
    expected = model.fit(X, y).predict_proba(X)
    for held in (pd.DataFrame(X), sp.csr_array(X), sp.csc_array(X), X.tolist(), np.asfortranarray(X)):
        np.testing.assert_allclose(clone(model).fit(held, y).predict_proba(held), expected, atol=1e-5)
    single = quiet(clone(model), X.astype(np.float32), y)
    assert {W.dtype for W in single.coefs_ + single.intercepts_} == {np.dtype(np.float32)}
    np.testing.assert_allclose(single.predict_proba(X.astype(np.float32)), expected, atol=1e-2)


@pytest.mark.parametrize("solver", ["lm", "gauss-newton-cg", "newton-trust-region", "adam"])
def test_fits_are_reproducible(solver):
    X, y = classes()
    a, b = (quiet(MLPClassifier((4,), solver=solver, random_state=7, max_iter=20), X, y) for _ in range(2))
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])


@pytest.mark.parametrize("solver", ["lm", "gauss-newton-cg", "newton-trust-region"])
def test_iris_is_learned_by_every_second_order_solver(solver):
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    good = 0
    for seed in range(5):
        A, B, a, b = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
        good += (
            quiet(MLPClassifier((10, 10), "tanh", solver=solver, alpha=0.1, random_state=seed), A, a).score(
                B, b
            )
            >= 0.9
        )
    assert good >= 4


def test_small_networks_leave_blas_one_thread():
    def most_threads():
        return max(found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas")

    with threadpool_limits(2, user_api="blas"):
        before = most_threads()
        with threads_for(100, 100):
            assert most_threads() == 1
        with threads_for(60_000, 50_000):
            assert most_threads() == before
        assert most_threads() == before


def test_divergence_is_told():
    X, y = classes()
    model = MLPClassifier((5, 5), solver="sgd", learning_rate_init=1e8, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"Divergence.*learning_rate_init"), np.errstate(all="ignore"):
        model.fit(X, y)
    assert model.result_.status.name == "DIVERGED"
    assert all(np.all(np.isfinite(W)) for W in model.coefs_)


def test_partial_fit_refuses_to_diverge():
    X, y = classes()
    model = MLPClassifier((5, 5), solver="sgd", learning_rate_init=1e8, random_state=0)

    def until_it_ends():
        for _ in range(20):
            model.partial_fit(X, y, classes=[0, 1, 2])

    with pytest.raises(FloatingPointError, match="learning_rate_init"), np.errstate(all="ignore"):
        until_it_ends()
    assert all(np.all(np.isfinite(W)) for W in model.coefs_)


def test_dead_units_are_told():
    X, y = classes()
    ended = {"tol": 0.9, "n_iter_no_change": 1}
    model = MLPClassifier((6,), random_state=0, warm_start=True, **ended).fit(X, y)
    model.intercepts_[0][:] = -1e3
    with pytest.warns(ConvergenceWarning, match="Dead units: 6 of 6"):
        model.fit(X, y)
    assert model.dead_units_ == [6]


def test_too_few_iterations_are_told():
    X, y = classes()
    with pytest.warns(ConvergenceWarning, match="max_iter=2 iterations"):
        MLPClassifier((6,), random_state=0, max_iter=2).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes"),
        ({"activation": "swish"}, "choose one of identity"),
        ({"solver": "lbfgs"}, "choose one of auto, lm"),
        ({"init": "xavier"}, "choose one of glorot_uniform"),
        ({"alpha": -1}, "alpha=-1"),
        ({"tol": np.nan}, "tol=nan"),
        ({"learning_rate_init": 0}, "learning_rate_init=0"),
        ({"max_iter": 1.5}, "max_iter=1.5"),
        ({"n_restarts": 0}, "n_restarts=0"),
        ({"n_iter_no_change": 0}, "n_iter_no_change=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"class_weight": {0: -1.0}}, "class_weight"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**parameters).fit(*classes())


def test_data_that_cannot_be_used_are_refused():
    X, y = classes()
    with pytest.raises(ValueError, match="only one class"):
        MLPClassifier().fit(X, np.zeros(len(X), int))
    with pytest.raises(ValueError, match="sum to 1"):
        MLPClassifier().fit(X, np.ones((len(X), 3)))
    with pytest.raises(ValueError, match="soft labels"):
        MLPClassifier(class_weight="balanced").fit(X, np.eye(3)[y])
    with pytest.raises(ValueError, match="non-zero"):
        MLPClassifier().fit(X, y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="NaN"):
        MLPRegressor().fit(X * np.nan, y)
    with pytest.raises(ValueError, match="Scale the features"), np.errstate(all="ignore"):
        MLPRegressor((3,), "softplus").fit(1e200 * X, y)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
