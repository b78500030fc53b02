"""The fused product X' H X V against the machine's two ceilings, measured in the same run.

    python benchmarks/linear/ceilings.py [--rows 60000] [--features 784 785]

One ceiling is a read of X at memory speed, by as many threads as BLAS uses (each sums its own rows); the
other is the rate of a square matrix product. The product should be near the first for K <= 2 and near the
second for K >= 10.
"""

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numba import njit
from scipy.special import softmax
from threadpoolctl import threadpool_info

sys.path.append(str(Path(__file__).resolve().parents[1]))
from fused_product import medians

from secondorder.losses import OutputHessian
from secondorder.models import design_matrix

SIDE = 3000


@njit(nogil=True, fastmath=True)
def _sum(x):
    """The sum of a contiguous array, in as many lanes as the processor has."""
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    return total


def reader(X: np.ndarray, pool: ThreadPoolExecutor, threads: int) -> Callable[[], float]:
    """One read of X, its rows shared among threads."""
    parts = [part.ravel() for part in np.array_split(X, threads)]
    return lambda: sum(pool.map(_sum, parts))


def main() -> None:
    """Print one line for each precision, width and K."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--features", type=int, nargs="*", default=[784, 785])
    parser.add_argument("--outputs", type=int, nargs="*", default=[1, 2, 10, 20])
    args = parser.parse_args()
    threads = max((pool["num_threads"] for pool in threadpool_info()), default=os.cpu_count() or 1)
    rng, n = np.random.default_rng(0), args.rows
    pool = ThreadPoolExecutor(threads)
    print(f"n = {n}, {threads} threads")
    print("precision    p   K      fused   reads of X   of GEMM rate   read GB/s   GEMM GFLOP/s")
    for dtype in (np.float64, np.float32):
        A = rng.random((SIDE, SIDE), dtype)
        for p in args.features:
            X = rng.standard_normal((n, p), dtype)
            design = design_matrix(X, intercept=False)
            read, gemm = medians([reader(X, pool, threads), lambda A=A: A @ A], rounds=3, burst=4)
            rate = 2 * SIDE**3 / gemm
            for K in args.outputs:
                P = softmax(rng.standard_normal((n, K)), axis=1).astype(dtype)
                H = OutputHessian(P, P, shift_invariant=True) if K > 1 else OutputHessian(P / 4)
                V = rng.standard_normal((p, K)).astype(dtype)
                (fused,) = medians([lambda D=design, H=H, V=V: D.product(H, V)], rounds=3)
                share = 4 * n * p * K / fused / rate
                print(
                    f"{np.dtype(dtype).name:9} {p:4d} {K:3d} {1e3 * fused:7.1f} ms {fused / read:10.2f} x "
                    f"{100 * share:11.0f} % {X.nbytes / read / 1e9:11.1f} {1e-9 * rate:14.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
