"""Does "converged" mean converged? Every dataset, C from 1e-4 to 1e6, three tolerances.

    python benchmarks/linear/trust.py [--names ...] [--cap 20] [--budget 60] [--out FILE.jsonl]

Each fit that says it converged at `tol` is checked against the best objective seen on the problem: over all
tolerances and a longer run (tol=1e-13). False is a fit that lies more than `tol` above it (relative; rounding
of 1e-13 allowed). A fit longer than the cap is killed and counted as a hang; a dataset that has used up its
budget is left, and what was left out is printed.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import catalog
import storage
from certify import objective
from processes import lines

PENALTIES = [10.0**k for k in range(-4, 7)]
TOLERANCES = [1e-3, 1e-6, 1e-8]
LONGER = 1e-13
ROUNDING = 1e-13
BUNDLED = "iris wine breast_cancer digits"
SMALL = (
    "letter satimage pendigits optdigits texture segment vehicle vowel spambase magic splice chess "
    "ionosphere sonar pima german crx heart phoneme movement_libras marketing mammographic saheart "
    "contraceptive bands housevotes bupa caravan musk1 dna pcmac mushrooms phishing usps shuttle higgs12k "
    "covtype20k covtype20k_binary"
)
WIDE = "arcene allaml colon prostate_ge lymphoma khan orl rcv1_small"
LARGE = "a9a w8a ijcnn1 skin cover_2v4 heart2020 imdb 20newsgroups news20 sensorless mnist"
NAMES = f"{BUNDLED} {SMALL} {WIDE} {LARGE}".split()


def work(file: Path, tasks: list[tuple[float, float]]) -> None:
    """Fit each (C, tol) and print a line; runs in a process of its own."""
    from secondorder.linear_model import LogisticRegression

    warnings.simplefilter("ignore")
    X, y = storage.read(file)
    print(json.dumps({"event": "ready"}), flush=True)
    for C, tol in tasks:
        start = time.perf_counter()
        model = LogisticRegression(C=C, tol=tol, max_iter=1000 if tol == LONGER else 100).fit(X, y)
        seconds = time.perf_counter() - start
        line = {
            "event": "fit",
            "status": model.result_.status.name.lower(),
            "seconds": seconds,
            "value": objective(X, y, C, model.coef_, model.intercept_),
            "claimed": model.result_.relative_gap,
        }
        print(json.dumps(line, default=float), flush=True)
    print(json.dumps({"event": "end", "end": "done"}), flush=True)


def fits(name: str, folder: Path, cap: float, budget: float) -> list[dict]:
    """All fits of one dataset; after one that had to be killed the rest goes on in a new process."""
    file = catalog.save(name, folder)
    tasks = list(product(PENALTIES, [*TOLERANCES, LONGER]))
    rows: list[dict] = []
    started = time.perf_counter()
    while len(rows) < len(tasks) and time.perf_counter() - started < budget:
        rest = tasks[len(rows) :]
        command = [sys.executable, __file__, "--work", str(file), json.dumps(rest)]
        wait = 4 * cap + 60  # imports and compilation first
        for line in lines(command, lambda: wait):  # noqa: B023
            wait = cap if rows else 2 * cap
            if line["event"] == "ready":
                continue
            if line["event"] == "end":
                if line["end"] == "done":
                    break
                line = {"status": "hang" if line["end"] == "killed" else "crash", "why": line["end"]}
            C, tol = tasks[len(rows)]
            rows.append({"name": name, "C": C, "tol": tol, **line})
            if time.perf_counter() - started > budget:
                break
    return rows


def check(rows: list[dict]) -> None:
    """Mark every row whose "converged" is false, and give it its distance to the best objective seen."""
    best: dict[tuple[str, float], float] = {}
    for row in rows:
        if "value" in row:
            key = row["name"], row["C"]
            best[key] = min(best.get(key, float("inf")), row["value"])
    for row in rows:
        if "value" in row:
            row["gap"] = 1 - best[row["name"], row["C"]] / row["value"]
            claims = row["status"] == "converged" and row["tol"] in TOLERANCES
            row["false"] = claims and row["gap"] > row["tol"] + ROUNDING


def table(rows: list[dict]) -> str:
    """Statuses by tolerance, and every false or killed fit."""
    counts: dict[float, Counter] = defaultdict(Counter)
    for row in rows:
        counts[row["tol"]][row["status"]] += 1
    statuses = sorted({row["status"] for row in rows})
    text = ["| tol | " + " | ".join(statuses) + " | false |", "|---" * (len(statuses) + 2) + "|"]
    for tol, counter in counts.items():
        wrong = sum(row.get("false", False) for row in rows if row["tol"] == tol)
        cells = [f"{tol:.0e}", *(str(counter[s]) for s in statuses), str(wrong)]
        text.append("| " + " | ".join(cells) + " |")
    for row in rows:
        if row.get("false"):
            text.append(f"FALSE: {row['name']} C={row['C']:g} tol={row['tol']:.0e}: gap {row['gap']:.2e}")
        elif row["status"] in ("hang", "crash"):
            where = f"{row['name']} C={row['C']:g} tol={row['tol']:.0e}"
            text.append(f"{row['status'].upper()}: {where}: {row['why']}")
    return "\n".join(text)


def main() -> None:
    """Fit everything, check, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="*", default=NAMES)
    parser.add_argument("--cap", type=float, default=20.0, help="seconds of one fit")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of one dataset")
    parser.add_argument("--data", type=Path, help="folder that keeps the prepared data")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/output/trust.jsonl"))
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(Path(args.work[0]), json.loads(args.work[1]))
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    expected = len(PENALTIES) * (len(TOLERANCES) + 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.names:
            start = time.perf_counter()
            found = fits(name, folder, args.cap, args.budget)
            check(found)
            rows += found
            bad = sum(row.get("false", False) for row in found)
            done = sum(row["status"] == "converged" for row in found)
            print(
                f"{name:20} {len(found):3d} of {expected} fits, {done} converged, {bad} false, "
                f"{time.perf_counter() - start:.1f} s",
                flush=True,
            )
            with args.out.open("a") as file:
                file.writelines(json.dumps(row, default=float) + "\n" for row in found)
    print(table(rows))


if __name__ == "__main__":
    main()
