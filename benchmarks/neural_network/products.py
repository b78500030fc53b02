"""Products with the Gauss-Newton matrix and the Hessian of 784-64-64-10, and the diagonal, against PyTorch's.

    python benchmarks/neural_network/products.py [--rows 60000] [--torch-rows-of-diagonal 6000]

Rows of MNIST, softmax cross-entropy, both precisions. "torch" is `torch.func.jvp`, the product with the
Hessian of the loss, and `torch.func.vjp`, with the network linearised anew for every product as its interface
has it, and once for all products ("cached": `torch.func.linearize` and a kept `vjp`); curvlinops is its
linear operator as SciPy sees it. Times are medians of calls in turn. BackPACK's diagonal keeps
arrays of (classes, rows, units), so it runs on fewer rows, in batches, and ours on the same.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from data import mnist
from torch import nn
from torch.func import functional_call, jvp, linearize, vjp

from secondorder.curvature import GaussNewton, Hessian
from secondorder.losses import Softmax
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design
from secondorder.objective import Objective

WIDTHS = (784, 64, 64, 10)


def medians(calls: dict[str, Callable[[], object]], rounds: int = 3, burst: int = 3) -> dict[str, float]:
    """Median seconds of each call, made in bursts as a solver makes them, the bursts in turn.

    The first call of a burst is not counted, and a pause comes before it: the threads of one library spin on
    after their work, on processors that the next needs.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(0.3)
            call()
            for _ in range(burst):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(seconds)) for name, seconds in times.items()}


def network(w: np.ndarray, dtype: torch.dtype) -> nn.Sequential:
    """The same network in PyTorch."""
    layers: list[nn.Module] = []
    for W in MLP(WIDTHS).unpack(w):
        layer = nn.Linear(W.shape[0] - 1, W.shape[1]).to(dtype)
        layer.weight.data, layer.bias.data = (
            torch.tensor(W[:-1].T, dtype=dtype),
            torch.tensor(W[-1], dtype=dtype),
        )
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--diagonal-rows", type=int, default=6_000)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])
    parser.add_argument("--only", nargs="*", default=["products", "diagonal"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for dtype in options.dtypes:
        data = mnist(dtype=dtype)
        if "products" in options.only:
            products(data.X[: options.rows], data.y[: options.rows], dtype)
        if "diagonal" in options.only:
            diagonal(data.X[: options.diagonal_rows], data.y[: options.diagonal_rows], dtype)


def objective_at(X: np.ndarray, y: np.ndarray):
    """The point, and the parameters there."""
    model = MLP(WIDTHS, ACTIVATIONS["relu"])
    o = Objective(model, Softmax(), Design(X), y, np.full(len(y), 1 / len(y)), model.penalty(0))
    w = model.initial(INITIAL_WEIGHTS["glorot_uniform"], 0)
    return o.at(w), w


def products(X: np.ndarray, y: np.ndarray, dtype: str) -> None:
    """Products with both matrices."""
    point, w = objective_at(X, y)
    v = np.random.default_rng(0).standard_normal(len(w))
    B, A = GaussNewton(point), Hessian(point)
    net = network(w, getattr(torch, dtype))
    params = {name: p.detach() for name, p in net.named_parameters()}
    TX, Ty = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))
    V = {
        name: t
        for W, i in zip(MLP(WIDTHS).unpack(v), (0, 2, 4), strict=True)
        for name, t in (
            (f"{i}.weight", torch.tensor(W[:-1].T.copy(), dtype=TX.dtype)),
            (f"{i}.bias", torch.tensor(W[-1], dtype=TX.dtype)),
        )
    }

    def f(p):
        return functional_call(net, p, (TX,))

    def loss(p):
        return nn.functional.cross_entropy(f(p), Ty)

    def loss_hessian(S, U):
        P = torch.softmax(S, 1)
        return (P * U - P * (P * U).sum(1, keepdim=True)) / len(Ty)

    def torch_gauss_newton():
        S, JV = jvp(f, (params,), (V,))
        return vjp(f, params)[1](loss_hessian(S, JV))

    def torch_hessian():
        return jvp(torch.func.grad(loss), (params,), (V,))[1]

    S, push = linearize(f, params)
    _, pull = vjp(f, params)

    def torch_cached():
        return pull(loss_hessian(S, push(V)))

    from curvlinops import GGNLinearOperator, HessianLinearOperator

    batches, ce = [(TX, Ty)], nn.CrossEntropyLoss()
    names = [name for name, _ in net.named_parameters()]
    ops = {}
    for name, kind in (("GN", GGNLinearOperator), ("H", HessianLinearOperator)):
        try:
            ops[name] = kind(net, ce, dict(net.named_parameters()), batches, check_deterministic=False)
        except (TypeError, ValueError, AttributeError):
            ops[name] = kind(net, ce, list(net.parameters()), batches, check_deterministic=False)
    flat = torch.cat([V[name].reshape(-1) for name in names])
    found = {
        "ours GN": lambda: B @ v,
        "torch GN": torch_gauss_newton,
        "torch GN cached": torch_cached,
        "curvlinops GN": lambda: ops["GN"] @ flat,
        "ours H": lambda: A @ v,
        "torch H": torch_hessian,
        "curvlinops H": lambda: ops["H"] @ flat,
    }
    theirs = torch_gauss_newton()[0]
    mine = np.concatenate([W[:-1].T.ravel() for W in MLP(WIDTHS).unpack(B @ v)])
    them = np.concatenate([theirs[name].numpy().ravel() for name in names if "weight" in name])
    print(f"\n{dtype}, n = {len(y)}; relative difference of ours and torch: "
          f"{np.linalg.norm(mine - them) / np.linalg.norm(them):.1e}")  # fmt: skip
    seconds = medians(found)
    for name, t in seconds.items():
        base = seconds["ours GN" if "GN" in name else "ours H"]
        print(f"  {name:18} {1e3 * t:8.1f} ms   {t / base:5.2f} x ours", flush=True)


