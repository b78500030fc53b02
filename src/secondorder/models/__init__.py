"""Models: outputs S and products with their Jacobian J = dS/dw."""

from secondorder.models.activations import ACTIVATIONS, Activation
from secondorder.models.compiled_design import design_matrix
from secondorder.models.design import Design
from secondorder.models.initial_weights import INITIAL_WEIGHTS
from secondorder.models.linear import Linear
from secondorder.models.mlp import MLP
from secondorder.models.occupied import occupied
from secondorder.models.row_space import RowSpace, shortest

__all__ = [
    "ACTIVATIONS",
    "INITIAL_WEIGHTS",
    "MLP",
    "Activation",
    "Design",
    "Linear",
    "RowSpace",
    "design_matrix",
    "occupied",
    "shortest",
]
