"""Limits on threads, and fits within, beside and after other threads and processes."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from scipy.sparse import csr_array
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from secondorder.kernels import compiled_at_any_size, dense, threads
from secondorder.linear_model import LogisticRegression


@pytest.fixture
def unlimited(monkeypatch):
    """Four processors and no limit but those a test sets."""
    monkeypatch.setattr(threads, "_processors", lambda: 4)
    monkeypatch.setattr(threads, "_libraries", list)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("SECONDORDER_NUM_THREADS", raising=False)
    threads._helpers.cache_clear()
    yield
    threads._helpers.cache_clear()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 4),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "1,4"}, 1),
        ({"OMP_NUM_THREADS": ""}, 4),
        ({"OMP_NUM_THREADS": "0"}, 4),
        ({"OMP_NUM_THREADS": "x"}, 4),
        ({"SECONDORDER_NUM_THREADS": "3"}, 3),
        ({"SECONDORDER_NUM_THREADS": "8"}, 4),
        ({"SECONDORDER_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 2),
        ({"SECONDORDER_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"}, 2),
    ],
)
def test_the_smallest_limit_counts(unlimited, monkeypatch, settings, expected):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert threads.n_threads() == expected


@pytest.mark.parametrize("api", ["blas", "openmp", None])
def test_limits_of_threadpoolctl_are_kept_while_they_hold(api):
    if not any(api in (None, library.user_api) for library in threads._libraries()):
        pytest.skip("no such library is loaded")
    before = threads.n_threads()
    with threadpool_limits(1, user_api=api):
        assert threads.n_threads() == 1
    assert threads.n_threads() == before


def test_limits_of_joblib_are_kept_in_its_processes():
    with parallel_config("loky", inner_max_num_threads=1):
        assert Parallel(n_jobs=2)(delayed(threads.n_threads)() for _ in range(2)) == [1, 1]


class Watch:
    """A loop that counts its calls and how many of them ran at the same time."""

    def __init__(self, seconds):
        self.lock, self.seconds = threading.Lock(), seconds
        self.calls, self.running, self.most = [], 0, 0

    def __call__(self, part):
        with self.lock:
            self.calls.append(part)
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self.seconds)
        with self.lock:
            self.running -= 1


def test_one_caller_gets_all_processors(unlimited):
    together = threading.Barrier(4, timeout=60)
    threads.run(lambda part: together.wait(), [(part,) for part in range(4)])


@pytest.mark.parametrize("callers", [1, 2, 3, 6])
def test_callers_share_the_processors(unlimited, callers):
    """Every part is worked on once, and callers have less helpers together than there are processors."""
    watch = Watch(0.002)
    with ThreadPoolExecutor(callers) as pool:
        runs = [pool.submit(threads.run, watch, [(part,) for part in range(4)]) for _ in range(6 * callers)]
        for done in runs:
            done.result()
    assert sorted(watch.calls) == sorted(list(range(4)) * 6 * callers)
    assert watch.most <= 4 - 1 + callers
    assert threads._helpers().at_work == 0


def test_a_caller_who_finds_all_processors_at_work_gets_no_helpers(unlimited):
    helpers = threads._helpers()
    with helpers.engaged(1) as one, helpers.engaged(3) as rest, helpers.engaged(3) as none:
        assert (one, rest, none) == (1, 1, 0)
    with helpers.engaged(5) as every:
        assert every == 3


def problem(n=300, p=20, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, np.argmax(X[:, :n_classes] + rng.gumbel(size=(n, n_classes)), axis=1)


@pytest.fixture
def share(monkeypatch):
    """Compiled loops for every size, each call shared among a number of threads."""

    def among(parts):
        monkeypatch.setattr(threads, "n_threads", lambda: parts)

    monkeypatch.setattr(threads, "MULTIPLICATIONS_PER_THREAD", 1)
    among(2)
    with compiled_at_any_size():
        yield among


@pytest.mark.parametrize("make", [np.asarray, csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("solver", ["newton-cg", "newton-cholesky"])
def test_the_number_of_threads_changes_rounding_only(share, make, n_classes, solver):
    X, y = problem(n_classes=n_classes)
    fits = []
    for parts in (1, 2, 3, 3):
        share(parts)
        fits.append(LogisticRegression(solver=solver, tol=1e-12).fit(make(X), y))
    for one, other in pairwise(fits):
        np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-6, atol=1e-8)
        assert one.result_.value == pytest.approx(other.result_.value, rel=1e-13)
    np.testing.assert_array_equal(fits[2].coef_, fits[3].coef_)
    np.testing.assert_array_equal(fits[2].intercept_, fits[3].intercept_)


def test_fits_side_by_side_are_those_made_alone(share):
    problems = [problem(seed=seed) for seed in range(4)]
    alone = [LogisticRegression().fit(X, y).coef_ for X, y in problems]
    with ThreadPoolExecutor(4) as pool:
        beside = [pool.submit(LogisticRegression().fit, X, y) for X, y in problems * 5]
        for fitted, expected in zip(beside, alone * 5, strict=True):
            np.testing.assert_array_equal(fitted.result().coef_, expected)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_searches_in_parallel_find_what_they_find_in_turn(backend):
    """Of a size that is shared among threads, so that two levels of them meet."""
    X, y = problem(4000, 120, 10)
    search = GridSearchCV(LogisticRegression(), {"C": [1e-3, 1.0]}, cv=2, scoring="neg_log_loss")
    in_turn = search.fit(X, y)
    scores, coef = in_turn.cv_results_["mean_test_score"], in_turn.best_estimator_.coef_
    with parallel_config(backend, n_jobs=2):
        search.fit(X, y)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores, rtol=1e-6)
    np.testing.assert_allclose(search.best_estimator_.coef_, coef, rtol=0, atol=1e-6)


def wait(child, seconds=60):
    """The exit status of a child process, which is ended if it hangs."""
    for _ in range(100 * seconds):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(child, 9)
    return os.waitpid(child, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_forked_while_threads_are_at_work_can_use_theirs(share):
    X, _ = problem()
    W, bias, mean = np.ones((20, 3)), np.zeros(3), np.zeros(20)
    expected, stop = dense.matmul(X, W, bias, mean), threading.Event()

    def work():
        while not stop.is_set():
            dense.matmul(X, W, bias, mean)

    busy = threading.Thread(target=work)
    busy.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(not np.array_equal(dense.matmul(X, W, bias, mean), expected))
            assert wait(child) == 0
    finally:
        stop.set()
        busy.join()


def test_one_blas_thread_is_given_back_after_overlap_and_errors():
    """Whoever leaves last, and however, BLAS has what it had."""
    before, count = threads._blas_limits(), threads.n_threads()
    first, second = threads.one_blas_thread(), threads.one_blas_thread()
    first.__enter__()
    assert set(threads._blas_limits()) <= {1}
    assert threads.n_threads() == count
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(threads._blas_limits()) <= {1}
    with pytest.raises(ZeroDivisionError), threads.one_blas_thread():
        raise ZeroDivisionError
    second.__exit__(None, None, None)
    assert threads._blas_limits() == before
