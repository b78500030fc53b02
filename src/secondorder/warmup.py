"""All loops compiled ahead of their first use, for images and serverless functions."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from secondorder.kernels import COMPILING, compiled_at_any_size
from secondorder.linear_model import LogisticRegression, LogisticRegressionCV
from secondorder.losses import Logistic, Softmax, Squared
from secondorder.solvers import Blocks, LinearProblem, Refreshed, fit_linear
from secondorder.solvers.chord import Near, chord
from secondorder.solvers.landscapes import LogisticLandscape, SoftmaxLandscape
from secondorder.solvers.linear import CURVATURES, SOLVERS, descend_linear
from secondorder.solvers.preconditioners import Diagonal
from secondorder.solvers.quasi_newton import quasi_newton


@dataclass(frozen=True)
class Warmup:
    """What `warmup` did; each loop counts once for every combination of types."""

    compiled: int
    loaded: int
    seconds: float
    folder: Path | None

    def __str__(self) -> str:
        kept = f"kept in {self.folder}" if self.folder else "not kept, as caching is off"
        return f"{self.compiled} loops compiled, {self.loaded} loaded in {self.seconds:.1f} s; {kept}"


def warmup() -> Warmup:
    """Compile every loop for all types that fits call it with, but for what is on disk already.

    The loops are not listed but reached, by tiny fits of every kind.

    Returns
    -------
    Warmup
        How many loops were compiled and loaded, the seconds, and the folder they are kept in.
    """
    start = time.perf_counter()
    if not COMPILING:
        return Warmup(0, 0, 0.0, None)
    from secondorder.kernels.compile import counts
    from secondorder.kernels.disk_cache import folder

    compiled, loaded = counts()
    with compiled_at_any_size():
        for X in _matrices():
            _fit_every_way(X)
    now_compiled, now_loaded = counts()
    return Warmup(now_compiled - compiled, now_loaded - loaded, time.perf_counter() - start, folder())


def _matrices() -> Iterator[Any]:
    """A small matrix of every kind, and a wide one; the sparse ones of a few whole numbers."""
    rng = np.random.default_rng(0)
    for dtype, shape in product((np.float64, np.float32), ((60, 5), (12, 120))):
        X = rng.standard_normal(shape).astype(dtype)
        yield X
        yield np.asfortranarray(X)
        yield np.repeat(X, 2, axis=1)[:, ::2]
        for index in (np.int32, np.int64):
            sparse = csr_array(np.round(X))
            parts = (sparse.data, sparse.indices.astype(index), sparse.indptr.astype(index))
            yield csr_array(parts, shape)


def _fit_every_way(X: Any) -> None:
    """Fit with every loss, solver and curvature, and numbers of outputs that have loops of their own."""
    rows = np.arange(X.shape[0])
    for n_classes, solver in product((2, 3, 12), SOLVERS):
        LogisticRegression(solver=solver).fit(X, rows % n_classes)
    LogisticRegression().fit(X, rows % 40)
    LogisticRegressionCV(Cs=(0.1, 1), cv=2).fit(X, rows % 2)
    s = np.ones(len(rows))
    one = LinearProblem(X, (rows % 2).astype(float), s, Logistic(), 1, 1.0, True)
    one.design().squared_rmatmul(s[:, None])  # which searches in spans come to after some steps
    if issparse(X):
        design = one.design()  # by features, as searches for text go
        design.rmatmul(design.row_gram_product(np.ones((len(rows), 3))))
    _sweep(X, (rows % 2).astype(float), s)
    if isinstance(X, np.ndarray):
        softmax = LinearProblem(X, rows % 3, s, Softmax(), 3, 1.0, True)
        of_classes = softmax.objective(softmax.design())
        descend_linear(of_classes.at(np.zeros(len(of_classes.penalty))), Refreshed(Blocks, 1.0), tol=1e-3)
        metric = Diagonal(np.full(len(of_classes.penalty), 1e-3))
        quasi_newton(of_classes, SoftmaxLandscape(of_classes), metric, tol=1e-3, max_iter=2)
    for n_outputs, hessian in product((1, 2, 3), CURVATURES):
        Y = np.eye(n_outputs)[rows % n_outputs]
        fit_linear(X, Y, s, loss=Squared(), n_outputs=n_outputs, penalty=1.0, hessian=hessian)


def _sweep(X: Any, y: np.ndarray, s: np.ndarray) -> None:
    """Solve for one model and for two by single sweeps."""
    one = LinearProblem(X, y, s, Logistic(), 1, 1.0, True)
    two = replace(one, s=np.ones((len(s), 2)), n_outputs=2)
    design = one.design()
    W = np.zeros((design.shape[1], 2))
    near = Near([design.gram_of_rows(s, np.arange(len(s)))] * 2, 1.0)
    chord(one.objective(design), W[:, :1].copy(), tol=1e-6, max_iter=2)
    if not issparse(X):
        chord(two.objective(design), W, near, tol=1e-6, max_iter=2)
        LogisticLandscape(one.objective(design))(W[:, :1].copy(), 0.0)
