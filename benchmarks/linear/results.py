"""What the lines of a run say: best objectives, gaps, least times."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

TARGETS = (1e-3, 1e-6, 1e-9)


@dataclass
class Sweep:
    """The fits of one solver on one problem."""

    penalised: bool = False
    fits: list[dict] = field(default_factory=list)
    first: float | None = None
    end: str = ""
    best: float = 0.0

    def gap(self, fit: dict) -> float:
        """Relative distance of a fit's objective to the best one seen."""
        return max(fit["value"] / self.best - 1, 0.0)

    def seconds(self, target: float) -> float | None:
        """The least time of a fit within `target`."""
        return min((fit["seconds"] for fit in self.fits if self.gap(fit) <= target), default=None)

    def passes(self, target: float) -> float | None:
        """The fewest passes over X of a fit within `target`."""
        known = [f["passes"] for f in self.fits if f.get("passes") is not None and self.gap(f) <= target]
        return min(known, default=None)

    def overhead(self) -> float | None:
        """What the first fit of the process took beyond the same fit later: compilation, loading."""
        return self.first - self.fits[0]["seconds"] if self.first and self.fits else None


def read(files: list[Path]) -> tuple[dict[str, dict], dict[str, dict[str, Sweep]], list[dict]]:
    """Problems by name (size, whether the optimum is proved), their sweeps by solver, and the machines.

    A later sweep of the same solver on the same problem takes the place of the earlier one.
    """
    problems: dict[str, dict] = {}
    sweeps: dict[str, dict[str, Sweep]] = defaultdict(dict)
    references: dict[tuple[str, bool], list[float]] = defaultdict(list)
    machines = []
    for line in (json.loads(text) for file in files for text in file.read_text().splitlines()):
        event = line["event"]
        if event == "machine":
            machines.append(line)
            continue
        name = line["problem"]
        if event == "problem":
            problems[name] = problems.get(name, {}) | line
        elif event == "reference":
            references[name, line["penalised"]].append(line["value"])
            problems[name].setdefault("proved", {})[line["penalised"]] = line["proved"]
        else:
            if event == "first" or line["solver"] not in sweeps[name]:
                sweeps[name][line["solver"]] = Sweep(line["penalised"])
            sweep = sweeps[name][line["solver"]]
            if event == "first":
                sweep.first = line["first"]
            elif event == "fit":
                sweep.fits.append(line)
            else:
                sweep.end = line["end"]
    for name, solvers in sweeps.items():
        for sweep in solvers.values():
            rivals = [s for s in solvers.values() if s.penalised == sweep.penalised]
            values = references[name, sweep.penalised] + [f["value"] for s in rivals for f in s.fits]
            sweep.best = min(values, default=0.0)
    return problems, sweeps, machines
