"""The table and the figures of runs: Markdown, and two PNG files.

    python benchmarks/linear/report.py [FILES.jsonl ...] [--out FOLDER]

A cell is the least seconds of a cold fit within the gap; where no fit was, the smallest gap reached and how
the sweep ended. The ratio is the best rival's time over ours: rivals with a free intercept against
`secondorder`, those that penalise it against `secondorder, b penalised`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from results import TARGETS, Sweep, read

OURS = ("secondorder", "secondorder, b penalised")


def cell(sweep: Sweep | None, target: float) -> str:
    """Seconds, or why there are none."""
    if sweep is None:
        return ""
    if (seconds := sweep.seconds(target)) is not None:
        return f"{seconds:.3g}"
    end = sweep.end.split(":")[1 if sweep.end.startswith("failed") else 0].strip() or sweep.end
    gap = min(map(sweep.gap, sweep.fits), default=None)
    return end if gap is None else f"*{gap:.0e}, {end}*"


def ratio(solvers: dict[str, Sweep], target: float, penalised: bool) -> str:
    """The best rival's time over ours on the same objective."""
    ours = solvers.get(OURS[penalised])
    mine = ours and ours.seconds(target)
    times = {
        name: seconds
        for name, sweep in solvers.items()
        if name not in OURS and sweep.penalised == penalised and (seconds := sweep.seconds(target))
    }
    rivals = [s for name, s in solvers.items() if name not in OURS and s.penalised == penalised]
    if not rivals:
        return ""
    if not times:
        return "alone" if mine else "none"
    best = min(times, key=times.__getitem__)
    return f"**{times[best] / mine:.2f}** ({best})" if mine else f"not reached ({best})"


def table(problems: dict, sweeps: dict, target: float) -> str:
    """One row for each problem, one column for each solver."""
    names = list(dict.fromkeys(name for solvers in sweeps.values() for name in solvers))
    head = ["problem", "n x p, K", "ratio", "ratio, b penalised", *names]
    rows = [head, ["---"] * len(head)]
    for name, solvers in sweeps.items():
        size = problems[name]
        rows.append(
            [
                name,
                f"{size['n']} x {size['p']}, {size['K']}",
                ratio(solvers, target, False),
                ratio(solvers, target, True),
                *(cell(solvers.get(solver), target) for solver in names),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def overheads(sweeps: dict) -> str:
    """The first fit of a process against the same fit later, by solver."""
    lines = ["| solver | median, s | largest, s | on |", "|---|---|---|---|"]
    names = dict.fromkeys(name for solvers in sweeps.values() for name in solvers)
    for name in names:
        found = {
            problem: extra
            for problem, solvers in sweeps.items()
            if name in solvers and (extra := solvers[name].overhead()) is not None
        }
        if found:
            worst = max(found, key=found.__getitem__)
            lines.append(f"| {name} | {np.median(list(found.values())):.3f} | {found[worst]:.3f} | {worst} |")
    return "\n".join(lines)


def figure(sweeps: dict, cost: Callable[[dict], float | None], label: str, file: Path) -> None:
    """Suboptimality against a cost of the fit, a panel for each problem."""
    import matplotlib.pyplot as plt

    columns = min(4, len(sweeps))
    rows = -(-len(sweeps) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(4 * columns, 3 * rows), squeeze=False, sharey=True)
    names = list(dict.fromkeys(name for solvers in sweeps.values() for name in solvers))
    style = {name: (plt.cm.tab20(i % 20), "osv^D<>pP*X"[i % 11]) for i, name in enumerate(names)}
    handles = {}
    for ax, (problem, solvers) in zip(axes.flat, sweeps.items(), strict=False):
        for name, sweep in solvers.items():
            fits = [(c, max(sweep.gap(f), 1e-12)) for f in sweep.fits if (c := cost(f))]
            if fits:
                colour, marker = style[name]
                width = 2.4 if name in OURS else 1.0
                (handles[name],) = ax.loglog(
                    *zip(*fits, strict=True), color=colour, marker=marker, ms=3, lw=width
                )
        ax.set_title(problem, fontsize=9)
        for target in TARGETS:
            ax.axhline(target, color="0.85", lw=0.8, zorder=0)
    for ax in axes[:, 0]:
        ax.set_ylabel("suboptimality")
    for ax in axes[-1]:
        ax.set_xlabel(label)
    for ax in axes.flat[len(sweeps) :]:
        ax.set_axis_off()
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=8)
    fig.set_layout_engine("constrained")
    fig.savefig(file, dpi=110)
    plt.close(fig)


def report(files: list[Path]) -> str:
    """The whole text."""
    problems, sweeps, machines = read(files)
    counts = [known for problem in problems.values() for known in problem.get("proved", {}).values()]
    text = ["# Time to a relative gap, linear classifiers\n"]
    for machine in machines[-1:]:
        packages = ", ".join(f"{k} {v or 'not installed'}" for k, v in machine["packages"].items())
        text.append(f"{machine['cpus']} cores, Python {machine['python']}; {packages}.\n")
    proved = f"{sum(counts)} of {len(counts)}"
    text.append(f"The best objective is proved optimal to 1e-9 by a duality gap in {proved} cases.\n")
    for target in TARGETS:
        text.append(f"## Seconds to a gap of {target:.0e}\n\n{table(problems, sweeps, target)}\n")
    text.append(f"## The first fit of a process, beyond the same fit later\n\n{overheads(sweeps)}\n")
    return "\n".join(text)


def main() -> None:
    """Write report.md, seconds.png and passes.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=[Path("benchmarks/output/linear.jsonl")])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/output"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.md").write_text(report(args.files))
    sweeps = read(args.files)[1]
    figure(sweeps, lambda fit: fit["seconds"], "seconds", args.out / "seconds.png")
    figure(sweeps, lambda fit: fit.get("passes"), "passes over X", args.out / "passes.png")
    print(f"{args.out / 'report.md'}, seconds.png, passes.png")


if __name__ == "__main__":
    main()