def diagonal(X: np.ndarray, y: np.ndarray, dtype: str, batch: int = 2000) -> None:
    """The exact diagonal of Gauss-Newton."""
    from backpack import backpack, extend
    from backpack.extensions import DiagGGNExact

    point, w = objective_at(X, y)
    net, ce = extend(network(w, getattr(torch, dtype))), extend(nn.CrossEntropyLoss())
    TX, Ty = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))

    def theirs():
        total = [0.0] * 6
        for start in range(0, len(y), batch):
            net.zero_grad()
            with backpack(DiagGGNExact()):
                ce(net(TX[start : start + batch]), Ty[start : start + batch]).backward()
            part = min(batch, len(y) - start) / len(y)
            total = [t + part * p.diag_ggn_exact for t, p in zip(total, net.parameters(), strict=True)]
        return total

    point.H  # made once, as PyTorch makes it anew with its forward pass  # noqa: B018
    o = point.objective
    found = {
        "ours, with forward": lambda: GaussNewton(o.at(w)).diagonal(),
        "ours, bbprop": lambda: o.at(w).forward.backpropagate_diagonal(point.H, 0 * point.G),
        "BackPACK": theirs,
    }
    mine = np.concatenate([W[:-1].T.ravel() for W in MLP(WIDTHS).unpack(GaussNewton(point).diagonal())])
    them = np.concatenate([t.numpy().ravel() for t in theirs()[::2]])
    error = np.linalg.norm(mine - them) / np.linalg.norm(them)
    print(f"\n{dtype}, diagonal, n = {len(y)}; relative difference: {error:.1e}")
    seconds = medians(found)
    for name, t in seconds.items():
        print(f"  {name:18} {1e3 * t:8.1f} ms   {t / seconds['ours, with forward']:5.2f} x ours", flush=True)


if __name__ == "__main__":
    main()
