"""The array API namespace that an array belongs to."""

from types import ModuleType
from typing import Any


def array_namespace(array: Any) -> ModuleType:
    """Return the array API namespace of `array`.

    NumPy, CuPy, JAX and array-api-strict arrays name theirs; for the others (PyTorch)
    the package ``array-api-compat`` is asked, which must then be installed.
    """
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    import array_api_compat

    return array_api_compat.array_namespace(array)
