"""Linear classifiers behind scikit-learn's interface."""

from secondorder.linear_model._logistic import LogisticRegression

__all__ = ["LogisticRegression"]
