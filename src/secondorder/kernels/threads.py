"""Rows shared out among threads.

The kernels release the interpreter lock, so plain Python threads run them side by side. There is no
threading layer to abort on a nested call, and a forked child starts a pool of its own.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

# A thread is worth waking for about this many multiplications (some 20 microseconds of work).
MULTIPLICATIONS_PER_THREAD = 2**17


def n_threads() -> int:
    """The threads this process may use: OMP_NUM_THREADS if set, else its processors."""
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    counted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processors = counted or 1
    return min(int(limit), processors) if limit.isdigit() and int(limit) > 0 else processors


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    """The pool of the process, made at first use."""
    return ThreadPoolExecutor(size, thread_name_prefix="secondorder")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # the threads stayed in the parent


def row_bounds(n_rows: int, multiplications: int) -> np.ndarray:
    """Bounds of equal parts of the rows, as many as the work is worth threads."""
    parts = max(1, min(n_threads(), n_rows, multiplications // MULTIPLICATIONS_PER_THREAD))
    return np.linspace(0, n_rows, parts + 1).astype(np.int64)


def nonzero_bounds(indptr: np.ndarray, multiplications: int) -> np.ndarray:
    """Bounds of parts of the rows of a CSR matrix with about equal numbers of nonzeros."""
    parts = len(row_bounds(len(indptr) - 1, multiplications)) - 1
    bounds = np.searchsorted(indptr, np.linspace(0, indptr[-1], parts + 1))
    bounds[0], bounds[-1] = 0, len(indptr) - 1
    return bounds.astype(np.int64)


def run(kernel: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> None:
    """Call `kernel` once with each tuple of arguments, side by side."""
    first, *others = calls
    if not others:
        kernel(*first)
        return
    futures = [_pool(n_threads()).submit(kernel, *arguments) for arguments in others]
    kernel(*first)
    for future in futures:
        future.result()
