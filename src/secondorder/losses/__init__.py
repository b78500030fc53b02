"""Losses: value, first and second derivative in the model outputs, and their numerical care."""

from secondorder.losses.logistic import Logistic
from secondorder.losses.loss import Loss
from secondorder.losses.output_hessian import OutputHessian
from secondorder.losses.softmax import Softmax
from secondorder.losses.squared import Squared

__all__ = ["Logistic", "Loss", "OutputHessian", "Softmax", "Squared"]
