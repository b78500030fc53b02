"""The data that the benchmarks run on, by name."""

import importlib.util
import os
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

BUNDLED = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}


@cache
def _loader() -> ModuleType:
    """The loader of the data folder: SECONDORDER_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SECONDORDER_DATA", beside))
    if not (folder / "load.py").exists():
        raise SystemExit(
            f"No data in {folder}: set SECONDORDER_DATA to a folder whose load.py has load(name) -> X, y."
        )
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(name: str) -> tuple[np.ndarray | csr_matrix, np.ndarray]:
    """X and y of a dataset; "name/standard" has its columns standardised (a sparse X is not centred)."""
    name, _, scaling = name.partition("/")
    X, y = BUNDLED[name](return_X_y=True) if name in BUNDLED else _loader().load(name)
    if issparse(X):  # most rivals take 32-bit indices only
        X = csr_matrix((X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), X.shape)
    if scaling == "standard":
        X = StandardScaler(with_mean=not issparse(X)).fit_transform(X)
    return X, y
