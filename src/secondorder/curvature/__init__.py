"""Curvature matrices of an objective, as linear operators."""

from secondorder.curvature.operators import Curvature, GaussNewton, Hessian, LeadingTerm, SingleGaussNewton

__all__ = ["Curvature", "GaussNewton", "Hessian", "LeadingTerm", "SingleGaussNewton"]
