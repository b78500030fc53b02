"""The problems: data by name, the penalty, and how long one solver may try."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import storage
from scipy.sparse import csr_matrix, random_array
from sklearn.datasets import make_classification

sys.path.append(str(Path(__file__).resolve().parents[1]))
from problems import load


@dataclass(frozen=True)
class Problem:
    """One fit: `data` names the matrix, `cap` is the seconds a solver has for its whole sweep.

    `even` says that the features have similar scales: stochastic methods run on such data only.
    """

    data: str
    C: float = 1.0
    cap: float = 6.0
    even: bool = False
    quick: bool = False

    @property
    def name(self) -> str:
        """Data and penalty."""
        return self.data if self.C == 1 else f"{self.data} C={self.C:g}"


def _text(data: str, cap: float, quick: bool = False) -> list[Problem]:
    return [Problem(data, C, cap, even=True, quick=quick and C == 1) for C in (1.0, 0.01, 100.0)]


PROBLEMS = [
    Problem("heart2020", cap=5, quick=True),
    Problem("gauss:500000,50,2", cap=4),
    Problem("cover_2v4", cap=3),
    Problem("skin", cap=2),
    Problem("covtype20k", cap=8),
    Problem("sensorless", cap=10),
    Problem("mnist", cap=40),
    Problem("20newsgroups", cap=12, even=True),
    *_text("imdb", 4, quick=True),
    *_text("imdb_2gram", 5),
    *_text("a9a", 2, quick=True),
    *_text("w8a", 2),
    Problem("arcene", cap=2),
    Problem("arcene/standard", 0.01, cap=2),
    Problem("allaml", cap=2),
    Problem("allaml/standard", 0.01, cap=2),
    Problem("rcv1_small", cap=2, even=True),
    Problem("rcv1_small/standard", 0.01, cap=2),
    Problem("gauss:20000,256,200", cap=15),
    Problem("orl", cap=5),
    Problem("digits", cap=4, even=True, quick=True),
    Problem("iris", cap=3, even=True),
    Problem("breast_cancer", cap=3),
    Problem("letter", cap=5, even=True),
    Problem("classification:100000,10,2", cap=4, even=True, quick=True),
    Problem("classification:100,1000,10", cap=4),
    Problem("classification:100,1000,2", cap=3),
    Problem("magic", np.inf, cap=4, quick=True),
]


def make(data: str) -> tuple[np.ndarray | csr_matrix, np.ndarray]:
    """X and the codes of y: a dataset, or made up as `kind:n,p,K[,nonzeros in a row]`."""
    kind, _, sizes = data.partition(":")
    if not sizes:
        X, y = load(data)
        return X, np.unique(y, return_inverse=True)[1]
    n, p, K, *rest = map(int, sizes.split(","))
    rng = np.random.default_rng(0)
    if kind == "classification":
        return make_classification(n, p, n_informative=p // 2, n_redundant=0, n_classes=K, random_state=0)
    if kind == "gauss":
        X = rng.standard_normal((n, p))
    elif kind == "sparse":
        X = csr_matrix(random_array((n, p), density=rest[0] / p, rng=rng, data_sampler=rng.standard_normal))
    else:
        raise SystemExit(f"No data {data!r}: give a dataset, or gauss:, sparse:, classification: and sizes.")
    scores = X @ rng.standard_normal((p, K)) / np.sqrt(rest[0] if rest else p)
    return X, np.argmax(scores + rng.gumbel(size=(n, K)), axis=1)


def save(data: str, folder: Path) -> Path:
    """The file that holds the data, made if it is not there."""
    file = folder / (data.replace("/", "-").replace(":", "-") + ".npz")
    if not file.exists():
        storage.write(file, *make(data))
    return file
