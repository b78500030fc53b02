"""Curvature matrices of an objective, as linear operators."""

from secondorder.curvature.operators import (
    BackpropagatedDiagonal,
    Curvature,
    GaussNewton,
    Hessian,
    LeadingTerm,
    SingleGaussNewton,
)

__all__ = [
    "BackpropagatedDiagonal",
    "Curvature",
    "GaussNewton",
    "Hessian",
    "LeadingTerm",
    "SingleGaussNewton",
]
