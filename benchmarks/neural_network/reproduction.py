"""Tables 2 and 3 of a student report, whose Newton's method ended at 11 % on MNIST, by solvers that work.

    python benchmarks/neural_network/reproduction.py run --table mnist --out results.jsonl [--size 28]
    python benchmarks/neural_network/reproduction.py run --table iris --out results.jsonl
    python benchmarks/neural_network/reproduction.py show results.jsonl [--figure curves.png]

MNIST in 28 x 28 and 14 x 14 with two hidden layers of 64 relu units, iris with two of 10, 64 or 128;
softmax cross-entropy, starts from Glorot's and from the uniform distribution on [-0.5, 0.5], five seeds. The
solvers with mini-batches, at their default rates, make a number of sweeps, those that see all rows a
number of iterations. Each run is a line of JSON with its curve of loss against time and passes; `show` prints
the tables next to the report's figures. Levenberg-Marquardt is run where its dense matrix is small: on iris
with 10 units a layer.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from data import Split, iris, mnist

from secondorder.neural_network import MLPClassifier
from secondorder.solvers.network import SECOND_ORDER

MINI_BATCH = ("sgd", "nesterov", "adagrad", "rmsprop", "adam", "diagonal-lm")
SOLVERS = (*MINI_BATCH, "gauss-newton-cg", "lm")
INITS = ("glorot_uniform", "uniform")
REPORT = {  # Tables 2 and 3: time in seconds and accuracy in per cent, by size, solver and start
    ("mnist", 28, "nesterov", "glorot_uniform"): (150.63, 96.65),
    ("mnist", 28, "adam", "glorot_uniform"): (180.92, 96.85),
    ("mnist", 28, "newton", "uniform"): (42.44, 11.01),
    ("mnist", 14, "newton", "uniform"): (44.17, 11.52),
    ("mnist", 28, "newton", "glorot_uniform"): (40.68, 12.43),
    ("mnist", 14, "newton", "glorot_uniform"): (44.64, 9.43),
    ("mnist", 28, "sgd", "uniform"): (115.87, 89.74),
    ("mnist", 28, "sgd", "glorot_uniform"): (108.37, 96.27),
    ("iris", 128, "nesterov", "glorot_uniform"): (0.16, 100.0),
    ("iris", 128, "adam", "glorot_uniform"): (0.06, 100.0),
    ("iris", 64, "sgd", "glorot_uniform"): (0.03, 20.0),
    ("iris", 128, "sgd", "glorot_uniform"): (0.06, 40.0),
    ("iris", 64, "sgd", "uniform"): (0.03, 93.33),
    ("iris", 128, "sgd", "uniform"): (0.02, 6.67),
    ("iris", 10, "newton", "glorot_uniform"): (0.06, 60.0),
    ("iris", 10, "newton", "uniform"): (0.09, 20.0),
}


def fit(
    split: Split, hidden: int, activation: str, solver: str, init: str, seed: int, **options: Any
) -> dict:
    """One run: time, accuracy and curve."""
    model = MLPClassifier(
        (hidden, hidden),
        activation,
        solver=solver,
        init=init,
        random_state=seed,
        tol=0.0,
        n_iter_no_change=10**6,
        **options,
    )
    start = time.perf_counter()
    model.fit(split.X, split.y)
    seconds = time.perf_counter() - start
    rows = model.result_.history
    curve = {"passes": [row.passes for row in rows], "loss": [row.value for row in rows]}
    return {
        "seconds": seconds,
        "accuracy": 100 * model.score(split.X_test, split.y_test),
        "status": model.result_.status.name,
        **curve,
    }


def run(options: argparse.Namespace) -> None:
    """Append a line to the file for each run."""
    warnings.simplefilter("ignore")
    sizes = [options.size] if options.size else [28, 14] if options.table == "mnist" else [10, 64, 128]
    for size in sizes:
        digits = mnist(size) if options.table == "mnist" else None
        for solver in options.solvers:
            if solver == "lm" and (options.table == "mnist" or size > 10):
                continue
            for init in INITS:
                for seed in range(options.seeds):
                    many = options.iterations if solver in SECOND_ORDER else options.sweeps
                    if digits is not None:
                        found = fit(digits, 64, "relu", solver, init, seed, max_iter=many)
                    else:
                        batch = {"batch_size": 20, "max_iter": 50 if solver not in SECOND_ORDER else 20}
                        found = fit(iris(seed), size, "relu", solver, init, seed, **batch)
                    line = {
                        "table": options.table,
                        "size": size,
                        "solver": solver,
                        "init": init,
                        "seed": seed,
                    }
                    with options.out.open("a") as file:
                        print(json.dumps(line | found), file=file)


def show(options: argparse.Namespace) -> None:
    """Print the tables, and draw the curves."""
    rows = [json.loads(line) for line in options.results.read_text().splitlines()]
    keys = sorted({(r["table"], r["size"], r["solver"], r["init"]) for r in rows})
    print(f"{'':48} {'seconds':>8} {'accuracy, mean (least) %':>25}   {'report':>16}")
    for key in keys:
        mine = [r for r in rows if (r["table"], r["size"], r["solver"], r["init"]) == key]
        seconds, accuracy = (np.array([r[name] for r in mine]) for name in ("seconds", "accuracy"))
        theirs = REPORT.get(key)
        report = f"{theirs[0]:7.2f} s {theirs[1]:6.2f}" if theirs else ""
        name = f"{key[0]} {key[1]:3d} {key[2]:16} {key[3]}"
        figures = f"{np.median(seconds):8.2f} {accuracy.mean():12.2f} ({accuracy.min():6.2f})"
        print(f"{name:48} {figures}      {report}")
    for key, (seconds, accuracy) in REPORT.items():
        if key[2] == "newton":
            print(f"{key[0]} {key[1]:3d} {'report, Newton':16} {key[3]:26} {seconds:8.2f} {accuracy:12.2f}")
    if options.figure:
        draw(rows, options.figure)


def draw(rows: list[dict], path: Path) -> None:
    """Loss against time and against passes, one curve for each solver, the first seed from Glorot's start.

    The iterations of a run are drawn as equally long, and products on a sample of the rows count as no pass.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, (label, of) in zip(
        figure.subplots(1, 2, sharey=True),
        [
            ("seconds", lambda r: np.linspace(0, r["seconds"], len(r["loss"]))),
            ("passes", lambda r: r["passes"]),
        ],
        strict=True,
    ):
        for r in rows:
            if (r["table"], r["size"], r["init"], r["seed"]) == ("mnist", 28, "glorot_uniform", 0):
                axes.semilogy(of(r), r["loss"], label=r["solver"])
        axes.set(xlabel=label, ylabel="training loss")
    axes.legend(fontsize="small")
    figure.savefig(path)


def main() -> None:
    """Run or show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run")
    runner.add_argument("--table", choices=["mnist", "iris"], required=True)
    runner.add_argument("--out", type=Path, required=True)
    runner.add_argument("--size", type=int)
    runner.add_argument("--seeds", type=int, default=5)
    runner.add_argument("--sweeps", type=int, default=10)
    runner.add_argument("--iterations", type=int, default=15)
    runner.add_argument("--solvers", nargs="*", default=SOLVERS)
    runner.set_defaults(command=run)
    shower = commands.add_parser("show")
    shower.add_argument("results", type=Path)
    shower.add_argument("--figure", type=Path)
    shower.set_defaults(command=show)
    options = parser.parse_args()
    options.command(options)


if __name__ == "__main__":
    main()
