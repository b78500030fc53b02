"""One way to compile a loop: on first use, cached on disk, without the global interpreter lock."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit

# Sums may be reordered into vector lanes; NaN and infinity keep their meaning.
REORDER = {"reassoc", "contract", "arcp", "nsz"}
IN_ORDER = {"contract", "arcp", "nsz"}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` at its first call; without a writable cache folder, in every process anew."""
    return _compiled(function, REORDER)


def kernel_in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with sums taken in the order written."""
    return _compiled(function, IN_ORDER)


def _compiled(function: Callable[..., Any], fastmath: set[str]) -> Callable[..., Any]:
    options: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    try:
        return njit(function, cache=True, **options)
    except RuntimeError as error:  # Numba found no folder that it may write to
        _warn_once(str(error).split(" for file ")[0])
        return njit(function, **options)


@cache
def _warn_once(reason: str) -> None:
    """Say what it means that nothing can be kept."""
    warnings.warn(
        f"Compiled code cannot be kept on disk ({reason}), so each new process compiles it again. "
        "Set the environment variable NUMBA_CACHE_DIR to a writable folder to keep it.",
        stacklevel=4,
    )
