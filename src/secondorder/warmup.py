"""All loops compiled ahead of their first use, for images and serverless functions."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from secondorder.kernels import COMPILING, compiled_at_any_size
from secondorder.linear_model import LogisticRegression, LogisticRegressionCV
from secondorder.losses import Logistic, Squared
from secondorder.solvers import fit_linear
from secondorder.solvers.linear import CURVATURES, SOLVERS
from secondorder.solvers.path import Fold, fit_path


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
    for dtype, shape in product((np.float64, np.float32), ((60, 5), (12, 40))):
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
    LogisticRegressionCV(Cs=(0.1, 1), cv=2).fit(X, rows % 2)
    if not issparse(X):
        folds = [Fold(rows % 2 == k, rows[:0]) for k in (0, 1)]
        y, s = (rows % 3 > 0).astype(float), np.ones(len(rows))
        cholesky = fit_path(
            X, y, s, [1.0], folds=folds, loss=Logistic(), n_outputs=1, solver="newton-cholesky"
        )
        list(cholesky)
    for n_outputs, hessian in product((1, 2, 3), CURVATURES):
        Y = np.eye(n_outputs)[rows % n_outputs]
        fit_linear(X, Y, s, loss=Squared(), n_outputs=n_outputs, penalty=1.0, hessian=hessian)
