"""Neural networks behind scikit-learn's interface."""

from secondorder.neural_network._perceptron import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
