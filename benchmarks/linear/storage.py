"""Arrays on disk, so that every process reads the same bytes."""

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, issparse


def write(file: Path, X: np.ndarray | csr_matrix, y: np.ndarray) -> None:
    """Keep X, dense in C order or CSR with 32-bit indices, and y."""
    if issparse(X):
        indices, indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
        np.savez(file, y=y, shape=X.shape, data=X.data, indices=indices, indptr=indptr)
    else:
        np.savez(file, y=y, X=np.ascontiguousarray(X))


def read(file: Path) -> tuple[np.ndarray | csr_matrix, np.ndarray]:
    """X and y, in memory."""
    z = np.load(file)
    if "X" in z:
        return z["X"], z["y"]
    return csr_matrix((z["data"], z["indices"], z["indptr"]), shape=tuple(z["shape"])), z["y"]
