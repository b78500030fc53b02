"""Time to a relative gap: problems x solvers x a sweep of tolerances, every fit cold, in one run.

    python benchmarks/linear/run.py [--quick] [--problems mnist imdb ...] [--solvers ...] [--out FILE.jsonl]

Every solver runs on every problem in a process of its own, which fits at ever tighter tolerances until the
objective, recomputed in float64 by `certify.objective` with the intercept as returned, is within 1e-9
(relative) of the best known, or the seconds the problem allows are used up. Data are in memory and converted
before the clock starts. A process that hangs, crashes or takes too much memory is a row that says so.
`report.py` makes the table and the figures from the lines written. Before the solvers, one tight fit of
ours and its duality gap say what the best objective is, and whether that is proved.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import catalog
import storage
from catalog import PROBLEMS, Problem
from processes import lines
from solvers import SOLVERS, Solver, Task

PACKAGES = (
    "secondorder numpy scipy numba scikit-learn liblinear-official scikit-learn-intelex snapml glum torch"
)
LOADING = 120.0  # seconds to import and read the data
COMPILING = 60.0  # seconds that the first fit of a process may take beyond the cap


class Harness:
    """Runs workers, keeps the best objective of every problem, and writes lines."""

    def __init__(self, out: Path, folder: Path, gigabytes: float, scale: float = 1.0) -> None:
        self.out, self.folder, self.gigabytes, self.scale = out, folder, gigabytes, scale
        self.best: dict[tuple[str, bool], tuple[float, bool]] = {}
        out.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **line: object) -> None:
        """Append one line to the file."""
        with self.out.open("a") as file:
            file.write(json.dumps(line, default=float) + "\n")

    def _command(self, problem: Problem, solver: Solver, *options: str) -> list[str]:
        data = catalog.save(problem.data, self.folder)
        worker = str(Path(__file__).with_name("worker.py"))
        limit = ["--gigabytes", str(self.gigabytes)] if self.gigabytes else []
        return [sys.executable, worker, str(data), solver.name, f"--C={problem.C!r}", *limit, *options]

    def reference(self, problem: Problem, solver: Solver) -> None:
        """Find the best objective by our tightest fit."""
        cap = 2 * problem.cap * self.scale + COMPILING
        key = problem.name, solver.penalises_intercept
        for line in lines(self._command(problem, solver, "--reference"), lambda: cap):
            if line["event"] == "reference":
                proved = line["bound"] <= 1e-9 * line["value"]
                self.best[key] = line["value"], proved
                self.write(problem=problem.name, solver="reference", penalised=key[1], proved=proved, **line)
            elif line["event"] == "end" and line["end"] != "done":
                print(f"{problem.name:28} no reference: {line['end']}", flush=True)

    def sweep(self, problem: Problem, solver: Solver) -> list[dict]:
        """All fits of one solver on one problem; written as they come."""
        best, proved = self.best.get((problem.name, solver.penalises_intercept), (0.0, False))
        options = [f"--best={best!r}", *(["--proved"] if proved else [])]
        cap, deadline, rows = problem.cap * self.scale, None, []

        def patience() -> float:
            if deadline is None:
                return LOADING
            return deadline - time.perf_counter()

        for line in lines(self._command(problem, solver, *options), patience):
            match line["event"]:
                case "ready":
                    deadline = time.perf_counter() + cap + COMPILING * solver.compiles
                case "first":
                    deadline = time.perf_counter() + cap
                case "end" if line["end"] == "killed":
                    line["end"] = f"killed after {cap:g} s"
            if line["event"] == "ready":
                continue
            row = {
                "problem": problem.name,
                "solver": solver.name,
                "penalised": solver.penalises_intercept,
                **line,
            }
            rows.append(row)
            self.write(**row)
        return rows

    def run(self, problem: Problem, solvers: list[Solver]) -> None:
        """One problem: the references, then every solver that takes it."""
        X, y = storage.read(catalog.save(problem.data, self.folder))
        task = Task(X, y, problem.C, problem.even)
        solvers = [solver for solver in solvers if solver.takes(task)]
        nonzeros = int(X.nnz) if hasattr(X, "nnz") else None
        self.write(
            event="problem",
            problem=problem.name,
            n=X.shape[0],
            p=X.shape[1],
            K=task.n_classes,
            nnz=nonzeros,
            cap=problem.cap * self.scale,
        )
        del task, X, y
        for penalised in sorted({solver.penalises_intercept for solver in solvers}):
            name = "secondorder, b penalised" if penalised else "secondorder"
            self.reference(problem, next(s for s in SOLVERS if s.name == name))
        for solver in solvers:
            rows = self.sweep(problem, solver)
            if rows:
                print(f"{problem.name:28} {solver.name:26} {summary(rows, self.best)}", flush=True)


def summary(rows: list[dict], best: dict) -> str:
    """One line: the least seconds to each gap so far known, and how the sweep ended."""
    fits = [row for row in rows if row["event"] == "fit"]
    known = best.get((rows[0]["problem"], rows[0]["penalised"]), (0.0, False))[0]
    lowest = min([known] * (known > 0) + [row["value"] for row in fits], default=0.0)
    parts = []
    for target in (1e-3, 1e-6, 1e-9):
        times = [row["seconds"] for row in fits if row["value"] <= lowest * (1 + target)]
        parts.append(f"{min(times):9.4f}" if times else "        -")
    gap = min((row["value"] / lowest - 1 for row in fits), default=float("nan"))
    return " ".join(parts) + f"  gap {gap:7.1e}  {len(fits)} fits, {rows[-1].get('end', '')}"


def machine() -> dict:
    """What ran: processors, Python and the packages."""
    packages = {}
    for name in PACKAGES.split():
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "event": "machine",
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "packages": packages,
    }


def select(names: list[str] | None, quick: bool) -> list[Problem]:
    """The problems named (by name or by data), or all, or the quick ones."""
    if not names:
        return [problem for problem in PROBLEMS if problem.quick or not quick]
    chosen = [p for p in PROBLEMS if p.name in names or p.data in names]
    unknown = [name for name in names if not any(name in (p.name, p.data) for p in PROBLEMS)]
    return chosen + [Problem(name) for name in unknown]


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer problems, a quarter of the time for each")
    parser.add_argument("--problems", nargs="*", help="names of the catalog, datasets, or kind:n,p,K")
    parser.add_argument("--solvers", nargs="*", help="names, or the beginnings of names")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/output/linear.jsonl"), help="appended to"
    )
    parser.add_argument("--cap", type=float, help="seconds of a sweep, instead of the catalog's")
    parser.add_argument("--data", type=Path, help="folder that keeps the prepared data")
    parser.add_argument("--gigabytes", type=float, default=12.0, help="memory of one process; 0: no limit")
    args = parser.parse_args()
    solvers = [s for s in SOLVERS if not args.solvers or s.name.startswith(tuple(args.solvers))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        harness = Harness(args.out, folder, args.gigabytes, 1 / 4 if args.quick else 1)
        harness.write(**machine())
        print(f"{'':55}  to 1e-3    to 1e-6   to 1e-9  (seconds)")
        for problem in select(args.problems, args.quick):
            harness.run(replace(problem, cap=args.cap) if args.cap else problem, solvers)


if __name__ == "__main__":
    main()
