"""One way to compile a loop: on first use, kept on disk, without the global interpreter lock."""

from collections.abc import Callable
from typing import Any

from numba import njit

from secondorder.kernels import COMPILING
from secondorder.kernels.disk_cache import DiskCache, folder

# Sums may be reordered into vector lanes; NaN and infinity keep their meaning.
REORDER = {"reassoc", "contract", "arcp", "nsz"}
IN_ORDER = REORDER - {"reassoc"}

LOOPS: list[Any] = []  # all so far, as Numba's dispatchers


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` at its first call, or load what an earlier process compiled."""
    return _compiled(function, REORDER)


def kernel_in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with sums taken in the order written."""
    return _compiled(function, IN_ORDER)


def _compiled(function: Callable[..., Any], fastmath: set[str]) -> Callable[..., Any]:
    compiled: Any = njit(function, nogil=True, fastmath=fastmath, error_model="numpy")
    if COMPILING:
        LOOPS.append(compiled)
        if place := folder():
            compiled._cache = DiskCache(function, place)
    return compiled


def counts() -> tuple[int, int]:
    """How many loops this process has compiled and loaded so far, each for every combination of types."""
    stats = [loop.stats for loop in LOOPS]
    return sum(sum(s.cache_misses.values()) for s in stats), sum(sum(s.cache_hits.values()) for s in stats)
