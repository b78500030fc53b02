"""Neural networks behind scikit-learn's interface."""

from secondorder.neural_network._classifier import MLPClassifier
from secondorder.neural_network._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
