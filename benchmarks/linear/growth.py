"""How time to a gap of 1e-6 grows with n, p, K and the number of nonzeros.

    python benchmarks/linear/growth.py [--solvers ...] [--cap 10] [--out FOLDER]

Along each axis the other sizes stay; slopes are fitted on log axes to the larger half of the sizes, where the
constant costs no longer count. Sweeps are those of `run.py`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from catalog import Problem
from results import read
from run import Harness
from solvers import SOLVERS

TARGET = 1e-6
AXES = {
    "n": [(n, f"gauss:{n},50,2") for n in (4_000, 16_000, 64_000, 256_000)],
    "p": [(p, f"gauss:20000,{p},2") for p in (16, 64, 256, 1024)],
    "K": [(K, f"gauss:20000,50,{K}") for K in (3, 6, 12, 24, 48)],
    "nonzeros": [(20_000 * r, f"sparse:20000,20000,2,{r}") for r in (5, 20, 80, 320)],
}


def slope(sizes: list[float], seconds: list[float]) -> float:
    """The exponent of growth over the larger half of the sizes (two points at least)."""
    start = min(len(sizes) // 2, len(sizes) - 2)
    return float(np.polyfit(np.log(sizes[start:]), np.log(seconds[start:]), 1)[0])


def measure(names: list[str], cap: float, file: Path) -> None:
    """Run every size with every solver."""
    solvers = [solver for solver in SOLVERS if solver.name in names]
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(file, Path(folder), gigabytes=12)
        for sizes in AXES.values():
            for _, data in sizes:
                harness.run(Problem(data, cap=cap), solvers)


def draw(names: list[str], file: Path, figure: Path) -> None:
    """Print the slopes and draw the figure."""
    import matplotlib.pyplot as plt

    sweeps = read([file])[1]
    fig, axes = plt.subplots(1, len(AXES), figsize=(4 * len(AXES), 3.5), sharey=True, layout="constrained")
    print("slopes      " + "".join(f"{name:>26}" for name in names))
    for ax, (axis, sizes) in zip(axes, AXES.items(), strict=True):
        line = f"{axis:12}"
        for name in names:
            found = [
                (size, sweeps[data][name].seconds(TARGET)) for size, data in sizes if name in sweeps[data]
            ]
            points = [(size, seconds) for size, seconds in found if seconds is not None]
            if len(points) < 2:
                line += f"{'-':>26}"
                continue
            exponent = slope(*map(list, zip(*points, strict=True)))
            line += f"{exponent:26.2f}"
            ax.loglog(*zip(*points, strict=True), "o-", label=f"{name}, slope {exponent:.2f}")
        print(line)
        ax.set_xlabel(axis)
        ax.legend(fontsize=8)
    axes[0].set_ylabel(f"seconds to a gap of {TARGET:.0e}")
    fig.savefig(figure, dpi=110)


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--solvers", nargs="*", default=["secondorder", "sklearn newton-cg", "torch L-BFGS"])
    parser.add_argument("--cap", type=float, default=10.0, help="seconds for one sweep")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/output"))
    args = parser.parse_args()
    file = args.out / "growth.jsonl"
    file.unlink(missing_ok=True)
    measure(args.solvers, args.cap, file)
    draw(args.solvers, file, args.out / "growth.png")


if __name__ == "__main__":
    main()
