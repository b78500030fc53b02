"""Linear classifiers behind scikit-learn's interface."""

from secondorder.linear_model._logistic import LogisticRegression
from secondorder.linear_model._logistic_cv import LogisticRegressionCV
from secondorder.linear_model._path import LogisticPath, logistic_regression_path

__all__ = ["LogisticPath", "LogisticRegression", "LogisticRegressionCV", "logistic_regression_path"]
