"""The data of the network benchmarks."""

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split


class Split(NamedTuple):
    """Training and test rows."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def _load(name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """A dataset of the data folder: SECONDORDER_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("SECONDORDER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    if not (folder / "load.py").exists():
        raise SystemExit(
            f"No data in {folder}: set SECONDORDER_DATA to a folder with a load.py, load(name, part) -> X, y."
        )
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(name, part)


def mnist(size: int = 28, dtype: str = "float32") -> Split:
    """The digits, pixels from 0 to 1; size 14 has means of 2 x 2 pixels."""
    parts = [*_load("mnist", "train"), *_load("mnist", "test")]
    for i in (0, 2):
        if size == 14:
            parts[i] = parts[i].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
        parts[i] = parts[i].astype(dtype)
    return Split(*parts)


def iris(seed: int, test_size: float = 0.1) -> Split:
    """A split of iris, standardised on its training rows."""
    X, y = datasets.load_iris(return_X_y=True)
    return _standardised(X, y, seed, test_size, stratify=y)


def table(name: str, seed: int = 0) -> Split:
    """A split of one of the smaller sets, standardised on its training rows; targets of regressions too."""
    if name in ("diabetes", "friedman"):
        X, y = (
            datasets.load_diabetes(return_X_y=True)
            if name == "diabetes"
            else datasets.make_friedman1(2000, noise=0.5, random_state=0)
        )
        return _standardised(X, (y - y.mean()) / y.std(), seed, 0.25)
    X, y = datasets.load_digits(return_X_y=True) if name == "digits" else _load(name, "train")
    codes = np.unique(y, return_inverse=True)[1]
    return _standardised(X, codes, seed, 0.25, stratify=codes)


def _standardised(X: np.ndarray, y: np.ndarray, seed: int, test_size: float, **options: object) -> Split:
    A, B, a, b = train_test_split(X, y, test_size=test_size, random_state=seed, **options)
    mean, scale = A.mean(axis=0), np.where(A.std(axis=0) > 0, A.std(axis=0), 1)
    return Split((A - mean) / scale, a, (B - mean) / scale, b)
