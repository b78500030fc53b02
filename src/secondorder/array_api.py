"""Arrays of any array API namespace."""

from types import ModuleType
from typing import Any

import numpy as np

from secondorder.kernels import pointwise_repays, vector_repays

SHORT = 10_000  # numbers of a vector for which BLAS wakes no threads


def array_namespace(array: Any) -> ModuleType:
    """Return the array API namespace of `array`.

    NumPy, CuPy, JAX and array-api-strict arrays name theirs; for the others (PyTorch)
    the package ``array-api-compat`` is asked, which must then be installed.
    """
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    import array_api_compat

    return array_api_compat.array_namespace(array)


def dot(a: Any, b: Any) -> float:
    """``a'b`` for two vectors.

    Long ones not by BLAS: for some ten milliseconds after each call its threads go on spinning on the
    processors that the next loop over the rows needs, and halve its speed.
    """
    if isinstance(a, np.ndarray) and a.size <= SHORT:
        return float(a @ b)
    if vector_repays(a) and vector_repays(b):
        from secondorder.kernels import vectors

        return vectors.dot(a, b)
    return float(array_namespace(a).sum(a * b))


def plus_product(a: Any, b: Any, c: Any) -> Any:
    """``a + b c`` for vectors; long ones of NumPy are added to `a` itself."""
    if vector_repays(a) and vector_repays(b) and vector_repays(c):
        from secondorder.kernels import vectors

        vectors.add_product(a, b, c)
        return a
    return a + b * c


def plus_multiple(a: Any, b: Any, t: float) -> Any:
    """``a + t b``."""
    if pointwise_repays(a) and pointwise_repays(b):
        from secondorder.kernels import vectors

        return vectors.plus_multiple(a, b, t)
    return a + t * b


def plus_row(A: Any, c: Any) -> Any:
    """``A + 1 c'``."""
    if pointwise_repays(A):
        from secondorder.kernels import vectors

        return vectors.plus_row(A, c)
    return A + c


def column_sums(A: Any) -> tuple[Any, Any]:
    """The sums of the columns of `A` (n, K), and those of its absolute values."""
    if pointwise_repays(A):
        from secondorder.kernels import vectors

        return vectors.column_sums(A)
    xp = array_namespace(A)
    return xp.sum(A, axis=0), xp.sum(xp.abs(A), axis=0)
