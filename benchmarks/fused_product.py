"""The fused product X' H X V against its two-BLAS form, and against what the machine can do.

    python benchmarks/fused_product.py [--rows 60000] [--features 784]

For every number of outputs K and both precisions: the median time of each form, called in turn, and
their ratio; then as parts of two ceilings measured in the same run, one read of X at memory speed and
the rate of a square matrix product.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from secondorder.kernels import dense
from secondorder.losses import OutputHessian


def medians(calls: list[Callable[[], object]], rounds: int = 4, burst: int = 6) -> list[float]:
    """Median seconds of each of `calls`, made in bursts as a solver makes them, the bursts in turn.

    The first call of a burst is not counted, and a pause comes before it: the threads of BLAS spin on
    after their work, on processors that the next call needs.
    """
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, mine in zip(calls, times, strict=True):
            time.sleep(0.1)
            call()
            for _ in range(burst):
                start = time.perf_counter()
                call()
                mine.append(time.perf_counter() - start)
    return [float(np.median(mine)) for mine in times]


def main() -> None:
    """Print one line for each precision and K."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--outputs", type=int, nargs="*", default=[1, 2, 3, 5, 7, 10, 11, 20])
    n, p, outputs = (vars(parser.parse_args())[name] for name in ("rows", "features", "outputs"))
    rng = np.random.default_rng(0)
    print(f"n = {n}, p = {p}")
    print("precision   K   two BLAS      fused   ratio   of one read   of GEMM rate")
    for dtype in (np.float64, np.float32):
        X = rng.random((n, p), dtype)
        A = rng.random((2000, 2000), dtype)
        read, gemm = medians([lambda X=X: X.sum(), lambda A=A: A @ A])
        rate = 2 * 2000**3 / gemm
        for K in outputs:
            P = rng.random((n, K), dtype)
            P /= 1.5 * P.sum(axis=1, keepdims=True)
            H = OutputHessian(P, P if K > 1 else None)
            V, bias = rng.standard_normal((p, K)).astype(dtype), np.zeros(K)
            two, one = medians(
                [
                    lambda X=X, H=H, V=V: X.T @ (H @ (X @ V)),
                    lambda X=X, H=H, V=V, bias=bias: dense.product(
                        X, H.d, H.u, H.shift_invariant, V, bias, np.zeros(len(V))
                    ),
                ]
            )
            share = 4 * n * p * K / one / rate
            print(
                f"{np.dtype(dtype).name:9} {K:3d} {1e3 * two:7.1f} ms {1e3 * one:7.1f} ms {two / one:7.2f} "
                f"{one / read:11.2f} x {100 * share:12.0f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
