"""The regressor: numbers as targets, half the squared distance as loss."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from secondorder.losses import Squared
from secondorder.neural_network._perceptron import PRECISIONS, Data, Perceptron


class MLPRegressor(RegressorMixin, Perceptron):
    """Multilayer perceptron for regression, trained by methods that use curvature.

    Minimises ``(sum_i s_i |S_i - y_i|^2 / 2 + alpha/2 |W|^2) / sum_i s_i`` over the weights; the biases are
    not penalised. One output or several.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(100,)
        Units in each hidden layer; ``()`` is ridge regression.
    activation, solver, alpha, batch_size, learning_rate_init, max_iter, shuffle, init, n_restarts, \
    random_state, tol, verbose, warm_start, early_stopping, validation_fraction, n_iter_no_change
        As in `MLPClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_losses_, validation_scores_, \
    best_validation_score_, n_iter_, n_layers_, n_outputs_, dead_units_, result_, n_features_in_, \
    feature_names_in_
        As in `MLPClassifier`; validation scores are R^2.
    out_activation_ : {"identity"}

    Examples
    --------
    >>> import numpy as np
    >>> from secondorder.neural_network import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = MLPRegressor((20,), "tanh", alpha=0, random_state=0).fit(X, np.sin(3 * X[:, 0]))
    >>> model.score(X, np.sin(3 * X[:, 0])) > 0.999
    True
    """

    out_activation_ = "identity"
    _loss = Squared()

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One iteration on some rows: a sweep of mini-batches, or one step of a second-order solver.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : MLPRegressor
        """
        self._check_parameters()
        return self._partial_fit(self._validate(X, y, sample_weight, reset=not hasattr(self, "coefs_")))

    def predict(self, X: Any) -> np.ndarray:
        """The outputs, shape (n_samples,) or (n_samples, n_outputs)."""
        S = self._outputs(X)
        return S[:, 0] if self._flat else S

    def _validate(self, X: Any, y: Any, sample_weight: Any, reset: bool = True) -> Data:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=PRECISIONS, multi_output=True, y_numeric=True, reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        n_outputs = 1 if y.ndim == 1 else y.shape[1]
        if not reset and n_outputs != self.n_outputs_:
            raise ValueError(f"y has {n_outputs} outputs, but the network has {self.n_outputs_}.")
        self._flat, self.n_outputs_ = y.ndim == 1, n_outputs
        return Data(
            X,
            y.astype(np.float64),
            _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True),
            None,
        )

    def _score_outputs(self, S: np.ndarray, data: Data) -> float:
        return float(r2_score(data.y, S[:, 0] if data.y.ndim == 1 else S, sample_weight=data.s))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
