"""One solver on one problem, in a process of its own: cold fits at ever tighter tolerances, a JSON line each.

The parent process keeps the clock. What is printed is in this order: `ready` (data in memory, libraries
loaded), one line for each tolerance, and `end` with the reason.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import storage
from solvers import BY_NAME, Fit, Solver, Task

sys.path.append(str(Path(__file__).resolve().parents[1]))
from certify import judge, objective

TARGETS = (1e-3, 1e-6, 1e-9)
TIGHTEST = 1e-15


def say(**line: object) -> None:
    """Print a line at once: the process may be killed any time."""
    print(json.dumps(line, default=float), flush=True)


def timed(fit: Callable[[float], Fit], tol: float) -> tuple[float, Fit]:
    """Seconds of a fit, and the fit."""
    start = time.perf_counter()
    result = fit(tol)
    return time.perf_counter() - start, result


def next_tolerance(tol: float, gap: float, order: int) -> float:
    """The tolerance that should bring the gap to the next target, not more than 1000 times tighter."""
    target = max((t for t in TARGETS if t < gap), default=TARGETS[-1])
    return tol * min(max((0.5 * target / max(gap, 1e-300)) ** (1 / order), 1e-3), 0.5)


def fits_wanted(seconds: float, first: bool) -> int:
    """How many fits to make at one tolerance, where those so far took so long."""
    if seconds < 0.1:
        return 10
    return 3 if seconds < 0.5 else 2 if first else 1


def sweep(solver: Solver, task: Task, best: float, proved: bool) -> str:
    """Fit until the last target is reached; the reason why the sweep ended.

    The first fit of the process is made twice more, so that what it compiles or loads does not count;
    short fits are repeated, the least time counts.
    """
    fit = solver.adapter(task)
    say(event="ready")
    tol, values, first = solver.loosest, [], True
    while tol >= TIGHTEST:
        seconds, result = timed(fit, tol)
        times = [seconds]
        if first:
            say(event="first", first=seconds)
        while len(times) < fits_wanted(sum(times), first):
            times.append(timed(fit, tol)[0])
        value = objective(task.X, task.y, task.C, *result[:2], solver.penalises_intercept)
        say(
            event="fit",
            tol=tol,
            seconds=min(times[1:] if first else times),
            value=value,
            n_iter=result.n_iter,
            passes=result.passes,
        )
        values.append(value)
        gap = max(value / best - 1, 0.0) if best else 1.0
        if proved and gap <= TARGETS[-1]:
            return "reached"
        if len(values) > 4 and tol < 1e-8 and min(values[-3:]) >= min(values[:-3]) * (1 - 1e-13):
            return "stalled"
        tol, first = next_tolerance(tol, gap, solver.order), False
    return "tightest tolerance"


def reference(solver: Solver, task: Task) -> str:
    """Our tightest fit, with an independent bound of its distance to the optimum."""
    fit = solver.adapter(task)
    say(event="ready")
    result = fit(1e-11)
    value = objective(task.X, task.y, task.C, *result[:2], solver.penalises_intercept)
    if solver.penalises_intercept:
        seen = judge(task.with_constant().X, task.y, task.C, np.column_stack(result[:2]), None)
    else:
        seen = judge(task.X, task.y, task.C, *result[:2])
    say(event="reference", value=value, bound=value - seen.value + seen.gap)
    return "done"


def main() -> None:
    """Read the data, run, say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("solver", choices=BY_NAME)
    parser.add_argument("--C", type=float, required=True)
    parser.add_argument("--reference", action="store_true", help="one tight fit instead of the sweep")
    parser.add_argument("--best", type=float, default=0.0, help="the best objective known")
    parser.add_argument("--proved", action="store_true", help="the best objective is the optimum to 1e-9")
    parser.add_argument("--gigabytes", type=float, help="limit of the address space")
    args = parser.parse_args()
    if args.gigabytes:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(args.gigabytes * 1e9),) * 2)
    warnings.simplefilter("ignore")
    solver = BY_NAME[args.solver]
    X, y = storage.read(args.data)
    task = Task(X, y, args.C)
    try:
        end = reference(solver, task) if args.reference else sweep(solver, task, args.best, args.proved)
    except ImportError as error:
        end = f"not installed: {error.name}"
    except Exception as error:
        end = f"failed: {type(error).__name__}: {error}"[:200]
    say(event="end", end=end)


if __name__ == "__main__":
    main()
