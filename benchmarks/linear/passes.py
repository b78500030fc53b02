"""Counts how often scikit-learn's lbfgs and newton solvers read X, by wrapping the loss they call.

Products that a solver makes outside the loss (one for each direction of newton-cholesky) are missed, so the
count is a lower bound there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from sklearn.linear_model._linear_loss import LinearModelLoss

BACKWARD = {
    "loss": 0,
    "loss_gradient": 1,
    "gradient": 1,
    "gradient_hessian": 2,
    "gradient_hessian_product": 1,
}


@dataclass
class Passes:
    """The count so far."""

    count: int = 0

    def around(self, method: Callable[..., Any], backward: int) -> Callable[..., Any]:
        """`method`, counted: a product forward unless the outputs are given, and those backward."""

        @wraps(method)
        def counting(*args: Any, **kwargs: Any) -> Any:
            self.count += (kwargs.get("raw_prediction") is None) + backward
            result = method(*args, **kwargs)
            if method.__name__ != "gradient_hessian_product":
                return result
            gradient, product = result

            def counted_product(v: Any) -> Any:
                self.count += 2
                return product(v)

            return gradient, counted_product

        return counting


@contextmanager
def counted() -> Iterator[Passes]:
    """Within it, every use of the loss is counted."""
    passes = Passes()
    methods = {name: getattr(LinearModelLoss, name) for name in BACKWARD}
    try:
        for name, method in methods.items():
            setattr(LinearModelLoss, name, passes.around(method, BACKWARD[name]))
        yield passes
    finally:
        for name, method in methods.items():
            setattr(LinearModelLoss, name, method)
