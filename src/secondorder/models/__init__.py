"""Models: outputs S and products with their Jacobian J = dS/dw."""

from secondorder.models.design import Design, design_matrix
from secondorder.models.linear import Linear
from secondorder.models.row_space import RowSpace, shortest

__all__ = ["Design", "Linear", "RowSpace", "design_matrix", "shortest"]
