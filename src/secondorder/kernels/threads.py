"""Rows shared out among threads.

The kernels release the interpreter lock, so plain Python threads run them side by side. There is no
threading layer to abort on a nested call, and a forked child starts helpers of its own.

How the rows are divided depends on sizes and limits alone, so that sums come out the same from run to
run. How many threads then work on the parts also depends on what else is running: callers in
several Python threads share the processors and do not each take all of them.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

# A thread is worth waking for about this many multiplications (some 20 microseconds of work).
MULTIPLICATIONS_PER_THREAD = 2**17


def n_threads() -> int:
    """The threads a product may use, asked anew each time.

    The smallest of: the processors this process may run on; the environment variables
    SECONDORDER_NUM_THREADS and OMP_NUM_THREADS, which joblib sets for its worker processes; and what
    the BLAS and OpenMP libraries of the process are limited to, as by ``threadpoolctl.threadpool_limits``.
    """
    limits = [_processors()]
    for name in ("SECONDORDER_NUM_THREADS", "OMP_NUM_THREADS"):
        limit = os.environ.get(name, "").split(",")[0]
        if limit.isdigit() and int(limit) > 0:
            limits.append(int(limit))
    others = [library.num_threads or 1 for library in _libraries() if library.user_api != "blas"]
    return min(limits + others + (_blas.limits or _blas_limits()))


def _processors() -> int:
    """The processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _libraries() -> list[Any]:
    """The threaded libraries loaded at first use: finding them takes 10 ms, asking them 1 us."""
    found = ThreadpoolController().lib_controllers
    # What these say is no limit: BLIS has one thread unless told otherwise, some OpenBLAS never more.
    return [a for a in found if a.internal_api != "blis" and getattr(a, "threading_layer", "") != "disabled"]


def _blas_libraries() -> list[Any]:
    """Those whose limit is one of the process; OpenMP has one for each thread, which stays as it is."""
    return [library for library in _libraries() if library.user_api == "blas"]


def _blas_limits() -> list[int]:
    """How many threads each BLAS may use."""
    return [library.num_threads or 1 for library in _blas_libraries()]


def _set_blas(limits: list[int]) -> None:
    for library, limit in zip(_blas_libraries(), limits, strict=True):
        library.set_num_threads(limit)


class _Blas:
    """The threads of BLAS, held at one while any caller asks for it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.callers = 0
        self.limits: list[int] = []  # before the first caller came

    @contextmanager
    def held(self) -> Iterator[None]:
        """One thread within: others would spin for milliseconds after each call, where loops want to run."""
        with self.lock:
            if not self.callers:
                self.limits = _blas_limits()
                _set_blas([1] * len(self.limits))
            self.callers += 1
        try:
            yield
        finally:
            with self.lock:
                self.callers -= 1
                if not self.callers:
                    _set_blas(self.limits)
                    self.limits = []

    def forget(self) -> None:
        """Let go, in a forked child: the callers stayed in the parent, and so may have who held the lock."""
        self.lock, self.callers = Lock(), 0
        if self.limits:
            _set_blas(self.limits)
            self.limits = []


_blas = _Blas()
one_blas_thread = _blas.held


class _Helpers:
    """The threads that work beside the callers, and how many of both are at work."""

    def __init__(self) -> None:
        self.processors = _processors()
        self.pool = ThreadPoolExecutor(self.processors, thread_name_prefix="secondorder")
        self.lock = Lock()
        self.at_work = 0

    @contextmanager
    def engaged(self, wanted: int) -> Iterator[int]:
        """How many helpers a caller gets who wants so many: no more than there are processors idle."""
        with self.lock:
            helpers = max(0, min(wanted, self.processors - self.at_work - 1))
            self.at_work += helpers + 1
        try:
            yield helpers
        finally:
            with self.lock:
                self.at_work -= helpers + 1


@cache
def _helpers() -> _Helpers:
    """Those of this process."""
    return _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # the threads stayed in the parent
    os.register_at_fork(after_in_child=_blas.forget)


def row_bounds(n_rows: int, multiplications: int) -> np.ndarray:
    """Bounds of equal parts of the rows, as many as the work is worth threads."""
    parts = min(n_rows, multiplications // MULTIPLICATIONS_PER_THREAD)
    if parts <= 1:
        return np.array([0, n_rows])
    parts = min(parts, n_threads())
    return np.arange(parts + 1) * n_rows // parts


def nonzero_bounds(indptr: np.ndarray, multiplications: int) -> np.ndarray:
    """Bounds of parts of the rows of a CSR matrix with about equal numbers of nonzeros."""
    parts = len(row_bounds(len(indptr) - 1, multiplications)) - 1
    if parts == 1:
        return np.array([0, len(indptr) - 1])
    bounds = np.searchsorted(indptr, np.arange(parts + 1) * int(indptr[-1]) // parts)
    bounds[0], bounds[-1] = 0, len(indptr) - 1
    return bounds.astype(np.int64)


def run(kernel: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> None:
    """Call `kernel` once with each tuple of arguments, side by side."""
    waiting = deque(calls)
    if len(waiting) == 1:
        kernel(*waiting[0])
        return

    def work() -> None:
        while waiting:
            try:
                arguments = waiting.popleft()
            except IndexError:  # another thread took the last
                return
            kernel(*arguments)

    helpers = _helpers()
    with helpers.engaged(len(waiting) - 1) as count:
        futures = [helpers.pool.submit(work) for _ in range(count)]
        work()
        for future in futures:
            if not future.cancel():  # one that never woke has nothing left to do
                future.result()
